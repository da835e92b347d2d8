"""What stands outside the elements: preamble, file meta, the file's name."""

from __future__ import annotations

from pathlib import Path

from ...errors import HeldError
from .findings import format_tag, identity_left
from .identity import Identity
from .identity_search import IdentitySearch, find_dates
from .reader import Header
from .uids import is_standard, is_valid

# PS3.10 7.1 without the senders' AE titles and private information.
_META = frozenset(
    (0x00020000, 0x00020001, 0x00020002, 0x00020003, 0x00020010, 0x00020012, 0x00020013)
)


def check_structure(made: Header) -> None:
    """Refuse what could carry something unseen, and a file meta that belongs to another object."""
    if made.preamble.strip(b"\0"):
        raise HeldError("not-clean", "the preamble is not empty")
    for tag in made.meta.keys() - _META:
        raise HeldError("not-clean", f"the file meta holds {format_tag(tag)}")
    for there, here in ((0x00020002, 0x00080016), (0x00020003, 0x00080018)):
        meta, element = made.meta.get(there), made.elements.get(here)
        if meta is None or element is None or not meta.value.strip(b"\0 "):
            raise HeldError(
                "required-missing", f"{format_tag(there)} or {format_tag(here)} is missing"
            )
        if meta.value.strip(b"\0 ") != element.value.strip(b"\0 "):
            raise HeldError(
                "reference-changed", f"{format_tag(there)} and {format_tag(here)} differ"
            )
    syntax = made.meta.get(0x00020010)
    if syntax is None or not is_standard(syntax.value.strip(b"\0 ")):
        raise HeldError("not-clean", "the transfer syntax (0002,0010) is not a standard one")


def check_name(result: Path, search: IdentitySearch, identity: Identity, keeps_uids: bool) -> None:
    """Refuse a file or folder name of the result that identifies."""
    for part in (result.parent.name, result.stem):
        if part.encode() in identity.original_uids:
            if keeps_uids and is_valid(part.encode()):
                continue
            raise identity_left("the file's name", "an original UID")
        # A derived UID has 39 digits: any short number stands in some of them.
        if not part.startswith("2.25.") and (
            search.search_text(part) or search.births.intersection(find_dates(part))
        ):
            raise identity_left("the file's name", "an identifying value")
