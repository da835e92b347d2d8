"""Choose the action for an element: by Table E.1-1 of PS3.15 and the profile.

Elements that the table does not list get a rule of pacsgrid's own, by their VR.
"""

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
# The first option that has an action decides: those for dates before others that keep an element.
_PRECEDENCE = ("modified", "full", "descriptors", "structured", "graphics", "private",
               "uids", "device", "institution", "patient")  # fmt: skip


def action_for(tag: int, vr: str, profile: Profile, sop_class: str = "", sequence: str = "") -> str:
    """Return the action for an element.

    Parameters
    ----------
    tag, vr
        The element.
    profile
        Options and overrides.
    sop_class
        SOP Class UID of the instance.
    sequence
        Keyword of the sequence whose item holds the element, empty at the top level. Of X, Z and D,
        the table often allows several: the one is chosen that leaves the object valid there.

    Returns
    -------
    str
        X (remove), Z (empty), D (dummy), U (replace UID), K (keep) or C (clean) of PS3.15 E.3; or,
        for an element that the table does not list, ``text``, ``enum``, ``number`` or ``walk``:
        clean it as its VR asks for, since whatever can hold text is not trusted.
    """
    if tag in profile.overrides:
        return profile.overrides[tag]
    rule = rule_for(tag)
    if rule is not None:
        return _listed(tag, vr, rule, profile, sop_class, sequence)
    if not dictionary_has_tag(tag) and (vr in TEXT | TIMES | {"UN", "UI", "SQ"}):
        return "X"  # not in the dictionary: nothing tells what it holds
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
    """Return the actions of Table E.3.4-1 for the values of a content item.

    Parameters
    ----------
    item
        The content item (PS3.3 C.17.3).
    profile
        Options and overrides. An attribute with an override is left out: it holds here as well.

    Returns
    -------
    dict of int to str
        D, K or C by tag.
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
        return "X"  # curves and overlays; `pixel.overlays` cleans those that are kept
    for option in _PRECEDENCE:
        if option in profile.options and option in rule.options:
            if rule.options[option] == "C" and vr not in _CLEANABLE:
                break  # bytes that only their maker can read cannot be cleaned
            return rule.options[option]
    choices = rule.basic.rstrip("*").split("/")
    kind = attribute_type(tag, sop_class, sequence)
    if "U" in choices:
        return "U"
    if vr == "SQ":
        # Cleaned items keep references and stay valid; an empty sequence is valid as type 2 only.
        return "D" if "D" in choices else "Z" if kind == "2" or "X" not in choices else "X"
    # Removing a required attribute would make a valid object invalid.
    order = {"1": "DZX", "2": "ZDX", "3": "XZD"}[kind]
    allowed = choices if kind == "3" else [*choices, "Z", "D"]
    return next(choice for choice in order if choice in allowed)
