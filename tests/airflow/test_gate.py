"""Which projects a request to Airflow's API is for; that it is refused is tried in e2e."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from pacsgrid.cli.roles import STARTS
from pacsgrid.web.gate import projects_of
from pacsgrid.web.others import DAGS, asked_for

EVERY = ("lung", "brain")
PROJECT = {"profile": "basic", "home_zone": "brno", "key_file": "/x/key"}


@pytest.fixture(autouse=True)
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = {
        **{room: f"/x/{room}" for room in ("staging", "outbox", "quarantine")},
        "vault_key_file": "/x/vault.key",
        "sources": {},
        "zones": {},
        "projects": dict.fromkeys(EVERY, PROJECT),
    }
    (tmp_path / "site.yaml").write_text(yaml.safe_dump(site, sort_keys=False))
    monkeypatch.setenv("PACSGRID_SITE", str(tmp_path / "site.yaml"))


@pytest.mark.parametrize(
    ("rest", "body", "projects"),
    [
        ("dagRuns", b'{"conf": {"project": "brain"}}', ("brain",)),
        ("dagRuns", b'{"conf": {"project": "brain", "project": "lung"}}', ("lung",)),
        ("dagRuns", b'{"conf": {}}', ("lung",)),
        ("dagRuns", b'{"conf": null}', ("lung",)),
        ("dagRuns", b"{}", ("lung",)),
        ("dagRuns", b"", ("lung",)),
        ("dagRuns", '{"conf": {"project": "brain"}}'.encode("utf-16"), ("brain",)),
        ("dagRuns", b'{"conf": {"project": "elsewhere"}}', ()),
        ("dagRuns", b'{"conf": {"project": ["brain"]}}', ()),
        ("dagRuns", b'[{"conf": {"project": "brain"}}]', EVERY),
        ("clearTaskInstances", b"{}", EVERY),
        ("clearTaskInstances", b'{"dag_run_id": 7}', EVERY),
        ("clearDagRuns", b"{}", EVERY),
        ("dagRuns/~/taskInstances", b"{}", EVERY),
        ("favorite", b"", ()),
    ],
)
def test_a_request_is_for_the_projects_it_names(
    rest: str, body: bytes, projects: tuple[str, ...]
) -> None:
    assert tuple(projects_of("POST", "review_held", rest, body)) == projects


def test_what_is_for_any_dag_is_for_every_project() -> None:
    assert tuple(projects_of("PATCH", "~", "dagRuns/~/taskInstances", b"{}")) == EVERY


def test_many_runs_at_once_are_for_every_project() -> None:
    assert tuple(projects_of("PATCH", "review_held", "dagRuns", b'{"actions": []}')) == EVERY


def test_every_dag_that_a_steward_starts_is_behind_the_gate() -> None:
    assert set(STARTS) == set(DAGS)


@pytest.mark.parametrize(
    ("path", "query", "run"),
    [
        ("/api/v2/dags/review_held/dagRuns/a b+c/taskInstances", b"", ("review_held", "a b+c")),
        ("/api/v2/dags/~/dagRuns/r1/taskInstances", b"", ("withdraw_patient", "r1")),
        ("/ui/grid/ti_summaries/review_held", b"run_ids=r1&run_ids=r%2B2", ("review_held", "r+2")),
    ],
)
def test_an_address_names_a_run(path: str, query: bytes, run: tuple[str, str]) -> None:
    assert run in asked_for(path, query)


def test_an_address_of_all_names_none() -> None:
    assert not asked_for("/api/v2/dags/nightly_sync/dagRuns/r1", b"")
    assert not asked_for("/ui/dags", b"dag_runs_limit=10")
