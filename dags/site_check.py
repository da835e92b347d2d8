"""### Check the site

Asks every source and zone of the site file, moves a small object to each zone and back, and checks
keys, disks, clocks and certificates. The task's log has each result; if a check fails, so does the
task, and its message says what to do.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import task

from pacsgrid.airflow import maintenance
from pacsgrid.airflow.dags import OPERATOR, at, site_dag


# No retries: what is wrong now would still be wrong in five minutes, and should be reported.
@site_dag(
    __doc__, "maintenance", OPERATOR, timedelta(hours=1), retries=0, schedule=at("30 6 * * *")
)
def site_check():
    task(task_id="check")(maintenance.site_check)()


site_check()
