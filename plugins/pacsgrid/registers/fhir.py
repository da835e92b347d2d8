"""Requests to a FHIR service (HL7 FHIR R4, RESTful API), without identities in URLs or messages."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from pacsgrid.config.registers import RegisterService
from pacsgrid.config.secrets import read_secret
from pacsgrid.errors import PacsgridError, RegisterUnavailableError
from pacsgrid.log_suppression import suppress_library_logs

suppress_library_logs()

_JSON = "application/fhir+json"
_MOST_BYTES = 64 << 20
_TRIES = 3


_Settings = TypeVar("_Settings", bound=RegisterService)


class FhirService(Generic[_Settings]):
    """A FHIR service; its connections are kept open and reused.

    Redirections are not followed, since they could lead an identity to another place. Neither are
    the environment's proxies.

    Parameters
    ----------
    where
        The section of the site file that names it, for messages.
    settings
        What that section says.
    """

    def __init__(self, where: str, settings: _Settings) -> None:
        self._where, self._settings = where, settings
        self._session: requests.Session | None = None

    def __repr__(self) -> str:
        """Return a text without address and token."""
        return f"{type(self).__name__}({self._where})"

    def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            self._session.close()
            self._session = None

    def ping(self) -> None:
        """Return if the service answers with its capabilities (``GET [base]/metadata``).

        Raises
        ------
        RegisterUnavailableError
            It does not.
        """
        self._request("GET", "/metadata")

    def post_parameters(self, operation: str, parameters: Mapping[str, Any]) -> Any:
        """Call an operation of the service.

        Parameters
        ----------
        operation
            Its name, beginning with ``$``.
        parameters
            The resource ``Parameters``.

        Returns
        -------
        dict
            The resource that it answers with.

        Raises
        ------
        RegisterUnavailableError
            It gives no answer that can be used.
        """
        return self._request("POST", f"/{operation}", json=parameters)

    def search(self, kind: str, criteria: list[tuple[str, str]]) -> list[dict[str, Any]]:
        """Search for resources, with the criteria in the body (``POST [base]/[type]/_search``).

        Parameters
        ----------
        kind
            The type of the resources.
        criteria
            Names and values of search parameters.

        Returns
        -------
        list of dict
            The resources of all pages, included ones too.

        Raises
        ------
        RegisterUnavailableError
            It gives no answer that can be used.
        """
        found: list[dict[str, Any]] = []
        bundle = self._request("POST", f"/{kind}/_search", data=criteria)
        while True:
            if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
                raise self._unusable("answers a search without a Bundle; is url its base?")
            for entry in bundle.get("entry") or ():
                resource = entry.get("resource") if isinstance(entry, dict) else None
                if not isinstance(resource, dict):
                    raise self._unusable("has an entry without a resource in its Bundle")
                if resource.get("resourceType") == "OperationOutcome":
                    continue
                found.append(resource)
            following = [
                str(link.get("url"))
                for link in bundle.get("link") or ()
                if isinstance(link, dict) and link.get("relation") == "next"
            ]
            if not following:
                return found
            bundle = self._request("GET", self._own_path(following[0]))

    def _own_path(self, url: str) -> str:
        """Return the path of a further page below the base; a page elsewhere is not asked for."""
        base = self._settings.url
        if url.startswith(f"{base}/") or url.startswith(f"{base}?"):
            return url[len(base) :]
        if "://" not in url and not url.startswith("/"):
            return f"/{url}"
        raise self._unusable("names a further page outside of its base; set url to its own base")

    def _request(self, method: str, path: str, **body: Any) -> Any:
        settings = self._settings
        try:
            session = self._open()
        except PacsgridError as error:
            raise RegisterUnavailableError(str(error)) from None
        try:
            answer = session.request(
                method,
                f"{settings.url}{path}",
                timeout=(min(10.0, settings.timeout_seconds), settings.timeout_seconds),
                allow_redirects=False,
                stream=True,
                **body,
            )
            content = answer.raw.read(_MOST_BYTES + 1, decode_content=True)
        except (OSError, ValueError, requests.RequestException) as error:
            # The library's text may quote what was asked for.
            raise self._unusable(f"does not answer ({type(error).__name__})") from None
        except Exception as error:
            raise self._unusable(f"broke its answer off ({type(error).__name__})") from None
        if len(content) > _MOST_BYTES:
            raise self._unusable("answers with more than 64 MiB")
        resource = _resource(content)
        if answer.status_code != 200:
            raise self._unusable(f"answers with status {answer.status_code}{_advice(answer)}")
        if not isinstance(resource, dict):
            raise self._unusable("does not answer with FHIR in JSON; is url its base?")
        return resource

    def _open(self) -> requests.Session:
        if self._session is not None:
            return self._session
        settings, session = self._settings, requests.Session()
        session.trust_env = False
        session.headers["Accept"] = _JSON
        if settings.token_env or settings.token_file:
            token = read_secret(self._where, settings.token_env, settings.token_file, "token")
            session.headers["Authorization"] = f"Bearer {token.get_secret_value()}"
        if settings.ca_file:
            session.verify = str(settings.ca_file)
        if settings.cert_file:
            session.cert = (str(settings.cert_file), str(settings.key_file))
        retry = Retry(
            total=_TRIES,
            connect=1,
            read=0,
            status_forcelist=(429, 502, 503, 504),
            backoff_factor=0.2,
            allowed_methods=None,
            raise_on_status=False,
            retry_after_max=10,
        )
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=retry))
        self._session = session
        return session

    def _unusable(self, what: str) -> RegisterUnavailableError:
        return RegisterUnavailableError(f"{self._where}: the service {what}; asked again later")


def _resource(content: bytes) -> Any:
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None


def _advice(answer: requests.Response) -> str:
    if answer.status_code in (401, 403):
        return ", so it does not know us: correct token_file, or cert_file"
    if answer.status_code == 404:
        return ", so it has no such address, or not this target: correct url or target"
    if answer.status_code in range(300, 400):
        return ", so it is at another address: correct url"
    return ""
