"""A whole day of a site, nobody at the keyboard; at its end the doctor looks. `make test-ui`."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from pydicom import dcmread

from pacsgrid.embedded.sample_data import make_samples
from pacsgrid.embedded.stack import GUEST, STEWARD, Stack
from pacsgrid.ledger import ReleaseOverview
from pacsgrid.model import StudyState
from pacsgrid.pipeline import ProjectContext
from pacsgrid.pipeline.waiting import count_unfinished
from support.dicom import ct
from support.human_input import answer, question
from support.irods_user import iinit
from support.receiver_process import RunningReceiver, announcing
from support.replica_proofs import proven_once
from support.waiting import wait_until

pytestmark = pytest.mark.ui
STORESCU = Path("/usr/bin/storescu")
# A modality pushes them; the second file of the second study names another patient.
PUSHED = ("1.2.826.88.1", "1.2.826.88.2")


def _run(stack: Stack, dag: str, **conf: object) -> None:
    assert stack.watch(stack.trigger(conf, dag), dag=dag) == "success", dag


def _pacsgrid(stack: Stack, *words: str, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "pacsgrid", *words],
        env={**stack.airflow_env(), **env},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
    return done.stdout


def _push(stack: Stack, receiver: RunningReceiver) -> list[Path]:
    files = [
        ct(stack.dir / "modality" / f"{n}.dcm", study, f"{study}.{n}", fill=n)
        for n, study in enumerate((*PUSHED, PUSHED[1]), 1)
    ]
    other = dcmread(files[-1])
    other.PatientID = "somebody else"
    other.save_as(files[-1])
    to = ["-aet", "MODALITY", "-aec", "PACSGRID", "127.0.0.1", str(receiver.port)]
    subprocess.run([str(STORESCU), *to, *map(str, files)], check=True)
    return files


def _recent(samples: list[Path]) -> list[Path]:
    """Date the studies after the day from which the site synchronises."""
    for path in samples:
        ds = dcmread(path)
        ds.StudyDate = f"2024{ds.StudyDate[4:]}"
        ds.save_as(path)
    return samples


@pytest.mark.skipif(not STORESCU.exists(), reason="DCMTK is not installed")
def test_a_day_ends_with_every_invariant_held(tmp_path: Path) -> None:
    with Stack(tmp_path / "site", say=print) as stack:
        # The partner is away when the day begins.
        stack.zones["praha"].stop()
        stack.pacs.load(_recent(make_samples(stack.dir / "samples")))
        with RunningReceiver(
            stack.dir / "receiver", stack.dir / "incoming", **announcing(stack)
        ) as modal:
            _push(stack, modal)
            with ProjectContext(stack.site, "demo") as context:
                good, mixed = (context.pseudonyms.reference("received", uid) for uid in PUSHED)

                def came(ref: str, state: StudyState) -> bool:
                    return any(s.ref == ref for s in context.ledger.studies.find("demo", [state]))

                wait_until(lambda: came(good, StudyState.VERIFIED), 900)
                wait_until(lambda: came(mixed, StudyState.HELD), 900)

        _run(stack, "nightly_sync", late_days=3650)
        assert count_unfinished(stack.site, "demo", "pacs") == {}

        # Everything that waits is asked about; the steward takes the mixed one out.
        run = stack.trigger({"project": "demo", "only": mixed}, "review_held")
        asked = question(stack, "review_held", run)
        reject = {
            "chosen_options": ["Reject"],
            "params_input": {"profile": None, "reason": "two patients in one study"},
        }
        assert answer(stack, asked, GUEST, **reject).status_code == 403
        assert answer(stack, asked, STEWARD, **reject).status_code == 200
        assert stack.watch(run, dag="review_held") == "success"

        # The partner is back: the night's maintenance brings and proves its copies.
        stack.start_zone("praha")
        _pacsgrid(stack, "zones", "demo")
        _run(stack, "replicate_and_verify")
        with ProjectContext(stack.site, "demo") as context:
            done = [s.ref for s in context.ledger.studies.find("demo", [StudyState.VERIFIED])]
            assert len(done) >= 5 and good in done
            assert all(proven_once(context, ref) for ref in done)
            subject = context.ledger.instances.of_study(good)[0].subject

        run = stack.trigger(
            {"project": "demo", "name": "day", "criteria": ["Modality=CT"]}, "release_cohort"
        )
        asked = question(stack, "release_cohort", run)
        assert answer(stack, asked, STEWARD, chosen_options=["Approve"]).status_code == 200
        assert stack.watch(run, dag="release_cohort") == "success"
        with ProjectContext(stack.site, "demo") as context:
            user = context.home.session.users.create("jana", "rodsuser")
            user.modify("password", "secret-word")
        _pacsgrid(stack, "share", "demo", "jana")
        researcher = iinit(stack.dir, stack.site.zone("brno"), "jana", "secret-word")
        fetched = stack.dir / "researcher"
        release = "/brno/home/demo/releases/day/v1"
        _pacsgrid(stack, "fetch", release, str(fetched), **researcher)
        with ProjectContext(stack.site, "demo") as context:
            listed = context.ledger.releases.study_refs("demo", "day", 1)
            count = sum(len(context.ledger.instances.of_study(ref)) for ref in listed)
        assert good in listed and len(list(fetched.rglob("*.dcm"))) == count

        _run(stack, "audit_replicas")
        run = stack.trigger({"project": "demo", "subject": subject}, "withdraw_patient")
        asked = question(stack, "withdraw_patient", run)
        assert answer(stack, asked, STEWARD, chosen_options=["Approve"]).status_code == 200
        assert stack.watch(run, dag="withdraw_patient") == "success"
        overview = ReleaseOverview(stack.site.ledger_dsn, ["demo"])
        (gone,) = overview.withdrawals()
        assert gone.subject == subject and gone.waiting == [] and gone.proven_at
        versions = {row.version: row.retired_at is None for row in overview.releases()}
        assert versions == {1: False, 2: True}

        for dag in ("replicate_and_verify", "housekeeping", "audit_replicas", "site_check"):
            _run(stack, dag)
        assert "every invariant holds" in _pacsgrid(stack, "doctor")
        assert not list(stack.site.staging.rglob("*.dcm"))
        assert not list(stack.site.outbox.rglob("*.dcm"))
        assert not list((stack.dir / "incoming").rglob("*.dcm"))
