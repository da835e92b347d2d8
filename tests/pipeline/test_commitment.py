"""Storage commitment: answered when every replica is proven, whatever is killed meanwhile."""

from __future__ import annotations

import queue
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage, generate_uid
from pynetdicom import AE, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    StorageCommitmentPushModel,
    StorageCommitmentPushModelInstance,
)

from pacsgrid.config import load_site
from pacsgrid.embedded.ports import accepts, reserve_port
from pacsgrid.embedded.process import ChildProcess
from pacsgrid.embedded.stack import Stack
from pacsgrid.model import StudyQuery
from pacsgrid.pacs.storage_scp.commitment_requests import CommitmentRequests
from pacsgrid.pacs.storage_scp.completion_watcher import CompletionWatcher
from pacsgrid.pipeline import STEPS, ProjectContext, clear_work_folders, find_studies, run_step
from pacsgrid.pipeline.commitment import CommitmentService
from support.dicom import ct
from support.receiver_process import associate
from support.waiting import wait_until
from support.zones_under_test import bare_stack

STUDY = "1.2.826.0.90"


class Modality:
    """A node that asks for commitment, and takes the answers."""

    def __init__(self) -> None:
        self.port = reserve_port()
        self.answers: queue.Queue[tuple[int, Dataset]] = queue.Queue()

    @contextmanager
    def listening(self) -> Iterator[None]:
        entity = AE("MODALITY")
        entity.add_supported_context(StorageCommitmentPushModel, scu_role=False, scp_role=True)
        server = entity.start_server(
            ("127.0.0.1", self.port),
            block=False,
            evt_handlers=[(evt.EVT_N_EVENT_REPORT, self._take)],
        )
        try:
            yield
        finally:
            server.shutdown()

    def _take(self, event: Any) -> tuple[int, None]:
        self.answers.put((event.event_type, event.event_information))
        return 0, None

    def ask(self, port: int, sops: list[str], title: str = "MODALITY", action: int = 1) -> int:
        """Ask for commitment; give the status of the answer, -1 without a context."""
        entity = AE(title)
        entity.add_requested_context(StorageCommitmentPushModel)
        association = entity.associate("127.0.0.1", port, ae_title="PACSGRID")
        if not association.accepted_contexts:
            association.release()
            return -1
        ds = Dataset()
        ds.TransactionUID = generate_uid()
        ds.ReferencedSOPSequence = []
        for sop in sops:
            item = Dataset()
            item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = CTImageStorage, sop
            ds.ReferencedSOPSequence.append(item)
        status, _ = association.send_n_action(
            ds, action, StorageCommitmentPushModel, StorageCommitmentPushModelInstance
        )
        association.release()
        return int(status.Status)


@dataclass
class Site:
    stack: Stack
    modality: Modality
    port: int
    folder: Path
    process: ChildProcess
    path: Path

    def store(self, number: int) -> str:
        sop = f"{STUDY}.{number}.1"
        path = ct(self.stack.dir / "sent" / f"{number}.dcm", f"{STUDY}.{number}", sop, fill=number)
        with_file = associate(self.port, [path])
        assert with_file.send_c_store(path).Status == 0
        with_file.release()
        return sop

    def ingest(self, context: ProjectContext, last: str = "verify") -> None:
        CompletionWatcher(self.folder, 0.0, 0.0, lambda study: None).scan()
        refs = find_studies(context, "received", StudyQuery())
        for name in STEPS:
            refs = run_step(context, name, refs).refs
            if name == last:
                return
        clear_work_folders(context, refs)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with bare_stack(tmp_path_factory.mktemp("commitment") / "stack") as stack:
        modality, port = Modality(), reserve_port()
        folder = stack.dir / "incoming"
        given = yaml.safe_load((stack.dir / "site.yaml").read_text())
        given["receiver"] = {
            "folder": str(folder),
            "bind": "127.0.0.1",
            "port": port,
            "reserve_mb": 0,
            "project": "demo",
            "allow": [{"ae_title": "MODALITY"}, {"ae_title": "OTHER"}],
            "commitment": [{"ae_title": "MODALITY", "host": "127.0.0.1", "port": modality.port}],
            "commitment_seconds": 0.5,
        }
        assert stack.site.ledger_dsn
        path = stack.dir / "receiver.yaml"
        path.write_text(yaml.safe_dump(given))
        command = [sys.executable, "-m", "pacsgrid", "receive", "--site", str(path)]
        process = ChildProcess("receiver", command, stack.dir / "receiver.log")
        process.start()
        process.wait_ready(lambda: accepts(port), 90)
        yield Site(stack, modality, port, folder, process, path)
        process.stop(30)


