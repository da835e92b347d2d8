"""Check the preamble, the file meta information and the file's name."""

from __future__ import annotations

from pathlib import Path

from ...errors import HeldError
from .findings import format_tag, identity_left
from .identity import Identity
from .identity_search import IdentitySearch, find_dates
from .reader import Header
from .uids import is_standard, is_valid

# PS3.10 7.1, without the AE titles and the private information.
_META = frozenset(
    (0x00020000, 0x00020001, 0x00020002, 0x00020003, 0x00020010, 0x00020012, 0x00020013)
)


_REPORT = "report it to pacsgrid's authors"


def check_structure(made: Header) -> None:
    """Refuse a preamble or file meta with extra content, or one that belongs to another object.

    Raises
    ------
    HeldError
        ``not-clean``, ``required-missing`` or ``reference-changed``.
    """
    if made.preamble.strip(b"\0"):
        raise HeldError(
            "not-clean", f"the preamble of the result is not empty (PS3.10 7.1); {_REPORT}"
        )
    for tag in made.meta.keys() - _META:
        raise HeldError(
            "not-clean", f"the file meta of the result still holds {format_tag(tag)}; {_REPORT}"
        )
    for there, here in ((0x00020002, 0x00080016), (0x00020003, 0x00080018)):
        meta, element = made.meta.get(there), made.elements.get(here)
        if meta is None or element is None or not meta.value.strip(b"\0 "):
            raise HeldError(
                "required-missing",
                f"{format_tag(there)} or {format_tag(here)} is missing; {_REPORT}",
            )
        if meta.value.strip(b"\0 ") != element.value.strip(b"\0 "):
            raise HeldError(
                "reference-changed", f"{format_tag(there)} and {format_tag(here)} differ; {_REPORT}"
            )
    syntax = made.meta.get(0x00020010)
    if syntax is None or not is_standard(syntax.value.strip(b"\0 ")):
        raise HeldError(
            "not-clean",
            "the transfer syntax (0002,0010) is not one of the standard's; convert the file at "
            "its origin",
        )


def check_name(result: Path, search: IdentitySearch, identity: Identity, keeps_uids: bool) -> None:
    """Refuse a result whose file or folder name identifies the patient.

    Parameters
    ----------
    result
        The result's path; its last folder and its name are checked.
    search
        The search for the study's identifying values.
    identity
        These values.
    keeps_uids
        Whether the profile keeps UIDs.

    Raises
    ------
    HeldError
        ``identity-left``.
    """
    for part in (result.parent.name, result.stem):
        if part.encode() in identity.original_uids:
            if keeps_uids and is_valid(part.encode()):
                continue
            raise identity_left("the file's name", "an original UID")
        # A derived UID has up to 39 digits, which contain many short numbers by chance.
        if not part.startswith("2.25.") and (
            search.search_text(part) or search.births.intersection(find_dates(part))
        ):
            raise identity_left("the file's name", "an identifying value")
