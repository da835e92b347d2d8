"""QIDO-RS: the same answers as Orthanc's, limited to what a user may read."""

from __future__ import annotations

import json
from http.client import HTTPConnection
from typing import Any
from urllib.parse import urlsplit

import pytest
from dicomweb_client.api import DICOMwebClient
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.conftest import Shown
from support.served_zones import Client

# Valid differences: Orthanc leaves out attributes that it does not store.
_OURS_ONLY = {"00080005", "00080056", "00081190", "00080201"}
STUDY, SERIES, SOP = "0020000D", "0020000E", "00080018"


def by_uid(answers: list[dict[str, Any]], tag: str) -> dict[str, dict[str, Any]]:
    return {one[tag]["Value"][0]: one for one in answers}


def undecoded(url: str, params: dict[str, str]) -> Any:
    """Search in Orthanc, whose plugin does not decode escapes in a query string."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.netloc, timeout=60)
    query = "&".join(f"{name}={value}" for name, value in params.items())
    connection.request("GET", f"{parts.path}?{query}", headers={"Accept": "application/json"})
    return json.loads(connection.getresponse().read())


def plain(value: Any) -> Any:
    """Return a value in a form that is the same for both servers."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if v not in ("", None)}
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value.rstrip(" \0")
    return float(value) if isinstance(value, int) else value


@pytest.mark.parametrize(
    ("path", "tag"),
    [("/studies", STUDY), ("/series", SERIES), ("/instances", SOP)],
)
def test_every_attribute_is_as_orthanc_has_it(shown: Shown, path: str, tag: str) -> None:
    ours = by_uid(shown.client().ask(path).json(), tag)
    theirs = by_uid(shown.reference.ask(path).json(), tag)
    assert ours.keys() == theirs.keys() and len(ours) > 5
    compared = 0
    for uid, answer in theirs.items():
        for name, element in answer.items():
            if name in _OURS_ONLY or not element.get("Value"):
                continue
            mine = ours[uid].get(name, {})
            assert plain(mine.get("Value")) == plain(element["Value"]), (uid, name, mine, element)
            assert mine["vr"] == element["vr"]
            compared += 1
    assert compared > 100


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/studies", {"PatientName": "Sub*"}),
        ("/studies", {"00100010": "sub^one"}),
        ("/studies", {"StudyDescription": "H?ava*"}),
        ("/studies", {"StudyDescription": "*[nativ]"}),
        ("/studies", {"StudyDate": "20040101-20051231"}),
        ("/studies", {"StudyDate": "20240102"}),
        ("/studies", {"StudyDate": "19900101-20041231"}),
        ("/studies", {"ModalitiesInStudy": "MR"}),
        ("/studies", {"StudyInstanceUID": "1.2.840.77"}),
        ("/studies", {"StudyTime": "1000-1100"}),
        ("/studies", {"AccessionNumber": "ACC-77123"}),
        ("/series", {"Modality": "CT"}),
        ("/series", {"Modality": "CT", "SeriesNumber": "2"}),
        ("/series", {"PatientID": "756203/1234"}),
        ("/studies/1.2.840.77/series", {"SeriesInstanceUID": "1.2.840.77.2"}),
        ("/studies/1.2.840.77/instances", {"InstanceNumber": "3"}),
        ("/studies/1.2.840.77/series/1.2.840.77.1/instances", {}),
        ("/studies/1.2.840.77/series/1.2.840.77.2/instances", {"SOPInstanceUID": "1.2.840.77.9.5"}),
        ("/studies/9.9.9/series", {}),
        ("/instances", {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2", "StudyDate": "20240102"}),
    ],
)
def test_a_search_finds_what_orthanc_finds(shown: Shown, path: str, params: dict[str, str]) -> None:
    tag = SOP if path.endswith("instances") else SERIES if path.endswith("series") else STUDY
    ours = by_uid(shown.client().ask(path, **params).json(), tag)
    theirs = by_uid(undecoded(f"{shown.reference.root}{path}", params), tag)
    assert ours.keys() == theirs.keys()
    assert bool(ours) is ("9.9.9" not in path)


