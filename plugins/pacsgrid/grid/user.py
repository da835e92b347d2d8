"""Connect to a zone as a user does: with the environment file of iCommands."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from irods.session import NonAnonymousLoginWithoutPassword, iRODSSession

from pacsgrid.config import ZoneSettings
from pacsgrid.errors import ConfigError, ZoneError, ZoneUnavailableError
from pacsgrid.grid.zone import REFRESH_SECONDS, TIMEOUT, Zone, translated_errors

ENVIRONMENT = "IRODS_ENVIRONMENT_FILE"
# What a server answers to a password that is wrong or has expired.
_NO_LOGIN = (
    "CAT_INVALID_AUTHENTICATION", "CAT_INVALID_USER", "CAT_PASSWORD_EXPIRED",
    "PAM_AUTH_PASSWORD_FAILED", "PAM_AUTH_PASSWORD_INVALID_TTL", "CAT_PASSWORD_ENCODING_ERROR",
)  # fmt: skip


class UserZone(Zone):
    """The zone and account of an iRODS environment file, with the password that ``iinit`` stored.

    Parameters
    ----------
    environment
        The file; by default the one that the variable IRODS_ENVIRONMENT_FILE names, else
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
                    name=given["irods_zone_name"],
                    host=given["irods_host"],
                    port=int(given["irods_port"]),
                    user=given["irods_user_name"],
                )
            )
        except OSError as error:
            raise ConfigError(f"{self._file}: {error.strerror}; run iinit first") from None
        except (ValueError, TypeError):
            raise ConfigError(f"{self._file}: not an iRODS environment (JSON)") from None
        except KeyError as error:
            raise ConfigError(f"{self._file}: lacks {error.args[0]}") from None

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Translate errors of the zone into errors that say what a user can do.

        Raises
        ------
        ConfigError
            The stored password is wrong or has expired.
        ZoneError, ZoneUnavailableError
            The zone refused something else, or does not answer.
        """
        user = f"{self.settings.user}#{self.settings.name}"
        try:
            with translated_errors(self.settings.name):
                yield
        except ZoneUnavailableError as error:
            where = f"{self.settings.host}:{self.settings.port}"
            raise ZoneUnavailableError(
                f"{error}; check the address {where} in {self._file}"
            ) from None
        except ZoneError as error:
            if any(code in str(error) for code in _NO_LOGIN):
                raise ConfigError(
                    f"the zone refused the login of {user}: the password that iinit stored is "
                    "wrong or has expired; run iinit again"
                ) from None
            raise

    def _open(self) -> Any:
        try:
            session = iRODSSession(irods_env_file=str(self._file), refresh_time=REFRESH_SECONDS)
        except NonAnonymousLoginWithoutPassword:
            raise ConfigError(
                f"no iRODS password in {iRODSSession.get_irods_password_file()}; run iinit first"
            ) from None
        except OSError as error:
            place = error.filename or iRODSSession.get_irods_password_file()
            raise ConfigError(f"{place}: {error.strerror}; run iinit again") from None
        except Exception as error:
            kind = type(error).__name__
            raise ConfigError(
                f"{self._file} or the password that iinit stored cannot be used ({kind}); "
                "run iinit again"
            ) from None
        session.connection_timeout = TIMEOUT
        return session