@pytest.fixture
def context(site: Site) -> Iterator[ProjectContext]:
    with ProjectContext(load_site(site.path), "demo") as context:
        yield context


def requests_of(site: Site) -> list[Path]:
    return sorted((site.stack.dir / "incoming.commitments").glob("*.json"))


def test_the_answer_comes_once_every_replica_is_proven(site: Site, context: ProjectContext) -> None:
    sop = site.store(1)
    with site.modality.listening():
        assert site.modality.ask(site.port, [sop]) == 0
        site.ingest(context, last="replicate")
        # Deposited and replicated, but no server has read the replicas yet.
        service = CommitmentService(load_site(site.path))
        assert [one for one, *_ in service.custody([("1.2", sop)]).waiting] == ["1.2"]
        assert site.modality.answers.empty() and len(requests_of(site)) == 1
        site.ingest(context)
        kind, answer = site.modality.answers.get(timeout=60)
    assert kind == 1 and "FailedSOPSequence" not in answer
    assert [one.ReferencedSOPInstanceUID for one in answer.ReferencedSOPSequence] == [sop]
    wait_until(lambda: not requests_of(site))


def test_a_request_survives_kills_and_a_peer_that_is_away(
    site: Site, context: ProjectContext
) -> None:
    sop = site.store(2)
    assert site.modality.ask(site.port, [sop]) == 0
    site.process.kill()
    site.ingest(context)
    site.process.start()
    site.process.wait_ready(lambda: accepts(site.port), 90)
    # Nobody listens: the answer is tried again.
    wait_until(lambda: any('"tries": 1' in one.read_text() for one in requests_of(site)), 60)
    with site.modality.listening():
        kind, answer = site.modality.answers.get(timeout=60)
    assert kind == 1 and answer.ReferencedSOPSequence[0].ReferencedSOPInstanceUID == sop


def test_what_is_not_proven_in_time_fails_with_its_reason(
    site: Site, context: ProjectContext
) -> None:
    held, safe = site.store(3), site.store(4)
    site.ingest(context)
    (ref,) = context.ledger.studies.find_by_pseudonym("demo", context.pseudonyms.uid(held))
    context.ledger.studies.hold(ref, "rejected", "rejected by a steward")
    given = yaml.safe_load(site.path.read_text())
    given["receiver"] |= {
        "folder": str(site.stack.dir / "other"),
        "commitment_hours": 0.001,
    }
    other = site.stack.dir / "other.yaml"
    other.write_text(yaml.safe_dump(given))
    service = CommitmentService(load_site(other))
    requests = CommitmentRequests(site.stack.dir / "other")
    items = tuple((str(CTImageStorage), sop) for sop in (held, safe, "1.2.3.99"))
    service._requests.save(_request(items))
    with site.modality.listening():
        # Two are decided, but the third may still come.
        assert service.run_once(now=1000.0) == 0
        assert service.run_once(now=1010.0) == 1
        kind, answer = site.modality.answers.get(timeout=60)
    assert kind == 2
    assert [one.ReferencedSOPInstanceUID for one in answer.ReferencedSOPSequence] == [safe]
    failed = {one.ReferencedSOPInstanceUID: one.FailureReason for one in answer.FailedSOPSequence}
    assert failed == {held: 0x0110, "1.2.3.99": 0x0112}
    assert not list(requests.due(2000.0))


def _request(items: tuple[tuple[str, str], ...]) -> Any:
    from pacsgrid.pacs.storage_scp.commitment_requests import CommitmentRequest

    return CommitmentRequest("MODALITY", "1.2.3.1", items, at=1000.0)


def test_only_named_nodes_may_ask_and_only_for_this(site: Site) -> None:
    assert site.modality.ask(site.port, ["1.2.3"], title="OTHER") == -1
    assert site.modality.ask(site.port, ["1.2.3"], action=2) == 0x0123
    assert site.modality.ask(site.port, []) == 0x0106
    assert requests_of(site) == []
    modes = {(site.stack.dir / "incoming.commitments").stat().st_mode & 0o777}
    assert modes == {0o700}


def test_echo_and_storage_go_on_beside_it(site: Site) -> None:
    done = subprocess.run(
        ["echoscu", "-aet", "OTHER", "-aec", "PACSGRID", "127.0.0.1", str(site.port)], timeout=60
    )
    assert done.returncode == 0
