"""What a client accepts (RFC 9110 12.5.1, PS3.18 8.7.5): media types with their parameters."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from email.message import Message
from itertools import islice

from starlette.exceptions import HTTPException
from starlette.requests import Request

JSON, PLAIN_JSON, DICOM, OCTETS, MULTIPART = (
    "application/dicom+json",
    "application/json",
    "application/dicom",
    "application/octet-stream",
    "multipart/related",
)
ANY = "*/*"
AS_STORED = "*"
_MOST = 64  # media types that are looked at
_QUALITY = re.compile(r"0(\.\d*)?|1(\.0*)?|\.\d+", re.ASCII)
_RANGE = re.compile(r"(\*/\*|[!#$%&'*+.^_`|~\w-]+/(\*|[!#$%&'*+.^_`|~\w-]+))", re.ASCII)


@dataclass(frozen=True)
class AcceptedType:
    """One media type that a client takes.

    Attributes
    ----------
    media
        The type of one part where `multipart` says that there may be several.
    syntax
        A Transfer Syntax UID, ``*`` for any, empty where none is named.
    but
        The types that a wildcard does not stand for: they are named with a lower quality.
    """

    media: str
    multipart: bool
    syntax: str
    quality: float
    but: frozenset[str] = frozenset()


def accepted_types(request: Request) -> list[AcceptedType]:
    """Return what is accepted, the best first; the query parameter goes before the header.

    Raises
    ------
    HTTPException
        400 for what is no list of media types.
    """
    named = request.query_params.getlist("accept")
    text = ",".join(named or request.headers.getlist("accept")).strip(", ") or ANY
    found = []
    for part in islice(_split(text, ","), _MOST):
        with suppress(ValueError):  # an invalid one does not spoil the others
            found.append(_one(part))
    if not found:
        raise HTTPException(400, "Accept is not a list of media types")
    taken = [_without(one, found) for one in found if one.quality > 0]
    return sorted(taken, key=lambda one: -one.quality)


def _one(text: str) -> AcceptedType:
    media = next(_split(text, ";")).strip().lower()
    # Java's own client of HTTP writes it so.
    media = ANY if media == "*" else media
    if not _RANGE.fullmatch(media) or (media.startswith("*/") and media != ANY):
        raise ValueError(text)
    message = Message()
    message["Content-Type"] = "; ".join([media, *islice(_split(text, ";"), 1, None)])
    params = {str(k).lower(): str(v) for k, v in message.get_params(failobj=[])[1:]}
    several = media in (MULTIPART, "multipart/*")
    kind = media
    if several:
        kind = params.get("type", ANY).strip('" ').partition(";")[0].strip().lower()
    quality = params.get("q", "1").strip()
    if not _RANGE.fullmatch(kind) or not _QUALITY.fullmatch(quality):
        raise ValueError(text)
    return AcceptedType(
        kind, several, params.get("transfer-syntax", "").strip('" '), float(quality)
    )


def _without(one: AcceptedType, all_of_them: Sequence[AcceptedType]) -> AcceptedType:
    """Take from a wildcard what the client names by itself, with less quality (or with none)."""
    if not one.media.endswith("/*"):
        return one
    named = {
        other.media
        for other in all_of_them
        if other.quality < one.quality
        and other.multipart == one.multipart
        and not other.syntax
        and other.media != one.media
    }
    return replace(one, but=frozenset(named))


def _split(text: str, at: str) -> Iterator[str]:
    """Split at a character that is not in quotes."""
    start, quoted, escaped = 0, False, False
    for place, char in enumerate(text):
        if escaped:
            escaped = False
        elif quoted and char == "\\":
            escaped = True
        elif char == '"':
            quoted = not quoted
        elif char == at and not quoted:
            yield text[start:place]
            start = place + 1
    yield text[start:]


def allows(one: AcceptedType, media: str) -> bool:
    """Whether a media type is one of those that are accepted by this."""
    group = f"{media.partition('/')[0]}/*"
    return one.media in (ANY, group, media) and not {media, group} & one.but


def require_json(request: Request) -> str:
    """Return the JSON media type to answer with; refuse a client that takes none with 406."""
    takes = [one for one in accepted_types(request) if not one.multipart]
    for media in (JSON, PLAIN_JSON):
        if any(allows(one, media) for one in takes):
            return media
    raise not_acceptable([JSON])


def not_acceptable(offered: Sequence[str]) -> HTTPException:
    """Return the error of a client that takes nothing of what there is."""
    return HTTPException(406, f"acceptable here: {', '.join(offered)}")
