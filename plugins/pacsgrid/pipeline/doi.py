"""Reserve DOIs at a service that answers as DataCite's REST API (v2, JSON:API) does."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import requests

from pacsgrid.connections import look_up
from pacsgrid.errors import ConfigError, RetryableError

_TYPE = "application/vnd.api+json"
_SECONDS = 30
_ESCAPES = {".": "-", "_": "_"}


@dataclass(frozen=True)
class DoiService:
    """A service that registers DOIs.

    Attributes
    ----------
    url
        The root of its REST API.
    user, password
        The repository's account.
    ca_file
        The certificates that are trusted; empty for the public ones.
    """

    url: str
    user: str
    password: str = field(repr=False)
    ca_file: str = ""

    def check(self) -> None:
        """Ask the service whether it is up.

        Raises
        ------
        RetryableError
            It does not answer, or says that it is not.
        """
        answer = self._ask("GET", "heartbeat")
        if answer.status_code != 200:
            raise self._refused(answer, "its heartbeat")

    def reserve(self, doi: str, attributes: Mapping[str, Any]) -> None:
        """Reserve a DOI as a draft, or give a reserved one other metadata; safe to repeat.

        A draft resolves nowhere until somebody publishes it at the service.

        Parameters
        ----------
        doi
            The DOI.
        attributes
            Its metadata, as DataCite's schema 4 has them in JSON.

        Raises
        ------
        ConfigError
            The service refuses the account, the prefix or the metadata.
        RetryableError
            The service does not answer, or is out of order.
        """
        body = {"data": {"id": doi, "type": "dois", "attributes": {**attributes, "doi": doi}}}
        answer = self._ask("PUT", f"dois/{doi}", body)
        if answer.status_code == 404:
            answer = self._ask("POST", "dois", body)
        if answer.status_code not in (200, 201):
            raise self._refused(answer, doi)

    def link(self, doi: str, related: Mapping[str, str]) -> None:
        """Add a related identifier to a DOI's metadata; safe to repeat.

        Parameters
        ----------
        doi
            The DOI.
        related
            The related identifier, as DataCite's schema 4 has it in JSON.

        Raises
        ------
        ConfigError
            The service has no such DOI, or refuses the account.
        RetryableError
            The service does not answer, or is out of order.
        """
        answer = self._ask("GET", f"dois/{doi}")
        if answer.status_code != 200:
            raise self._refused(answer, doi)
        try:
            known = answer.json()["data"]["attributes"].get("relatedIdentifiers") or []
        except (ValueError, KeyError, TypeError, AttributeError):
            raise RetryableError(f"{self.url}: its answer for {doi} is not JSON:API") from None
        if dict(related) not in [{key: one.get(key) for key in related} for one in known]:
            self.reserve(doi, {"relatedIdentifiers": [*known, dict(related)]})

    def _ask(self, method: str, path: str, body: Any = None) -> requests.Response:
        try:
            return requests.request(
                method,
                f"{self.url}/{path}",
                json=body,
                headers={"Content-Type": _TYPE, "Accept": _TYPE},
                auth=(self.user, self.password) if self.user else None,
                verify=self.ca_file or True,
                timeout=_SECONDS,
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise RetryableError(
                f"{self.url}: no answer ({type(error).__name__}); DOIs are reserved there"
            ) from None

    def _refused(self, answer: requests.Response, what: str) -> Exception:
        code = answer.status_code
        if code == 429 or code >= 500:
            return RetryableError(f"{self.url}: answers {code} for {what}; try again later")
        hint = {
            401: "check user and password of the connection",
            403: "the account may not use this prefix",
            404: "check the address, the account and the prefix",
        }.get(code, _told(answer))
        return ConfigError(f"{self.url}: refuses {what} ({code}): {hint}")


def _told(answer: requests.Response) -> str:
    """Return what the service says is wrong with a request."""
    try:
        errors = answer.json()["errors"]
        return "; ".join(f"{e.get('source', '')} {e.get('title', '')}".strip() for e in errors)
    except (ValueError, KeyError, TypeError, AttributeError):
        return "it does not say why"


def service_from_settings(name: str, settings: Mapping[str, Any]) -> DoiService:
    """Return the service that a connection names.

    Parameters
    ----------
    name
        The connection's id, for the error message.
    settings
        What it holds.

    Raises
    ------
    ConfigError
        It has no address.
    """
    url = str(settings.get("url") or "").rstrip("/")
    if not url.startswith(("https://", "http://")):
        raise ConfigError(
            f"connection {name}: give the root of the service, such as https://api.datacite.org"
        )
    user, password, ca = (str(settings.get(key) or "") for key in ("user", "password", "ca_file"))
    return DoiService(url, user, password, ca)


def service(connection: str) -> DoiService:
    """Return the service that an Airflow connection of type ``datacite`` names.

    Raises
    ------
    ConfigError
        There is no such connection, or it is not complete.
    """
    return service_from_settings(connection, look_up(connection, "datacite"))


def doi_of(prefix: str, zone: str, project: str, name: str, version: int) -> str:
    """Return the DOI of a version; it is the same in every try.

    Parameters
    ----------
    prefix
        The account's prefix.
    zone, project, name, version
        What the version is.
    """
    # DOIs do not tell upper from lower case, which our names do; and parts end at a dot.
    parts = (
        re.sub("[A-Z._]", lambda one: f"_{_ESCAPES.get(one[0], one[0].lower())}", part)
        for part in (zone, project, name)
    )
    return f"{prefix}/{'.'.join(parts)}.v{version}"
