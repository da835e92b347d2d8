"""### Check the site

Asks every source and zone that the site file names, moves a small object to each zone and back,
and looks at keys, disks, clocks and certificates. What it finds stands in the task's log and, when
something is wrong, in the failure, each with what to do.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import task

from pacsgrid.airflow import upkeep
from pacsgrid.airflow.dags import OPERATOR, at, site_dag


# What is wrong now would be wrong in five minutes too, and should be heard of.
@site_dag(__doc__, "upkeep", OPERATOR, timedelta(hours=1), retries=0, schedule=at("30 6 * * *"))
def site_check():
    task(task_id="check")(upkeep.site_check)()


site_check()
