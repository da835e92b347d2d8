"""Is this container's part of Airflow alive? Ends with 0 if so, else with 1.

    healthy.py SchedulerJob | DagProcessorJob | TriggererJob | worker

Asks what `airflow jobs check` and Celery's `inspect ping` ask, without loading Airflow: those take
seconds of a processor for each part, each minute.
"""

from __future__ import annotations

import socket
import sys
from pathlib import Path

SECRETS = Path("/run/secrets")
# Airflow's own limit is thirty seconds; a machine under load may be later.
_BEAT = """
SELECT EXISTS (
    SELECT FROM job WHERE job_type = %s AND hostname = %s AND state = 'running'
    AND latest_heartbeat > now() - interval '90 seconds'
)
"""


def beats(job_type: str) -> bool:
    """Whether the job of this container has told its database lately that it lives."""
    import psycopg2

    dsn = (SECRETS / "airflow_db_url").read_text().strip().replace("+psycopg2", "", 1)
    connection = psycopg2.connect(dsn, connect_timeout=10)
    try:
        with connection.cursor() as cursor:
            cursor.execute(_BEAT, (job_type, socket.getfqdn()))
            return cursor.fetchone() == (True,)
    finally:
        connection.close()


def answers() -> bool:
    """Whether Celery's worker in this container answers through the queue."""
    from celery import Celery

    app = Celery(broker=(SECRETS / "airflow_broker_url").read_text().strip())
    name = f"celery@{socket.gethostname()}"
    return any(name in one for one in app.control.ping([name], timeout=10))


if __name__ == "__main__":
    alive = answers() if sys.argv[1] == "worker" else beats(sys.argv[1])
    raise SystemExit(0 if alive else 1)
