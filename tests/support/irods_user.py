"""What ``iinit`` leaves for a user: an environment file and the password beside it."""

from __future__ import annotations

import json
import os
from pathlib import Path

from irods.password_obfuscation import encode

from pacsgrid.config import ZoneSettings


def iinit(folder: Path, zone: ZoneSettings, user: str, password: str) -> dict[str, str]:
    """Write both files; returns the variables that name them."""
    secret = folder / ".irodsA"
    secret.write_text(encode(password, uid=os.getuid()))
    secret.chmod(0o600)
    file = folder / "irods_environment.json"
    file.write_text(
        json.dumps(
            {
                "irods_host": zone.host,
                "irods_port": zone.port,
                "irods_user_name": user,
                "irods_zone_name": zone.name,
                "irods_authentication_file": str(secret),
            }
        )
    )
    return {"IRODS_ENVIRONMENT_FILE": str(file), "IRODS_AUTHENTICATION_FILE": str(secret)}
