"""`make bench-find`: a long answer to one C-FIND from a pynetdicom SCP: time, and memory of ours.

The SCP runs in a process of its own and makes up as many studies as the query's date range says.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from pacsgrid.config import SourceSettings
from pacsgrid.model import StudyQuery
from pacsgrid.pacs import open_source


def serve(count: int) -> None:
    """Answer every C-FIND with so many studies; print the port first."""
    from pydicom.dataset import Dataset
    from pynetdicom import AE, evt
    from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

    def find(event: evt.Event) -> Iterator[tuple[int, Dataset]]:
        for number in range(count):
            data = Dataset()
            data.QueryRetrieveLevel, data.StudyDate = "STUDY", "20240501"
            data.StudyInstanceUID = f"1.2.826.0.1.3680043.8.498.{number}"
            data.PatientID, data.AccessionNumber = f"{number:010d}", f"A{number:08d}"
            data.ModalitiesInStudy, data.NumberOfStudyRelatedInstances = "CT", "200"
            yield 0xFF00, data

    entity = AE(ae_title="LONG")
    entity.add_supported_context(StudyRootQueryRetrieveInformationModelFind)
    server = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_FIND, find)]
    )
    print(server.socket.getsockname()[1], flush=True)
    sys.stdin.read()


def resident() -> float:
    """Return this process's memory in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def measure(count: int, folder: Path) -> None:
    command = [sys.executable, __file__, "--serve", "--answers", str(count)]
    scp = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert scp.stdin and scp.stdout
    try:
        port = int(scp.stdout.readline())
        settings = SourceSettings(
            name="long", kind="dimse", host="127.0.0.1", port=port, ae_title="LONG", state=folder
        )
        before, began, used = resident(), time.perf_counter(), time.process_time()
        found, most = 0, before
        answers = open_source(settings).find_studies(StudyQuery())
        queried = resident()
        for _ in answers:
            found += 1
            if found % 1000 == 0:
                most = max(most, resident())
        seconds, cpu = time.perf_counter() - began, time.process_time() - used
    finally:
        scp.stdin.close()
        scp.wait()
    assert found == count, f"{found} of {count} studies"
    print(
        f"{count:9,} answers: {seconds:6.1f} s, {cpu / count * 1e6:4.0f} us of CPU each; memory "
        f"{before:.0f} MiB before, {queried:.0f} when all were there, {most:.0f} at most",
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--answers", default="10000,100000,1000000")
    parser.add_argument("--serve", action="store_true", help="be the SCP")
    given = parser.parse_args()
    if given.serve:
        return serve(int(given.answers))
    with tempfile.TemporaryDirectory() as folder:
        for count in given.answers.split(","):
            measure(int(count), Path(folder))


if __name__ == "__main__":
    main()
