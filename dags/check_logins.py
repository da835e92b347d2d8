"""### Check logins

Asks the OpenID Connect provider about everybody who is logged in, and lets the readers in iRODS
follow: whoever left their groups loses what they gave. Scheduled only where the site file has a
section `login`, every `recheck_minutes`.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import task

from pacsgrid.airflow import maintenance
from pacsgrid.airflow.dags import OPERATOR, at, site_dag
from pacsgrid.config import site_names


# No retries: the next run is near.
@site_dag(
    __doc__,
    "maintenance",
    OPERATOR,
    timedelta(minutes=10),
    retries=0,
    schedule=at(f"*/{minutes} * * * *") if (minutes := site_names().login_minutes) else None,
    max_active_runs=1,
)
def check_logins():
    task(task_id="check")(maintenance.check_logins)()


check_logins()
