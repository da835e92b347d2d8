"""Defined terms of code strings (PS3.3), and known manufacturers. The checker's own lists."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

# Manufacturers, in lower case without punctuation. Test images use them as patient's name too.
_MAKERS = frozenset(
    b"""accuray;agfa;brainlab;canon medical systems;carestream;carestream health;elekta;esaote
fuji photo film co ltd;fujifilm;fujifilm corporation;ge healthcare;ge medical systems;hitachi
hitachi medical corporation;hologic inc;konica minolta;mindray;philips;philips healthcare
philips medical systems;samsung medison co ltd;shimadzu;siemens;siemens health services
siemens healthineers;toshiba;toshiba mec;varian medical systems""".replace(b"\n", b";").split(b";")
)
_MANUFACTURER = 0x00080070


@lru_cache(maxsize=1)
def _words() -> dict[int, frozenset[bytes]]:
    lines = Path(__file__).with_name("vocabulary.csv").read_bytes().splitlines()
    rows = (line.split(b";") for line in lines if not line.startswith(b"#"))
    return {int(tag, 16): frozenset(words) for tag, *words in rows}


def defined_terms(tag: int) -> frozenset[bytes]:
    """Return the defined terms of an attribute, which identify nobody even if they equal a name."""
    return _words().get(tag, frozenset())


# What the operator's console calls a series: planes, regions and techniques. Who types there may
# write a name beside them.
DESCRIPTIONS = frozenset((0x0008103E, 0x00181030))
_LETTER = re.compile(r"(?<![^\W_])[^\W\d_](?![^\W_])")
_CALLED = re.compile(r"\b(?:mr|mrs|ms|miss|dr|prof|herr|frau|pan|pani|by|patient|name)[ .:]*$")


def without_own_words(tag: int, text: str) -> str | None:
    """Return the description of a series without the words of its vocabulary, or None.

    Parameters
    ----------
    tag
        The element's tag.
    text
        Its text.

    Returns
    -------
    str or None
        None where a word may be a name after all: behind a title, or beside an initial.
    """
    own = {word.decode() for word in defined_terms(tag)}
    rest: list[str] = []
    for word in re.split(r"([^\W\d_]+|\d+)", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)):
        if word.upper() in own:
            if _CALLED.search("".join(rest).lower()):
                return None
            word = "\0"
        rest.append(word)
    left = "".join(rest)
    beside = r"\0[\s.,^_-]{0,2}" + _LETTER.pattern + "|" + _LETTER.pattern + r"[\s.,^_-]{0,2}\0"
    return None if re.search(beside, left) else left.replace("\0", " ")


def is_manufacturer(tag: int, value: bytes) -> bool:
    """Return whether a value is a known manufacturer's name in Manufacturer (0008,0070).

    Parameters
    ----------
    tag
        The element's tag.
    value
        Its value.
    """
    if tag != _MANUFACTURER:
        return False
    return re.sub(rb"[^a-z0-9]+", b" ", value.strip(b"\0 ").lower()).strip() in _MAKERS
