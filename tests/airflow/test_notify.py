"""A failed task is told to a site's webhook, by names only."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from types import SimpleNamespace

import pytest

from pacsgrid.airflow.notify import failed

TASK = SimpleNamespace(dag_id="ingest_studies", task_id="find", run_id="r1", log_url="http://a/log")
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
    failed(CONTEXT)
    ((authorization, text),) = got
    assert authorization == "Bearer secret"
    assert all(word in text for word in ("ingest_studies", "find", "r1", "http://a/log"))
    assert "Zrzav" not in text


def test_a_webhook_that_refuses_is_logged_and_not_raised(
    heard: tuple[str, list[tuple[str, str]]],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    url, got = heard
    _connect(monkeypatch, f"{url}/other")
    failed(CONTEXT)
    assert len(got) == 1 and "could not tell" in caplog.text


def test_without_a_webhook_nothing_happens(caplog: pytest.LogCaptureFixture) -> None:
    failed(CONTEXT)
    assert caplog.text == ""
