"""Single sign-on with OpenID Connect: the provider, and what its groups mean here."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from pacsgrid.config.base import Section
from pacsgrid.config.gateway import check_result, check_user
from pacsgrid.config.secrets import read_secret
from pacsgrid.errors import ConfigError

# Signatures with a public key only: with HMAC, whoever can verify a token could also make one.
ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
_LOCAL = ("127.0.0.1", "localhost", "::1")
# Accounts of iRODS itself. The site's own accounts in the zones are added to them.
_RESERVED = frozenset({"rods", "anonymous", "public", "rodsadmin"})
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,59}")


class Role(StrEnum):
    """What a group of the provider may do here."""

    STEWARD = "steward"
    VIEWER = "viewer"
    RESEARCHER = "researcher"
    OPERATOR = "operator"


class LoginGroup(Section):
    """One entry of `login.groups`: what the members of a group may do."""

    group: str = Field(min_length=1, description="The group, exactly as the claim has it.")
    role: Role = Field(
        description="`steward` or `viewer` of a project on Airflow's page; `researcher` at the "
        "gateway; `operator` of the site."
    )
    project: str = Field(
        default="",
        description="The project. A `researcher` with a project becomes a member of its group of "
        "readers in iRODS. One without sees what grants open.",
    )
    store: bool = Field(
        default=False,
        description="Whether members may send instances to the ingest by STOW-RS, with a token in "
        "the header.",
    )
    results: str = Field(
        default="",
        description="The name under which results that members send by STOW-RS are kept. Not "
        "together with `store`.",
    )

    _check_results = field_validator("results")(check_result)

    @model_validator(mode="after")
    def _check_together(self) -> LoginGroup:
        if self.role in (Role.STEWARD, Role.VIEWER) and not self.project:
            raise ValueError(f"role {self.role} needs a project")
        if self.role is Role.OPERATOR and self.project:
            raise ValueError("role operator is of the whole site: remove project")
        if self.role is not Role.RESEARCHER and (self.store or self.results):
            raise ValueError("store and results are for the role researcher")
        if self.store and self.results:
            raise ValueError("store and results exclude each other: use two groups")
        return self

    @property
    def airflow_role(self) -> str:
        """The role that `pacsgrid roles` makes in Airflow; empty for a researcher."""
        if self.role is Role.RESEARCHER:
            return ""
        return "Operator" if self.role is Role.OPERATOR else f"{self.role.title()} {self.project}"


class ServiceAccount(Section):
    """One entry of `login.service_accounts`: a program with a token by client credentials."""

    subject: str = Field(min_length=1, description="The `sub` of its tokens.")
    user: str = Field(description="The iRODS user (`name#zone`) whose rights it has.")
    store: bool = Field(default=False, description="Whether it may send instances to the ingest.")
    results: str = Field(
        default="", description="The name under which its results are kept. Not with `store`."
    )

    _check_user = field_validator("user")(check_user)
    _check_results = field_validator("results")(check_result)

    @model_validator(mode="after")
    def _check_together(self) -> ServiceAccount:
        if self.store and self.results:
            raise ValueError("store and results exclude each other: use two service accounts")
        return self


class LoginSection(Section):
    """The section `login`: one OpenID Connect provider for the page, its API and the gateway."""

    issuer: str = Field(
        description="The provider's issuer, exactly as its tokens have it. Its settings are read "
        "from `<issuer>/.well-known/openid-configuration`."
    )
    client_id: str = Field(min_length=1, description="Our client's ID at the provider.")
    client_secret_file: Path | None = Field(
        default=None,
        description="File with the client's secret. By default the client is public, with PKCE "
        "(RFC 7636) alone.",
    )
    audience: str = Field(
        default="",
        description="What `aud` of a bearer token must name. By default `client_id`.",
    )
    scopes: tuple[str, ...] = Field(
        default=("openid", "profile"),
        description="The scopes that are asked for at login. Some providers give a refresh token, "
        "which later checks need, with `offline_access` only.",
    )
    ca_file: Path | None = Field(
        default=None,
        description="Certificates (PEM) of the authorities that the provider's certificate must "
        "come from. By default those of the system.",
    )
    algorithms: tuple[str, ...] = Field(
        default=("RS256", "PS256", "ES256"),
        min_length=1,
        description="The signatures that are accepted (RFC 7518, RFC 8037).",
    )
    leeway_seconds: int = Field(
        default=30, ge=0, le=300, description="How far the provider's clock may be from ours."
    )
    token_minutes: int = Field(
        default=15,
        ge=1,
        le=1440,
        description="How old a bearer token may be, however long the provider says it is valid: a "
        "token still names the groups that its bearer has left.",
    )
    group_claim: str = Field(
        default="groups",
        pattern=r"^\S+$",
        description="The claim that lists groups; with dots for one inside another "
        "(`realm_access.roles`).",
    )
    groups: tuple[LoginGroup, ...] = Field(
        min_length=1,
        description="What groups may do. Who is in none of them is not let in.",
    )
    user_claim: str = Field(
        default="",
        description="The claim with the name of a person's iRODS user. Only a claim that users "
        "cannot change themselves. By default `users` names everybody.",
    )
    user_zone: str = Field(
        default="", description="The zone of users whose `user_claim` has no `@scope`."
    )
    user_zones: dict[str, str] = Field(
        default={},
        description="The zone of each scope of `user_claim`: with `lf1.cuni.cz: lf1`, "
        "`eva@lf1.cuni.cz` is `eva#lf1`, a user of the partner's zone.",
    )
    users: dict[str, str] = Field(
        default={},
        description="The iRODS user (`name#zone`) of each `sub`; goes before `user_claim`.",
    )
    service_accounts: tuple[ServiceAccount, ...] = Field(
        default=(), description="Programs that use tokens by client credentials."
    )
    create_users: bool = Field(
        default=False,
        description="Whether the first login makes the user in Airflow, and in the project's home "
        "zone. By default nothing is made, and an administrator makes both.",
    )
    session_hours: float = Field(
        default=12.0, gt=0, le=168, description="How long a login lasts at most, in hours."
    )
    recheck_minutes: int = Field(
        default=5,
        ge=1,
        le=60,
        description="How often the provider is asked again about everybody who is logged in.",
    )
    outage_minutes: int = Field(
        default=60,
        ge=0,
        le=1440,
        description="How long logins last while the provider does not answer, in minutes.",
    )

    @field_validator("issuer")
    @classmethod
    def _check_issuer(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme != "https" and parts.hostname not in _LOCAL:
            raise ValueError("an issuer's URL begins with https://")
        if not parts.netloc or parts.query or parts.fragment or "@" in parts.netloc:
            raise ValueError("an issuer is a URL without user, query and fragment")
        return value

    @field_validator("algorithms")
    @classmethod
    def _check_algorithms(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if wrong := [one for one in value if one not in ALGORITHMS]:
            raise ValueError(f"not {wrong[0]}: only {', '.join(ALGORITHMS)}")
        return value

    @field_validator("scopes")
    @classmethod
    def _check_scopes(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if "openid" not in value:
            raise ValueError("openid must be among the scopes")
        return value

    @field_validator("users")
    @classmethod
    def _check_users(cls, value: dict[str, str]) -> dict[str, str]:
        return {subject: check_user(user) for subject, user in value.items()}

    @model_validator(mode="after")
    def _check_together(self) -> LoginSection:
        if self.user_claim and not (self.user_zone or self.user_zones):
            raise ValueError("user_claim needs user_zone, or user_zones")
        if not self.user_claim and (self.user_zone or self.user_zones):
            raise ValueError("user_zone and user_zones need user_claim")
        services = [one.subject for one in self.service_accounts]
        if len(set(services)) < len(services):
            raise ValueError("service_accounts: subject is given twice")
        return self

    def of_groups(self, groups: Iterable[str]) -> tuple[LoginGroup, ...]:
        """Return the entries of those groups that have one, in the file's order."""
        named = frozenset(groups)
        return tuple(one for one in self.groups if one.group in named)


