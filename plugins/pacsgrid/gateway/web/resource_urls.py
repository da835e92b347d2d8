"""How answers name resources: by the service's URL where it is known, else relative.

What a client writes into Host, and a proxy or whoever else into X-Forwarded-Host, is not believed:
it would lead whoever reads the answer to wherever its writer likes. Some clients leave out the port
besides. Relative references (RFC 3986 4.2) are right behind every proxy, whatever its prefix.
"""

from __future__ import annotations

import re
import socket
from functools import cache

from starlette.requests import Request

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_LOOPBACK = {"127.0.0.1", "::1"}
_PORTS = {"http": 80, "https": 443}


def address(request: Request) -> str:
    """Return what stands before ``/studies`` in the address of a resource.

    That is the URL of the settings; without one, the address that the request came to, where it
    names this machine; else a reference relative to the request's own URL.
    """
    public: str = request.app.state.public_url
    if public:
        return public
    if own := _own(request):
        return own
    path: str = request.scope["path"]
    depth = path.removeprefix(request.scope.get("root_path", "")).count("/") - 1
    return "/".join([".."] * depth) or "."


def service(request: Request) -> str:
    """Return the service's URL, or its path, as warnings name it (PS3.18 8.4.2)."""
    return str(request.app.state.public_url or request.scope.get("root_path") or "/")


def _own(request: Request) -> str:
    server = request.scope.get("server")
    told = _HOST.fullmatch(request.headers.get("Host", ""))
    if not server or not told:
        return ""
    here, port = server
    name = told[1].strip("[]").lower()
    names = {here, _machine()} | ({"localhost"} if here in _LOOPBACK else set())
    if name not in names:
        return ""
    # A client that names no port came to this one all the same.
    at = int(told[2] or port or 0)
    scheme = request.url.scheme
    shown = f"[{name}]" if ":" in name else name
    netloc = shown if at == _PORTS.get(scheme) else f"{shown}:{at}"
    return f"{scheme}://{netloc}{request.scope.get('root_path', '')}"


@cache
def _machine() -> str:
    return socket.gethostname().lower()
