"""URLs of resources in answers: absolute if the service's URL is known, otherwise relative.

The header fields Host and X-Forwarded-Host can be forged, so that the URLs in an answer would lead
its reader to another server; and some clients leave out the port. Host is therefore used only if it
names this machine. Relative references (RFC 3986 4.2) are correct behind any proxy.
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
    """Return the URL of the service's root, which precedes ``/studies`` in URLs of resources.

    It is the `public_url` of the settings. Without one, it is the URL of the request, if that
    names this machine, and otherwise a reference relative to the request's URL.
    """
    public: str = request.app.state.public_url
    if public:
        return public
    if direct := _direct_url(request):
        return direct
    path: str = request.scope["path"]
    depth = path.removeprefix(request.scope.get("root_path", "")).count("/") - 1
    return "/".join([".."] * depth) or "."


def service(request: Request) -> str:
    """Return the service's URL or, without one, its path, for warnings (PS3.18 8.4.2)."""
    return str(request.app.state.public_url or request.scope.get("root_path") or "/")


def _direct_url(request: Request) -> str:
    """Return the service's URL from the Host field if it names this machine; otherwise empty."""
    server = request.scope.get("server")
    match = _HOST.fullmatch(request.headers.get("Host", ""))
    if not server or not match:
        return ""
    own_address, own_port = server
    name = match[1].strip("[]").lower()
    names = {own_address, _machine()} | ({"localhost"} if own_address in _LOOPBACK else set())
    if name not in names:
        return ""
    # Some clients omit the port in Host even if it is not the default.
    port = int(match[2] or own_port or 0)
    scheme = request.url.scheme
    host = f"[{name}]" if ":" in name else name
    netloc = host if port == _PORTS.get(scheme) else f"{host}:{port}"
    return f"{scheme}://{netloc}{request.scope.get('root_path', '')}"


@cache
def _machine() -> str:
    return socket.gethostname().lower()
