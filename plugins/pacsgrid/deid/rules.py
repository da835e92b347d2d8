"""Which action an element gets: the table, the options, and rules of our own for the rest."""

from __future__ import annotations

from pydicom.datadict import dictionary_has_tag
from pydicom.dataset import Dataset

from .attribute_types import attribute_type
from .confidentiality_table import Rule, rule_for
from .content_items import VALUE_ATTRIBUTES, value_rule
from .profile import Profile

TEXT = frozenset({"LO", "SH", "ST", "LT", "UT", "UC", "PN", "AE", "UR"})
TIMES = frozenset({"DA", "DT", "TM", "AS"})
_CLEANABLE = TEXT | TIMES | {"SQ", "CS", "IS", "DS", "UI"}
# The dates' options decide about dates even where another option keeps the element.
_PRECEDENCE = ("modified", "full", "descriptors", "structured", "graphics", "private",
               "uids", "device", "institution", "patient")  # fmt: skip


def action_for(tag: int, vr: str, profile: Profile, sop_class: str = "", sequence: str = "") -> str:
    """Return the action for an element: X, Z, D, U, K, C, or a rule of our own.

    ``text``, ``time``, ``enum``, ``number`` and ``walk`` are what becomes of an element without a
    row in the table, by its VR: what can carry text is not trusted.

    Parameters
    ----------
    sop_class, sequence
        Where the element stands; of X, Z and D the one is taken that leaves it valid there.
    """
    if tag in profile.overrides:
        return profile.overrides[tag]
    rule = rule_for(tag)
    if rule is not None:
        return _listed(tag, vr, rule, profile, sop_class, sequence)
    if not dictionary_has_tag(tag) and (vr in TEXT | TIMES | {"UN", "UI", "SQ"}):
        return "X"  # of a later edition, or of nobody's: nothing says what it holds
    if vr == "SQ":
        return "walk"
    if vr == "UI":
        return "K" if "uids" in profile.options else "U"
    if vr in TIMES:
        return "C" if "modified" in profile.options else "K" if "full" in profile.options else "X"
    if vr in TEXT:
        return "text"
    if vr == "CS":
        return "enum"
    if vr in ("IS", "DS"):
        return "number"
    return "X" if vr == "UN" else "K"


def content_actions(item: Dataset, profile: Profile) -> dict[int, str]:
    """Return what Table E.3.4-1 makes of a content item's values: D, K or C by tag.

    Where an attribute has an override that holds for content items too.
    """
    found: dict[int, str] = {}
    for tag in VALUE_ATTRIBUTES:
        if tag not in item or tag in profile.overrides:
            continue
        rule = value_rule(item, tag)
        if rule is not None:
            options = profile.options & rule.options.keys()
            found[tag] = next((rule.options[o] for o in _PRECEDENCE if o in options), "D")
    return found


def _listed(tag: int, vr: str, rule: Rule, profile: Profile, sop_class: str, sequence: str) -> str:
    if tag >> 24 in (0x50, 0x60):
        return "X"  # curves and overlays are graphics burned beside the pixels, not cleaned here
    for option in _PRECEDENCE:
        if option in profile.options and option in rule.options:
            if rule.options[option] == "C" and vr not in _CLEANABLE:
                break  # nobody cleans bytes that only their maker can read
            return rule.options[option]
    choices = rule.basic.rstrip("*").split("/")
    kind = attribute_type(tag, sop_class, sequence)
    if "U" in choices:
        return "U"
    if vr == "SQ":
        # Items that are cleaned keep references and stay valid; an empty sequence is only legal
        # as type 2.
        return "D" if "D" in choices else "Z" if kind == "2" or "X" not in choices else "X"
    # X of what must be there would make an object invalid that was not.
    order = {"1": "DZX", "2": "ZDX", "3": "XZD"}[kind]
    allowed = choices if kind == "3" else [*choices, "Z", "D"]
    return next(choice for choice in order if choice in allowed)