def test_pages_fields_and_lists(shown: Shown) -> None:
    client = shown.client()
    studies = client.ask("/studies").json()
    pages = [client.ask("/studies", limit=4, offset=n).json() for n in range(0, len(studies), 4)]
    assert [one for page in pages for one in page] == studies
    answer = client.ask("/studies", limit=4)
    assert "additional results" in answer.headers["Warning"]
    assert "Warning" not in client.ask("/studies", limit=len(studies)).headers
    assert client.ask("/studies", limit=0).json() == []
    uids = sorted(by_uid(studies, STUDY))[:3]
    for text in (",".join(uids), "\\".join(uids)):
        found = client.ask("/studies", StudyInstanceUID=text).json()
        assert sorted(by_uid(found, STUDY)) == uids
    plain_one, full = (
        client.ask("/studies/1.2.840.77/series", **params).json()[0]
        for params in ({}, {"includefield": "all"})
    )
    assert "00080070" not in plain_one and full["00080070"]["Value"] == ["SIEMENS"]
    (named,) = client.ask(
        "/studies/1.2.840.77/instances", InstanceNumber="2", includefield="Rows,00280011"
    ).json()
    assert named["00280010"]["Value"] == named["00280011"]["Value"] == [32]
    assert named["00081190"]["Value"] == [
        f"{shown.root}/studies/1.2.840.77/series/1.2.840.77.1/instances/1.2.840.77.9.2"
    ]
    # A key in a sequence.
    key = "RequestAttributesSequence.ScheduledProcedureStepID"
    assert client.ask("/series", **{key: "none such"}).json() == []


def test_malformed_parameters_are_refused_and_unsupported_ones_warned_of(shown: Shown) -> None:
    client = shown.client()
    for params in (
        {"limit": "many"},
        {"limit": "²"},
        {"limit": "１２"},
        {"limit": "1_000"},
        {"limit": "+5"},
        {"offset": "-1"},
        {"offset": "²"},
        {"StudyDate": "yesterday"},
        {"StudyDate": "２０２４０１０１"},
        {"StudyTime": "10:99:xx"},
        {"SeriesNumber": "²", "path": "/series"},
        {"SeriesNumber": "1_0", "path": "/series"},
        {"SeriesNumber": "１２", "path": "/series"},
        {"InstanceNumber": "5*", "path": "/instances"},
    ):
        answer = client.ask(params.pop("path", "/studies"), **params)
        assert answer.status_code == 400 and answer.json()["detail"], params
    answer = client.ask("/studies", fuzzymatching="true", PatientName="Sub^One")
    assert "fuzzymatching" in answer.headers["Warning"]
    assert answer.headers["Warning"].startswith("299 ")
    assert by_uid(answer.json(), STUDY).keys() == {"1.2.840.77"}
    answer = client.ask("/studies", KVP="120", StudyInstanceUID="1.2.840.77")
    assert "KVP is not supported" in answer.headers["Warning"] and len(answer.json()) == 1
    assert client.ask("/studies", "application/dicom+xml").status_code == 406
    assert client.ask("/studies", "application/dicom+xml;q=0.9, application/json;q=0.1").ok