class LoginSettings(LoginSection):
    """The section with its secret read.

    Attributes
    ----------
    client_secret
        The client's secret; None for a public client.
    reserved
        Names that no login may have in iRODS: administrators, and the site's own accounts.
    """

    client_secret: SecretStr | None = Field(default=None, repr=False)
    reserved: frozenset[str] = _RESERVED

    def user_of_name(self, name: str) -> str:
        """Return the iRODS user, ``name#zone``, of a value of `user_claim`; empty for none.

        A name that iRODS does not take, a reserved one and an unknown scope have none.
        """
        local, at, scope = name.partition("@")
        zone = self.user_zones.get(scope, "") if at else self.user_zone
        if not zone or not _NAME.fullmatch(local) or local.lower() in self.reserved:
            return ""
        return f"{local}#{zone}"


def resolve_login(
    where: str,
    section: LoginSection,
    zones: Collection[str],
    projects: Collection[str],
    accounts: Iterable[str] = (),
) -> LoginSettings:
    """Return the settings of a login, with its secret read.

    Parameters
    ----------
    where
        The section, for error messages.
    section
        What the site file says.
    zones, projects
        The names of the site's zones and projects.
    accounts
        The site's own accounts in its zones.

    Raises
    ------
    ConfigError
        A project or the zone of local users is unknown, or the secret cannot be read.
    """
    for one in section.groups:
        if one.project and one.project not in projects:
            raise ConfigError(f"{where}.groups: no project named {one.project!r}")
    if section.user_zone and section.user_zone not in zones:
        raise ConfigError(f"{where}.user_zone: no zone named {section.user_zone!r}")
    secret = None
    if section.client_secret_file is not None:
        secret = read_secret(where, "", section.client_secret_file, "client_secret")
        if not secret.get_secret_value():
            raise ConfigError(f"{where}.client_secret_file: {section.client_secret_file} is empty")
    if section.ca_file is not None and not section.ca_file.is_file():
        raise ConfigError(f"{where}.ca_file: there is no file {section.ca_file}")
    given = section.model_dump()
    given["audience"] = section.audience or section.client_id
    reserved = _RESERVED | {one.lower() for one in accounts if one}
    return LoginSettings(**given, client_secret=secret, reserved=reserved)
