"""Every endpoint that Airflow's API declares, asked for by those who have no business there."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
import yaml

ASKING = ("GET", "POST", "PUT", "PATCH", "DELETE")
# What a request says of itself comes back in refusals; what is told beyond that is a leak.
_WORD = re.compile(r"[\w.:+-]+")


@dataclass(frozen=True)
class Asked:
    """One request to one endpoint, and whether it names a run."""

    method: str
    route: str
    path: str
    names_run: bool
    body: object


# Endpoints of Airflow's UI that show nothing without being asked for something.
_ASKED_WITH = {
    "/ui/backfills": "dag_id={dag_id}",
    "/ui/dags": "dag_runs_limit=10",
    "/ui/dashboard/historical_metrics_data": "start_date=2020-01-01T00:00:00Z",
    "/ui/grid/runs/{dag_id}": "limit=50&order_by=-run_after",
    "/ui/grid/ti_summaries/{dag_id}": "run_ids={run_id}",
    "/ui/structure/structure_data": "dag_id={dag_id}",
}


def declared(public: Mapping[str, Any]) -> dict[str, Any]:
    """Return the paths of the public API's document and of the one that Airflow's UI is made of."""
    folder = Path(importlib.util.find_spec("airflow.api_fastapi.core_api.openapi").origin).parent
    private = yaml.safe_load((folder / "_private_ui.yaml").read_text())
    return {"paths": {**private["paths"], **public["paths"]}}


def endpoints(document: Mapping[str, Any], named: Mapping[str, str]) -> Iterator[Asked]:
    """Give each declared endpoint with these values in the place of its parameters.

    Each that takes a run or a DAG is given once more with ``~``, which means all of them.
    """
    for route, methods in document["paths"].items():
        for method in methods:
            # Who logs out asks for nothing more.
            if method.upper() not in ASKING or route.endswith("/logout"):
                continue
            ways = [named]
            if "{dag_run_id}" in route or "{run_id}" in route:
                ways.append({**named, "dag_run_id": "~", "run_id": "~"})
                ways.append({**named, "dag_id": "~", "dag_run_id": "~", "run_id": "~"})
            for way in ways:
                path = re.sub(r"\{([^}:]+)(?::path)?\}", lambda m, w=way: w.get(m[1], "1"), route)
                if query := _ASKED_WITH.get(route):
                    path += "?" + query.format(**{**way, "run_id": quote(named["run_id"])})
                names = "run_id}" in route and way["dag_run_id"] != "~"
                yield Asked(method.upper(), route, path, names, _body(route, named))


def _body(route: str, named: Mapping[str, str]) -> object:
    """Return a body that the endpoint would take, if it did."""
    run, dag = named["dag_run_id"], named["dag_id"]
    conf = {"project": named["project"]}
    if route.endswith("/hitlDetails"):
        given = {"profile": None, "reason": ""}
        return {"chosen_options": ["Leave it held"], "params_input": given}
    if route.endswith("/dagRuns"):
        return {"logical_date": None, "conf": conf}
    if route.endswith("/list"):
        return {"dag_ids": [dag]} if "taskInstances" not in route else {"dag_run_ids": [run]}
    if route.endswith("clearTaskInstances"):
        return {"dag_run_id": run, "dry_run": False, "only_failed": False}
    if route.endswith("/clear"):
        return {"dry_run": False}
    if route.endswith("/clearDagRuns"):
        return {"dag_runs": [{"dag_id": dag, "dag_run_id": run}], "dry_run": False}
    if "/taskInstances" in route and "xcom" not in route:
        return {"new_state": "failed", "dry_run": False}
    if route.endswith("/dags/{dag_id}") or route.endswith("/dags"):
        return {"is_paused": True}
    if route.endswith("/{dag_run_id}"):
        return {"state": "failed"}
    if route.endswith("/materialize"):
        return {"conf": conf}
    if route.endswith("/backfills") or route.endswith("/backfills/dry_run"):
        times = {"from_date": "2026-01-01T00:00:00Z", "to_date": "2026-01-02T00:00:00Z"}
        return {"dag_id": dag, **times, "dag_run_conf": conf}
    if route.endswith("/variables"):
        return {"key": "stranger", "value": "was here"}
    if route.endswith("/pools"):
        return {"name": "stranger", "slots": 1}
    if route.endswith("/connections"):
        return {"connection_id": "stranger", "conn_type": "dicom"}
    if "xcomEntries" in route:
        return {"key": "stranger", "value": "was here", "map_index": -1}
    if route.endswith("/assets/events"):
        return {"asset_id": 1, "extra": conf}
    return {}


def told(asked: Asked, answer: requests.Response, secrets: frozenset[str]) -> set[str]:
    """Return which of the secrets an answer tells that were not in the request itself."""
    given = set(_WORD.findall(f"{asked.path} {asked.body}"))
    return {one for one in secrets - given if one in answer.text and one not in str(asked)}


Send = Callable[..., requests.Response]


def disguises(mine: str, path: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give an address and headers for each way to be taken for somebody else.

    Parameters
    ----------
    mine
        A valid token of somebody who may not.
    path
        What they may not see.
    """
    cookie = {"Cookie": f"_token={mine}"}
    for scheme in (
        "Bearer",
        "Bearer ",
        "bearer",
        "Bearer x.y.z",
        "Bearer  ",
        "Basic eDp5",
        "JWT x",
    ):
        yield path, {**cookie, "Authorization": scheme}
    yield path, {"Authorization": f"bearer {mine}"}
    yield path, {"Authorization": f"BEARER  {mine}"}
    yield path, {"Authorization": f"Bearer {mine}, Bearer {mine}"}
    yield path, {"Cookie": f"_token=x; _token={mine}"}
    yield path, {"Cookie": f"_token={mine}; _token=x"}
    yield path, {"Authorization": "", **cookie}
    headers = {"Authorization": f"Bearer {mine}"}
    yield path, {**headers, "X-HTTP-Method-Override": "GET", "X-Original-URL": path}
    yield path, {**headers, "X-Forwarded-User": "ota", "Remote-User": "ota"}
    yield path, {**headers, "Accept-Encoding": "br, gzip", "Accept": "application/x-ndjson"}
    yield f"/{path}", headers
    yield f"{path}/", headers
    yield path.replace("/api/", "/%61pi/", 1), headers
    yield path.replace("/dags/", "/dags//", 1), headers
    yield path.replace("/dags/", "/x/../dags/", 1), headers
    yield path.replace("/dagRuns/", "/dagRuns%2F", 1), headers
    yield f"/pacsgrid/..{path}", headers
    yield f"/static/%2e%2e{path}", headers
    yield f"/execution{path}", headers
