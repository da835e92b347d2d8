"""Structures of the iRODS protocol in XML: parsing and packing."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import unescape
from xml.etree import ElementTree

from .error_codes import ErrorCode
from .errors import IrodsError


def escape(value: object) -> str:
    """Escape the text of a value for XML."""
    text = str(value)
    if "&" in text:
        text = text.replace("&", "&amp;")
    for raw, entity in (("<", "&lt;"), (">", "&gt;"), ('"', "&quot;"), ("'", "&apos;")):
        if raw in text:
            text = text.replace(raw, entity)
    return text


def pack(name: str, **fields: object) -> bytes:
    """Pack a structure without nested ones.

    Parameters
    ----------
    name : str
        The structure's name, such as ``STR_PI``.
    **fields : object
        Its members in order.

    Returns
    -------
    bytes
        The structure in XML.
    """
    inner = "".join(f"<{k}>{escape(v)}</{k}>\n" for k, v in fields.items())
    return f"<{name}>\n{inner}</{name}>\n".encode()


def error_stack(error: IrodsError) -> bytes:
    """Return the RError_PI of a reply, or nothing if the message is not for the client."""
    if not error.to_client:
        return b""
    inner = pack("RErrMsg_PI", status=int(error.code), msg=error.message).decode()
    return f"<RError_PI>\n<count>1</count>\n{inner}</RError_PI>\n".encode()


@dataclass
class Node:
    """One element of a structure: its text or its children, repeated ones in order."""

    tag: str
    text: str = ""
    children: list[Node] = field(default_factory=list)

    def get(self, tag: str, default: str = "") -> str:
        """Return the text of the first child with a tag.

        Parameters
        ----------
        tag : str
            The tag.
        default : str
            What to return if there is no such child.

        Returns
        -------
        str
            The text.
        """
        for child in self.children:
            if child.tag == tag:
                return child.text
        return default

    def number(self, tag: str, default: int = 0) -> int:
        """Return the integer in the first child with a tag.

        Parameters
        ----------
        tag : str
            The tag.
        default : int
            What to return if there is no such child, or no text in it.

        Returns
        -------
        int
            The number.

        Raises
        ------
        IrodsError
            SYS_INVALID_INPUT_PARAM: the text is not a number.
        """
        text = self.get(tag).strip()
        try:
            return int(text) if text else default
        except ValueError:
            raise IrodsError(ErrorCode.SYS_INVALID_INPUT_PARAM, f"{tag} is not a number") from None

    def child(self, tag: str) -> Node:
        """Return the first child with this tag, or an empty one."""
        for child in self.children:
            if child.tag == tag:
                return child
        return Node(tag)

    def all(self, tag: str) -> list[str]:
        """Return the texts of all children with this tag."""
        return [c.text for c in self.children if c.tag == tag]

    def keywords(self) -> dict[str, str]:
        """Return the structure's KeyValPair_PI."""
        pairs = self.child("KeyValPair_PI")
        return dict(zip(pairs.all("keyWord"), pairs.all("svalue"), strict=False))

    def xml(self) -> bytes:
        """Return the element in XML."""
        inside = b"".join(child.xml() for child in self.children) or escape(self.text).encode(
            "utf-8", "surrogateescape"
        )
        return b"<%b>%b</%b>" % (self.tag.encode(), inside, self.tag.encode())


def key_value_pairs(keywords: dict[str, str]) -> Node:
    """Return the KeyValPair_PI of these keywords."""
    names = [Node("keyWord", k) for k in keywords]
    values = [Node("svalue", v) for v in keywords.values()]
    return Node("KeyValPair_PI", "", [Node("ssLen", str(len(keywords))), *names, *values])


def data_object_input(
    path: str, keywords: dict[str, str], flags: int = 0, size: int = -1, mode: int = 0o600
) -> Node:
    """Return the DataObjInp_PI of a request about a data object.

    Parameters
    ----------
    path : str
        Logical path.
    keywords : dict of str
        Options of the request.
    flags : int
        Flags of open(2).
    size : int
        Bytes that follow; -1 if unknown.
    mode : int
        Permission bits.

    Returns
    -------
    Node
        The structure.
    """
    fields = {
        "objPath": path, "createMode": mode, "openFlags": flags, "offset": 0, "dataSize": size,
        "numThreads": 0, "oprType": 0,
    }  # fmt: skip
    plain = [Node(k, str(v)) for k, v in fields.items()]
    return Node("DataObjInp_PI", "", [*plain, key_value_pairs(keywords)])


def parse(body: bytes) -> Node:
    """Parse a structure; accept characters in names that XML forbids, as iRODS does."""
    try:
        return _from_element(ElementTree.fromstring(body))
    except ElementTree.ParseError:
        return _parse_leniently(body.decode("utf-8", "surrogateescape"))


def _from_element(element: ElementTree.Element) -> Node:
    return Node(element.tag, element.text or "", [_from_element(e) for e in element])


_TAG = re.compile(r"<(/?)([A-Za-z_][\w.]*)>")


def _parse_leniently(text: str) -> Node:
    root = Node("")
    stack = [root]
    at = 0
    for found in _TAG.finditer(text):
        if found[1]:
            if len(stack) < 2 or stack[-1].tag != found[2]:
                raise IrodsError(ErrorCode.SYS_PACK_INSTRUCT_FORMAT_ERR, "unbalanced message")
            node = stack.pop()
            if not node.children:
                node.text = unescape(text[at : found.start()])
        else:
            node = Node(found[2])
            stack[-1].children.append(node)
            stack.append(node)
        at = found.end()
    if not root.children:
        raise IrodsError(ErrorCode.SYS_PACK_INSTRUCT_FORMAT_ERR, "empty message")
    return root.children[0]
