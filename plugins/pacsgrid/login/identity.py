"""Who somebody is, from the claims of a verified token."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pacsgrid.config import LoginGroup, LoginSettings, Role
from pacsgrid.errors import NotAllowedError

# How names of the provider's users begin in Airflow: so nobody can choose that of a local account.
PREFIX = "oidc-"
_MOST_GROUPS = 2000
_PRINTABLE = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True)
class Identity:
    """A person or program that the provider knows, with what they may do here.

    Attributes
    ----------
    issuer, subject
        The provider and its `sub`, which never changes; the audit trail names both.
    user
        The iRODS user, ``name#zone``; empty if there is none.
    groups
        The entries of the site file for the groups of the claims.
    store, results
        As of a `Token`.
    is_service
        Whether the site file names it as a service account, which needs no group.
    """

    issuer: str
    subject: str
    user: str
    groups: tuple[LoginGroup, ...] = ()
    store: bool = False
    results: str = ""
    is_service: bool = False

    @property
    def group_names(self) -> list[str]:
        """The names of the groups, sorted."""
        return sorted({one.group for one in self.groups})

    @property
    def researches(self) -> bool:
        """Whether the gateway is open to them."""
        return bool(self.user) and (
            self.is_service or any(one.role is Role.RESEARCHER for one in self.groups)
        )

    @property
    def reads(self) -> list[str]:
        """The projects whose readers they are in iRODS."""
        named = {one.project for one in self.groups if one.role is Role.RESEARCHER}
        return sorted(named - {""}) if self.user else []

    @property
    def airflow_roles(self) -> list[str]:
        """Their roles in Airflow."""
        return sorted({one.airflow_role for one in self.groups} - {""})


def has_groups(settings: LoginSettings, claims: Mapping[str, Any]) -> bool:
    """Return whether the claims have the claim of groups at all, empty or not.

    Parameters
    ----------
    settings
        The site's login.
    claims
        The claims of a verified token.
    """
    return _claim(claims, settings.group_claim) is not None


def identity_of(settings: LoginSettings, claims: Mapping[str, Any]) -> Identity:
    """Return whom verified claims stand for.

    Parameters
    ----------
    settings
        The site's login.
    claims
        The claims of a token whose signature, issuer and times were checked.

    Raises
    ------
    NotAllowedError
        None of the groups has an entry in the site file, or the subject cannot be written down.
    """
    subject = str(claims["sub"])
    if not _PRINTABLE.fullmatch(subject):
        raise NotAllowedError("the subject has characters that the audit trail does not take")
    for one in settings.service_accounts:
        if one.subject == subject:
            return Identity(
                *(settings.issuer, subject, one.user, ()), one.store, one.results, is_service=True
            )
    groups = settings.of_groups(_groups(settings, claims))
    if not groups:
        raise NotAllowedError(
            "you are in none of the groups that may log in here; ask the site's data steward"
        )
    results = next((one.results for one in groups if one.results), "")
    # As of a token: what is sent is either a result or goes to the ingest.
    store = not results and any(one.store for one in groups)
    user = _user(settings, subject, claims)
    return Identity(settings.issuer, subject, user, groups, store, results)


def _user(settings: LoginSettings, subject: str, claims: Mapping[str, Any]) -> str:
    if subject in settings.users:
        return settings.users[subject]
    name = _claim(claims, settings.user_claim) if settings.user_claim else None
    return settings.user_of_name(name) if isinstance(name, str) else ""


def _groups(settings: LoginSettings, claims: Mapping[str, Any]) -> list[str]:
    found = _claim(claims, settings.group_claim)
    listed = [found] if isinstance(found, str) else found
    if not isinstance(listed, list) or len(listed) > _MOST_GROUPS:
        return []
    return [one for one in listed if isinstance(one, str)]


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    """Return a claim: by its whole name, as URLs have dots too, or else part by part."""
    if name in claims:
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        found = found.get(part) if isinstance(found, Mapping) else None
    return found
