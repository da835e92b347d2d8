"""Requests as API handlers see them, and replies."""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from typing import Any

from .error_codes import ErrorCode
from .errors import IrodsError
from .xml_structures import Node, pack


@dataclass
class Request:
    """An API request.

    Attributes
    ----------
    api : int
        The API number.
    node : Node
        The input structure.
    byte_stream : bytes or bytearray
        File content that came with the request.
    raw : bytes
        The input structure in XML, to pass on to another zone.
    """

    api: int
    node: Node
    byte_stream: bytes | bytearray
    raw: bytes

    def json(self) -> dict[str, Any]:
        """Return the JSON object inside a BinBytesBuf_PI."""
        return read_json(self.node)


@dataclass
class Reply:
    """What an API handler answers.

    Attributes
    ----------
    status : int
        An error code if negative; otherwise what the API returns, such as a descriptor.
    body : bytes
        The output structure in XML.
    byte_stream : bytes or bytearray
        File content.
    error : bytes
        The RError_PI in XML.
    """

    status: int = 0
    body: bytes = b""
    byte_stream: bytes | bytearray = b""
    error: bytes = b""


def read_json(node: Node) -> dict[str, Any]:
    """Return the JSON object inside a BinBytesBuf_PI.

    Raises `IrodsError` (SYS_INVALID_INPUT_PARAM) if there is none.
    """
    try:
        found = json.loads(base64.b64decode(node.get("buf")).rstrip(b"\0"))
    except ValueError:
        raise IrodsError(ErrorCode.SYS_INVALID_INPUT_PARAM, "bad JSON") from None
    if not isinstance(found, dict):
        raise IrodsError(ErrorCode.SYS_INVALID_INPUT_PARAM, "JSON is not an object")
    return found


def json_body(value: object) -> bytes:
    """Return JSON in a BinBytesBuf_PI, ended by NUL as the real server does."""
    data = json.dumps(value, separators=(",", ":"), sort_keys=True).encode() + b"\0"
    return pack("BinBytesBuf_PI", buflen=len(data), buf=base64.b64encode(data).decode())


def json_reply(value: object) -> Reply:
    """Return a successful reply with JSON in a BinBytesBuf_PI."""
    return Reply(0, json_body(value))


def string_reply(text: str) -> Reply:
    """Return a successful reply with text in an STR_PI."""
    return Reply(0, pack("STR_PI", myStr=text))


def json_string_reply(value: object) -> Reply:
    """Return a successful reply with JSON in an STR_PI."""
    return string_reply(json.dumps(value, separators=(",", ":")))


def operation_error(
    code: int, message: str, operation: object = None, index: int = 0
) -> IrodsError:
    """Return the error of an API that takes a list of operations in JSON.

    Parameters
    ----------
    code : int
        Error code.
    message : str
        What is wrong.
    operation : object
        The operation that failed; None if the error is about all of them.
    index : int
        Its place in the list.

    Returns
    -------
    IrodsError
        An error with these in JSON as body.
    """
    note = {"operation": operation or {}, "operation_index": index, "error_message": message}
    return IrodsError(code, message, body=json_body(note))
