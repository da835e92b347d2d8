"""The receiver: the storage SCP that modalities and PACS push studies to."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field, SecretStr, model_validator

from pacsgrid.config.base import AllowedPeer, ServiceSection
from pacsgrid.config.gateway import Destination
from pacsgrid.config.secrets import read_secret

DEFAULT_ASSET = "pacsgrid://received"


class ReceiverSection(ServiceSection):
    """The section `receiver`: which studies are received, from whom, and who hears of them."""

    folder: Path = Field(
        description="Where studies arrive, one directory each. They are identified: the folder "
        "must be private to the service account."
    )
    port: int = Field(
        default=11112, ge=0, le=65535, description="TCP port it listens on; 0 for any free one."
    )
    allow: tuple[AllowedPeer, ...] = Field(
        default=(), description="The nodes that may send. Without any, nobody may."
    )
    commitment: tuple[Destination, ...] = Field(
        default=(),
        description="The nodes that may ask for storage commitment (PS3.4 annex J), and where each "
        "is answered. Without any, nobody may.",
    )
    commitment_hours: float = Field(
        default=72.0,
        gt=0,
        description="How long a request may wait for every replica to be proven, in hours. What is "
        "not proven then is answered as failed.",
    )
    commitment_seconds: float = Field(
        default=60.0,
        gt=0,
        description="How often waiting requests are looked at, and the shortest time until an "
        "answer that did not arrive is sent again, in seconds.",
    )
    reserve_mb: int = Field(
        default=2048,
        ge=0,
        description="Free disk space, in MiB, below which instances are refused (status A700), so "
        "that their senders keep them.",
    )
    quiet_seconds: float = Field(
        default=60.0,
        gt=0,
        description="A study is complete when nothing of it came for this long, in seconds.",
    )
    count_from: str = Field(
        default="",
        description="A source that is asked how many instances a study has. When all are there, "
        "`count_seconds` count instead of `quiet_seconds`.",
    )
    count_seconds: float = Field(
        default=5.0,
        gt=0,
        description="A study with all its instances is complete when nothing of it came for this "
        "long, in seconds.",
    )
    source: str = Field(
        default="received", description="The source of kind `received` that reads `folder`."
    )
    project: str = Field(default="", description="The project that received studies are for.")
    airflow_url: str = Field(
        default="",
        description="Root of Airflow's server, where complete studies are announced as asset "
        "events. By default they are announced nowhere.",
    )
    airflow_user: str = Field(default="", description="The Airflow user that announces them.")
    airflow_ca_file: Path | None = Field(
        default=None,
        description="Certificates (PEM) of the authorities that Airflow's certificate must come "
        "from. By default the public ones.",
    )
    password_env: str = Field(
        default="", description="Environment variable that holds the password of `airflow_user`."
    )
    password_file: Path | None = Field(
        default=None, description="File that holds the password of `airflow_user`."
    )
    asset: str = Field(
        default=DEFAULT_ASSET,
        description="URI of the asset. The DAG `ingest_received` waits for this one.",
    )

    @model_validator(mode="after")
    def _check_together(self) -> ReceiverSection:
        if self.airflow_url and not (self.password_env or self.password_file):
            raise ValueError("airflow_url needs password_env or password_file")
        if self.airflow_url and not self.project:
            raise ValueError("airflow_url needs project: whose are the studies?")
        return self


class ReceiverSettings(ReceiverSection):
    """The receiver's settings, completed with the password for Airflow."""

    airflow_password: SecretStr = Field(
        default=SecretStr(""), description="Password of `airflow_user`."
    )


def resolve_receiver(where: str, section: ReceiverSection) -> ReceiverSettings:
    """Return the receiver's settings, with the password for Airflow looked up.

    Parameters
    ----------
    where
        The section, for error messages.
    section
        What the site file says.

    Raises
    ------
    ConfigError
        The password is missing.
    """
    given = {key: getattr(section, key) for key in section.model_fields_set}
    if section.airflow_url:
        given["airflow_password"] = read_secret(where, section.password_env, section.password_file)
    return ReceiverSettings(**given)
