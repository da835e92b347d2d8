"""The gateway as a separate process, over TLS, killed and restarted."""

from __future__ import annotations

import os
import ssl
import sys

import pytest
import requests
from pynetdicom import AE
from pynetdicom.sop_class import Verification

from pacsgrid.dimse.reactor import work_around_races
from pacsgrid.embedded.ports import reserve_port
from pacsgrid.embedded.process import ChildProcess
from pacsgrid.errors import ConfigError
from pacsgrid.gateway.service import serve
from pacsgrid.grid.sharing import share
from support.certificates import make_certificates
from support.dicom import ct
from support.served_zones import PROJECT, ServedZones
from support.waiting import wait_until


def test_the_gateway_answers_over_tls_and_after_a_kill(served: ServedZones) -> None:
    certificates = make_certificates(served.dir / "tls")
    port, dicom_port = reserve_port(), reserve_port()
    served.add([ct(served.dir / "in.dcm", "1.2.1", "1.2.1.1.1")])
    share(served.home, PROJECT, ["eva#brno"])
    served.site(
        bind="127.0.0.1",
        http_port=port,
        dicom_port=dicom_port,
        peers=[{"ae_title": "EVA", "user": "eva#brno"}],
        cert_file=str(certificates.server),
        key_file=str(certificates.server_key),
        refresh_seconds=0.2,
    )
    env = {**os.environ, "PACSGRID_SITE": str(served.dir / "site.yaml")}
    env["PYTHONPATH"] = os.pathsep.join(sys.path)
    log = served.dir / "gateway.log"
    command = [sys.executable, "-m", "pacsgrid", "gateway"]
    root = f"https://localhost:{port}"
    session = requests.Session()
    session.trust_env = (
        False  # otherwise certificate authorities of the environment take precedence
    )
    session.verify = str(certificates.authority)

    context = ssl.create_default_context(cafile=certificates.authority)
    echoing = AE(ae_title="EVA")
    echoing.add_requested_context(Verification)

    def healthy() -> bool:
        try:
            return session.get(f"{root}/health", timeout=5).ok
        except requests.ConnectionError:
            return False

    def studies(**params: str) -> list[str]:
        headers = {"Authorization": "Bearer evaeva"}
        answer = session.get(
            f"{root}/dicom-web/studies", params=params, headers=headers, timeout=60
        )
        assert answer.status_code == 200, answer.text
        return [one["0020000D"]["Value"][0] for one in answer.json()]

    for number in range(2):
        child = ChildProcess("gateway", command, log, env)
        child.start()
        try:
            child.wait_ready(healthy, 90)
            wait_until(lambda: studies() != [], 60)
            assert "1.2.1" in studies(PatientName="Nováková*")
            assoc = echoing.associate(
                "127.0.0.1", dicom_port, ae_title="PACSGRID", tls_args=(context, "localhost")
            )
            work_around_races(assoc)
            assert assoc.is_established and assoc.send_c_echo().Status == 0
            assoc.release()
            served.add([ct(served.dir / "more.dcm", f"1.2.{2 + number}", f"1.2.{2 + number}.1.1")])
            wait_until(lambda n=number: len(studies()) == 2 + n, 60)  # type: ignore[misc]
            child.kill()
        finally:
            child.stop()
    assert not any(text in log.read_text() for text in ("Nov", "756203", "evaeva"))


def test_a_gateway_without_users_does_not_start(served: ServedZones) -> None:
    with pytest.raises(ConfigError, match="tokens and peers are empty"):
        serve(served.site(tokens=[]))
    with pytest.raises(ConfigError, match="cert_file"):
        serve(served.site(cert_file="/none.pem", key_file="/none.key"))
