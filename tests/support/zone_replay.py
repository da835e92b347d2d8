"""Replays the client's side of a recorded conversation and compares what the server answers.

Values that differ by nature are matched, not ignored: an id of the recording stands for the same
live id through the whole conversation, and so does a checksum (the recorded contents are unknown).
"""

from __future__ import annotations

import base64
import functools
import gzip
import hashlib
import json
import re
import socket
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from irods.password_obfuscation import obfuscate_new_password

from irods_zone.api_numbers import Api
from irods_zone.authentication import response_digest
from irods_zone.error_codes import ErrorCode
from irods_zone.framing import Message, receive, send
from irods_zone.native_packing import to_xml
from irods_zone.xml_structures import Node, escape, parse

FILES = Path(__file__).parents[1] / "irods_zone" / "transcripts"
REPLIES = {
    Api.AUTHENTICATION_APN: "BinBytesBuf_PI",
    Api.DATA_OBJ_CHKSUM_AN: "STR_PI",
    Api.DATA_OBJ_COPY_AN: "TransferStat_PI",
    Api.DATA_OBJ_GET_AN: "PortalOprOut_PI",
    Api.DATA_OBJ_PUT_AN: "STR_PI",
    Api.DATA_OBJ_REPL_AN: "TransferStat_PI",
    Api.GENQUERY2_AN: "STR_PI",
    Api.GEN_QUERY_AN: "GenQueryOut_PI",
    Api.OBJ_STAT_AN: "RodsObjStat_PI",
    Api.RM_COLL_AN: "CollOprStat_PI",
    Api.SPECIFIC_QUERY_AN: "GenQueryOut_PI",
}
ID_COLUMNS = {"201", "301", "317", "401", "402", "423", "500", "603", "613", "703", "704", "900",
              "2200"}  # fmt: skip
STAT_MESSAGE = 99999996


@functools.cache
def content(size: int) -> bytes:
    """Return what stands for a recorded byte stream of this size."""
    return bytes(i % 251 for i in range(size))


def checksum(data: bytes) -> str:
    """Return the checksum as iRODS writes it."""
    return "sha2:" + base64.b64encode(hashlib.sha256(data).digest()).decode()


