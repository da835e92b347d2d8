"""DICOMweb against Orthanc, against a network that fails, and against servers with quirks."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from pydicom import dcmread

from pacsgrid.config import load_site
from pacsgrid.embedded.pacs import DICOMWEB, ORTHANC, EmbeddedPacs
from pacsgrid.embedded.ports import reserve_port
from pacsgrid.embedded.sample_data import make_samples
from pacsgrid.errors import ConfigError, SourceError, SourceUnavailableError, TooManyAnswersError
from pacsgrid.model import FoundStudy, StudyQuery
from pacsgrid.pacs import dicomweb_source, open_source
from support.dicom import ct
from support.faulty_proxy import HTTP, FaultyProxy
from support.webserver import Answer, server, source_at

needs_orthanc = pytest.mark.skipif(
    not (ORTHANC.exists() and DICOMWEB.exists()), reason="no Orthanc with DICOMweb"
)


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedPacs]:
    with EmbeddedPacs(tmp_path_factory.mktemp("web"), engine="orthanc") as server:
        yield server


@pytest.fixture(scope="module")
def originals(pacs: EmbeddedPacs, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """SHA-256 of every file in the PACS, by SOP UID."""
    samples = make_samples(tmp_path_factory.mktemp("samples"))
    for path in samples:
        # Orthanc keeps these bytes; those of a C-STORE it would write anew.
        url = f"http://127.0.0.1:{pacs.http_port}/instances"
        assert requests.post(url, data=path.read_bytes()).status_code == 200
    return {
        str(dcmread(path, stop_before_pixels=True).SOPInstanceUID): dataset_digest(path)
        for path in samples
    }


def dataset_digest(path: Path) -> str:
    """Digest what follows the file meta information, which a PACS writes anew."""
    data = path.read_bytes()
    length = int(dcmread(path, stop_before_pixels=True).file_meta.FileMetaInformationGroupLength)
    return hashlib.sha256(data[144 + length :]).hexdigest()


@needs_orthanc
def test_every_study_comes_as_it_is_stored(
    pacs: EmbeddedPacs, originals: dict[str, str], tmp_path: Path
) -> None:
    source = open_source(pacs.settings("web").replace(page_size=2))
    source.echo()
    dimse = open_source(pacs.settings())
    everything = list(source.find_studies(StudyQuery()))
    assert set(everything) == set(dimse.find_studies(StudyQuery()))
    by_modality = StudyQuery(date_from="20100101", modalities=("CT", "MR"))
    assert {s.study_uid for s in source.find_studies(by_modality)} == {
        s.study_uid for s in dimse.find_studies(by_modality)
    }
    came: dict[str, str] = {}
    for number, study in enumerate(everything):
        assert source.list_instances(study) == dimse.list_instances(study)
        for item in source.retrieve(study, tmp_path / str(number)):
            came[item.sop_uid] = dataset_digest(item.path)
    assert came == originals


@needs_orthanc
def test_only_what_is_missing_is_fetched_again(pacs: EmbeddedPacs, tmp_path: Path) -> None:
    paths = [ct(tmp_path / f"{n}.dcm", "1.2.3.77", f"1.2.3.77.1.{n}", fill=n) for n in range(9)]
    pacs.load(paths)
    source = open_source(pacs.settings("web"))
    study = FoundStudy("1.2.3.77", "")
    files = [item.path for item in source.retrieve(study, tmp_path / "in")]
    for gone in (1, 6):  # one by itself, then most of the series at once
        stamps = {path: path.stat().st_ino for path in files[gone:]}
        for path in files[:gone]:
            path.unlink()
        assert len(source.retrieve(study, tmp_path / "in")) == 9
        assert {path: path.stat().st_ino for path in files[gone:]} == stamps
    assert len(list((tmp_path / "in").iterdir())) == 9


@needs_orthanc
def test_all_arrives_through_a_network_that_fails(
    pacs: EmbeddedPacs, originals: dict[str, str], tmp_path: Path
) -> None:
    with FaultyProxy(pacs.http_port, 0.3, HTTP, seed=4) as proxy:
        settings = pacs.settings("web").replace(
            url=f"http://127.0.0.1:{proxy.port}/dicom-web",
            idle_seconds=1.0,
            failures=10_000,
        )
        came: dict[str, str] = {}
        studies = list(open_source(pacs.settings("web")).find_studies(StudyQuery()))
        for number, study in enumerate(studies):
            for _ in range(20):
                # A connection of its own each time, so that faults meet all of them.
                try:
                    items = open_source(settings).retrieve(study, tmp_path / str(number))
                    break
                except SourceUnavailableError:
                    continue
            for item in items:
                came[item.sop_uid] = dataset_digest(item.path)
            assert len(list((tmp_path / str(number)).iterdir())) == len(items)
    assert originals.items() <= came.items()
    assert all(proxy.done[kind] for kind in HTTP), proxy.done


@needs_orthanc
def test_falls_back_and_back(pacs: EmbeddedPacs, tmp_path: Path) -> None:
    paths = [ct(tmp_path / f"{n}.dcm", "1.2.3.78", f"1.2.3.78.1.{n}", fill=n) for n in range(4)]
    pacs.load(paths)
    study = FoundStudy("1.2.3.78", "")
    nowhere = f"http://127.0.0.1:{reserve_port()}/dicom-web"
    deaf = pacs.settings("web").replace(url=nowhere, fall_back=("get",), connect_seconds=1.0)
    assert len(open_source(deaf).retrieve(study, tmp_path / "in")) == 4
    assert study.study_uid in {s.study_uid for s in open_source(deaf).find_studies(StudyQuery())}
    mute = pacs.settings("get").replace(port=reserve_port(), fall_back=("web",))
    assert len(open_source(mute).retrieve(study, tmp_path / "in2")) == 4
    with pytest.raises(SourceUnavailableError):
        open_source(deaf.replace(port=reserve_port())).echo()


# -- servers with quirks -------------------------------------------------------------------


def studies(numbers: range) -> bytes:
    return json.dumps(
        [{"0020000D": {"vr": "UI", "Value": [f"1.2.3.{n}"]}} for n in numbers]
    ).encode()


def test_a_server_that_gives_less_than_a_page() -> None:
    def few(path: str, params: dict[str, list[str]], headers: dict[str, str]) -> Answer:
        start = int(params["offset"][0])
        return 200, {}, studies(range(start, min(start + 3, 10)))

    with server(few) as url:
        found = list(open_source(source_at(url, page_size=5)).find_studies(StudyQuery()))
    assert len(found) == 10


def test_a_server_that_ignores_the_offset() -> None:
    def same(path: str, params: dict[str, list[str]], headers: dict[str, str]) -> Answer:
        return 200, {}, studies(range(min(50, int(params["limit"][0]))))

    with server(same) as url:
        found = list(open_source(source_at(url, page_size=5)).find_studies(StudyQuery()))
    assert len(found) == 50


def test_a_server_that_keeps_answers_back_is_told() -> None:
    def first_five(path: str, params: dict[str, list[str]], headers: dict[str, str]) -> Answer:
        return 200, {"Warning": "299 pacs: There are more results"}, studies(range(5))

    with server(first_five) as url, pytest.raises(TooManyAnswersError, match="more answers"):
        list(open_source(source_at(url, page_size=5)).find_studies(StudyQuery()))


def test_busy_is_tried_again_when_told() -> None:
    asked: list[float] = []

    def busy(path: str, params: dict[str, list[str]], headers: dict[str, str]) -> Answer:
        asked.append(0)
        status = {1: 429, 2: 503}.get(len(asked), 200)
        return status, {"Retry-After": "0"} if status != 200 else {}, studies(range(0))

    with server(busy) as url:
        open_source(source_at(url)).echo()
    assert len(asked) == 3


@pytest.mark.parametrize(
    ("given", "header"),
    [
        ({"token": "t0ken"}, "Bearer t0ken"),
        ({"user": "u", "password": "p"}, "Basic " + base64.b64encode(b"u:p").decode()),
    ],
)
def test_credentials(given: dict[str, str], header: str) -> None:
    def closed(path: str, params: dict[str, list[str]], headers: dict[str, str]) -> Answer:
        good = headers.get("authorization") == header
        return (200, {}, b"[]") if good else (401, {}, b"")

    with server(closed) as url:
        open_source(source_at(url, **given)).echo()
        with pytest.raises(SourceError, match="credentials"):
            open_source(source_at(url)).echo()
    assert "t0ken" not in repr(source_at(url, **given))


def part10(uid: str) -> bytes:
    value = uid.encode() + b"\0" * (len(uid) % 2)
    meta = b"\2\0\3\0UI" + len(value).to_bytes(2, "little") + value
    meta += b"\2\0\x10\0UI\x12\x001.2.840.10008.1.2\0"
    return b"\0" * 128 + b"DICM" + meta + b"dataset of " + uid.encode()


def one_study(
    body: bytes,
    kind: str = "multipart/related; boundary=b",
    count: int | None = None,
    asked: list[str] | None = None,
) -> Callable[..., Answer]:
    def answer(path: str, params: dict[str, list[str]], headers: dict[str, str]) -> Answer:
        if asked is not None:
            asked.append(path)
        if path.endswith("/series") or path.endswith("/instances"):
            if params["offset"] != ["0"]:
                return 204, {}, b""
            tag = "0020000E" if path.endswith("/series") else "00080018"
            uids = ["9"] if path.endswith("/series") else ["9.1", "9.2"]
            items = [{tag: {"vr": "UI", "Value": [uid]}} for uid in uids]
            if path.endswith("/series") and count is not None:
                items[0]["00201209"] = {"vr": "IS", "Value": [count]}
            return 200, {}, json.dumps(items).encode()
        if "transfer-syntax" in headers["accept"]:  # an older server
            return 406, {}, b""
        return 200, {"Content-Type": kind}, body

    return answer


def related(*parts: bytes) -> bytes:
    return b"".join(b"--b\r\n\r\n" + part + b"\r\n" for part in parts) + b"--b--"


def test_parts_that_were_not_asked_for_are_left(tmp_path: Path) -> None:
    body = related(part10("9.7"), part10("9.1"), part10("9.1"), part10("9.2"))
    with server(one_study(body)) as url:
        items = open_source(source_at(url)).retrieve(FoundStudy("8", ""), tmp_path / "in")
    assert [item.path.read_bytes() for item in items] == [part10("9.1"), part10("9.2")]
    assert len(list((tmp_path / "in").iterdir())) == 2


def test_a_series_that_is_all_there_needs_no_list(tmp_path: Path) -> None:
    asked: list[str] = []
    body = related(part10("9.1"), part10("9.1"), part10("9.2"))
    with server(one_study(body, count=2, asked=asked)) as url:
        source = open_source(source_at(url))
        items = source.retrieve(FoundStudy("8", ""), tmp_path / "in")
        assert not [path for path in asked if path.endswith("/instances")]
        items[0].path.unlink()
        assert source.retrieve(FoundStudy("8", ""), tmp_path / "in") == items
    assert [item.path.read_bytes() for item in items] == [part10("9.1"), part10("9.2")]


@pytest.mark.parametrize("parts", [("9.7", "9.1", "9.2"), ("9.2", "9.1", "9.1")])
def test_a_count_that_is_wrong_is_found_out_by_the_list(
    parts: tuple[str, ...], tmp_path: Path
) -> None:
    asked: list[str] = []
    body = related(*(part10(uid) for uid in parts))
    count = len(set(parts)) + 1 if "9.7" not in parts else 2
    with server(one_study(body, count=count, asked=asked)) as url:
        items = open_source(source_at(url)).retrieve(FoundStudy("8", ""), tmp_path / "in")
    assert [path for path in asked if path.endswith("/instances")]
    assert [item.path.read_bytes() for item in items] == [part10("9.1"), part10("9.2")]
    assert len(list((tmp_path / "in").iterdir())) == 2


def test_a_counted_series_that_lacks_one_is_not_whole(tmp_path: Path) -> None:
    late = pytest.raises(SourceUnavailableError, match="1 of 2 instances did not arrive")
    with server(one_study(related(part10("9.1")), count=2)) as url, late:
        open_source(source_at(url)).retrieve(FoundStudy("8", ""), tmp_path / "in")


def test_a_cut_answer_keeps_what_was_whole(tmp_path: Path) -> None:
    body = related(part10("9.1"), part10("9.2"))
    with server(one_study(body[:-9])) as url, pytest.raises(SourceUnavailableError):
        open_source(source_at(url)).retrieve(FoundStudy("8", ""), tmp_path / "in")
    assert [p.read_bytes() for p in (tmp_path / "in").iterdir()] == [part10("9.1")]


def test_success_without_the_images_is_no_success(tmp_path: Path) -> None:
    late = pytest.raises(SourceUnavailableError, match="1 of 2 instances did not arrive")
    with server(one_study(related(part10("9.1")))) as url, late:
        open_source(source_at(url)).retrieve(FoundStudy("8", ""), tmp_path / "in")


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (related(b"no DICOM"), "multipart/related; boundary=b"),
        (b"<html>", "text/html"),
    ],
)
def test_an_answer_of_another_kind(body: bytes, kind: str, tmp_path: Path) -> None:
    with server(one_study(body, kind)) as url, pytest.raises(SourceError):
        open_source(source_at(url)).retrieve(FoundStudy("8", ""), tmp_path / "in")
    assert not list((tmp_path / "in").iterdir())


def test_errors_tell_nothing_of_the_query(caplog: pytest.LogCaptureFixture) -> None:
    url = f"http://127.0.0.1:{reserve_port()}"
    with caplog.at_level(0), pytest.raises(SourceUnavailableError) as caught:
        list(open_source(source_at(url)).find_studies(StudyQuery(patient_ids=("756203/1234",))))
    told = f"{caught.value} {caught.value.__cause__} {caplog.text}"
    assert "756203" not in told


def test_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PACSGRID_LEDGER_DSN", "")
    (tmp_path / "key").write_text("k")
    (tmp_path / "token").write_text("t0ken\n")
    site = f"""
staging: /s
outbox: /o
quarantine: /q
vault_key_file: {tmp_path}/key
zones: {{}}
projects: {{}}
sources:
  web: {{kind: dicomweb, url: "https://pacs/dicom-web", token_file: {tmp_path}/token,
        fall_back: [get, move]}}
"""
    path = tmp_path / "site.yaml"
    path.write_text(site)
    source = load_site(path).source("web")
    assert (source.retrieve, source.fall_back) == ("web", ("get", "move"))
    assert source.token.get_secret_value() == "t0ken"
    path.write_text(site.replace("https://pacs/dicom-web", ""))
    with pytest.raises(ConfigError, match="url is not set"):
        load_site(path)
    path.write_text(site.replace("[get, move]", "[ftp]"))
    with pytest.raises(ConfigError, match="fall_back"):
        load_site(path)


@pytest.mark.parametrize("uid", ["", ".", "..", "... "])
def test_a_uid_of_dots_is_no_address(uid: str) -> None:
    for pair in ((uid, "1.2"), ("1.2", uid)):
        with pytest.raises(SourceError, match="dots"):
            dicomweb_source._series_path(*pair)
    assert dicomweb_source._series_path("1.2/..", "1") == "/studies/1.2%2F../series/1"
