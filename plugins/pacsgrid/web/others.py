"""What Airflow shows of runs, without those for projects that the user may not read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import parse_qsl

from airflow.api_fastapi.auth.managers.models.base_user import BaseUser

from pacsgrid.config import site_names
from pacsgrid.web.access import sees

# The DAGs whose runs are for one project, which their parameter `project` names.
DAGS = ("ingest_studies", "review_held", "release_cohort", "withdraw_patient")
ANY = "~"
Run = tuple[str, str]  # DAG and run


def hidden_from(user: BaseUser) -> frozenset[str]:
    """Return the projects that are not a user's; none for an operator, who has no project.

    An operator sees to every run, and reads none of what it is about.
    """
    every = site_names().projects
    own = {project for project in every if sees(user, project)}
    return frozenset(every) - own if own else frozenset()


def projects_in(conf: Any) -> tuple[str, ...]:
    """Return the project in a run's parameters; the form's first where they name none."""
    every = site_names().projects
    project = conf.get("project", every[0] if every else "") if isinstance(conf, dict) else None
    if conf is None and every:
        project = every[0]
    # One that is not there is the form's to refuse.
    return (project,) if project in every else ()


def confs(runs: Iterable[Run]) -> dict[Run, Any]:
    """Return the parameters of those of the runs that there are."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session
    from sqlalchemy import select, tuple_

    with create_session() as session:
        found = session.execute(
            select(DagRun.dag_id, DagRun.run_id, DagRun.conf).where(
                tuple_(DagRun.dag_id, DagRun.run_id).in_(list(runs))
            )
        )
        return {(dag, run): conf for dag, run, conf in found}


def foreign(runs: Iterable[Run], hidden: frozenset[str]) -> set[Run]:
    """Return those of the runs that are for a hidden project."""
    asked = set(runs)
    if not asked:
        return set()
    return {run for run, conf in confs(asked).items() if hidden.intersection(projects_in(conf))}


def asked_for(path: str, query: bytes) -> set[Run]:
    """Return every run that a request's address may mean."""
    parts = [part for part in path.split("/") if part]
    dags = [dag for dag in DAGS if dag in parts] or (DAGS if ANY in parts else ())
    values = [value for _, value in parse_qsl(query.decode("latin-1"))]
    return {(dag, run) for dag in dags for run in {*parts, *values} - {dag, ANY}}


def without(body: bytes, hidden: frozenset[str]) -> bytes | None:
    """Return an answer in JSON without what it tells of hidden projects' runs; None for nothing.

    An entry of a list goes when it is of such a run, or is about a task of one.
    """
    try:
        told = json.loads(body)
    except ValueError:
        return body
    gone = foreign(_runs_in(told), hidden)
    if not gone:
        return body
    left = _left(told, gone)
    return None if left is _GONE else json.dumps(left).encode()


_GONE = object()


def _run_of(told: dict[str, Any]) -> Run | None:
    dag, run = told.get("dag_id"), told.get("dag_run_id", told.get("run_id"))
    return (dag, run) if dag in DAGS and isinstance(run, str) else None


def _runs_in(told: Any) -> Iterator[Run]:
    if isinstance(told, dict):
        if run := _run_of(told):
            yield run
        told = list(told.values())
    if isinstance(told, list):
        for one in told:
            yield from _runs_in(one)


def _left(told: Any, gone: set[Run]) -> Any:
    if isinstance(told, list):
        return [one for one in (_left(one, gone) for one in told) if one is not _GONE]
    if not isinstance(told, dict):
        return told
    task = told.get("task_instance")
    if _run_of(told) in gone or (isinstance(task, dict) and _run_of(task) in gone):
        return _GONE
    left = {key: _left(value, gone) for key, value in told.items()}
    return {key: None if value is _GONE else value for key, value in left.items()}
