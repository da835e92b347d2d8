"""Bulk put: many small files in one request, as ``iput -b`` sends them.

The request's array names the objects (column DATA_NAME, full paths), says where each one's bytes
end in the byte stream (OFFSET_INX), and may give modes and checksums.
"""

from __future__ import annotations

from . import codes
from .api_coll import make
from .catalog import clean, split
from .request import HANDLERS, Reply, Request, api
from .session import Session
from .wire import IrodsError, Node

MAX_FILES = 50  # MAX_NUM_BULK_OPR_FILES
_NAME, _CHECKSUM, _MODE, _END = 403, 415, 421, 999998
_NO_COLUMN, _TOO_MANY, _BAD_ENDS = (
    codes.UNMATCHED_KEY_OR_INDEX,
    codes.SYS_REQUESTED_BUF_TOO_LARGE,
    codes.SYS_COPY_LEN_ERR,
)


def columns(array: Node) -> dict[int, list[str]]:
    """The columns of a GenQueryOut_PI by number; each has as many values as there are rows."""
    count = array.num("rowCnt")
    found = {c.num("attriInx"): c.all("value") for c in array.children if c.tag == "SqlResult_PI"}
    return {inx: values for inx, values in found.items() if inx and len(values) == count}


@api(618, 689)  # 689 is BULK_DATA_OBJ_PUT; 618 is answered alike
def bulk_put(s: Session, r: Request) -> Reply:
    """Put every file of the request; the first that fails ends it, those before it stay."""
    kw = r.node.keywords()
    array = columns(r.node.child("GenQueryOut_PI"))
    if _NAME not in array or _END not in array:
        raise IrodsError(_NO_COLUMN, "bulk put without names or offsets")
    if len(array[_NAME]) > MAX_FILES:
        raise IrodsError(_TOO_MANY, f"more than {MAX_FILES} files in one request")
    try:
        ends = [int(n) for n in array[_END]]
        modes = [int(n or 0) for n in array.get(_MODE, [])] or [0] * len(ends)
    except ValueError:
        raise IrodsError(_BAD_ENDS, "offset or mode is not a number") from None
    if ends != sorted(ends) or (ends and not 0 <= ends[0] <= ends[-1] <= len(r.bs)):
        raise IrodsError(_BAD_ENDS, "offsets do not fit the bytes sent")
    make(s, clean(r.node.get("objPath")), True)
    sums = array.get(_CHECKSUM, [""] * len(ends))
    start = 0
    for name, end, mode, checksum in zip(array[_NAME], ends, modes, sums, strict=True):
        options = kw | ({"verifyChksum": checksum} if checksum and "verifyChksum" in kw else {})
        _put(s, clean(name), bytearray(r.bs[start:end]), options, mode)
        start = end
    return Reply()


def _put(s: Session, path: str, data: bytearray, kw: dict[str, str], mode: int) -> None:
    make(s, split(path)[0], True)
    pairs = Node("KeyValPair_PI")
    pairs.children += [Node("keyWord", k) for k in (*kw, "dataIncluded")]
    pairs.children += [Node("svalue", v) for v in (*kw.values(), "")]
    fields = {"objPath": path, "createMode": str(mode), "dataSize": str(len(data))}
    node = Node("DataObjInp_PI", "", [Node(k, v) for k, v in fields.items()] + [pairs])
    HANDLERS[606](s, Request(606, node, data, b""))
