"""A stand-in for DataCite's REST API: drafts of DOIs for one account and one prefix."""

from __future__ import annotations

import base64
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import unquote

from datacite import schema45

ACCOUNT = ("GRID.BRNO", "Kanarek7f3a")
PREFIX = "10.5072"
_TYPE = "application/vnd.api+json"


class DataCiteService:
    """Answers as the service does, as long as the context lives.

    Attributes
    ----------
    dois
        The attributes of each DOI.
    asked
        Method and path of every request.
    out_of_order
        The status that every request is answered with; 0 to answer them.
    """

    def __init__(self) -> None:
        self.dois: dict[str, dict[str, Any]] = {}
        self.asked: list[tuple[str, str]] = []
        self.out_of_order = 0
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer._answer(self)

            do_PUT = do_POST = do_GET

            def log_message(self, *given: Any) -> None:
                """Log nothing."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def connection(self, **changes: str) -> str:
        """Airflow's connection to it, as its variable holds it."""
        user, password = ACCOUNT
        given = {"conn_type": "datacite", "host": self.url, "login": user, "password": password}
        return json.dumps({**given, **changes})

    def _answer(self, request: BaseHTTPRequestHandler) -> None:
        length = int(request.headers.get("Content-Length") or 0)
        body = json.loads(request.rfile.read(length)) if length else None
        path = unquote(request.path).strip("/")
        self.asked.append((request.command, path))
        code, answer = self._handle(request, path, body)
        content = json.dumps(answer).encode()
        request.send_response(code)
        request.send_header("Content-Type", _TYPE)
        request.send_header("Content-Length", str(len(content)))
        request.end_headers()
        request.wfile.write(content)

    def _handle(
        self, request: BaseHTTPRequestHandler, path: str, body: Any
    ) -> tuple[int, dict[str, Any]]:
        if self.out_of_order:
            return self.out_of_order, {"errors": [{"title": "out of order"}]}
        if path == "heartbeat":
            return 200, {}
        expected = base64.b64encode(":".join(ACCOUNT).encode()).decode()
        if request.headers.get("Authorization") != f"Basic {expected}":
            return 401, {"errors": [{"status": "401", "title": "Bad credentials."}]}
        doi = path.removeprefix("dois").strip("/")
        if request.command == "GET":
            found = self.dois.get(doi)
            return (200, self._told(doi)) if found else (404, {"errors": [{"title": "not found"}]})
        if request.headers.get("Content-Type") != _TYPE:
            return 415, {"errors": [{"title": "wrong media type"}]}
        attributes = body["data"]["attributes"]
        if request.command == "PUT" and doi not in self.dois:
            return 404, {"errors": [{"title": "not found"}]}
        doi = attributes["doi"]
        if not doi.startswith(f"{PREFIX}/"):
            return 403, {"errors": [{"title": "not your prefix"}]}
        if request.command == "POST" and doi in self.dois:
            return 422, {"errors": [{"source": "doi", "title": "has already been taken"}]}
        if "titles" in attributes and not schema45.validator.is_valid(attributes):
            return 422, {"errors": [{"source": "metadata", "title": "is not schema 4.5"}]}
        self.dois[doi] = {**self.dois.get(doi, {"state": "draft"}), **attributes}
        return (201 if request.command == "POST" else 200), self._told(doi)

    def _told(self, doi: str) -> dict[str, Any]:
        return {"data": {"id": doi, "type": "dois", "attributes": self.dois[doi]}}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
