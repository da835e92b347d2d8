"""Requests for one range of bytes (RFC 9110 14)."""

from __future__ import annotations

import re

from starlette.exceptions import HTTPException
from starlette.requests import Request

_SINGLE_RANGE = re.compile(
    r"bytes\s*=\s*(?:([0-9]{1,18})\s*-\s*([0-9]{1,18})?|-\s*([0-9]{1,18}))", re.ASCII
)


def is_ranged(request: Request) -> bool:
    """Whether a request asks for exactly one range of bytes."""
    return bool(_SINGLE_RANGE.fullmatch(request.headers.get("Range", "").strip()))


def select_range(request: Request, size: int) -> tuple[int, int, int, dict[str, str]]:
    """Return which bytes to answer with, and how.

    An invalid range, or several, are ignored (RFC 9110 14.2). So is a range with If-Range, since
    the answers have no validator that it could name.

    Parameters
    ----------
    request
        The request.
    size
        Length of the whole value in bytes.

    Returns
    -------
    start, end : int
        Offset of the first byte to send, and the offset after the last one.
    status : int
        206 for a part, 200 for the whole value.
    headers : dict
        The header fields for it.

    Raises
    ------
    HTTPException
        416 if the range starts after the end of the value.
    """
    match = _SINGLE_RANGE.fullmatch(request.headers.get("Range", "").strip())
    whole = 0, size, 200, {"Accept-Ranges": "bytes", "Content-Length": str(size)}
    if not match or "If-Range" in request.headers or request.method != "GET":
        return whole
    if match[3]:
        start, end = max(0, size - int(match[3])), size
        satisfiable = int(match[3]) > 0 and size > 0
    else:
        start, end = int(match[1]), min(size, int(match[2]) + 1 if match[2] else size)
        if match[2] and int(match[2]) < int(match[1]):
            return whole
        satisfiable = start < size
    if not satisfiable:
        headers = {"Accept-Ranges": "bytes", "Content-Range": f"bytes */{size}"}
        raise HTTPException(
            416, f"the range starts after the end of the value, which has {size} bytes", headers
        )
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Length": str(end - start),
        "Content-Range": f"bytes {start}-{end - 1}/{size}",
    }
    return start, end, 206, headers
