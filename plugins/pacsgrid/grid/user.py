"""A zone as its users reach it: through the environment file that iCommands and others share."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from irods.session import iRODSSession

from pacsgrid.errors import ConfigError
from pacsgrid.grid.zone import TIMEOUT, Zone
from pacsgrid.model import ZoneSettings

ENVIRONMENT = "IRODS_ENVIRONMENT_FILE"


class UserZone(Zone):
    """The zone and account of an iRODS environment file, the password as ``iinit`` left it.

    Parameters
    ----------
    environment
        The file; by default the variable IRODS_ENVIRONMENT_FILE names it, else it is
        ``~/.irods/irods_environment.json``.

    Raises
    ------
    ConfigError
        The file cannot be read or lacks a setting.
    """

    def __init__(self, environment: Path | None = None) -> None:
        default = Path.home() / ".irods" / "irods_environment.json"
        self._file = environment or Path(os.environ.get(ENVIRONMENT, default))
        try:
            given = json.loads(self._file.read_text())
            super().__init__(
                ZoneSettings(
                    given["irods_zone_name"],
                    given["irods_host"],
                    int(given["irods_port"]),
                    given["irods_user_name"],
                    "",
                )
            )
        except OSError as error:
            raise ConfigError(f"{self._file}: {error.strerror}; run iinit first") from None
        except (ValueError, TypeError):
            raise ConfigError(f"{self._file}: not an iRODS environment (JSON)") from None
        except KeyError as error:
            raise ConfigError(f"{self._file}: lacks {error.args[0]}") from None

    def _open(self) -> Any:
        session = iRODSSession(irods_env_file=str(self._file), refresh_time=600)
        session.connection_timeout = TIMEOUT
        return session
