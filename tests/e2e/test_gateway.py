"""DICOMweb through Airflow's own server, with Airflow's own users."""

from __future__ import annotations

import pytest
import requests

from pacsgrid.embedded.stack import GUEST, STEWARD, Stack

pytestmark = pytest.mark.e2e


def test_who_is_logged_in_to_airflow_reads_what_the_grid_holds(filled: Stack) -> None:
    def ask(path: str, user: str, accept: str = "*/*") -> requests.Response:
        headers = {"Accept": accept}
        if user:
            headers["Authorization"] = f"Bearer {filled.token(user)}"
        return requests.get(f"{filled.url}/dicom-web{path}", headers=headers, timeout=120)

    assert ask("/studies", "").status_code == 401
    assert ask("/studies", GUEST).status_code == 403
    answer = ask("/studies", STEWARD)
    assert answer.status_code == 200, answer.text
    studies = answer.json()
    assert studies
    assert not any(name in answer.text for name in ("Kvido", "Zrzav", "756277"))
    address = studies[0]["00081190"]["Value"][0]
    assert address.startswith(f"{filled.url}/dicom-web/studies/")
    got = ask(address.removeprefix(f"{filled.url}/dicom-web"), STEWARD)
    assert got.status_code == 200
    assert got.content.count(b"\0DICM") == studies[0]["00201208"]["Value"][0]
