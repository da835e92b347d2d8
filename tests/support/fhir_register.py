"""A FHIR server that stands in for a hospital's: pseudonyms as gPAS gives them, and consents."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

GPAS = "https://ths-greifswald.de/gpas"


@dataclass
class FhirRegister:
    """What the server knows, and what it was asked.

    `broken` is the status it answers everything with instead; `answer` a body to answer with.
    """

    port: int = 0
    domain: str = "LUNG"
    pseudonyms: dict[str, str] = field(default_factory=dict)
    consents: list[dict[str, Any]] = field(default_factory=list)
    patients: dict[str, dict[str, Any]] = field(default_factory=dict)
    page: int = 50
    token: str = ""
    broken: int = 0
    answer: bytes | None = None
    silent: bool = False
    paths: list[str] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/fhir"

    def pseudonymize(self, operation: str, asked: dict[str, Any]) -> tuple[int, dict[str, Any]]:
        given = [(one["name"], one["valueString"]) for one in asked["parameter"]]
        if dict(given)["target"] != self.domain:
            return 404, _outcome("not-found")
        told: list[dict[str, Any]] = []
        for original in (value for name, value in given if name == "original"):
            if original not in self.pseudonyms and operation != "$pseudonymize":
                self.pseudonyms[original] = f"LUNG_{len(self.pseudonyms):05}"
            if original not in self.pseudonyms:
                code = {"system": GPAS, "code": "pseudonym-not-found"}
                part = [
                    {"name": "original", "valueIdentifier": {"system": GPAS, "value": original}},
                    {"name": "error-code", "valueCoding": code},
                ]
                told.append({"name": "error", "part": part})
                continue
            values = (
                ("original", original),
                ("target", self.domain),
                ("pseudonym", self.pseudonyms[original]),
            )
            part = [
                {"name": name, "valueIdentifier": {"system": GPAS, "value": value}}
                for name, value in values
            ]
            told.append({"name": "pseudonym", "part": part})
        return 200, {"resourceType": "Parameters", "parameter": told}

    def search(self, criteria: dict[str, str], start: int) -> dict[str, Any]:
        found = self.consents
        if wanted := criteria.get("patient.identifier"):
            names = set(wanted.split(","))
            found = [c for c in found if names & self._names(c)]
        if since := criteria.get("_lastUpdated", "").removeprefix("ge"):
            found = [c for c in found if c["meta"]["lastUpdated"] >= since]
        page = found[start : start + self.page]
        entries = [{"resource": one, "search": {"mode": "match"}} for one in page]
        for ref in {one["patient"]["reference"] for one in page if "reference" in one["patient"]}:
            entries.append({"resource": self.patients[ref], "search": {"mode": "include"}})
        links = []
        if start + self.page < len(found):
            again = "&".join(f"{k}={v}" for k, v in criteria.items() if k == "_lastUpdated")
            links = [{"relation": "next", "url": f"{self.url}?from={start + self.page}&{again}"}]
        return {"resourceType": "Bundle", "type": "searchset", "entry": entries, "link": links}

    def _names(self, consent: dict[str, Any]) -> set[str]:
        patient = consent["patient"]
        identifiers = [patient["identifier"]] if "identifier" in patient else []
        if "reference" in patient:
            identifiers += self.patients[patient["reference"]]["identifier"]
        return {f"{one.get('system', '')}|{one['value']}" for one in identifiers} | {
            one["value"] for one in identifiers
        }


def _outcome(code: str) -> dict[str, Any]:
    return {"resourceType": "OperationOutcome", "issue": [{"severity": "error", "code": code}]}


@contextmanager
def fhir_register() -> Iterator[FhirRegister]:
    """Run the server for the length of a block."""
    register, ended = FhirRegister(), threading.Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *what: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._answer({})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            register.bodies.append(body)
            form = "json" not in self.headers["Content-Type"]
            self._answer(dict(parse_qsl(body)) if form else json.loads(body))

        def _answer(self, asked: dict[str, Any]) -> None:
            register.paths.append(self.path)
            if register.silent:
                ended.wait(30)
            path, _, query = self.path.partition("?")
            status, told = 200, {"resourceType": "CapabilityStatement"}
            bearer = f"Bearer {register.token}" if register.token else None
            if self.headers["Authorization"] != bearer:
                status, told = 401, _outcome("login")
            elif register.broken:
                status, told = register.broken, _outcome("exception")
            elif "/$pseudonymize" in path:
                status, told = register.pseudonymize(path.rsplit("/", 1)[1], asked)
            elif path.endswith("/Consent/_search"):
                told = register.search(asked, 0)
            elif query:
                given = dict(parse_qsl(query))
                told = register.search(given, int(given["from"]))
            sent = json.dumps(told).encode() if register.answer is None else register.answer
            self.send_response(status)
            self.send_header("Content-Type", "application/fhir+json")
            self.send_header("Content-Length", str(len(sent)))
            self.end_headers()
            self.wfile.write(sent)

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *what: Any) -> None:
            """Say nothing of a client that did not wait for its answer."""

    server = Server(("127.0.0.1", 0), Handler)
    register.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield register
    finally:
        ended.set()
        server.shutdown()
        thread.join()
        server.server_close()
