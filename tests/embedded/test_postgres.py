"""The embedded PostgreSQL frees what a killed client's children would hold for ever."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import closing

import psycopg2
import pytest

from pacsgrid.embedded.postgres import EmbeddedPostgres
from support.waiting import wait_until

# As Airflow's scheduler does with its executor: the child has the connection, and never closes it.
CLIENT = """
import os, sys, time
import psycopg2
connection = psycopg2.connect(sys.argv[1])
connection.cursor().execute("SELECT * FROM run FOR UPDATE")
child = os.fork()
if not child:
    time.sleep(300)
    os._exit(0)
print(child, flush=True)
time.sleep(300)
"""


def test_a_killed_client_s_lock_ends_though_its_child_lives(postgres: EmbeddedPostgres) -> None:
    postgres.create_database("t_idle")
    postgres.end_idle_transactions("t_idle", 1)
    dsn = postgres.dsn("t_idle")
    with closing(psycopg2.connect(dsn)) as connection:
        connection.autocommit = True
        cursor = connection.cursor()
        cursor.execute("CREATE TABLE run AS SELECT 1 AS id")
        command = [sys.executable, "-c", CLIENT, dsn]
        client = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert client.stdout is not None
        child = int(client.stdout.readline())
        try:
            with pytest.raises(psycopg2.errors.LockNotAvailable):
                cursor.execute("SELECT * FROM run FOR UPDATE NOWAIT")
            client.kill()
            client.wait()

            def free() -> bool:
                cursor.execute("SELECT * FROM run FOR UPDATE SKIP LOCKED")
                return cursor.fetchone() is not None

            wait_until(free, what="the end of the dead client's transaction")
            os.kill(child, 0)  # it is still there
        finally:
            client.kill()
            os.kill(child, signal.SIGKILL)
            client.wait()
