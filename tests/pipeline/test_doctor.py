"""The doctor finds nothing in a healthy site, and each kind of damage by its rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import psycopg2
import pytest

from pacsgrid import grid
from pacsgrid.cli import main
from pacsgrid.embedded.stack import Stack
from pacsgrid.ledger import InstanceRecord
from pacsgrid.model import AVU, StudyQuery
from pacsgrid.pipeline import STEPS, ProjectContext, clear_work_folders, find_studies, run_step
from pacsgrid.pipeline.cohorts import Cohort, select_cohort
from pacsgrid.pipeline.doctor import find_faults
from pacsgrid.pipeline.release import release_cohort, release_collection
from pacsgrid.pipeline.withdraw import withdraw
from support.dicom import ct
from support.zones_under_test import bare_stack

Undo = Callable[[], object]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory = tmp_path_factory.mktemp("doctor") / "stack"
    with bare_stack(directory) as stack:
        for n in (1, 2):
            ct(stack.drop / f"{n}.dcm", f"1.2.3.{n}", f"1.2.3.{n}.1", fill=n)
        (stack.drop / "letter.txt").write_text("Dear colleague")
        with ProjectContext(stack.site, "demo") as context:
            refs = find_studies(context, "drop", StudyQuery())
            for name in STEPS:
                refs = run_step(context, name, refs).refs
            clear_work_folders(context, refs)
            release_cohort(
                context, "first", select_cohort(context, Cohort(members=(_row(context).subject,)))
            )
        yield stack


def _row(context: ProjectContext) -> InstanceRecord:
    return min(
        (
            row
            for study in context.ledger.studies.find("demo")
            for row in context.ledger.instances.of_study(study.ref)
        ),
        key=lambda row: row.sop_uid,
    )


class Owned(ProjectContext):
    """A line with the connection string of the ledger's owner beside it, to do damage."""

    def __init__(self, stack: Stack) -> None:
        super().__init__(stack.site, "demo")
        self.owner_dsn = stack.postgres.dsn("ledger")


def _sql(context: Owned, sql: str, *values: object) -> None:
    with psycopg2.connect(context.owner_dsn) as connection, connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")  # past the triggers
        cursor.execute(sql, values)


def test_a_healthy_site_has_no_fault(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    site = stack.site
    monkeypatch.setenv("PACSGRID_SITE", str(stack.dir / "site.yaml"))
    with ProjectContext(site, "demo") as context:
        assert list(find_faults(context)) == []
    assert main(["doctor"]) == 0
    assert capsys.readouterr().out == "every invariant holds\n"


def _state_unseen(context: Owned) -> Undo:
    set_state = "UPDATE pacsgrid.study SET state = %s WHERE state = %s"
    _sql(context, set_state, "replicated", "verified")
    return lambda: _sql(context, set_state, "verified", "replicated")


def _proof_of_other_bytes(context: Owned) -> Undo:
    uid, digest = _row(context).sop_uid, _row(context).sha256
    change = "UPDATE pacsgrid.proof SET sha256 = %s WHERE sop_uid = %s"
    _sql(context, change, "0" * 64, uid)
    return lambda: _sql(context, change, digest, uid)


def _late(context: Owned) -> Undo:
    proofs = "UPDATE pacsgrid.proof SET verified_at = verified_at + %s * interval '1 day'"
    counts = "UPDATE pacsgrid.holding SET oldest = oldest + %s * interval '1 day'"
    zones = "UPDATE pacsgrid.coverage SET oldest = oldest + %s * interval '1 day'"
    _sql(context, f"{proofs}; {counts}; {zones}", -100, -100, -100)
    return lambda: _sql(context, f"{proofs}; {counts}; {zones}", 100, 100, 100)


def _miscounted(context: Owned) -> Undo:
    change = "UPDATE pacsgrid.holding SET good = good + %s WHERE zone = 'praha'"
    _sql(context, change, 1)
    return lambda: _sql(context, change, -1)


def _stranger(context: ProjectContext) -> Undo:
    folder = context.site.staging / "st-00000000000000000000"
    folder.mkdir()
    return folder.rmdir


def _open_folder(context: ProjectContext) -> Undo:
    context.site.outbox.chmod(0o755)
    return lambda: context.site.outbox.chmod(0o700)


def _lost_object(context: ProjectContext) -> Undo:
    row = _row(context)
    path = grid.object_path("praha", "demo", row)
    objects = context.partners[0].session.data_objects
    with objects.open(path, "r") as stream:
        content = stream.read()
    objects.unlink(path, force=True)
    return lambda: grid.put_document(context.partners[0], path, content)


def _stray_object(context: ProjectContext) -> Undo:
    path = grid.object_path("brno", "demo", _row(context)).replace(".dcm", ".txt")
    grid.put_document(context.home, path, b"?")
    return lambda: context.home.session.data_objects.unlink(path, force=True)


def _named_avu(context: ProjectContext) -> Undo:
    row = _row(context)
    where = grid.study_collection("brno", "demo", row.subject, row.study_uid)
    grid.set_avu(context.home, where, AVU("note", "756203/1234"))
    return lambda: grid.set_avu(context.home, where, AVU("note", "-"))


def _no_manifest(context: ProjectContext) -> Undo:
    path = release_collection(context.home, "demo", "first", 1) + "/manifest.json"
    objects = context.home.session.data_objects
    with objects.open(path, "r") as stream:
        content = stream.read()
    objects.unlink(path, force=True)
    return lambda: grid.put_document(context.home, path, content)


@pytest.mark.parametrize(
    ("damage", "rule"),
    [
        (_state_unseen, "state differs from the last entry"),
        (_proof_of_other_bytes, "another checksum than the instance"),
        (_late, "proofs are older than allowed"),
        (_miscounted, "replica counts differ"),
        (_stranger, "the ledger does not know"),
        (_open_folder, "others can enter"),
        (_lost_object, "objects that the ledger lists are not in the zone"),
        (_stray_object, "an object that the ledger does not list"),
        (_named_avu, "identifies someone"),
        (_no_manifest, "lost its manifest"),
    ],
)
def test_each_damage_is_found_by_its_rule(
    stack: Stack, damage: Callable[[Owned], Undo], rule: str
) -> None:
    with Owned(stack) as context:
        undo = damage(context)
        try:
            found = list(find_faults(context))
        finally:
            undo()
        assert [fault for fault in found if rule in fault.rule]
        assert "756203" not in str(found)
        assert list(find_faults(context)) == []


def test_a_withdrawal_leaves_no_fault(stack: Stack) -> None:
    with ProjectContext(stack.site, "demo") as context:
        assert withdraw(context, _row(context).subject) == []
        assert list(find_faults(context)) == []
