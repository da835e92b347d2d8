"""Airflow's listener of pacsgrid: called when one of Airflow's own processes starts."""

from __future__ import annotations

from typing import Any

from airflow.listeners import hookimpl


@hookimpl
def on_starting(component: Any) -> None:
    """Prepare a scheduler before its first loop.

    Parameters
    ----------
    component
        What starts: a job, or something else such as a task. Airflow calls this before a job
        knows whether it is a scheduler's. Preparing others does no harm: only schedulers have
        executors.
    """
    if type(component).__name__ == "Job":
        from pacsgrid.airflow.late_reports import install

        install()
