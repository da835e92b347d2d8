"""Recognise local coding schemes that are named after an institution of the study."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .text_folding import fold

# Public coding schemes (PS3.16 chapter 8).
STANDARD_SCHEMES = frozenset(
    {"ACR", "ASTM-sigpurpose", "BARI", "BI", "C4", "C5", "CAPECC", "CD2", "CDT", "CSCT-C",
     "CTCAE", "DC", "DCM", "DCMUID", "DRG", "FMA", "HPC", "I10", "I10P", "I9", "I9C", "IBSI",
     "ICDO3", "IETF-RFC-4646", "ISO3166_1", "ISO639_1", "ISO639_2", "ISO_OID", "ITIS_TSN", "LB",
     "LN", "MA", "MAYOASRG", "MDC", "MDNS", "MGI", "MSH", "NCDR", "NCIt", "NDC", "NEU", "NICIP",
     "NIST_AVR", "NPI", "NYUMCCG", "PATHLEX", "POS", "RADELEMENT", "RADLEX", "RFC3066", "RXNORM",
     "SCPECG", "SCT", "SDM", "SNM3", "SRT", "UBERON", "UCUM", "UMLS", "UNS", "UPC", "99SDM"}
)  # fmt: skip
# Words in the names of many institutions: they lead to none.
_COMMON = frozenset(
    {"hospital", "hospitals", "university", "universitat", "universite", "universitatsklinikum",
     "klinik", "klinikum", "kliniken", "klinika", "clinic", "clinics", "clinical", "clinique",
     "nemocnice", "fakultni", "ustav", "centrum", "center", "centre", "centro", "medical",
     "medicine", "health", "healthcare", "care", "imaging", "radiology", "radiologie",
     "radiologicka", "diagnostic", "institute", "institut", "institution", "department", "dept",
     "general", "national", "regional", "county", "city", "saint", "sankt", "krankenhaus",
     "praxis", "szpital", "hopital", "ospedale", "policlinico", "research", "laboratory",
     "school", "college", "public", "private", "foundation", "trust", "system", "systems",
     "group", "service", "services", "unit", "site", "test", "north", "south", "east", "west",
     "siemens", "philips", "toshiba", "canon", "hitachi", "fuji", "fujifilm", "agfa", "medic",
     "carestream", "hologic", "dicom", "pacs", "unknown", "none", "removed", "anonymous",
     "with", "from", "the", "and", "for", "des", "der", "und"}
)  # fmt: skip
_PRIVATE = re.compile(r"^99|[^a-z]")


class Institutions:
    """The institutions of a study, by their distinctive words and by their initials.

    Parameters
    ----------
    names
        Names of institutions and departments.
    """

    def __init__(self, names: Iterable[str]) -> None:
        named = [fold(name).split() for name in names]
        self._words = {
            word for words in named for word in words
            if len(word) >= 4 and word.isalpha() and word not in _COMMON
        }  # fmt: skip
        initials = {"".join(word[0] for word in words if word.isalpha()) for words in named}
        self._initials = {letters for letters in initials if len(letters) >= 3}

    def occur_in(self, scheme: str) -> bool:
        """Return whether a coding scheme is local and named after one of the institutions."""
        if scheme in STANDARD_SCHEMES:
            return False
        squeezed = fold(scheme).replace(" ", "")
        letters = _PRIVATE.sub("", squeezed)
        return letters in self._initials or any(word in squeezed for word in self._words)
