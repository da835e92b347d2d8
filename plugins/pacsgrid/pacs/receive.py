"""Taking C-STORE requests to disk as they come (PS3.4 annex B, PS3.10 section 7)."""

from __future__ import annotations

import logging
from pathlib import Path

from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_file_meta_info
from pynetdicom.events import Event

from pacsgrid.pacs.staging import name_for, write_whole

log = logging.getLogger(__name__)

STORED = 0x0000
REFUSED_UNASKED = 0x0124
OUT_OF_RESOURCES = 0xA700


def file_head(event: Event) -> bytes:
    """Give preamble, prefix and file meta information for the dataset of a request."""
    buffer = DicomBytesIO()
    buffer.write(b"\0" * 128 + b"DICM")
    write_file_meta_info(buffer, event.file_meta)
    return bytes(buffer.getvalue())


class Receiver:
    """Writes the instances that were asked for into one directory.

    Only listed SOP instances are taken: the storage SCP of a C-MOVE listens for anybody.
    """

    def __init__(self, into: Path, wanted: set[str]) -> None:
        self._into = into
        self._wanted = wanted

    def store(self, event: Event) -> int:
        """Handle one C-STORE; success is said only after fsync and rename."""
        request = event.request
        sop_uid = str(request.AffectedSOPInstanceUID or "")
        if sop_uid not in self._wanted or request.DataSet is None:
            return REFUSED_UNASKED
        target = self._into / name_for(sop_uid)
        if target.exists():
            return STORED
        try:
            write_whole(target, (file_head(event), request.DataSet.getbuffer()))
        except OSError as error:
            log.error("cannot write to staging: errno %s", error.errno)
            return OUT_OF_RESOURCES
        return STORED
