"""Content items (PS3.3 C.17.3): what their concept says of the value, Table E.3.4-1 of PS3.15."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from pydicom.dataset import Dataset
from pydicom.sr._snomed_dict import mapping

from .confidentiality_table import Rule

# Sequences of content items, in reports and outside of them.
CONTENT_SEQUENCES = frozenset(
    {
        "ContentSequence",
        "AcquisitionContextSequence",
        "SpecimenPreparationStepContentItemSequence",
        "ProtocolContextSequence",
        "ContentItemModifierSequence",
    }
)
CODE_VALUE, MEASURED_VALUE = 0x0040A168, 0x0040A300
# By the attribute that holds the value (PS3.3 C.17.3.2): the value type, and the VR.
VALUE_ATTRIBUTES = {
    0x0040A120: ("DATETIME", "DT"),
    0x0040A121: ("DATE", "DA"),
    0x0040A122: ("TIME", "TM"),
    0x0040A123: ("PNAME", "PN"),
    0x0040A160: ("TEXT", "UT"),
    CODE_VALUE: ("CODE", "SQ"),
    MEASURED_VALUE: ("NUM", "SQ"),
}
# SNOMED's codes of before (PS3.16 Annex O).
_SNOMED_RT = frozenset({"SRT", "SNM3", "99SDM"})


@lru_cache(maxsize=1)
def load_table() -> dict[tuple[str, str, str], Rule]:
    """Read the table, keyed by coding scheme, code and value type."""
    found: dict[tuple[str, str, str], Rule] = {}
    for line in Path(__file__).with_name("content.csv").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            scheme, code, kind, basic, options, name = line.split(";")
            kept = dict(option.split("=") for option in options.split())
            found[scheme, code, kind] = Rule(name, basic, kept)
    return found


def value_rule(item: Dataset, tag: int) -> Rule | None:
    """Return the row for a value of a content item, None where the table has none.

    UIDREF and references have no rule here: a UID gets its pseudonym wherever it stands.
    """
    if tag not in VALUE_ATTRIBUTES:
        return None
    names = item.get("ConceptNameCodeSequence") or []
    if len(names) != 1:
        return None
    scheme = str(names[0].get("CodingSchemeDesignator", "") or "").strip(" \0")
    code = str(names[0].get("CodeValue", "") or "").strip(" \0")
    if scheme in _SNOMED_RT:
        scheme, code = "SCT", mapping["SRT"].get(code, "")
    return load_table().get((scheme, code, VALUE_ATTRIBUTES[tag][0]))
