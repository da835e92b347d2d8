"""The whole line, driven by a real Airflow through its REST API as a steward would."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from pydicom import config, dcmread
from pydicom.datadict import DicomDictionary
from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset

from pacsgrid.embedded.sample_data import make_samples
from pacsgrid.embedded.stack import Stack
from pacsgrid.model import StudyState
from pacsgrid.pipeline import ProjectContext
from support.dicom import ct, save
from support.receiver_process import RunningReceiver, announcing, associate
from support.replica_proofs import proven_once
from support.waiting import wait_until

pytestmark = pytest.mark.e2e
CANARY = "Kanarek7f3a"
TEXT = {"AE", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT", "CS"}
# Without these as they are the file is no CT image any more.
STRUCTURE = {0x00080005, 0x00080060, 0x00280004}


def _with_canaries(path: Path, depth: int) -> None:
    """A CT slice with a canary in every text element, private ones too, `depth` levels down."""
    ct(path, f"1.2.826.4242.{depth}", f"1.2.826.4242.{depth}.1.1", patient=f"{CANARY}^Pavla")
    ds = dcmread(path)
    with config.disable_value_validation():
        carrier = Dataset() if depth else ds
        for tag, entry in DicomDictionary.items():
            if entry[0] in TEXT and tag >> 16 > 2 and tag not in STRUCTURE:
                carrier.add(DataElement(tag, entry[0], f"{CANARY}{tag:08x}"[:16]))
        carrier.add(DataElement(0x00090010, "LO", CANARY))
        carrier.add(DataElement(0x00091001, "LT", CANARY))
        for _ in range(depth):
            outer = Dataset() if _ < depth - 1 else ds
            outer.RequestAttributesSequence = [carrier]
            outer.AcquisitionContextSequence = [carrier]
            outer.DerivationCodeSequence = [carrier]
            carrier = outer
        save(ds, path)


def _below(places: list[Path]) -> Iterator[Path]:
    for place in places:
        for folder, folders, names in os.walk(place):
            yield from (Path(folder, name) for name in folders + names)


def _reference(context: ProjectContext, path: Path) -> str:
    header = dcmread(path, stop_before_pixels=True)
    return context.pseudonyms.reference("pacs", str(header.StudyInstanceUID))


def _is_cine(path: Path) -> bool:
    return int(dcmread(path, specific_tags=["NumberOfFrames"]).get("NumberOfFrames") or 1) > 60


def _kill_one_task(stack: Stack, killed: list[int], over: threading.Event) -> None:
    """Kill -9 the first task process that takes studies."""
    while not over.is_set():
        path = "/dags/ingest_studies/dagRuns/~/taskInstances?state=running&task_id=batch.take"
        running = [task["id"] for task in stack.api("GET", path).json()["task_instances"]]
        listing = subprocess.run(
            ["ps", "-eo", "pid,args"], capture_output=True, text=True, check=True
        ).stdout
        for line in listing.splitlines()[1:]:
            pid, args = line.split(None, 1)
            if any(args.strip() == f"airflow worker -- {task}" for task in running):
                os.kill(int(pid), signal.SIGKILL)
                killed.append(int(pid))
                return
        time.sleep(0.05)


@pytest.mark.parametrize(
    "conf",
    [
        {"source": "pacs; rm"},
        {"date_from": "yesterday"},
        {"modalities": ["ct scans"]},
        {"modalities": "CT"},
    ],
)
def test_the_form_refuses_wrong_input(stack: Stack, conf: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=next(iter(conf))):
        stack.trigger(conf)


def test_a_pacs_is_ingested_though_a_task_is_killed(stack: Stack) -> None:
    # The cine loop among them takes as long as all others; the demo has it.
    samples = [path for path in make_samples(stack.dir / "samples") if not _is_cine(path)]
    stack.pacs.load(samples)
    killed: list[int] = []
    over = threading.Event()
    killer = threading.Thread(target=_kill_one_task, args=(stack, killed, over))
    killer.start()
    try:
        state = stack.watch(stack.trigger({"source": "pacs", "project": "demo"}), 1800)
    finally:
        over.set()
        killer.join()
    assert killed and state == "success"
    with ProjectContext(stack.site, "demo") as context:
        sent = Counter(_reference(context, path) for path in samples)
        studies = {study.ref: study.state for study in context.ledger.studies.find("demo")}
        held = context.ledger.held.queue("demo")
        assert set(studies) == set(sent)
        # What may show anything, as a secondary capture, waits for a steward as a whole.
        whole = {row.ref for row in held if row.whole}
        assert {row.code for row in held if row.whole} <= {"secondary-capture"}
        for ref, state in studies.items():
            if ref in whole:
                assert state is StudyState.HELD
                continue
            single = sum(row.ref == ref for row in held)
            assert state is StudyState.VERIFIED and proven_once(context, ref)
            assert len(context.ledger.instances.of_study(ref)) + single == sent[ref]
        assert len(set(studies) - whole) >= 5


def test_no_identifying_value_gets_out(stack: Stack) -> None:
    for depth in (0, 1, 3):
        _with_canaries(stack.drop / f"{CANARY}{depth}.dcm", depth)
    (stack.drop / f"{CANARY}.txt").write_text(f"Letter about {CANARY}")
    state = stack.watch(stack.trigger({"source": "drop", "project": "demo"}))
    assert state == "success"
    with ProjectContext(stack.site, "demo") as context:
        mine = [study for study in context.ledger.studies.find("demo") if study.source == "drop"]
        refs = {study.ref for study in mine}
        assert [row.code for row in context.ledger.held.queue("demo") if row.ref in refs] == [
            "not-dicom"
        ]
        assert sum(len(context.ledger.instances.of_study(study.ref)) for study in mine) == 3
    words = {CANARY.lower().encode(), b"1.2.826.4242"}
    for sample in (stack.dir / "samples").rglob("*.dcm"):
        header = dcmread(sample, stop_before_pixels=True)
        words.add(str(header.StudyInstanceUID).encode())
        words.add(str(header.PatientID).lower().encode())
    places = [stack.dir / name for name in ("zones", "logs", "airflow", "outbox")]
    dumps = stack.dir / "dumps"
    dumps.mkdir()
    for database in ("ledger", "airflow"):
        (dumps / database).write_bytes(stack.postgres.dump(database))
        assert (dumps / database).stat().st_size > 10_000
    found = []
    for path in _below([*places, dumps]):
        if any(word in str(path.relative_to(stack.dir)).lower().encode() for word in words):
            found.append(("path", path.parent.name))
        # The next run is at work already: what it removes meanwhile is not there any more.
        with suppress(FileNotFoundError):
            content = path.read_bytes().lower() if path.is_file() else b""
            found += [(path.name, word) for word in words if word in content]
    assert not found
    assert not any((stack.dir / "staging").rglob("*.dcm"))


def test_a_study_that_is_pushed_is_ingested(stack: Stack) -> None:
    path = ct(stack.dir / "pushed.dcm", "1.2.826.4243", "1.2.826.4243.1.1", patient_id="815304/4")
    with RunningReceiver(
        stack.dir / "receiver", stack.dir / "incoming", **announcing(stack)
    ) as receiver:
        assoc = associate(receiver.port, [path])
        assert assoc.send_c_store(path).get("Status") == 0
        assoc.release()
        with ProjectContext(stack.site, "demo") as context:
            ref = context.pseudonyms.reference("received", "1.2.826.4243")
            states = [StudyState.VERIFIED]
            wait_until(
                lambda: ref in [s.ref for s in context.ledger.studies.find("demo", states)],
                seconds=180,
            )
            assert proven_once(context, ref)
