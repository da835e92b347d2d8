"""The native protocol of iCommands: packed binary instead of XML, the same structures.

A client that says ``irodsProt`` 0 in its startup pack sends and expects structures packed by
instruction: numbers big-endian, strings ended by NUL, absent pointers as a marker string. The
server speaks XML inside, so requests are turned to XML on the way in and replies on the way out.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from dataclasses import dataclass

from . import codes
from .wire import IrodsError, Node, esc, parse

NULL = b"%@#ANULLSTR$%"
_UNPACK_ERROR = codes.SYS_PACK_INSTRUCT_FORMAT_ERR
_ARGS = "".join(f"str *arg{i}; " for i in range(10))
_SQL_COLUMNS = 50

# Our wording of the structures' members, in the order in which they are packed. "str *" is a
# string that may be absent, "(n)" an array as long as the member n says, "[n]" likewise of strings.
_LAYOUT = {
    "KeyValPair_PI": "int ssLen; str *keyWord[ssLen]; str *svalue[ssLen]",
    "InxIvalPair_PI": "int iiLen; int *inx(iiLen); int *ivalue(iiLen)",
    "InxValPair_PI": "int isLen; int *inx(isLen); str *svalue[isLen]",
    "SpecColl_PI": "int collClass; int type; str collection; str objPath; str resource;"
    " str rescHier; str phyPath; str cacheDir; int cacheDirty; int replNum",
    "DataObjInp_PI": "str objPath; int createMode; int openFlags; double offset; double dataSize;"
    " int numThreads; int oprType; struct *SpecColl_PI; struct KeyValPair_PI",
    "DataObjCopyInp_PI": "struct DataObjInp_PI; struct DataObjInp_PI",
    "OpenedDataObjInp_PI": "int l1descInx; int len; int whence; int oprType; double offset;"
    " double bytesWritten; struct KeyValPair_PI",
    "CollInpNew_PI": "str collName; int flags; int oprType; struct KeyValPair_PI",
    "CollOprStat_PI": "int filesCnt; int totalFileCnt; double bytesWritten; str lastObjPath",
    "GenQueryInp_PI": "int maxRows; int continueInx; int partialStartIndex; int options;"
    " struct KeyValPair_PI; struct InxIvalPair_PI; struct InxValPair_PI",
    "SqlResult_PI": "int attriInx; int reslen; str *value(rowCnt)",
    "GenQueryOut_PI": "int rowCnt; int attriCnt; int continueInx; int totalRowCount;"
    " struct SqlResult_PI[50]",
    "DataObjInfo_PI": "str objPath; str rescName; str rescHier; str dataType; double dataSize;"
    " str chksum; str version; str filePath; str dataOwnerName; str dataOwnerZone; int replNum;"
    " int replStatus; str statusString; double dataId; double collId; int dataMapId; int flags;"
    " str dataComments; str dataMode; str dataExpiry; str dataCreate; str dataModify;"
    " str dataAccess; int dataAccessInx; int writeFlag; str destRescName; str backupRescName;"
    " str subPath; int *specColl; int regUid; int otherFlags; struct KeyValPair_PI; str in_pdmo;"
    " int *next; double rescId; str dataAccessTime",
    "ModDataObjMeta_PI": "struct *DataObjInfo_PI; struct *KeyValPair_PI",
    "BulkOprInp_PI": "str objPath; struct GenQueryOut_PI; struct KeyValPair_PI",
    "specificQueryInp_PI": "str *sql; "
    + "".join(f"str *arg{i}; " for i in range(1, 11))
    + "int maxRows; int continueInx; int rowOffset; int options; struct KeyValPair_PI",
    "Genquery2Input_PI": "str *query_string; str *zone; int sql_only; int column_mappings",
    "generalAdminInp_PI": _ARGS.rstrip("; "),
    "userAdminInp_PI": _ARGS.rstrip("; "),
    "ModAVUMetadataInp_PI": _ARGS + "struct KeyValPair_PI",
    "modAccessControlInp_PI": "int recursiveFlag; str *accessLevel; str *userName; str *zone;"
    " str *path",
    "ticketAdminInp_PI": "".join(f"str *arg{i}; " for i in range(1, 7)) + "struct KeyValPair_PI",
    "getTempPasswordForOtherInp_PI": "str *targetUser; str *unused",
    "getTempPasswordOut_PI": "str stringToHashWith",
    "getTempPasswordForOtherOut_PI": "str stringToHashWith",
    "authRequestOut_PI": "bin *challenge(64)",
    "authResponseInp_PI": "bin *response(16); str *username",
    "BinBytesBuf_PI": "int buflen; bin *buf(buflen)",
    "BytesBuf_PI": "int buflen; bin *buf(buflen)",
    "RErrMsg_PI": "int status; str msg",
    "RError_PI": "int count; struct *RErrMsg_PI[count]",
    "STR_PI": "str myStr",
    "INT_PI": "int myInt",
    "fileLseekOut_PI": "double offset",
    "TransferStat_PI": "int numThreads; int flags; double bytesWritten",
    "PortList_PI": "int portNum; int cookie; int sock; int windowSize; str hostAddr",
    "PortalOprOut_PI": "int status; int l1descInx; int numThreads; str chksum; struct PortList_PI",
    "RodsObjStat_PI": "double objSize; int objType; int dataMode; str dataId; str chksum;"
    " str ownerName; str ownerZone; str createTime; str modifyTime; struct *SpecColl_PI",
    "StructFileExtAndRegInp_PI": "str objPath; str collection; int oprType; int flags;"
    " struct KeyValPair_PI",
    "MiscSvrInfo_PI": "int serverType; int serverBootTime; str relVersion; str apiVersion;"
    " str rodsZone; struct BinBytesBuf_PI",
}

_DATA, _OPENED, _COLL = "DataObjInp_PI", "OpenedDataObjInp_PI", "CollInpNew_PI"
REQUESTS = {
    **dict.fromkeys((601, 602, 606, 608, 615, 628, 629, 630, 631, 632, 633, 652, 695, 697, 802,
                     10220, 20003), _DATA),
    **dict.fromkeys((673, 674, 675, 676), _OPENED),
    **dict.fromkeys((679, 680, 681), _COLL),
    **dict.fromkeys((627, 696), "DataObjCopyInp_PI"),
    **dict.fromkeys((622, 20001), "ModDataObjMeta_PI"),
    618: "BulkOprInp_PI", 626: "INT_PI", 689: "BulkOprInp_PI",
    701: "generalAdminInp_PI", 702: "GenQueryInp_PI",
    704: "authResponseInp_PI", 706: "ModAVUMetadataInp_PI", 707: "modAccessControlInp_PI",
    714: "userAdminInp_PI", 722: "specificQueryInp_PI", 723: "ticketAdminInp_PI",
    665: "StructFileExtAndRegInp_PI", 724: "getTempPasswordForOtherInp_PI",
    10221: "Genquery2Input_PI",
    **dict.fromkeys((20000, 20002, 20004, 20005, 20007, 20008, 110000), "BinBytesBuf_PI"),
}  # fmt: skip


@dataclass(frozen=True)
class Member:
    """One member of a structure."""

    kind: str
    name: str
    pointer: bool
    size: str


_MEMBER = re.compile(r"(int|double|str|bin|struct)\s+(\*?)(\w+)(?:[(\[](\w+)[)\]])?")


def _members(layout: str) -> list[Member]:
    found = [_MEMBER.fullmatch(text.strip()) for text in layout.split(";")]
    return [Member(m[1], m[3], bool(m[2]), m[4] or "") for m in found if m is not None]


STRUCTURES = {name: _members(layout) for name, layout in _LAYOUT.items()}


class _Reader:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def number(self, kind: str) -> int:
        form = ">i" if kind == "int" else ">q"
        try:
            (value,) = struct.unpack_from(form, self.data, self.at)
        except struct.error:
            raise IrodsError(_UNPACK_ERROR, "message too short") from None
        self.at += struct.calcsize(form)
        return int(value)

    def text(self) -> bytes:
        end = self.data.find(b"\0", self.at)
        if end < 0:
            raise IrodsError(_UNPACK_ERROR, "string without end")
        text = self.data[self.at : end]
        self.at = end + 1
        return text

    def absent(self) -> bool:
        if not self.data.startswith(NULL + b"\0", self.at):
            return False
        self.at += len(NULL) + 1
        return True

    def raw(self, size: int) -> bytes:
        if not 0 <= size <= len(self.data) - self.at:
            raise IrodsError(_UNPACK_ERROR, "message too short")
        self.at += size
        return self.data[self.at - size : self.at]


def _length(size: str, known: dict[str, int]) -> int:
    count = int(size) if size.isdigit() else known.get(size, 0)
    if not 0 <= count <= 1_000_000:
        raise IrodsError(_UNPACK_ERROR, f"{size} is {count}")
    return count


def _unpack(name: str, src: _Reader, outer: dict[str, int]) -> str:
    known, out = dict(outer), []
    for m in STRUCTURES[name]:
        count = _length(m.size, known) if m.size else 1
        if m.pointer and src.absent():
            continue
        if m.kind == "bin":
            value = base64.b64encode(src.raw(count)).decode()
            out.append(f"<{m.name}>{value}</{m.name}>")
            continue
        for _ in range(count):
            if m.kind == "struct":
                out.append(_unpack(m.name, src, known))
            elif m.kind == "str":
                text = src.text().decode("utf-8", "surrogateescape")
                out.append(f"<{m.name}>{esc(text)}</{m.name}>")
            else:
                known[m.name] = src.number(m.kind)
                out.append(f"<{m.name}>{known[m.name]}</{m.name}>")
    return f"<{name}>{''.join(out)}</{name}>"


def to_xml(name: str, data: bytes) -> bytes:
    """A packed structure as XML.

    Raises `IrodsError` (SYS_UNMATCHED packing, -15000) if the bytes are not this structure's.
    """
    src = _Reader(data)
    text = _unpack(name, src, {})
    if src.data[src.at :].strip(b"\0"):
        raise IrodsError(_UNPACK_ERROR, f"bytes left after {name}")
    return text.encode("utf-8", "surrogateescape")


def _pack(name: str, node: Node, outer: dict[str, int]) -> bytes:
    known, out = dict(outer), bytearray()
    at: dict[str, int] = {}
    for m in STRUCTURES[name]:
        count = _length(m.size, known) if m.size else 1
        first = at.get(m.name, 0)
        given = [c for c in node.children if c.tag == m.name][first : first + count]
        at[m.name] = first + count
        if m.pointer and (not given or (m.size and count == 0)):
            out += NULL + b"\0"
        elif m.kind == "bin":
            out += _binary(given[0].text, count)
        else:
            for i in range(count):
                child = given[i] if i < len(given) else Node(m.name)
                if m.kind == "struct":
                    out += _pack(m.name, child, known)
                elif m.kind == "str":
                    out += child.text.encode("utf-8", "surrogateescape") + b"\0"
                else:
                    known[m.name] = int(child.text or 0)
                    out += struct.pack(">i" if m.kind == "int" else ">q", known[m.name])
    return bytes(out)


def _binary(text: str, size: int) -> bytes:
    try:
        data = base64.b64decode(text)
    except binascii.Error:
        raise IrodsError(_UNPACK_ERROR, "bad base64") from None
    return data[:size].ljust(size, b"\0")


def from_xml(body: bytes) -> bytes:
    """A structure in XML packed for a native client; an empty body stays empty."""
    if not body:
        return b""
    node = parse(body)
    return _pack(node.tag, node, {})
