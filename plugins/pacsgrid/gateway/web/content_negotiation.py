"""The media types that a client accepts (RFC 9110 12.5.1, PS3.18 8.7.5)."""

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
_MOST = 64  # media types of a request that are read; the others are ignored
_QUALITY = re.compile(r"0(\.\d*)?|1(\.0*)?|\.\d+", re.ASCII)
_RANGE = re.compile(r"(\*/\*|[!#$%&'*+.^_`|~\w-]+/(\*|[!#$%&'*+.^_`|~\w-]+))", re.ASCII)


@dataclass(frozen=True)
class AcceptedType:
    """One media type that a client accepts.

    Attributes
    ----------
    media
        The media type; that of one part if `multipart` is set.
    multipart
        Whether the client accepts ``multipart/related`` with parts of that type.
    syntax
        A Transfer Syntax UID; ``*`` for any, empty if none is named.
    quality
        The weight that the client gives it, from 0 to 1.
    excluded
        Types that a wildcard does not include, because the client names them with less weight.
    """

    media: str
    multipart: bool
    syntax: str
    quality: float
    excluded: frozenset[str] = frozenset()


def accepted_types(request: Request) -> list[AcceptedType]:
    """Return the accepted media types, by descending quality.

    The query parameter ``accept`` takes precedence over the header field (PS3.18 8.7.5).

    Raises
    ------
    HTTPException
        400 if no valid media type is named.
    """
    named = request.query_params.getlist("accept")
    text = ",".join(named or request.headers.getlist("accept")).strip(", ") or ANY
    found = []
    for part in islice(_split(text, ","), _MOST):
        with suppress(ValueError):  # the valid ones still count
            found.append(_accepted_type(part))
    if not found:
        raise HTTPException(400, "the accept parameter or header field names no valid media type")
    taken = [_narrowed(accepted, found) for accepted in found if accepted.quality > 0]
    return sorted(taken, key=lambda accepted: -accepted.quality)


def _accepted_type(text: str) -> AcceptedType:
    media = next(_split(text, ";")).strip().lower()
    # The HTTP client of Java's standard library sends a single asterisk.
    media = ANY if media == "*" else media
    if not _RANGE.fullmatch(media) or (media.startswith("*/") and media != ANY):
        raise ValueError(text)
    message = Message()
    message["Content-Type"] = "; ".join([media, *islice(_split(text, ";"), 1, None)])
    params = {str(k).lower(): str(v) for k, v in message.get_params(failobj=[])[1:]}
    multipart = media in (MULTIPART, "multipart/*")
    kind = media
    if multipart:
        kind = params.get("type", ANY).strip('" ').partition(";")[0].strip().lower()
    quality = params.get("q", "1").strip()
    if not _RANGE.fullmatch(kind) or not _QUALITY.fullmatch(quality):
        raise ValueError(text)
    return AcceptedType(
        kind, multipart, params.get("transfer-syntax", "").strip('" '), float(quality)
    )


def _narrowed(accepted: AcceptedType, listed: Sequence[AcceptedType]) -> AcceptedType:
    """Exclude from a wildcard the types that the client lists with less quality, or with none."""
    if not accepted.media.endswith("/*"):
        return accepted
    excluded = {
        other.media
        for other in listed
        if other.quality < accepted.quality
        and other.multipart == accepted.multipart
        and not other.syntax
        and other.media != accepted.media
    }
    return replace(accepted, excluded=frozenset(excluded))


def _split(text: str, separator: str) -> Iterator[str]:
    """Split a text at a separator, except inside quoted strings."""
    start, quoted, escaped = 0, False, False
    for place, char in enumerate(text):
        if escaped:
            escaped = False
        elif quoted and char == "\\":
            escaped = True
        elif char == '"':
            quoted = not quoted
        elif char == separator and not quoted:
            yield text[start:place]
            start = place + 1
    yield text[start:]


def allows(accepted: AcceptedType, media: str) -> bool:
    """Whether an accepted type, which may be a wildcard, includes a media type.

    Parameters
    ----------
    accepted
        The accepted type.
    media
        A media type without parameters.

    Returns
    -------
    bool
        True if it is included.
    """
    group = f"{media.partition('/')[0]}/*"
    return accepted.media in (ANY, group, media) and not {media, group} & accepted.excluded


def require_json(request: Request) -> str:
    """Return the JSON media type to answer with.

    Raises
    ------
    HTTPException
        406 if the client accepts neither of them, 400 if it names no valid media type.
    """
    types = [accepted for accepted in accepted_types(request) if not accepted.multipart]
    for media in (JSON, PLAIN_JSON):
        if any(allows(accepted, media) for accepted in types):
            return media
    raise not_acceptable([JSON])


def not_acceptable(offered: Sequence[str]) -> HTTPException:
    """Return the error 406 for a client that accepts none of the media types offered."""
    return HTTPException(406, f"this resource is available as: {', '.join(offered)}")
