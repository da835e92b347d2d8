"""One range of bytes of an answer that is not in parts (RFC 9110 14)."""

from __future__ import annotations

import re

from starlette.exceptions import HTTPException
from starlette.requests import Request

_ONE = re.compile(r"bytes\s*=\s*(?:([0-9]{1,18})\s*-\s*([0-9]{1,18})?|-\s*([0-9]{1,18}))", re.ASCII)


def is_ranged(request: Request) -> bool:
    """Whether a request asks for one range of bytes."""
    return bool(_ONE.fullmatch(request.headers.get("Range", "").strip()))


def ranged(request: Request, size: int) -> tuple[int, int, int, dict[str, str]]:
    """Return start and end of what is to be given, the status and the header fields for it.

    What is no range of bytes, or several, is ignored, as RFC 9110 14.2 has it; so is one under a
    condition, since values have no validator that a condition could name.

    Raises
    ------
    HTTPException
        416 for a range that starts behind the end.
    """
    told = _ONE.fullmatch(request.headers.get("Range", "").strip())
    all_of_it = 0, size, 200, {"Accept-Ranges": "bytes", "Content-Length": str(size)}
    if not told or "If-Range" in request.headers or request.method != "GET":
        return all_of_it
    if told[3]:
        start, end = max(0, size - int(told[3])), size
        satisfiable = int(told[3]) > 0 and size > 0
    else:
        start, end = int(told[1]), min(size, int(told[2]) + 1 if told[2] else size)
        if told[2] and int(told[2]) < int(told[1]):
            return all_of_it
        satisfiable = start < size
    if not satisfiable:
        headers = {"Accept-Ranges": "bytes", "Content-Range": f"bytes */{size}"}
        raise HTTPException(416, "the range is behind the end", headers)
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Length": str(end - start),
        "Content-Range": f"bytes {start}-{end - 1}/{size}",
    }
    return start, end, 206, headers
