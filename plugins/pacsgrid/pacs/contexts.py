"""Which presentation contexts a retrieval offers (PS3.8 9.3.2.2, at most 128)."""

from __future__ import annotations

MOST = 128

# As stored is what we want: a PACS that finds the file's own syntax accepted sends the
# bytes without decoding them. PS3.5 section 10 and annex A.
SYNTAXES = (
    "1.2.840.10008.1.2.1",  # explicit VR little endian
    "1.2.840.10008.1.2",  # implicit VR little endian
    "1.2.840.10008.1.2.1.99",  # deflated
    "1.2.840.10008.1.2.2",  # explicit VR big endian
    "1.2.840.10008.1.2.5",  # RLE
    "1.2.840.10008.1.2.4.50",  # JPEG baseline
    "1.2.840.10008.1.2.4.51",  # JPEG extended
    "1.2.840.10008.1.2.4.57",  # JPEG lossless
    "1.2.840.10008.1.2.4.70",  # JPEG lossless, first order
    "1.2.840.10008.1.2.4.80",  # JPEG-LS lossless
    "1.2.840.10008.1.2.4.81",  # JPEG-LS
    "1.2.840.10008.1.2.4.90",  # JPEG 2000 lossless
    "1.2.840.10008.1.2.4.91",  # JPEG 2000
    "1.2.840.10008.1.2.4.100",  # MPEG2
    "1.2.840.10008.1.2.4.102",  # MPEG-4
    "1.2.840.10008.1.2.4.201",  # HTJ2K lossless
    "1.2.840.10008.1.2.4.203",  # HTJ2K
)

CLASSES_AT_ONCE = (MOST - 1) // len(SYNTAXES)

_STORAGE = "1.2.840.10008.5.1.4.1.1."
_SECONDARY = ("7", "7.4", "88.67")

# Where a source doesn't tell SOP classes at image level, the series' modality narrows
# them (PS3.3 C.7.3.1.1.1); the most common first.
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
    """Give the SOP classes a series of this modality may hold, no more than fit at once."""
    ends = dict.fromkeys((*_BY_MODALITY.get(modality, _COMMON), *_SECONDARY))
    return tuple(_STORAGE + end for end in ends)[:CLASSES_AT_ONCE]
