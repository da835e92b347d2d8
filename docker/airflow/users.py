"""Makes the stack's own users in Airflow, or gives them their role and password again.

`admin` is for people; `receiver` may announce studies and nothing else. Passwords come from files,
so that no list of processes shows them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

SECRETS = Path("/run/secrets")
USERS = {"admin": "Admin", "receiver": "Receiver"}
ANNOUNCES = {("can_read", "Assets"), ("can_read", "Asset Aliases"), ("can_create", "Assets")}


def make(security: Any, secrets: Path) -> None:
    """Make role and users with the security manager of Airflow's FAB auth manager."""
    role = security.find_role("Receiver") or security.add_role("Receiver")
    for permission in list(role.permissions):
        if (permission.action.name, permission.resource.name) not in ANNOUNCES:
            security.remove_permission_from_role(role, permission)
    for action, resource in sorted(ANNOUNCES):
        security.add_permission_to_role(role, security.create_permission(action, resource))
    for name, wanted in USERS.items():
        password = (secrets / f"airflow_{name}_password").read_text().strip()
        if (user := security.find_user(username=name)) is None:
            security.add_user(
                username=name,
                first_name=name,
                last_name="pacsgrid",
                email=f"{name}@localhost",
                role=security.find_role(wanted),
                password=password,
            )
        else:
            security.reset_password(user.id, password)


def main() -> None:
    """Do so in Airflow's own environment."""
    from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder

    with get_application_builder() as builder:
        make(builder.sm, SECRETS)


if __name__ == "__main__":
    main()
