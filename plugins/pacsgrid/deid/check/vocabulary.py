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
