"""### Audit the replicas

Tells, from the ledger alone, whether every project has what its policy asks for: enough proven
replicas in each zone, in time, and no proof older than allowed. A project that has not fails its
task, which tells what is lacking where; `replicate_and_verify` mends what can be mended.
"""

from __future__ import annotations

from datetime import timedelta

from pacsgrid.airflow.dags import OPERATOR, at, site_dag
from pacsgrid.airflow.operators.project import AuditProjectOperator
from pacsgrid.config import site_names


@site_dag(__doc__, "upkeep", OPERATOR, timedelta(hours=1), schedule=at("0 7 * * *"))
def audit_replicas():
    for name in site_names().projects:
        AuditProjectOperator(task_id=f"audit_{name}", project=name)


audit_replicas()
