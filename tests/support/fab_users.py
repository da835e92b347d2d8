"""Makes Airflow users in one process: each `airflow users create` takes as long as all of them.

Run in Airflow's environment with a JSON list of [name, role, password] on standard input and, as
its argument, a folder with the secrets that `docker/airflow/users.py` reads.
"""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path

STACK_S_OWN = Path(__file__).parents[2] / "docker" / "airflow" / "users.py"


def main(secrets: Path) -> None:
    """Make the stack's own users as production does, twice, and then those that are asked for."""
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    make = runpy.run_path(str(STACK_S_OWN))["make"]
    with get_application_builder() as builder:
        make(builder.sm, secrets)
        make(builder.sm, secrets)
        for name, role, password in json.load(sys.stdin):
            made = builder.sm.add_user(
                name, name, name, f"{name}@example.org", builder.sm.find_role(role), password
            )
            assert made, f"user {name} was not made"


if __name__ == "__main__":
    main(Path(sys.argv[1]))
