"""What a client accepts (RFC 9110 12.5.1, PS3.18 8.7.5): media types with their parameters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from email.message import Message

from starlette.exceptions import HTTPException
from starlette.requests import Request

JSON, DICOM, OCTETS, MULTIPART = (
    "application/dicom+json",
    "application/dicom",
    "application/octet-stream",
    "multipart/related",
)
AS_STORED = "*"


@dataclass(frozen=True)
class Accepted:
    """One media type that a client takes.

    Attributes
    ----------
    media
        The type of one part where `multipart` says that there may be several.
    syntax
        A Transfer Syntax UID, ``*`` for any, empty where none is named.
    """

    media: str
    multipart: bool
    syntax: str
    quality: float


def accepted(request: Request) -> list[Accepted]:
    """Return what is accepted, the best first; the query parameter goes before the header.

    Raises
    ------
    HTTPException
        400 for what is no list of media types.
    """
    named = request.query_params.getlist("accept")
    text = ",".join(named or request.headers.getlist("accept")) or "*/*"
    try:
        found = [_one(part) for part in _split(text, ",") if part.strip()]
    except ValueError:
        raise HTTPException(400, "Accept is not a list of media types") from None
    found = [one for one in found if one.quality > 0]
    return sorted(found, key=lambda one: -one.quality)


def _one(text: str) -> Accepted:
    message = Message()
    message["Content-Type"] = text.strip()
    media = message.get_content_type() if "/" in text else ""
    if not media:
        raise ValueError(text)
    several = media == MULTIPART
    if text.strip().startswith("*/*"):
        media = "*/*"
    params = {str(k).lower(): str(v) for k, v in message.get_params(failobj=[])[1:]}
    kind = params.get("type", "*/*") if several else media
    return Accepted(
        kind.strip('" ').lower(),
        several,
        params.get("transfer-syntax", "").strip('" '),
        float(params.get("q", "1")),
    )


def _split(text: str, at: str) -> Iterator[str]:
    """Split at a character that is not in quotes."""
    part, quoted = "", False
    for char in text:
        quoted = quoted != (char == '"')
        if char == at and not quoted:
            yield part
            part = ""
        else:
            part += char
    yield part


def fits(one: Accepted, media: str) -> bool:
    """Whether a media type is one of those that are accepted by this."""
    major = media.partition("/")[0]
    return one.media in ("*/*", f"{major}/*", media)


def insist_json(request: Request) -> None:
    """Refuse a client that takes no JSON with 406."""
    takes = accepted(request)
    if not any(
        not one.multipart and (fits(one, JSON) or fits(one, "application/json")) for one in takes
    ):
        raise not_acceptable([JSON])


def not_acceptable(offered: Sequence[str]) -> HTTPException:
    """Return the error of a client that takes nothing of what there is."""
    return HTTPException(406, f"acceptable here: {', '.join(offered)}")
