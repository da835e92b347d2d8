"""Look up the rules for content items (PS3.3 C.17.3) by their concept: Table E.3.4-1 of PS3.15."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from pydicom.dataset import Dataset

from .confidentiality_table import Rule

# Sequences of content items, in structured reports and in other objects.
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
# Value type and VR by the attribute that holds the value (PS3.3 C.17.3.2).
VALUE_ATTRIBUTES = {
    0x0040A120: ("DATETIME", "DT"),
    0x0040A121: ("DATE", "DA"),
    0x0040A122: ("TIME", "TM"),
    0x0040A123: ("PNAME", "PN"),
    0x0040A160: ("TEXT", "UT"),
    CODE_VALUE: ("CODE", "SQ"),
    MEASURED_VALUE: ("NUM", "SQ"),
}
# SNOMED-RT, the predecessor of SNOMED CT (PS3.16 Annex O).
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
    """Return the row of the table for a value of a content item.

    UIDREF and references have no rule here: UIDs are replaced wherever they are.

    Parameters
    ----------
    item
        The content item.
    tag
        Attribute that holds the value.

    Returns
    -------
    Rule or None
        None where the table has no row for the concept.
    """
    if tag not in VALUE_ATTRIBUTES:
        return None
    names = item.get("ConceptNameCodeSequence") or []
    if len(names) != 1:
        return None
    scheme = str(names[0].get("CodingSchemeDesignator", "") or "").strip(" \0")
    code = str(names[0].get("CodeValue", "") or "").strip(" \0")
    if scheme in _SNOMED_RT:
        from pydicom.sr._snomed_dict import mapping  # large: see worker_context

        scheme, code = "SCT", mapping["SRT"].get(code, "")
    return load_table().get((scheme, code, VALUE_ATTRIBUTES[tag][0]))
