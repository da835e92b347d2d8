"""Bulk put: many small files in one request, as ``iput -b`` sends them.

An array in the form of a query's result names the data objects (column DATA_NAME), tells where the
bytes of each end in the byte stream (OFFSET_INX), and may give modes and checksums.
"""

from __future__ import annotations

from ..api_messages import Reply, Request
from ..api_numbers import Api
from ..api_registry import HANDLERS, handles
from ..catalog import canonical_path, split_path
from ..error_codes import ErrorCode
from ..errors import IrodsError
from ..genquery_columns import D_DATA_CHECKSUM, DATA_MODE, DATA_NAME
from ..namespace import create_collection
from ..session import Session
from ..xml_structures import Node, data_object_input

MAX_FILES = 50  # MAX_NUM_BULK_OPR_FILES
_OFFSET = 999998  # OFFSET_INX: where the bytes of a file end in the byte stream


def _columns(array: Node) -> dict[int, list[str]]:
    """Return the complete columns of a GenQueryOut_PI by number."""
    count = array.number("rowCnt")
    found = {
        c.number("attriInx"): c.all("value") for c in array.children if c.tag == "SqlResult_PI"
    }
    return {inx: values for inx, values in found.items() if inx and len(values) == count}


@handles(Api.BULK_DATA_OBJ_PUT_AN)
def _bulk_data_obj_put(session: Session, request: Request) -> Reply:
    """Put the files of the request up to the first that fails."""
    keywords = request.node.keywords()
    array = _columns(request.node.child("GenQueryOut_PI"))
    if DATA_NAME not in array or _OFFSET not in array:
        raise IrodsError(ErrorCode.UNMATCHED_KEY_OR_INDEX, "bulk put without names or offsets")
    if len(array[DATA_NAME]) > MAX_FILES:
        raise IrodsError(
            ErrorCode.SYS_REQUESTED_BUF_TOO_LARGE, f"more than {MAX_FILES} files in one request"
        )
    try:
        ends = [int(n) for n in array[_OFFSET]]
        modes = [int(n or 0) for n in array.get(DATA_MODE, [])] or [0] * len(ends)
    except ValueError:
        raise IrodsError(ErrorCode.SYS_COPY_LEN_ERR, "offset or mode is not a number") from None
    if ends != sorted(ends) or (ends and not 0 <= ends[0] <= ends[-1] <= len(request.byte_stream)):
        raise IrodsError(ErrorCode.SYS_COPY_LEN_ERR, "offsets do not fit the bytes sent")
    create_collection(session, canonical_path(request.node.get("objPath")), True)
    sums = array.get(D_DATA_CHECKSUM, [""] * len(ends))
    start = 0
    for name, end, mode, checksum in zip(array[DATA_NAME], ends, modes, sums, strict=True):
        options = dict(keywords)
        if checksum and "verifyChksum" in keywords:
            options["verifyChksum"] = checksum
        data = request.byte_stream[start:end]
        _put(session, canonical_path(name), data, options, mode)
        start = end
    return Reply()


def _put(
    session: Session, path: str, data: bytes | bytearray, keywords: dict[str, str], mode: int
) -> None:
    create_collection(session, split_path(path)[0], True)
    node = data_object_input(path, keywords | {"dataIncluded": ""}, size=len(data), mode=mode)
    HANDLERS[Api.DATA_OBJ_PUT_AN](session, Request(Api.DATA_OBJ_PUT_AN, node, data, b""))
