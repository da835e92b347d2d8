"""What leaves is recorded before it leaves, and an audit record repository hears of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from pynetdicom import AE, build_role, evt
from pynetdicom.sop_class import (  # type: ignore[attr-defined]
    CTImageStorage,
    StudyRootQueryRetrieveInformationModelGet,
)

from pacsgrid.config import AuditSettings, Peer, Site
from pacsgrid.errors import RetryableError
from pacsgrid.gateway import Gateway
from pacsgrid.gateway.dimse.service import Node
from pacsgrid.gateway.service import PREFIX, application
from pacsgrid.grid.sharing import share
from pacsgrid.ledger import Ledger
from pacsgrid.pipeline.audit_sender import send_audit
from support.certificates import Certificates, make_certificates
from support.dicom import ct
from support.served_zones import PROJECT, Client, Listening, ServedZones
from support.syslog_server import SyslogServer

STUDY = "1.2.840.77"


@dataclass
class Served:
    site: Site
    root: str
    port: int
    certificates: Certificates
    subject: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, module_dsn: str) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("audited")
    certificates = make_certificates(folder / "certificates")
    with ServedZones(folder) as zones:
        paths = [ct(folder / "in" / f"{n}.dcm", STUDY, f"{STUDY}.1.{n}", fill=n) for n in range(3)]
        (study,) = zones.add(paths)
        share(zones.home, PROJECT, ["eva#brno"])
        site = zones.site()
        audit = AuditSettings(
            host="localhost",
            port=1,
            ca_file=certificates.authority,
            cert_file=certificates.client,
            key_file=certificates.client_key,
            enterprise_site="Brno",
        )
        assert site.gateway is not None
        settings = site.gateway.model_copy(
            update={"peers": (Peer(ae_title="VIEWER", user="eva#brno"),), "dicom_port": 0}
        )
        site = replace(site, ledger_dsn=module_dsn, audit=audit, gateway=settings)
        with (
            Gateway(site) as gateway,
            Listening(application(gateway)) as server,
            Node(gateway) as node,
        ):
            gateway.refresh()
            yield Served(site, server.url + PREFIX, node.port, certificates, study.subject)


def get(port: int) -> int:
    """Retrieve the study by C-GET; give the final status."""
    entity = AE("VIEWER")
    entity.add_requested_context(StudyRootQueryRetrieveInformationModelGet)
    entity.add_requested_context(CTImageStorage)
    association = entity.associate(
        "127.0.0.1",
        port,
        ae_title="PACSGRID",
        ext_neg=[build_role(CTImageStorage, scp_role=True)],
        evt_handlers=[(evt.EVT_C_STORE, lambda event: 0)],
    )
    ds = Dataset()
    ds.QueryRetrieveLevel, ds.StudyInstanceUID = "STUDY", STUDY
    *_, (status, _) = association.send_c_get(ds, StudyRootQueryRetrieveInformationModelGet)
    association.release()
    return int(status.Status)


def test_every_retrieval_is_on_record_and_reported(served: Served) -> None:
    client = Client(served.root)
    assert client.ask(f"/studies/{STUDY}").status_code == 200
    # A viewer's many requests for one study are one record; a search is none.
    assert client.ask(f"/studies/{STUDY}/metadata").status_code == 200
    assert client.ask("/studies").status_code == 200
    assert client.ask("/studies/1.2.3").status_code == 404
    assert get(served.port) == 0
    ledger = Ledger(served.site.ledger_dsn)
    web, dimse = (record.what for record in ledger.disclosures.of_study(PROJECT, STUDY))
    assert (web.who, web.way, web.address) == ("eva#brno (eva)", "DICOMweb", "127.0.0.1")
    assert (dimse.who, dimse.way, dimse.address) == ("eva#brno (VIEWER)", "C-GET", "127.0.0.1")
    assert web.classes == dimse.classes == {str(CTImageStorage): 3}
    assert {web.subject, dimse.subject} == {served.subject}
    # The repository is away: the ledger keeps what it is to hear.
    with pytest.raises(RetryableError, match="keeps what was not sent"):
        send_audit(served.site)
    assert len(ledger.disclosures.unsent(10)) == 2
    with SyslogServer(served.certificates) as repository:
        assert served.site.audit is not None
        there = served.site.audit.model_copy(update={"port": repository.port})
        assert send_audit(replace(served.site, audit=there)) == 2
        assert send_audit(replace(served.site, audit=there)) == 0
    assert repository.errors == []
    first, second = repository.messages
    assert [one.get("UserID") for one in first.findall("ActiveParticipant")] == [
        "pacsgrid",
        "eva#brno (eva)",
    ]
    assert first.find("EventIdentification/EventID").get("csd-code") == "110104"
    objects = {
        one.find("ParticipantObjectIDTypeCode").get("csd-code"): one.get("ParticipantObjectID")
        for one in second.findall("ParticipantObjectIdentification")
    }
    assert objects == {"110180": STUDY, "2": served.subject}
    assert second.find(".//SOPClass").get("NumberOfInstances") == "3"
    assert second.find(".//Anonymized").text == "true"


def test_nothing_leaves_that_cannot_be_recorded(served: Served) -> None:
    away = replace(served.site, ledger_dsn="host=127.0.0.1 port=1 dbname=none connect_timeout=1")
    with (
        Gateway(away) as gateway,
        Listening(application(gateway)) as server,
        Node(gateway) as node,
    ):
        gateway.refresh()
        answer = Client(server.url + PREFIX).ask(f"/studies/{STUDY}")
        assert answer.status_code == 503 and "cannot record" in answer.json()["detail"]
        assert get(node.port) == 0xA701


def test_a_repository_that_nobody_vouches_for_hears_nothing(served: Served, tmp_path: Path) -> None:
    assert get(served.port) == 0
    with SyslogServer(make_certificates(tmp_path / "others")) as repository:
        assert served.site.audit is not None
        there = served.site.audit.model_copy(update={"port": repository.port})
        with pytest.raises(RetryableError):
            send_audit(replace(served.site, audit=there))
    assert repository.messages == []
    assert Ledger(served.site.ledger_dsn).disclosures.unsent(1)
