"""What a run's conf may name: the fields of its DAG's form and nothing else.

Airflow validates the fields that a form has and stores whatever else a conf holds. A key that
nobody validated could hold what identifies a patient, so a run with one is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

# The DAGs whose runs are for one project, which their parameter `project` names.
PROJECT_DAGS = {
    "ingest_studies": frozenset(
        {
            "source",
            "project",
            "selection",
            "date_from",
            "date_to",
            "modalities",
            "profile",
            "dry_run",
            "pending",
        }
    ),
    "review_held": frozenset({"project", "limit", "only", "wait_hours"}),
    "release_cohort": frozenset({"project", "name", "title", "criteria", "members"}),
    "withdraw_patient": frozenset({"project", "subject"}),
}
# The DAGs that are for the whole site.
SITE_DAGS: dict[str, frozenset[str]] = {
    "audit_replicas": frozenset(),
    "housekeeping": frozenset({"keep_rejected_days", "keep_selections_days", "keep_logs_days"}),
    "ingest_received": frozenset(),
    "nightly_sync": frozenset({"late_days"}),
    "replicate_and_verify": frozenset(),
    "site_check": frozenset(),
    "site_metrics": frozenset(),
}
DAGS = {**PROJECT_DAGS, **SITE_DAGS}


def check_conf(dag: str, conf: Any) -> None:
    """Refuse a conf with a key that its DAG's form does not have; other sites' DAGs are not ours.

    Raises
    ------
    ValueError
        Says how many such keys there are and which are allowed, never what was given.
    """
    allowed = DAGS.get(dag)
    if allowed is None or conf is None:
        return
    if not isinstance(conf, dict):
        raise ValueError(f"conf of {dag} must be an object")
    if unknown := set(conf) - allowed:
        raise ValueError(
            f"conf of {dag} has {len(unknown)} keys that its form does not have; "
            f"allowed are: {_listed(allowed)}"
        )


_FREE = {"conf", "dag_run_conf", "extra", "note", "params_input", "partition_key", "dag_run_id"}
_WORD = re.compile(r"[a-z_]{1,30}|[A-Z]{3,7}")


def quiet_entry(dag: str | None, extra: str | None) -> str | None:
    """Return an entry of Airflow's audit log without what a request may have said of a patient.

    Parameters
    ----------
    dag
        The DAG it is about, if it is about one; what is about others' DAGs is kept as it is.
    extra
        A request's fields as JSON, or any other text, which Airflow itself wrote.
    """
    if not extra or (dag and dag != "~" and dag not in DAGS):
        return extra
    try:
        told = json.loads(extra)
    except ValueError:
        return extra
    if not isinstance(told, dict):
        return extra
    if "full_command" in told:
        # Of a command of Airflow's, which the entry's event names.
        return json.dumps({key: value for key, value in told.items() if key != "full_command"})
    if "method" not in told:
        return extra
    if not dag:
        return json.dumps({key: value for key, value in told.items() if key not in _FREE})
    return json.dumps({key: value for key, value in told.items() if _says_nothing(key, value)})


def _says_nothing(key: str, value: Any) -> bool:
    plain = isinstance(value, str) and _WORD.fullmatch(value) is not None
    return key in _KEPT and (plain or value is None or isinstance(value, bool))


_KEPT = {"method", "state", "new_state", "dry_run", "is_paused", "only_failed", "only_running"}


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
