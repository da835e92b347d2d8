"""The checker's own list of what code strings may hold (PS3.3)."""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

# Who builds devices, in small letters and without signs: on a test image the patient's name too.
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
    """Return the terms that an attribute has of itself, whoever is called so."""
    return _words().get(tag, frozenset())


def is_manufacturer(tag: int, value: bytes) -> bool:
    """Say whether a value is a known maker's name where a maker is named."""
    if tag != _MANUFACTURER:
        return False
    return re.sub(rb"[^a-z0-9]+", b" ", value.strip(b"\0 ").lower()).strip() in _MAKERS