@given(
    names=st.lists(
        st.sampled_from(
            [
                "PatientName",
                "StudyDate",
                "StudyTime",
                "0020000D",
                "00400275.00400009",
                "00400275.99999999",
                "KVP",
                "00080020.00100010",
                "ModalitiesInStudy",
                "SeriesNumber",
                "limit",
                "offset",
                "includefield",
                "fuzzymatching",
                "accept",
            ]
        ),
        max_size=4,
    ),
    values=st.lists(
        st.one_of(
            st.text(max_size=12),
            st.text("0123456789-:.*?,\\+", max_size=14),
            st.sampled_from(["*", "-", "20240101-", "1.2.840.77", "all", "true", "*/*;q=x"]),
        ),
        min_size=4,
        max_size=4,
    ),
    path=st.sampled_from(["/studies", "/series", "/instances", "/studies/1.2.840.77/series"]),
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_no_question_brings_it_down(
    shown: Shown, names: list[str], values: list[str], path: str
) -> None:
    params = list(zip(names, values, strict=False))
    client = shown.client()
    answer = client.get(client.root + path, params=params, timeout=60)
    assert answer.status_code in (200, 400, 406), (answer.url, answer.text)


@pytest.mark.parametrize(
    "path",
    [
        "/studies/%00", "/studies/1.2.840.77%0a", "/studies/" + "1." * 60, "/studies/*/series",
        "/studies/1.2.840.77/series/1/instances/2/frames/x", "/studies/1.2.840.77/rendered/9",
        "/studies/1.2.840.77/series/1.2.840.77.1/instances/1.2.840.77.9.1/bulkdata/zz",
        "/studies/1.2.840.77/series/1.2.840.77.1/instances/1.2.840.77.9.1/bulkdata/00400275.7.x",
        "/studies/..%2f..%2fetc", "/nothing",
    ],
)  # fmt: skip
def test_no_url_makes_the_server_fail(shown: Shown, path: str) -> None:
    for accept in ("*/*", "multipart/related; type=", "a/b;q=z", ";", "image/png"):
        assert shown.client().ask(path, accept).status_code in (200, 400, 404, 406)


def test_only_known_users_may_search_and_find_what_they_may_read(shown: Shown) -> None:
    for name in ("", "stranger"):
        answer = Client(shown.root, name).ask("/studies")
        assert answer.status_code == 401 and "Bearer" in answer.headers["WWW-Authenticate"]
    jan = shown.client("jan")
    (study,) = jan.ask("/studies").json()
    assert study[STUDY]["Value"] == ["1.2.840.77"]
    assert study["00201206"]["Value"] == [1] and study["00201208"]["Value"] == [4]
    (series,) = jan.ask("/series").json()
    assert series[SERIES]["Value"] == ["1.2.840.77.1"]
    assert len(jan.ask("/instances").json()) == 4
    for path in ("/studies", "/series", "/instances", "/studies/1.2.840.77/series"):
        assert shown.client("nobody").ask(path).json() == []
    hidden = "/studies/1.2.840.77/series/1.2.840.77.2"
    for path in (hidden, f"{hidden}/metadata", f"{hidden}/instances/1.2.840.77.9.5/frames/1"):
        for name, status in (("jan", 404), ("nobody", 404), ("eva", 200)):
            assert shown.client(name).ask(path).status_code == status


def test_a_viewer_of_an_allowed_origin_may_search(shown: Shown) -> None:
    def preflight(origin: str) -> Any:
        headers = {
            "Origin": origin,
            "Access-Control-Request-Method": "GET",
            "Access-Control-Request-Headers": "authorization",
        }
        return Client(shown.root, "").options(f"{shown.root}/studies", headers=headers)

    answer = preflight("https://viewer.example.org")
    assert answer.ok
    assert answer.headers["Access-Control-Allow-Origin"] == "https://viewer.example.org"
    assert "Access-Control-Allow-Origin" not in preflight("https://evil.example.org").headers


def test_dicomweb_client_searches(shown: Shown) -> None:
    client = DICOMwebClient(shown.root, headers={"Authorization": "Bearer evaeva"})
    assert len(client.search_for_studies(get_remaining=True)) == len(
        shown.client().ask("/studies").json()
    )
    (study,) = client.search_for_studies(search_filters={"PatientName": "Sub^One"})
    uid = study[STUDY]["Value"][0]
    assert len(client.search_for_series(uid)) == 2
    found = client.search_for_instances(uid, search_filters={"InstanceNumber": "5"})
    assert [one[SOP]["Value"] for one in found] == [["1.2.840.77.9.5"]]


@pytest.mark.parametrize(
    ("path", "params", "found"),
    [
        ("/studies", {"ModalitiesInStudy": "CT,MR"}, {"CT", "MR"}),
        ("/studies", {"ModalitiesInStudy": "CT\\MR"}, {"CT", "MR"}),
        ("/studies", {"ModalitiesInStudy": ["CT", "MR"]}, {"CT", "MR"}),
        ("/studies", {"ModalitiesInStudy": "MR,XA,"}, {"MR"}),
        ("/studies", {"ModalitiesInStudy": "C?,M*"}, {"CT", "MR"}),
        ("/series", {"Modality": "CT,MR"}, {"CT", "MR"}),
        ("/studies", {"Modality": "RTPLAN,CT"}, {"CT", "RTPLAN"}),
        ("/studies", {"ModalitiesInStudy": "XA,"}, set()),
    ],
)
def test_a_list_matches_either(
    shown: Shown, path: str, params: dict[str, Any], found: set[str]
) -> None:
    answers = shown.client().ask(path, **params).json()
    tag = "00080060" if path == "/series" else "00080061"
    modalities = {value for one in answers for value in one[tag]["Value"]}
    assert modalities == found
    alone = [shown.client().ask(path, ModalitiesInStudy=one).json() for one in sorted(found)]
    if path == "/studies":
        uids = {one[STUDY]["Value"][0] for each in alone for one in each}
        assert {one[STUDY]["Value"][0] for one in answers} == uids


def test_lists_of_numbers_and_dates_match_either(shown: Shown) -> None:
    client = shown.client()
    path = "/studies/1.2.840.77/instances"
    for text in ("1,3", "1\\3", "01,3.0"):
        found = client.ask(path, InstanceNumber=text).json()
        assert sorted(one["00200013"]["Value"][0] for one in found) == [1, 3]
    found = client.ask("/studies", StudyDate="19000101-19000102\\20240101-20240103").json()
    assert by_uid(found, STUDY).keys() == {"1.2.840.77"}


def test_unsupported_parameters_are_ignored_with_a_warning(shown: Shown) -> None:
    client = shown.client()
    everything = client.ask("/studies").json()
    for name, told in (
        ("Nonsense", "Nonsense is unknown"),
        ("_", "A parameter is unknown"),
        ("00100010.Nonsense", "00100010.Nonsense is unknown"),
        ('x"\r\nSet-Cookie: a=b', "A parameter is unknown"),
        ("Žofie", "A parameter is unknown"),
        ("x" * 5000, "A parameter is unknown"),
        ("0010001", "0010001 is unknown"),
        ("includefield", "Nonsense is unknown"),
        ("emptyvaluematching", "emptyvaluematching parameter is not supported"),
    ):
        value = {"includefield": "Nonsense", "emptyvaluematching": "true"}.get(name, "1")
        answer = client.ask("/studies", **{name: value})
        assert answer.status_code == 200 and answer.json() == everything, name
        assert told in answer.headers["Warning"] and answer.headers["Warning"].startswith("299 ")
        assert "Set-Cookie" not in answer.headers
    assert "Warning" not in client.ask("/studies", multiplevaluematching="true").headers
    many = client.ask("/studies", **{f"Unknown{n}": "1" for n in range(240)})
    assert many.status_code == 200 and len(many.headers["Warning"]) < 4096


def test_limits_and_offsets_at_their_edges(shown: Shown) -> None:
    client = shown.client()
    count = len(client.ask("/studies").json())
    assert len(client.ask("/studies", limit="9" * 29).json()) == count
    assert client.ask("/studies", offset="9" * 29).json() == []
    assert client.ask("/studies", offset=count).json() == []
    assert len(client.ask("/studies", offset=count - 1, limit=5).json()) == 1
    for wrong in ("", " 1", "1.0", "0x1", "1e3", "9" * 31):
        assert client.ask("/studies", limit=wrong).status_code == 400
    for empty in (
        {"PatientID": ""},
        {"StudyDate": ""},
        {"ModalitiesInStudy": ""},
        {"StudyID": "*"},
    ):
        assert len(client.ask("/studies", **empty).json()) == count


def test_what_was_not_foreseen_tells_no_value(
    shown: Shown, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object) -> None:
        raise ValueError("Kvapilova^Zdenka")

    monkeypatch.setattr(shown.gateway, "find", broken)
    monkeypatch.setattr(shown.gateway, "instances", broken)
    for path in ("/studies", "/studies/1.2.840.77", "/studies/1.2.840.77/metadata"):
        answer = shown.client().ask(path)
        assert answer.status_code == 500 and "Kvapilova" not in answer.text
    assert "ValueError at " in caplog.text and "Kvapilova" not in caplog.text
