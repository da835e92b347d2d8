"""A failed task is told to a site's webhook and by mail, by names only."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
import yaml
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, Session

from pacsgrid.airflow.notify import notify_failure
from pacsgrid.config import site_names
from pacsgrid.embedded.ports import reserve_port
from pacsgrid.errors import ConfigError
from support.certificates import make_certificates

RUN = "manual__2026-11-25T13:28:49.576200+00:00"
TASK = SimpleNamespace(dag_id="ingest_studies", task_id="find", run_id=RUN, log_url="http://a/log")
CONTEXT = {"ti": TASK, "exception": ValueError("about Zrzavá^Kvido")}


@pytest.fixture
def heard() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """A server's address, and what it heard: the authorization and the text."""
    got: list[tuple[str, str]] = []

    class Listener(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.append((self.headers.get("Authorization", ""), json.loads(body)["text"]))
            self.send_response(200 if self.path == "/hook" else 500)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Listener) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}", got
        server.shutdown()
        thread.join()


def _connect(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    connection = {"conn_type": "http", "host": url, "password": "secret"}
    monkeypatch.setenv("AIRFLOW_CONN_PACSGRID_WEBHOOK", json.dumps(connection))


def test_a_failure_is_told_by_names_only(
    heard: tuple[str, list[tuple[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, got = heard
    _connect(monkeypatch, f"{url}/hook")
    notify_failure(CONTEXT)
    ((authorization, text),) = got
    assert authorization == "Bearer secret"
    assert all(word in text for word in ("ingest_studies", "find", RUN, "http://a/log"))
    assert "Zrzav" not in text


def test_a_webhook_that_refuses_is_logged_and_not_raised(
    heard: tuple[str, list[tuple[str, str]]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    url, got = heard
    _connect(monkeypatch, f"{url}/other")
    notify_failure(CONTEXT)
    assert len(got) == 1 and "was not sent" in caplog.text


def test_a_run_that_somebody_named_is_not_told_by_name(
    heard: tuple[str, list[tuple[str, str]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    url, got = heard
    _connect(monkeypatch, f"{url}/hook")
    named = SimpleNamespace(**{**vars(TASK), "run_id": "Zrzavá", "log_url": "http://a/Zrzav%C3%A1"})
    notify_failure({"ti": named})
    ((_, text),) = got
    assert text == "pacsgrid: ingest_studies, task find has failed"


class Postman:
    """Takes every mail, as the mail server of a hospital would."""

    def __init__(self) -> None:
        self.mails: list[tuple[list[str], EmailMessage]] = []

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        message = message_from_bytes(envelope.original_content, policy=policy.default)
        self.mails.append((envelope.rcpt_tos, cast(EmailMessage, message)))
        return "250 taken"


@pytest.fixture
def postman(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Postman, dict[str, object]]]:
    """A mail server over TLS that wants a password, and the connection that has it."""
    made = make_certificates(tmp_path / "tls")
    monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(made.server, made.server_key)

    def known(server: SMTP, session: Session, way: str, mechanism: str, given: Any) -> AuthResult:
        good = (given.login, given.password) == (b"pacsgrid", b"secret")
        return AuthResult(success=good, handled=False)

    taken = Postman()
    server = Controller(
        taken,
        hostname="127.0.0.1",
        port=reserve_port(),
        tls_context=tls,
        require_starttls=True,
        authenticator=known,
        auth_required=True,
    )
    server.start()
    site = {
        **{room: f"/x/{room}" for room in ("staging", "outbox", "quarantine")},
        **{section: {} for section in ("sources", "zones", "projects")},
        "vault_key_file": "/x/vault.key",
        "alerts": {"mail_to": ["pacs@example.org", "it@example.org"], "connection": "mail"},
    }
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(site))
    monkeypatch.setenv("PACSGRID_SITE", str(tmp_path / "site.yaml"))
    connection = {
        "conn_type": "smtp",
        "host": "localhost",
        "port": server.port,
        "login": "pacsgrid",
        "password": "secret",
        # STARTTLS, as on port 587.
        "extra": {"from_email": "airflow@example.org", "retry_limit": 0, "disable_ssl": True},
    }
    monkeypatch.setenv("AIRFLOW_CONN_MAIL", json.dumps(connection))
    yield taken, connection
    server.stop()


def test_a_failure_is_mailed_to_those_whom_the_site_names(
    postman: tuple[Postman, dict[str, object]],
) -> None:
    taken, _ = postman
    notify_failure(CONTEXT)
    ((to, mail),) = taken.mails
    assert to == ["pacs@example.org", "it@example.org"] and mail["From"] == "airflow@example.org"
    assert mail["Subject"] == f"pacsgrid: ingest_studies, task find of run {RUN} has failed"
    body = mail.get_body(("html",))
    assert body is not None and 'href="http://a/log"' in body.get_content()
    assert "Zrzav" not in mail.as_string() + body.get_content()


def test_mail_and_webhook_do_not_need_each_other(
    postman: tuple[Postman, dict[str, object]],
    heard: tuple[str, list[tuple[str, str]]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    taken, connection = postman
    url, got = heard
    _connect(monkeypatch, f"{url}/other")
    notify_failure(CONTEXT)
    assert len(taken.mails) == 1 and "the webhook about" in caplog.text
    monkeypatch.setenv("AIRFLOW_CONN_MAIL", json.dumps({**connection, "password": "wrong"}))
    _connect(monkeypatch, f"{url}/hook")
    notify_failure(CONTEXT)
    assert len(taken.mails) == 1 and len(got) == 2 and "the mail about" in caplog.text
    assert "wrong" not in caplog.text


def test_a_wrong_mail_address_is_refused_by_its_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = {"alerts": {"mail_to": ["it@example.org", "the steward"]}}
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(site))
    monkeypatch.setenv("PACSGRID_SITE", str(tmp_path / "site.yaml"))
    with pytest.raises(ConfigError, match=r"alerts.mail_to: .*entry 2 is no mail address"):
        site_names()


def test_without_webhook_and_mail_nothing_happens(caplog: pytest.LogCaptureFixture) -> None:
    notify_failure(CONTEXT)
    assert caplog.text == ""
