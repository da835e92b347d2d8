"""A release's metadata, judged by the tools of each format."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import mlcroissant
import pytest
from datacite import schema45
from pydantic import ValidationError
from pydicom.data import get_testdata_file

from pacsgrid.config.releases import Creator, DoiSection, ReleaseSection
from pacsgrid.ledger import InstanceRecord
from pacsgrid.pipeline.attributes import Json, read_attributes
from pacsgrid.pipeline.release_documents import ReleaseVersion, release_documents
from pacsgrid.pipeline.release_metadata import EarlierVersion
from pacsgrid.pipeline.release_tables import write_tables

TERMS = ReleaseSection(
    licence="CC-BY-4.0",
    terms="Do not try to identify a patient.",
    publisher="University Hospital Brno",
    creators=(
        Creator(name="Nováková, Žofie", orcid="0000-0002-1825-0097", affiliation="Radiology"),
        Creator(name="The lung group", organisation=True),
    ),
    description="CT of the lung before and after therapy.",
    landing_page="https://data.example.org/{project}/{name}/v{version}",
    doi=DoiSection(connection="datacite", prefix="10.5072"),
)
FULL = ReleaseVersion(
    "brno",
    "lung",
    "heads",
    2,
    "Heads of three",
    [InstanceRecord("1.2.3", "1.2.3.4", "1.2.3.4.5", "SABC", "CT", "0" * 64, 1000)],
    released=date(2026, 1, 2),
    terms=TERMS,
    doi="10.5072/brno.lung.heads.v2",
    earlier=EarlierVersion(1, "10.5072/brno.lung.heads.v1"),
)
BARE = replace(FULL, terms=ReleaseSection(), doi="", earlier=None, version=1)


def known() -> dict[str, Json]:
    return {"1.2.3.4.5": read_attributes(Path(str(get_testdata_file("CT_small.dcm"))))}


def written(folder: Path, version: ReleaseVersion) -> dict[str, Any]:
    """Write the release as it is fetched; returns its documents in JSON."""
    tables = write_tables(folder, version.home, [(version.rows, known())])
    documents = release_documents(version, tables)
    for name, text in documents.items():
        (folder / name).write_bytes(text)
    return {name: json.loads(text) for name, text in documents.items() if name.endswith(".json")}


@pytest.mark.parametrize("version", [FULL, BARE], ids=["full", "bare"])
def test_datacite_is_valid_by_its_schema(tmp_path: Path, version: ReleaseVersion) -> None:
    found = written(tmp_path, version)["datacite.json"]
    schema45.validator.validate(found)
    if version is BARE:
        assert found["publisher"] == {"name": ":unav"}
        assert {"doi", "url", "relatedIdentifiers", "rightsList"}.isdisjoint(found)
        return
    assert found["doi"] == FULL.doi
    assert found["url"] == "https://data.example.org/lung/heads/v2"
    (earlier,) = found["relatedIdentifiers"]
    assert (earlier["relationType"], earlier["relatedIdentifier"]) == (
        "IsNewVersionOf",
        "10.5072/brno.lung.heads.v1",
    )
    assert [one["rights"] for one in found["rightsList"]] == ["CC-BY-4.0", TERMS.terms]


@pytest.mark.parametrize("version", [FULL, BARE], ids=["full", "bare"])
def test_croissant_is_valid_and_its_records_are_the_series(
    tmp_path: Path, version: ReleaseVersion
) -> None:
    written(tmp_path, version)
    found = mlcroissant.Dataset(jsonld=tmp_path / "croissant.json")
    assert not found.metadata.issues.errors
    assert not found.metadata.issues.warnings
    (series,) = found.records("series")
    assert series["series/SeriesInstanceUID"] == b"1.2.3.4"
    assert series["series/Rows"] == 128
    (instance,) = found.records("instances")
    assert instance["instances/path"] == b"data/SABC/1.2.3/1.2.3.4/1.2.3.4.5.dcm"


def test_a_table_that_changed_is_no_longer_the_one_that_croissant_describes(tmp_path: Path) -> None:
    found = written(tmp_path, FULL)["croissant.json"]
    (tmp_path / "series.parquet").write_bytes(b"PAR1")
    listed = {one["@id"]: one["sha256"] for one in found["distribution"]}
    again = {one.name: one.sha256 for one in write_tables(tmp_path, "", [(FULL.rows, known())])}
    assert listed["instances.parquet"] == again["instances.parquet"]
    assert listed["series.parquet"] != again["series.parquet"]  # it names the collection


@pytest.mark.parametrize("version", [FULL, BARE], ids=["full", "bare"])
def test_ro_crate_describes_every_file(tmp_path: Path, version: ReleaseVersion) -> None:
    graph = written(tmp_path, version)["ro-crate-metadata.json"]["@graph"]
    entities = {one["@id"]: one for one in graph}
    assert len(entities) == len(graph)
    root = entities["./"]
    parts = {one["@id"] for one in root["hasPart"]}
    files = {path.name for path in tmp_path.iterdir()}
    assert parts == files - {"ro-crate-metadata.json"} | {"data/SABC/1.2.3/"}
    # What RO-Crate 1.1 demands of the root, "Direct properties of the Root Data Entity".
    assert all(root[key] for key in ("name", "description", "datePublished", "license"))
    authors = root["author"] if isinstance(root["author"], list) else [root["author"]]
    named = [root["license"], root["publisher"], *authors]
    named += [one["affiliation"] for one in graph if "affiliation" in one]
    assert all(one["@id"] in entities for one in named)
    if version is FULL:
        assert root["license"]["@id"] == "https://spdx.org/licenses/CC-BY-4.0"
        assert root["identifier"] == f"https://doi.org/{FULL.doi}"
        assert entities[root["isBasedOn"]["@id"]]["version"] == "1"


def test_the_read_me_begins_with_the_command_that_fetches(tmp_path: Path) -> None:
    written(tmp_path, FULL)
    text = (tmp_path / "README.md").read_text()
    command = text.splitlines()[0].strip()
    assert command == "iget -f /brno/home/lung/releases/heads/v2/fetch.sh && sh fetch.sh"
    assert "Licence: CC-BY-4.0" in text and FULL.doi in text and "Version before: v1" in text


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"licence": "CC BY 4.0"}, "licence"),
        ({"landing_page": "ftp://x"}, "https://"),
        ({"landing_page": "https://x/{patient}"}, "only {project}"),
        ({"landing_page": "https://x/{name.__class__}"}, "only {project}"),
        ({"doi": {"connection": "d", "prefix": "10.5072"}}, "doi needs publisher"),
        ({"publisher": "x", "doi": {"connection": "d", "prefix": "5072"}}, "prefix"),
        ({"creators": [{"name": "A, B", "orcid": "12"}]}, "orcid"),
    ],
)
def test_settings_that_would_spoil_a_release_are_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ReleaseSection.model_validate(wrong)
    assert told in str(caught.value)
