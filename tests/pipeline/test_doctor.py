"""The doctor finds nothing in a healthy site, and each kind of damage by its rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg2
import pytest

from pacsgrid import grid
from pacsgrid.cli import main
from pacsgrid.embedded.stack import Stack
from pacsgrid.ledger import InstanceRow
from pacsgrid.model import AVU, StudyQuery
from pacsgrid.pipeline import STEPS, Line, find_studies, run_step, settle
from pacsgrid.pipeline.doctor import examine
from pacsgrid.pipeline.release import collection_of, release, select
from pacsgrid.pipeline.withdraw import withdraw
from support.dicom import ct
from support.grids import bare_stack

Undo = Callable[[], object]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory = tmp_path_factory.mktemp("doctor") / "stack"
    with bare_stack(directory) as stack:
        for n in (1, 2):
            ct(stack.drop / f"{n}.dcm", f"1.2.3.{n}", f"1.2.3.{n}.1", fill=n)
        (stack.drop / "letter.txt").write_text("Dear colleague")
        with Line(stack.site, "demo") as line:
            refs = find_studies(line, "drop", StudyQuery())
            for name in STEPS:
                refs = run_step(line, name, refs).refs
            settle(line, refs)
            release(line, "first", select(line, subjects=[_row(line).subject]))
        yield stack


def _row(line: Line) -> InstanceRow:
    return min(
        (
            row
            for study in line.ledger.studies.find("demo")
            for row in line.ledger.instances.of_study(study.ref)
        ),
        key=lambda row: row.sop_uid,
    )


class Owned(Line):
    """A line with the connection string of the ledger's owner beside it, to do damage."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(stack.site, "demo")
        self.owner_dsn = stack.postgres.dsn("ledger")


def _sql(line: Owned, sql: str, *values: object) -> None:
    with psycopg2.connect(line.owner_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # past the triggers
        cursor.execute(sql, values)


def test_a_healthy_site_has_no_fault(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site = stack.site
    monkeypatch.setenv("PACSGRID_SITE", str(stack.dir / "site.yaml"))
    with Line(site, "demo") as line:
        assert examine(line) == []
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out == "every invariant holds\n"


def _state_unseen(line: Owned) -> Undo:
    set_state = "UPDATE pacsgrid.study SET state = %s WHERE state = %s"
    _sql(line, set_state, "replicated", "verified")
    return lambda: _sql(line, set_state, "verified", "replicated")


def _proof_of_other_bytes(line: Owned) -> Undo:
    uid, digest = _row(line).sop_uid, _row(line).sha256
    change = "UPDATE pacsgrid.proof SET sha256 = %s WHERE sop_uid = %s"
    _sql(line, change, "0" * 64, uid)
    return lambda: _sql(line, change, digest, uid)


def _late(line: Owned) -> Undo:
    proofs = "UPDATE pacsgrid.proof SET verified_at = verified_at + %s * interval '1 day'"
    counts = "UPDATE pacsgrid.holding SET oldest = oldest + %s * interval '1 day'"
    _sql(line, f"{proofs}; {counts}", -100, -100)
    return lambda: _sql(line, f"{proofs}; {counts}", 100, 100)


def _miscounted(line: Owned) -> Undo:
    change = "UPDATE pacsgrid.holding SET good = good + %s WHERE zone = 'praha'"
    _sql(line, change, 1)
    return lambda: _sql(line, change, -1)


def _stranger(line: Line) -> Undo:
    room = line.site.staging / "st-00000000000000000000"
    room.mkdir()
    return room.rmdir


def _open_room(line: Line) -> Undo:
    line.site.outbox.chmod(0o755)
    return lambda: line.site.outbox.chmod(0o700)


def _lost_object(line: Line) -> Undo:
    row = _row(line)
    path = grid.object_path("praha", "demo", row)
    objects = line.partners[0].session.data_objects
    with objects.open(path, "r") as stream:
        content = stream.read()
    objects.unlink(path, force=True)
    return lambda: grid.put_text(line.partners[0], path, content)


def _stray_object(line: Line) -> Undo:
    path = grid.object_path("brno", "demo", _row(line)).replace(".dcm", ".txt")
    grid.put_text(line.home, path, b"?")
    return lambda: line.home.session.data_objects.unlink(path, force=True)


def _named_avu(line: Line) -> Undo:
    row = _row(line)
    where = grid.study_collection("brno", "demo", row.subject, row.study_uid)
    grid.set_avu(line.home, where, AVU("note", "756203/1234"))
    return lambda: grid.set_avu(line.home, where, AVU("note", "-"))


def _no_manifest(line: Line) -> Undo:
    path = collection_of(line.home, "demo", "first", 1) + "/manifest.json"
    objects = line.home.session.data_objects
    with objects.open(path, "r") as stream:
        content = stream.read()
    objects.unlink(path, force=True)
    return lambda: grid.put_text(line.home, path, content)


@pytest.mark.parametrize(
    ("damage", "rule"),
    [
        (_state_unseen, "state differs from the last entry"),
        (_proof_of_other_bytes, "not of the anonymiser's bytes"),
        (_late, "proofs are older than allowed"),
        (_miscounted, "what planning counts"),
        (_stranger, "the ledger does not know"),
        (_open_room, "can be entered by others"),
        (_lost_object, "objects that the ledger lists are not in the zone"),
        (_stray_object, "an object that the ledger does not list"),
        (_named_avu, "identifies someone"),
        (_no_manifest, "lost its manifest"),
    ],
)
def test_each_damage_is_found_by_its_rule(
    stack: Stack, damage: Callable[[Owned], Undo], rule: str
) -> None:
    with Owned(stack) as line:
        undo = damage(line)
        try:
            found = examine(line)
        finally:
            undo()
        assert [fault for fault in found if rule in fault.rule]
        assert "756203" not in str(found)
        assert examine(line) == []


def test_a_withdrawal_leaves_no_fault(stack: Stack) -> None:
    with Line(stack.site, "demo") as line:
        assert withdraw(line, _row(line).subject) == []
        assert examine(line) == []
