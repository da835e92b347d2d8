"""### Audit the replicas

Compares every project's replicas with its replication policy, from the ledger alone: enough proven
replicas in each zone, in time, and no proof older than allowed. A project that does not meet its
policy fails its task, whose message says what each zone lacks; `replicate_and_verify` makes or
repairs what it can.
"""

from __future__ import annotations

from datetime import timedelta

from pacsgrid.airflow.dags import OPERATOR, at, site_dag
from pacsgrid.airflow.operators.project import AuditProjectOperator
from pacsgrid.config import site_names


@site_dag(__doc__, "maintenance", OPERATOR, timedelta(hours=1), schedule=at("0 7 * * *"))
def audit_replicas():
    for name in site_names().projects:
        AuditProjectOperator(task_id=f"audit_{name}", project=name)


audit_replicas()
