"""Deposited studies are found under their pseudonyms, and no longer after a withdrawal."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

from dicomweb_client.api import DICOMwebClient
from pydicom import dcmread

from pacsgrid import grid
from pacsgrid.config import ReceiverSettings, Token
from pacsgrid.embedded.stack import Stack
from pacsgrid.gateway import Gateway, QueryLevel
from pacsgrid.gateway.service import PREFIX, application
from pacsgrid.grid import study_collection
from pacsgrid.model import StudyQuery
from pacsgrid.pacs.storage_scp.completion_watcher import CompletionWatcher
from pacsgrid.pipeline import STEPS, ProjectContext, clear_work_folders, find_studies, run_step
from pacsgrid.pipeline.maintain import maintain
from pacsgrid.pipeline.withdraw import withdraw
from support.dicom import ct
from support.served_zones import Listening

RODS = "rods#brno"


def test_what_is_stored_is_found_again_under_its_pseudonyms(tmp_path: Path) -> None:
    with Stack(tmp_path / "stack", airflow=False, say=lambda text: None) as stack:
        path = ct(tmp_path / "one.dcm", "1.2.3.5", "1.2.3.5.1.1", fill=5)
        secret = sha256(b"rods").hexdigest()
        token = Token(name="rods", user=RODS, sha256=secret, store=True)
        assert stack.site.gateway is not None
        site = replace(
            stack.site,
            receiver=ReceiverSettings(folder=stack.dir / "incoming", reserve_mb=0),
            gateway=stack.site.gateway.model_copy(update={"tokens": (token,)}),
        )
        with Gateway(site) as gateway, Listening(application(gateway)) as server:
            headers = {"Authorization": "Bearer rods"}
            client = DICOMwebClient(server.url + PREFIX, headers=headers)
            client.store_instances([dcmread(path)])
            CompletionWatcher(stack.dir / "incoming", 0.0, 0.0, lambda study: None).scan()
            with ProjectContext(site, "demo") as context:
                refs = find_studies(context, "received", StudyQuery())
                for name in STEPS:
                    refs = run_step(context, name, refs).refs
                assert clear_work_folders(context, refs) == 1
                (row,) = context.ledger.instances.of_study(refs[0])
            assert list((stack.dir / "incoming").glob("[!.]*")) == []
            gateway.refresh()
            assert client.search_for_studies(search_filters={"StudyInstanceUID": "1.2.3.5"}) == []
            (found,) = client.search_for_instances(search_filters={"Modality": "CT"})
            assert found["00080018"]["Value"] == [row.sop_uid]
            assert found["0020000D"]["Value"] == [row.study_uid]
            text = json.dumps(found, ensure_ascii=False)
            assert not any(value in text for value in ("ovák", "756203", "ACC-77123", "1.2.3.5"))
            got = client.retrieve_instance(row.study_uid, row.series_uid, row.sop_uid)
            assert got.PatientID == row.subject
            assert got.PixelData == dcmread(path).PixelData


def test_a_study_from_its_deposit_to_its_withdrawal(tmp_path: Path) -> None:
    with Stack(tmp_path / "stack", airflow=False, say=lambda text: None) as stack:
        for number in range(3):
            ct(stack.drop / f"{number}.dcm", "1.2.3.4", f"1.2.3.4.1.{number}", fill=number)
        with ProjectContext(stack.site, "demo") as context, Gateway(stack.site) as gateway:
            refs = find_studies(context, "drop", StudyQuery())
            for name in STEPS:
                refs = run_step(context, name, refs).refs
            clear_work_folders(context, refs)
            row = context.ledger.instances.of_study(refs[0])[0]
            gateway.refresh()
            found = list(gateway.find(RODS, QueryLevel.IMAGE, {"00080060": "CT"}))
            assert [one.study for one in found] == [row.study_uid] * 3
            # Each zone's own catalog decides who may read there.
            for user, zones in ((RODS, 1), ("rods#praha", 2)):
                assert {i.zones for i in gateway.instances(user, row.study_uid)} == {zones}
            text = json.dumps([one.attributes for one in found], ensure_ascii=False)
            assert not any(value in text for value in ("ovák", "756203", "ACC-77123", "1.2.3.4"))
            assert found[0].attributes["00100020"]["Value"] == [row.subject]
            assert found[0].attributes["00280010"]["Value"] == [32]
            # The outbox is empty by now: a lost or older manifest is rewritten from the objects.
            places = [
                (zone, study_collection(zone.settings.name, "demo", row.subject, row.study_uid))
                for zone in (context.home, *context.partners)
            ]
            before = [grid.get_document(zone, f"{place}/manifest.json") for zone, place in places]
            assert before[0] == before[1]
            for zone, place in places:
                grid.remove_object(zone, f"{place}/manifest.json")
            maintain(context, datetime.now(UTC) + timedelta(days=40))
            assert before == [
                grid.get_document(zone, f"{place}/manifest.json") for zone, place in places
            ]
            assert gateway.refresh() == 0
            # The partner zone is unreachable during the withdrawal, so it still has the study.
            stack.zones["praha"].stop()
            assert withdraw(context, row.subject) == ["praha"]
            stack.start_zone("praha")
        with Gateway(stack.site) as gateway:
            assert gateway.index.copies(gateway.index.zone_bit("praha"), "demo")
            gateway.refresh()
            assert not gateway.index.copies(gateway.index.zone_bit("praha"), "demo")
            assert list(gateway.find("rods#praha", QueryLevel.STUDY, {})) == []
