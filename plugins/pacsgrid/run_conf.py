"""Which keys a run's conf may have: the fields of its DAG's form, and no others.

Airflow validates a form's fields, but stores any other key of a conf too. Such a value could
identify a patient, so a run with an unknown key is refused.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from typing import Any

# DAGs whose runs are for the one project that their parameter `project` names.
PROJECT_DAGS = {
    "ingest_studies": frozenset(
        {
            "source",
            "project",
            "selection",
            "date_from",
            "date_to",
            "modalities",
            "series_include",
            "series_exclude",
            "profile",
            "dry_run",
            "pending",
            "ingest",
        }
    ),
    "reprofile_studies": frozenset({"project", "studies", "dry_run"}),
    "review_held": frozenset({"project", "limit", "only", "wait_hours", "decided"}),
    "release_cohort": frozenset(
        {
            "project",
            "name",
            "title",
            "criteria",
            "saved",
            "members",
            "excluded",
            "matching_series",
            "small_cells",
        }
    ),
    "derive_bids": frozenset({"project", "name", "version"}),
    "return_results": frozenset({"project", "result", "destination"}),
    "withdraw_patient": frozenset({"project", "subject", "selection"}),
}
# DAGs for the whole site.
SITE_DAGS: dict[str, frozenset[str]] = {
    "audit_replicas": frozenset(),
    "check_consent": frozenset(),
    "check_logins": frozenset(),
    "continue_ingests": frozenset(),
    "housekeeping": frozenset({"keep_rejected_days", "keep_selections_days", "keep_logs_days"}),
    "ingest_received": frozenset(),
    "nightly_sync": frozenset({"late_days"}),
    "replicate_and_verify": frozenset(),
    "site_check": frozenset(),
    "site_metrics": frozenset(),
}
DAGS = {**PROJECT_DAGS, **SITE_DAGS}


def check_conf(dag: str, conf: Any) -> None:
    """Refuse a conf with a key that its DAG's form does not have.

    Parameters
    ----------
    dag
        The DAG's id; a DAG that is not pacsgrid's may have any conf.
    conf
        The run's conf.

    Raises
    ------
    ValueError
        The conf has such keys. The message gives their number and the allowed keys, and quotes
        nothing of the conf.
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


# Fields of a request to Airflow that may hold free text.
_FREE_TEXT = {
    "conf",
    "dag_run_conf",
    "extra",
    "note",
    "params_input",
    "partition_key",
    "dag_run_id",
}
_KEPT = {"method", "state", "new_state", "dry_run", "is_paused", "only_failed", "only_running"}
_WORD = re.compile(r"[a-z_]{1,30}|[A-Z]{3,7}")


def redact_audit_entry(dag: str | None, extra: str | None) -> str | None:
    """Return an entry of Airflow's audit log without fields that may identify a patient.

    Parameters
    ----------
    dag
        Id of the DAG that the entry is about, if any. Entries about DAGs that are not pacsgrid's
        are not changed.
    extra
        The entry's text: a request's fields as JSON, or a text that Airflow itself wrote.

    Returns
    -------
    str or None
        The text to store.
    """
    if not extra or (dag and dag != "~" and dag not in DAGS):
        return extra
    try:
        fields = json.loads(extra)
    except ValueError:
        return extra
    if not isinstance(fields, dict):
        return extra
    if "full_command" in fields:
        # The command line of an airflow command; the entry's event still names the command.
        return json.dumps({key: value for key, value in fields.items() if key != "full_command"})
    if "method" not in fields:
        return extra
    if not dag:
        return json.dumps({key: value for key, value in fields.items() if key not in _FREE_TEXT})
    return json.dumps({key: value for key, value in fields.items() if _is_harmless(key, value)})


def _is_harmless(key: str, value: Any) -> bool:
    plain = isinstance(value, str) and _WORD.fullmatch(value) is not None
    return key in _KEPT and (plain or value is None or isinstance(value, bool))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(sorted(names)) or "none"
