"""Guess which SOP classes a series holds, for sources that do not list them.

A C-GET must propose the SOP class of everything it may bring, and 128 presentation contexts are
the limit of one association (PS3.8 section 9.3.2.2).
"""

from __future__ import annotations

from pacsgrid.dimse.presentation_contexts import MAX_CONTEXTS, TRANSFER_SYNTAXES

CLASSES_AT_ONCE = (MAX_CONTEXTS - 1) // len(TRANSFER_SYNTAXES)

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_SECONDARY = ("7", "7.4", "88.67")

# SOP classes by the modality of the series (PS3.3 section C.7.3.1.1.1), the most common first.
_BY_MODALITY = {
    "CR": ("1", "7"),
    "DX": ("1.1", "1.1.1", "1", "7"),
    "MG": ("1.2", "1.2.1", "13.1.3", "7"),
    "CT": ("2", "2.1", "7", "7.4", "88.67"),
    "MR": ("4", "4.1", "4.2", "7", "66"),
    "US": ("6.1", "3.1", "6", "3", "7", "88.33"),
    "NM": ("20", "7", "7.4"),
    "PT": ("128", "130", "7"),
    "XA": ("12.1", "12.1.1", "7"),
    "RF": ("12.2", "12.2.1", "7"),
    "SEG": ("66.4",),
    "SR": ("88.11", "88.22", "88.33", "88.34", "88.67"),
    "PR": ("11.1", "11.2"),
    "KO": ("88.59",),
    "RTSTRUCT": ("481.3",),
    "RTPLAN": ("481.5", "481.8"),
    "RTDOSE": ("481.2",),
    "RTIMAGE": ("481.1",),
    "SM": ("77.1.6", "77.1.2", "77.1.3"),
    "OP": ("77.1.5.1", "77.1.5.2", "77.1.4"),
    "ES": ("77.1.1", "77.1.1.1", "77.1.4", "7"),
    "XC": ("77.1.4", "77.1.4.1", "7"),
    "ECG": ("9.1.1", "9.1.2"),
    "DOC": ("104.1",),
}
_COMMON = ("7", "2", "4", "1", "6.1", "1.1", "7.4")


def likely_classes(modality: str) -> tuple[str, ...]:
    """Return UIDs of SOP classes that a series of this modality may hold.

    There are no more than fit into one association with all transfer syntaxes.
    """
    ends = dict.fromkeys((*_BY_MODALITY.get(modality, _COMMON), *_SECONDARY))
    return tuple(_STORAGE + end for end in ends)[:CLASSES_AT_ONCE]
