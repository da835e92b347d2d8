"""A partner that is away delays its own copies alone and gets them when it is back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from irods.models import Collection

from pacsgrid.cli import main
from pacsgrid.config import SITE_ENV
from pacsgrid.embedded.stack import Stack
from pacsgrid.grid import collection_of_study
from pacsgrid.model import StudyQuery, StudyState
from pacsgrid.pipeline import STEPS, ProjectContext, find_studies, run_step
from pacsgrid.pipeline.maintain import maintain
from pacsgrid.pipeline.report import project_report
from support.dicom import ct
from support.replica_proofs import proven_once
from support.zones_under_test import bare_stack


def set_partners(stack: Stack, partners: list[str]) -> None:
    file = stack.dir / "site.yaml"
    site = yaml.safe_load(file.read_text())
    site["projects"]["demo"]["partner_zones"] = partners
    site["gateway"]["serve"] = [{"zone": zone} for zone in ("brno", *partners)]
    file.write_text(yaml.safe_dump(site))


def test_an_absent_partner_is_caught_up_and_one_can_leave_and_join(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with bare_stack(tmp_path / "stack") as stack:
        for number in range(3):
            ct(stack.drop / f"{number}.dcm", "1.2.3.4", f"1.2.3.4.1.{number}", fill=number)
        stack.zones["praha"].kill()
        with ProjectContext(stack.site, "demo") as context:
            refs = find_studies(context, "drop", StudyQuery())
            for name in STEPS:
                refs = run_step(context, name, refs).refs
            (ref,) = refs
            assert context.ledger.studies.state(ref) is StudyState.VERIFIED
            owed = project_report(context)
            assert (owed.zones["brno"].lacking, owed.zones["praha"].lacking) == (0, 3)
            assert [one["zone"] for one in owed.away] == ["praha"]
            stack.start_zone("praha")
            soon = maintain(context)  # the zone is back, but its time to be asked has not come
            assert (soon.copied, soon.postponed) == (0, 1)
            later = datetime.now(UTC) + timedelta(hours=1)
            assert maintain(context, later).copied == 3
            assert proven_once(context, ref)
            assert (
                project_report(context, later).settled and not project_report(context, later).away
            )
            for path in (p for vault in stack.storage.values() for p in vault.rglob("*")):
                if (
                    path.is_file()
                    and path.stat().st_size > 50
                    and b'"profile_hash"' in (head := path.read_bytes()[:400])
                ):
                    path.write_bytes(head[::-1])
            much_later = later + timedelta(days=40)
            assert maintain(context, much_later).failures == []
            partner, rows = context.partners[0], context.ledger.instances.of_study(ref)
            for zone in (context.home, partner):
                path = f"{collection_of_study(zone, 'demo', rows)}/manifest.json"
                with zone.session.data_objects.open(path, "r") as stream:
                    assert b'"profile_hash"' in stream.read()
            avus = partner.session.metadata.get(
                Collection, collection_of_study(partner, "demo", rows)
            )
            assert {"pacsgrid.subject", "pacsgrid.verified"} <= {avu.name for avu in avus}

        monkeypatch.setenv(SITE_ENV, str(stack.dir / "site.yaml"))
        assert main(["remove-partner", "demo", "praha", "--erase"]) == 2
        assert "take it out of partner_zones first" in capsys.readouterr().err
        set_partners(stack, [])
        assert main(["remove-partner", "demo", "praha", "--erase"]) == 0
        with ProjectContext(stack.site, "demo") as context:
            assert not context.zone("praha").session.collections.exists("/praha/home/demo")
            assert {proof.zone for proof in context.ledger.proofs.of_study(ref)} == {"brno"}
        set_partners(stack, ["praha"])
        assert main(["report", "demo"]) == 3
        assert main(["maintain", "demo"]) == 0
        assert "3 objects copied" in capsys.readouterr().out
        with ProjectContext(stack.site, "demo") as context:
            assert proven_once(context, ref)
