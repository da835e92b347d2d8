"""Who may reach which of Airflow's endpoints, by method and route, before Airflow's own rights.

An endpoint that is not listed is for operators only. So endpoints of a new Airflow stay closed to
everybody else until they are reviewed and listed.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from enum import Enum
from typing import Any
from urllib.parse import parse_qsl

from pacsgrid.config import site_names
from pacsgrid.errors import ConfigError
from pacsgrid.run_conf import DAGS, PROJECT_DAGS, check_conf

ANY = "~"


class Rule(Enum):
    """What an endpoint needs."""

    OPEN = "nothing: it shows no runs, and logging in needs it"
    READ = "a user; it shows the runs of the user's projects"
    CHANGE = "a user who may read every project that the request is for"
    OPERATE = "an operator"


_DAG, _RUN = "/api/v2/dags/{dag_id}", "/api/v2/dags/{dag_id}/dagRuns/{dag_run_id}"
_TASK = f"{_RUN}/taskInstances/{{task_id}}"
_MAPPED = f"{_TASK}/{{map_index}}"

# Applications that authenticate by themselves: Airflow's auth manager, its task API and ours.
# Airflow's other mounts are for operators.
MOUNTS = frozenset({"/auth", "/execution", "/static", "/pacsgrid", "/dicom-web"})

_OPEN = {
    ("GET", path)
    for path in (
        "/openapi.json",
        "/docs",
        "/docs/oauth2-redirect",
        "/redoc",
        "/health",
        "/api/v1/{_:path}",
        "/api/{_:path}",
        "/{rest_of_path:path}",
        "/api/v2/monitor/health",
        "/api/v2/version",
        "/api/v2/auth/login",
        "/api/v2/auth/logout",
    )
}
_READ = {
    *(
        ("GET", path)
        for path in (
            "/ui/auth/menus",
            "/ui/auth/me",
            "/ui/config",
            "/ui/teams",
            "/ui/dags",
            "/ui/dags/{dag_id}/latest_run",
            "/ui/dags/{dag_id}/dagRuns/{dag_run_id}/stats",
            "/ui/dags/{dag_id}/dagRuns/{dag_run_id}/deadlines",
            "/ui/dags/{dag_id}/deadlineAlerts",
            "/ui/next_run_assets/{dag_id}",
            "/ui/structure/structure_data",
            "/ui/dependencies",
            "/ui/backfills",
            "/ui/grid/structure/{dag_id}",
            "/ui/grid/runs/{dag_id}",
            "/ui/grid/ti_summaries/{dag_id}",
            "/ui/gantt/{dag_id}/{run_id}",
            "/ui/calendar/{dag_id}",
            "/ui/dashboard/historical_metrics_data",
            "/ui/dashboard/dag_stats",
            "/api/v2/assets",
            "/api/v2/assets/aliases",
            "/api/v2/assets/aliases/{asset_alias_id}",
            "/api/v2/assets/events",
            "/api/v2/assets/{asset_id}",
            "/api/v2/backfills",
            "/api/v2/dagSources/{dag_id}",
            "/api/v2/dagStats",
            "/api/v2/dagTags",
            "/api/v2/dagWarnings",
            "/api/v2/plugins",
            "/api/v2/dags",
            _DAG,
            f"{_DAG}/details",
            f"{_DAG}/tasks",
            f"{_DAG}/tasks/{{task_id}}",
            f"{_DAG}/dagVersions",
            f"{_DAG}/dagVersions/{{version_number}}",
            f"{_DAG}/dagRuns",
            _RUN,
            f"{_RUN}/upstreamAssetEvents",
            f"{_RUN}/wait",
            f"{_RUN}/hitlDetails",
            f"{_RUN}/taskInstances",
            _TASK,
            f"{_TASK}/links",
            f"{_TASK}/listMapped",
            f"{_TASK}/dependencies",
            f"{_TASK}/tries",
            f"{_TASK}/tries/{{task_try_number}}",
            f"{_TASK}/logs/{{try_number}}",
            f"{_TASK}/externalLogUrl/{{try_number}}",
            f"{_TASK}/xcomEntries",
            f"{_TASK}/xcomEntries/{{xcom_key:path}}",
            _MAPPED,
            f"{_MAPPED}/dependencies",
            f"{_MAPPED}/tries",
            f"{_MAPPED}/tries/{{task_try_number}}",
            f"{_MAPPED}/hitlDetails",
            f"{_MAPPED}/hitlDetails/tries/{{try_number}}",
        )
    ),
    ("POST", "/ui/auth/token"),
    ("POST", f"{_DAG}/dagRuns/list"),
    ("POST", f"{_RUN}/taskInstances/list"),
    ("POST", f"{_DAG}/favorite"),
    ("POST", f"{_DAG}/unfavorite"),
}
_CHANGE = {
    ("POST", f"{_DAG}/dagRuns"),
    ("PATCH", f"{_DAG}/dagRuns"),
    ("POST", f"{_DAG}/clearDagRuns"),
    ("POST", f"{_DAG}/clearTaskInstances"),
    ("PATCH", _RUN),
    ("DELETE", _RUN),
    ("POST", f"{_RUN}/clear"),
    ("PATCH", f"{_RUN}/taskInstances"),
    ("PATCH", f"{_RUN}/taskGroupInstances/{{group_id}}"),
    ("PATCH", f"{_RUN}/taskGroupInstances/{{group_id}}/dry_run"),
    ("PATCH", _TASK),
    ("PATCH", f"{_TASK}/dry_run"),
    ("PATCH", _MAPPED),
    ("PATCH", f"{_MAPPED}/dry_run"),
    ("PATCH", f"{_MAPPED}/hitlDetails"),
    # The receiver holds Airflow's right to create asset events; `check_body` checks their content.
    ("POST", "/api/v2/assets/events"),
}
# Bodies that name any runs, or none, which means all.
_MANY = {
    ("PATCH", f"{_DAG}/dagRuns"),
    ("POST", f"{_DAG}/clearDagRuns"),
    ("PATCH", f"{_RUN}/taskInstances"),
}
TRIGGER, ANSWER = ("POST", f"{_DAG}/dagRuns"), ("PATCH", f"{_MAPPED}/hitlDetails")
ANNOUNCE = ("POST", "/api/v2/assets/events")

_OWN_RUN_ID = re.compile(r"manual__(\d{4}-[0-9T:.+Z-]{1,40})")
_TRIGGERED_BY = {
    "conf",
    "dag_run_id",
    "data_interval_end",
    "data_interval_start",
    "logical_date",
    "note",
    "partition_key",
    "run_after",
}
_ANSWERED_WITH = {"profile", "reason"}


def rule_of(method: str, route: str) -> Rule:
    """Return what a route of Airflow's API needs.

    Parameters
    ----------
    method, route
        As ``GET`` and ``/api/v2/dags/{dag_id}``.

    Returns
    -------
    Rule
        `Rule.OPERATE` for a route that is not listed.
    """
    endpoint = (method, route)
    if endpoint in _OPEN:
        return Rule.OPEN
    if endpoint in _READ:
        return Rule.READ
    return Rule.CHANGE if endpoint in _CHANGE else Rule.OPERATE


def projects_of(
    method: str, route: str, path: Mapping[str, str], body: object, confs: Mapping[str, Any]
) -> Sequence[str]:
    """Return the projects that a changing request is for.

    Parameters
    ----------
    method, route, path
        The HTTP method, the route and what its placeholders stand for.
    body
        The request's JSON; Airflow refuses what is no object.
    confs
        The conf of each existing run among those that `runs_named` returned.

    Returns
    -------
    sequence of str
        Project names; all projects where the request names no run.
    """
    every = site_names().projects
    if (method, route) == ANNOUNCE:
        return ()
    dag = path.get("dag_id", ANY)
    if dag not in DAGS and dag != ANY:
        return ()
    if dag not in PROJECT_DAGS or not isinstance(body, dict) or (method, route) in _MANY:
        return every
    if (method, route) == TRIGGER:
        return _named(with_project(dag, body)["conf"])
    runs = runs_named(path, body)
    if not runs:
        return every
    # Airflow answers for runs that do not exist.
    return [name for run in runs if run in confs for name in _named(confs[run])]


def runs_named(path: Mapping[str, str], body: object) -> Sequence[str]:
    """Return the run that a request names.

    Parameters
    ----------
    path
        What the route's placeholders stand for.
    body
        The request's JSON.

    Returns
    -------
    sequence of str
        One run ID, or none.
    """
    run = path.get("dag_run_id") or (body.get("dag_run_id") if isinstance(body, dict) else None)
    return () if not isinstance(run, str) or run == ANY else (run,)


def runs_asked_for(path: Mapping[str, str], query: bytes) -> Sequence[str]:
    """Return the runs that a URL names in its path or query.

    Parameters
    ----------
    path
        What the route's placeholders stand for.
    query
        The query string.

    Returns
    -------
    sequence of str
        Run IDs, sorted.
    """
    pairs = [*path.items(), *parse_qsl(query.decode("latin-1"))]
    keys = ("dag_run_id", "run_id", "run_ids")
    return sorted({value for key, value in pairs if key in keys and value != ANY})


def _named(conf: object) -> tuple[str, ...]:
    project = conf.get("project") if isinstance(conf, dict) else None
    return (project if isinstance(project, str) else "",)


def with_project(dag: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Add the form's default project to a request that starts a run without naming one.

    So the run keeps its project when the site file changes later.

    Parameters
    ----------
    dag
        The DAG's ID.
    body
        The request's JSON.

    Returns
    -------
    dict
        The JSON to pass on.
    """
    conf = body.get("conf")
    every = site_names().projects
    if dag not in PROJECT_DAGS or not every:
        return {**body, "conf": conf}
    if conf is None:
        conf = {}
    if isinstance(conf, dict) and "project" not in conf:
        conf = {**conf, "project": every[0]}
    return {**body, "conf": conf}


