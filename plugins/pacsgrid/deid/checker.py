"""The checker: reads what came out, compares it with what went in, trusts neither.

It shares no code with the actions: it knows nothing of the table, only what must not be there.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydicom import dcmread

from ..errors import HeldError
from .identifiers import StudyIdentifiers
from .profile import Profile
from .quiet import quiet

_TEXT = frozenset({"AE", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"})
_REQUIRED = (
    "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID",
    "PatientIdentityRemoved", "DeidentificationMethod",
)  # fmt: skip
_STANDARD = "1.2.840.10008."


def check_file(src: Path, out: Path, identifiers: StudyIdentifiers, profile: Profile) -> None:
    """Refuse an anonymised file that still identifies, or that lost what it needs.

    Raises
    ------
    HeldError
        ``identity-left``, ``private-left`` or ``required-missing``; the text names a tag, never
        a value.
    """
    with quiet():
        made = dcmread(out, stop_before_pixels=True)
        source = dcmread(src, stop_before_pixels=True)
        for keyword in _REQUIRED:
            if not made.get(keyword):
                raise HeldError("required-missing", f"{keyword} is missing in the result")
        if made.PatientIdentityRemoved != "YES":
            raise HeldError("required-missing", "PatientIdentityRemoved is not YES")
        _no_old_uid(source, made, profile)
        for element in _walk(made):
            if element.tag.is_private and not element.tag.is_private_creator:
                known = {(group, low) for _, group, low in profile.safe_private}
                if (element.tag.group, element.tag.element & 0xFF) not in known:
                    raise HeldError("private-left", f"private element {element.tag} is left")
            if element.VR in _TEXT and identifiers.found_in(_text(element.value)):
                raise HeldError("identity-left", f"element {element.tag} identifies the patient")
        with out.open("rb") as stream:
            preamble = stream.read(128)
        if preamble.strip(b"\0"):
            raise HeldError("identity-left", "the preamble is not empty")


def _no_old_uid(source: Any, made: Any, profile: Profile) -> None:
    if "uids" in profile.options:
        return
    old = {
        uid
        for element in _walk(source)
        if element.VR == "UI"
        for uid in _text(element.value).split("\\")
        if uid and not uid.startswith(_STANDARD)
    }
    for element in _walk(made):
        if element.VR == "UI" and old.intersection(_text(element.value).split("\\")):
            raise HeldError("identity-left", f"element {element.tag} holds an original UID")


def _walk(ds: Any) -> Iterator[Any]:
    stack = [ds]
    while stack:
        for element in stack.pop():
            if element.VR == "SQ":
                stack.extend(element.value or [])
            else:
                yield element


def _text(value: Any) -> str:
    if value is None or isinstance(value, bytes):
        return ""
    if isinstance(value, str) or hasattr(value, "components") or not hasattr(value, "__iter__"):
        return str(value)
    return "\\".join(str(item) for item in value)
