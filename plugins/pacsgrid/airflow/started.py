"""Airflow's listener of pacsgrid: told when one of Airflow's own processes starts."""

from __future__ import annotations

from typing import Any

from airflow.listeners import hookimpl


@hookimpl
def on_starting(component: Any) -> None:
    """Prepare a scheduler before its first loop.

    Airflow tells of a job before the job knows whether it is a scheduler's; what is done is for
    executors, which no other job has. Tasks are told of too, as something else.
    """
    if type(component).__name__ == "Job":
        from pacsgrid.airflow.parked import install

        install()
