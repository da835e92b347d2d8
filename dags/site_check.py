"""### Check the site

Asks every source and zone that the site file names, moves a small object to each zone and back,
and looks at keys, disks, clocks and certificates. What it finds stands in the task's log and, when
something is wrong, in the failure, each with what to do.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, task

from pacsgrid.airflow import upkeep
from pacsgrid.airflow.notify import failed
from pacsgrid.airflow.schedules import at


@dag(
    schedule=at("30 6 * * *"),
    catchup=False,
    doc_md=__doc__,
    tags=["pacsgrid", "upkeep"],
    default_args={
        "owner": "site operator",
        "retries": 0,
        "execution_timeout": timedelta(hours=1),
        "on_failure_callback": failed,
    },
)
def site_check():
    @task
    def check() -> dict[str, str]:
        return upkeep.site_check()

    check()


site_check()
