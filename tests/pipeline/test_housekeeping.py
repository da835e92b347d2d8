"""Site check and housekeeping against a drop folder, PostgreSQL and two zones."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from pacsgrid.embedded.stack import Stack
from pacsgrid.model import StudyQuery, StudyState
from pacsgrid.pacs.received_source import PARTS
from pacsgrid.pipeline import STEPS, ProjectContext, find_studies, run_step
from pacsgrid.pipeline.housekeeping import clean_up
from pacsgrid.pipeline.review import Verdict, decide
from pacsgrid.pipeline.site_check import Check, check_site
from support.certificates import make_certificates
from support.dicom import ct
from support.zones_under_test import bare_stack

DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    directory = tmp_path_factory.mktemp("housekeeping") / "stack"
    with bare_stack(directory) as stack:
        (stack.dir / "incoming" / PARTS).mkdir(parents=True)
        yield stack


def _by_name(checks: list[Check]) -> dict[str, Check]:
    return {check.name: check for check in checks}


def test_a_healthy_site_passes_and_every_part_is_named(stack: Stack) -> None:
    checks = check_site(stack.site)
    assert [check for check in checks if not check.good] == []
    assert {"ledger", "clock", "key of project demo", "work folder staging", "source pacs"} <= set(
        _by_name(checks)
    )
    assert {"zone brno", "zone praha", "source drop"} <= set(_by_name(checks))


def test_what_is_wrong_is_named_and_the_rest_still_checked(stack: Stack, tmp_path: Path) -> None:
    site = stack.site
    key = site.projects["demo"].key_file
    key.chmod(0o644)
    brno = site.zones["brno"].replace(port=1)
    folder = site.sources["drop"].replace(cert_file=make_certificates(tmp_path).client)
    sources = {**site.sources, "drop": folder}
    broken = replace(site, zones={**site.zones, "brno": brno}, sources=sources)
    try:
        checks = _by_name(check_site(broken))
    finally:
        key.chmod(0o600)
    assert {name for name, check in checks.items() if not check.good} == {
        "key of project demo",
        "zone brno",
        "certificates of source drop",
    }
    assert "renew" in checks["certificates of source drop"].detail
    assert "chmod 600" in checks["key of project demo"].detail


def test_the_site_check_leaves_nothing_in_a_zone(stack: Stack) -> None:
    check_site(stack.site)
    with ProjectContext(stack.site, "demo") as context:
        names = [
            o.name for o in context.home.session.collections.get("/brno/home/rods").data_objects
        ]
    assert not [name for name in names if "check" in name]


def test_housekeeping_leaves_what_is_on_its_way_or_waits(stack: Stack) -> None:
    ct(stack.drop / "a.dcm", "1.2.3.1", "1.2.3.1.1")
    (stack.drop / "letter.txt").write_text("Dear colleague")
    with ProjectContext(stack.site, "demo") as context:
        refs = find_studies(context, "drop", StudyQuery())
        (stray,) = {row.ref for row in context.ledger.held.queue("demo")}
        wiped = {}
        for name in STEPS:
            wiped[name] = clean_up(context, DAY, DAY).folders
            refs = run_step(context, name, refs).refs
        # Once a study is deposited, nothing needs its files.
        assert wiped == dict.fromkeys(STEPS, 0) | {"replicate": 1}
        assert context.ledger.studies.state(refs[0]) is StudyState.VERIFIED
        assert not context.folders(refs[0]).staging.exists()
        assert not context.folders(refs[0]).outbox.exists()
        old = time.time() - 3 * DAY.total_seconds()
        os.utime(context.folders(stray).quarantine, (old, old))
        assert clean_up(context, DAY, DAY).quarantines == 0
        decide(context, stray, Verdict.REJECT, "eva", "a letter")
        assert clean_up(context, 9 * DAY, DAY).quarantines == 0
        assert clean_up(context, DAY, DAY).quarantines == 1
        assert not context.folders(stray).quarantine.exists()