def check_body(method: str, route: str, path: Mapping[str, str], body: object, asset: str) -> None:
    """Refuse free text and unknown keys: Airflow would store them, and they could name a patient.

    Parameters
    ----------
    method, route, path
        The HTTP method, the route and what its placeholders stand for.
    body
        The request's JSON.
    asset
        The URI of the asset that an event is about; empty for other requests.

    Raises
    ------
    ConfigError
        Names what is refused and what to do, never the value.
    """
    if not isinstance(body, dict):
        return
    if (method, route) == ANNOUNCE:
        _check_event(body.get("extra"), asset)
    dag = path.get("dag_id", body.get("dag_id", ANY))
    if dag not in DAGS and dag != ANY:
        return
    if any(note for key, note in _pairs(body) if key == "note"):
        raise ConfigError("Airflow stores notes as free text; leave the note empty")
    try:
        check_conf(str(dag), body.get("conf"))
        check_conf(str(dag), body.get("dag_run_conf"))
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if (method, route) == TRIGGER:
        if set(body) - _TRIGGERED_BY or body.get("partition_key"):
            raise ConfigError(
                f"a run may be started with these keys only: {', '.join(sorted(_TRIGGERED_BY))}"
            )
        if (run := body.get("dag_run_id")) and not _is_made_of_a_time(run):
            raise ConfigError("dag_run_id is free text; leave it empty and Airflow makes one")
    if (method, route) == ANSWER:
        given = body.get("params_input") or {}
        if set(body) - {"chosen_options", "params_input"} or not isinstance(given, dict):
            raise ConfigError("an answer may have chosen_options and params_input only")
        if set(given) - _ANSWERED_WITH:
            raise ConfigError(f"params_input may have {' and '.join(sorted(_ANSWERED_WITH))} only")


def _check_event(extra: object, asset: str) -> None:
    if not asset.startswith("pacsgrid://") or not extra:
        return
    names = site_names()
    known = {"source": names.sources, "project": names.projects}
    if not isinstance(extra, dict) or any(
        key not in known or value not in known[key] for key, value in extra.items()
    ):
        raise ConfigError("extra may name a source and a project of the site file, nothing else")


def _is_made_of_a_time(run: object) -> bool:
    found = _OWN_RUN_ID.fullmatch(run) if isinstance(run, str) else None
    try:
        return bool(found and datetime.fromisoformat(found[1]))
    except ValueError:
        return False


def _pairs(document: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield every key and value of a JSON document, at any depth."""
    waiting: list[Any] = [document]
    while waiting:
        container = waiting.pop()
        if isinstance(container, dict):
            yield from container.items()
        inner: Iterable[Any] = container.values() if isinstance(container, dict) else container
        waiting += [value for value in inner if isinstance(value, dict | list)]


def parsed(body: bytes) -> object:
    """Return a body as Airflow reads it; None if it is not JSON."""
    try:
        document: object = json.loads(body or b"{}")
    except (ValueError, RecursionError):
        return None
    return document
