"""DOIs are reserved at a DataCite-like service, once for each version."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from airflow.models import Connection

from pacsgrid.errors import ConfigError, RetryableError
from pacsgrid.pipeline.doi import DoiService, doi_of, service
from pacsgrid.pipeline.release_metadata import related
from support.datacite_service import ACCOUNT, PREFIX, DataCiteService

DOI = f"{PREFIX}/brno.lung.heads.v1"
METADATA = {
    "creators": [{"name": "Grid"}],
    "titles": [{"title": "Heads"}],
    "publisher": {"name": "Grid"},
    "publicationYear": "2026",
    "types": {"resourceTypeGeneral": "Dataset", "resourceType": "DICOM images"},
    "schemaVersion": "http://datacite.org/schema/kernel-4",
}


@pytest.fixture
def datacite() -> Iterator[DataCiteService]:
    with DataCiteService() as server:
        yield server


@pytest.fixture
def client(datacite: DataCiteService, monkeypatch: pytest.MonkeyPatch) -> DoiService:
    monkeypatch.setenv("AIRFLOW_CONN_DATACITE_TEST", datacite.connection())
    return service("datacite_test")


def test_a_doi_is_reserved_once_as_a_draft(datacite: DataCiteService, client: DoiService) -> None:
    client.reserve(DOI, METADATA)
    client.reserve(DOI, {**METADATA, "version": "1"})
    assert list(datacite.dois) == [DOI]
    assert datacite.dois[DOI]["state"] == "draft"
    assert datacite.dois[DOI]["version"] == "1"
    assert "event" not in datacite.dois[DOI]  # nothing is published


def test_versions_are_linked_once(datacite: DataCiteService, client: DoiService) -> None:
    client.reserve(DOI, {**METADATA, "relatedIdentifiers": [related("10.1/x", "Cites")]})
    for _ in range(2):
        client.link(DOI, related(DOI.replace("v1", "v2"), "IsPreviousVersionOf"))
    assert [one["relationType"] for one in datacite.dois[DOI]["relatedIdentifiers"]] == [
        "Cites",
        "IsPreviousVersionOf",
    ]
    assert datacite.dois[DOI]["titles"] == METADATA["titles"]


def test_refusals_say_what_to_do(
    datacite: DataCiteService, client: DoiService, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="may not use this prefix"):
        client.reserve("10.9999/x", METADATA)
    with pytest.raises(ConfigError, match=r"refuses .* \(422\): metadata is not schema 4.5"):
        client.reserve(DOI, {**METADATA, "publicationYear": 2026})
    with pytest.raises(ConfigError, match="check the address"):
        client.link(DOI, related("10.1/x", "Cites"))
    for code in (429, 503):
        datacite.out_of_order = code
        with pytest.raises(RetryableError, match=f"answers {code}"):
            client.reserve(DOI, METADATA)
    datacite.out_of_order = 0
    monkeypatch.setenv("AIRFLOW_CONN_DATACITE_TEST", datacite.connection(password="wrong"))
    with pytest.raises(ConfigError, match="check user and password"):
        service("datacite_test").reserve(DOI, METADATA)
    monkeypatch.setenv("AIRFLOW_CONN_DATACITE_TEST", datacite.connection(host="api.datacite.org"))
    with pytest.raises(ConfigError, match="root of the service"):
        service("datacite_test")
    assert datacite.dois == {}
    assert ACCOUNT[1] not in repr(client)


def test_a_service_that_is_down_is_tried_again() -> None:
    with DataCiteService() as server:
        url = server.url
    with pytest.raises(RetryableError, match="no answer"):
        DoiService(url, *ACCOUNT).reserve(DOI, METADATA)


def test_the_test_button_asks_the_service(
    datacite: DataCiteService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_DATACITE_TEST", datacite.connection())
    connection = Connection(conn_id="datacite_test", conn_type="datacite")
    assert connection.test_connection() == (True, f"{datacite.url} answers")
    datacite.out_of_order = 503
    assert connection.test_connection()[0] is False


def test_each_version_has_a_doi_of_its_own() -> None:
    versions = [
        ("brno", "a.b", "c", 1),
        ("brno", "a", "b.c", 1),
        ("brno", "a", "B_c", 1),
        ("brno", "a", "_b_c", 1),
        ("brno", "a", "b", 2),
        ("praha", "a", "b", 2),
    ]
    names = [doi_of(PREFIX, *one) for one in versions]
    assert len({name.lower() for name in names}) == len(versions)
    assert doi_of(PREFIX, "brno", "lung", "heads", 1) == DOI