def load(name: str) -> list[dict[str, Any]]:
    """Return the messages of a recording."""
    with gzip.open(FILES / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def body_of(message: dict[str, Any]) -> bytes:
    """The recorded body; bytes that are no text were written as escapes."""
    raw = (message.get("body") or "").encode()
    return re.sub(rb"\\x([0-9a-f]{2})", lambda m: bytes([int(m[1], 16)]), raw)


def rows_of(node: Node) -> list[list[tuple[str, str]]]:
    """Rows of a GenQueryOut_PI as lists of (column, value)."""
    columns = [(c.get("attriInx"), c.all("value")) for c in node.children
               if c.tag == "SqlResult_PI" and c.all("value")]  # fmt: skip
    count = node.number("rowCnt")
    return [[(inx, values[i]) for inx, values in columns] for i in range(count)]


class Replay:
    """One recording against one live server."""

    def __init__(self, port: int, passwords: dict[str, str]) -> None:
        self.port = port
        self.passwords = passwords
        self.socks: dict[int, socket.socket] = {}
        self.native: dict[int, bool] = {}
        self.users: dict[int, str] = {}
        self.challenges: dict[int, bytes] = {}
        self.live: dict[str, str] = {}  # recorded id or checksum -> live one
        self.apis: dict[int, int] = {}
        self.compared = 0

    def run(self, messages: list[dict[str, Any]]) -> Iterator[str]:
        """Send every client message, yield every difference in a reply."""
        for i, message in enumerate(messages):
            if message["from"] == "client":
                after = messages[i + 1] if i + 1 < len(messages) else {}
                self._send(
                    message, refused=after.get("int_info") == ErrorCode.CAT_INVALID_AUTHENTICATION
                )
            else:
                found = receive(self.socks[message["conn"]])
                self.compared += 1
                for difference in self._compare(message, found):
                    yield f"message {i}, API {self.apis.get(message['conn'])}: {difference}"
        for sock in self.socks.values():
            sock.close()

    def _send(self, message: dict[str, Any], refused: bool) -> None:
        conn, body = message["conn"], body_of(message)
        if message["type"] == "RODS_CONNECT":
            self.socks[conn] = socket.create_connection(("127.0.0.1", self.port), timeout=20)
            node = parse(body)
            self.users[conn] = node.get("proxyUser")
            self.native[conn] = node.get("irodsProt") == "0"
        number = self.apis[conn] = message["int_info"]
        if number == Api.AUTHENTICATION_APN:
            body = self._authentication(conn, body, refused)
        elif message["type"] == "RODS_API_REQ":
            if message.get("bs") == "...":
                for recorded in re.findall(rb"sha2:[\w+/]{43}=", body):
                    self.live[recorded.decode()] = checksum(content(message["bs_len"]))
            body = self._translated(body)
            if number == Api.GENERAL_ADMIN_AN and b"password" in body:
                body = self._new_password(conn, body)
        size = message.get("bs_len") or 0
        stream = content(size) if message.get("bs") == "..." else (message.get("bs") or "").encode()
        send(self.socks[conn], Message(message["type"], number, body, b"", stream))

    def _authentication(self, conn: int, body: bytes, refused: bool) -> bytes:
        data = self._json(conn, body)
        if "digest" in data:
            password = "wrong" if refused else self.passwords[self.users[conn]]
            data["request_result"] = self.challenges[conn].decode()
            digest = response_digest(self.challenges[conn], password)
            data["digest"] = base64.b64encode(digest).decode()
        text = json.dumps(data).encode()
        if self.native[conn]:
            return struct.pack(">i", len(text)) + text
        return (
            f"<BinBytesBuf_PI><buflen>{len(text)}</buflen>"
            f"<buf>{base64.b64encode(text).decode()}</buf></BinBytesBuf_PI>"
        ).encode()

    def _json(self, conn: int, body: bytes) -> dict[str, Any]:
        body = body[4:] if self.native[conn] else base64.b64decode(parse(body).get("buf"))
        found: dict[str, Any] = json.loads(body.rstrip(b"\0"))
        return found

    def _translated(self, body: bytes) -> bytes:
        text = body.decode("latin1")
        text = re.sub(r"'(\d{5,})'", lambda m: f"'{self.live.get(m[1], m[1])}'", text)
        for recorded, live in self.live.items():
            if recorded.startswith("sha2:"):
                text = text.replace(recorded, live)
        return text.encode("latin1")

    def _new_password(self, conn: int, body: bytes) -> bytes:
        signature = "".join(f"{c:02x}" for c in self.challenges[conn][:16])
        current = self.passwords[self.users[conn]]
        while True:
            secret = str(obfuscate_new_password("new-secret", current, signature))
            if not set(secret) & set("<>&\0"):
                break
        if self.native[conn]:
            parts = body.split(b"\0")
            parts[4] = secret.encode()
            return b"\0".join(parts)
        return re.sub(
            rb"<arg4>.*?</arg4>",
            lambda _: f"<arg4>{escape(secret)}</arg4>".encode(),
            body,
            flags=re.S,
        )

    def _compare(self, wanted: dict[str, Any], found: Message) -> Iterator[str]:
        conn, number = wanted["conn"], self.apis[wanted["conn"]]
        if (found.type, found.int_info) != (wanted["type"], wanted["int_info"]):
            yield (
                f"answered {found.type} {found.int_info}, not {wanted['type']} {wanted['int_info']}"
            )
            return
        if len(found.byte_stream) != (wanted.get("bs_len") or 0):
            yield f"{len(found.byte_stream)} bytes, not {wanted.get('bs_len')}"
        elif (
            wanted.get("bs") not in (None, "", "...") and found.byte_stream != wanted["bs"].encode()
        ):
            yield f"bytes {bytes(found.byte_stream)!r}, not {wanted['bs']!r}"
        recorded = body_of(wanted)
        if bool(found.body) != bool(recorded):
            yield f"body {found.body[:200]!r}, not {recorded[:200]!r}"
            return
        if not recorded:
            return
        if number == Api.AUTHENTICATION_APN:
            yield from self._compare_authentication(conn, recorded, found.body)
            return
        api_reply = wanted["type"] == "RODS_API_REPLY"
        if self.native[conn] and api_reply:
            recorded, live = to_xml(REPLIES[number], recorded), to_xml(REPLIES[number], found.body)
        else:
            live = found.body
        a, b = parse(recorded), parse(live)
        if a.tag != b.tag:
            yield f"{b.tag}, not {a.tag}"
        elif a.tag == "GenQueryOut_PI":
            yield from self._compare_rows(a, b)
        else:
            yield from self._compare_tree(a, b, a.tag)

    def _compare_authentication(self, conn: int, recorded: bytes, live: bytes) -> Iterator[str]:
        a, b = self._json(conn, recorded), self._json(conn, live)
        if b.get("next_operation") == "auth_agent_auth_request":
            self.challenges[conn] = str(b["request_result"]).encode()
        for key in ("request_result", "digest"):
            if (key in a) != (key in b) or len(a.get(key, "")) != len(b.get(key, "")):
                yield f"{key} {b.get(key)!r}, not like {a.get(key)!r}"
            a.pop(key, None), b.pop(key, None)
        if a != b:
            yield f"{b}, not {a}"

    def _compare_tree(self, a: Node, b: Node, where: str) -> Iterator[str]:
        if [c.tag for c in a.children] != [c.tag for c in b.children]:
            yield f"{where}: {[c.tag for c in b.children]}, not {[c.tag for c in a.children]}"
            return
        if not a.children and a.tag != "lastObjPath":  # which of many was last is chance
            if a.tag == "myStr" and a.text.startswith("[["):
                same = sorted(json.loads(a.text)) == sorted(json.loads(b.text))
            else:
                same = self._same(a.text, b.text, a.tag == "dataId")
            if not same:
                yield f"{where}: {b.text!r}, not {a.text!r}"
        for c, d in zip(a.children, b.children, strict=True):
            yield from self._compare_tree(c, d, f"{where}.{c.tag}")

    def _same(self, recorded: str, live: str, is_id: bool) -> bool:
        if (is_id and recorded) or recorded.startswith("sha2:"):
            return self.live.setdefault(recorded, live) == live
        return _natural(recorded) == _natural(live)

    def _compare_rows(self, a: Node, b: Node) -> Iterator[str]:
        for tag in ("rowCnt", "attriCnt", "continueInx", "totalRowCount"):
            wanted, got = a.number(tag), b.number(tag)
            if tag == "rowCnt" or (tag == "totalRowCount" and wanted):
                # Rows that are alike but for their times: whether a second passed is chance.
                wanted -= _twins(rows_of(a))
                got -= _twins(rows_of(b))
            if got != wanted:
                yield f"{tag} {got}, not {wanted}"
        layout = [
            [(c.get("attriInx"), c.get("reslen")) for c in n.children if c.tag == "SqlResult_PI"]
            for n in (a, b)
        ]
        # The vault's layout is the server's own, and so is how long its paths are.
        layout = [[(i, "" if i == "410" else size) for i, size in x] for x in layout]
        if layout[0] != layout[1]:
            first = next((p for p in zip(*layout, strict=False) if p[0] != p[1]), layout)
            yield f"columns {first[1]}, not {first[0]}"
        recorded = sorted(_once(rows_of(a)), key=self._key)
        live = sorted(_once(rows_of(b)), key=_plain)
        shown = [[_plain(r)[0] for r in rows] for rows in (recorded, live)]
        if shown[0] != shown[1]:
            yield f"rows {_only(shown[1], shown[0])}, not {_only(shown[0], shown[1])}"
            return
        for old, new in zip(recorded, live, strict=True):
            for (inx, x), (_, y) in zip(old, new, strict=True):
                if inx == "410" or (inx == "423" and "ufs" in str(new)):
                    continue
                if not self._same(x, y, inx in ID_COLUMNS):
                    yield f"column {inx}: {y!r}, not {x!r} (there {self.live.get(x)!r})"

    def _key(self, row: list[tuple[str, str]]) -> Any:
        return _plain([(i, self.live.get(v, v)) for i, v in row])


def _once(rows: Iterable[list[tuple[str, str]]]) -> list[list[tuple[str, str]]]:
    return list({tuple((i, _natural(v)) for i, v in row): row for row in rows}.values())


def _only(here: list[Any], there: list[Any]) -> list[Any]:
    return [row for row in here if row not in there]


def _twins(rows: list[list[tuple[str, str]]]) -> int:
    return len(rows) - len(_once(rows))


def _natural(value: str) -> str:
    """A value without what differs by nature: times, and the random order of siblings."""
    value = re.sub(r"^0\d{10}$", lambda m: m[0] if set(m[0]) == {"0"} else "time", value)
    value = re.sub(r"\bufs[01]\b", "ufs", value)
    return "sum" if value.startswith("sha2:") else value


def _plain(row: list[tuple[str, str]]) -> Any:
    shown = [
        (i, "" if (i in ID_COLUMNS and v) or i == "410" else _natural(v) if v else "none")
        for i, v in row
    ]
    return shown, [v for i, v in row if i in ID_COLUMNS]
