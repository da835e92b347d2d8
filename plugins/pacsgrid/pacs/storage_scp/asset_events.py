"""Tell Airflow through its REST API that a study arrived: create an asset event."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests

from pacsgrid.errors import ConfigError, RetryableError

_TIMEOUT_SECONDS = 10.0


class AssetEvents:
    """Creates events of one asset.

    Parameters
    ----------
    url
        Airflow's address, without a path.
    user, password
        An Airflow user who may create asset events.
    asset
        The asset's URI, as the ingest DAG names it.
    extra
        Added to each event: the source and the project of its studies.
    ca_file
        Trusted certificates, if Airflow's is not from a public authority.
    """

    def __init__(
        self,
        url: str,
        user: str,
        password: str,
        asset: str,
        extra: Mapping[str, str],
        ca_file: Path | None = None,
    ) -> None:
        self._url = url.rstrip("/")
        self._login = {"username": user, "password": password}
        self._asset = asset
        self._extra = dict(extra)
        self._id: int | None = None
        self._session = requests.Session()
        self._session.trust_env = False
        if ca_file is not None:
            self._session.verify = str(ca_file)

    def announce(self) -> None:
        """Create one event; it does not say which study arrived, the ingest looks for itself.

        Raises
        ------
        RetryableError
            Airflow does not answer, or does not know the asset yet.
        ConfigError
            Airflow refuses the user.
        """
        if self._id is None:
            self._id = self._asset_id()
        event = {"asset_id": self._id, "extra": self._extra}
        self._call("POST", "/api/v2/assets/events", json=event)

    def _asset_id(self) -> int:
        found = self._call("GET", "/api/v2/assets", params={"uri_pattern": self._asset})
        for asset in found.get("assets", []):
            if asset.get("uri", "").rstrip("/") == self._asset.rstrip("/"):
                return int(asset["id"])
        raise RetryableError(f"Airflow knows no asset {self._asset}; is the ingest DAG there?")

    def _call(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        json: object = None,
    ) -> dict[str, Any]:
        for fresh in (False, True):
            if fresh or "Authorization" not in self._session.headers:
                self._log_in()
            answer = self._request(method, path, params=params, json=json)
            if answer.status_code != 401:
                break
        if answer.status_code in (401, 403):
            raise ConfigError(
                "receiver: Airflow refuses airflow_user; grant it the permission to create assets"
            )
        if answer.status_code == 404:
            self._id = None
        if not answer.ok:
            raise RetryableError(f"Airflow answered an asset event with HTTP {answer.status_code}")
        result: dict[str, Any] = answer.json()
        return result

    def _log_in(self) -> None:
        self._session.headers.pop("Authorization", None)
        answer = self._request("POST", "/auth/token", json=self._login)
        if answer.status_code in (400, 401, 403):
            raise ConfigError("receiver: Airflow refuses airflow_user or its password")
        if not answer.ok:
            raise RetryableError(f"Airflow answered the login with HTTP {answer.status_code}")
        self._session.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def _request(
        self,
        method: str,
        path: str,
        params: Mapping[str, str] | None = None,
        json: object = None,
    ) -> requests.Response:
        try:
            return self._session.request(
                method, self._url + path, params=params, json=json, timeout=_TIMEOUT_SECONDS
            )
        except requests.RequestException:
            raise RetryableError("Airflow does not answer") from None
