"""What a handler is given, what it answers, and which handler serves which API number."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import codes
from .wire import IrodsError, Node, pack

if TYPE_CHECKING:
    from .session import Session


@dataclass
class Request:
    """An API request as a handler sees it."""

    api: int
    node: Node
    bs: bytes | bytearray
    raw: bytes

    def json(self) -> dict[str, Any]:
        """The JSON inside a BinBytesBuf_PI."""
        try:
            found = json.loads(base64.b64decode(self.node.get("buf")).rstrip(b"\0"))
        except ValueError:
            raise IrodsError(codes.SYS_INVALID_INPUT_PARAM, "bad JSON") from None
        if not isinstance(found, dict):
            raise IrodsError(codes.SYS_INVALID_INPUT_PARAM, "JSON is no object")
        return found


@dataclass
class Reply:
    """What a handler answers."""

    status: int = 0
    body: bytes = b""
    bs: bytes | bytearray = b""
    error: bytes = b""


Handler = Callable[["Session", Request], Reply]
HANDLERS: dict[int, Handler] = {}


def api(*numbers: int) -> Callable[[Handler], Handler]:
    """Register a handler for API numbers."""

    def register(handler: Handler) -> Handler:
        for number in numbers:
            HANDLERS[number] = handler
        return handler

    return register


def json_body(value: object) -> bytes:
    """JSON in a BinBytesBuf_PI, ended by a NUL as the server does."""
    data = json.dumps(value, separators=(",", ":"), sort_keys=True).encode() + b"\0"
    return pack("BinBytesBuf_PI", buflen=len(data), buf=base64.b64encode(data).decode())


def json_reply(value: object) -> Reply:
    """An answer in JSON."""
    return Reply(0, json_body(value))


def json_string(value: object, raw: bool = False) -> Reply:
    """JSON in an STR_PI; with raw the string as it is."""
    text = str(value) if raw else json.dumps(value, separators=(",", ":"))
    return Reply(0, pack("STR_PI", myStr=text))
