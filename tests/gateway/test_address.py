"""URLs in answers lead back to the gateway, whatever header fields a client or proxy sends."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from dicomweb_client.api import DICOMwebClient
from pydicom import dcmread
from starlette.applications import Starlette
from starlette.routing import Mount

from gateway.conftest import Shown
from pacsgrid.gateway.web import dicomweb
from pacsgrid.gateway.web.authentication import by_token
from support.served_zones import Client, Listening

PATHS = ("/studies/1.2.840.77/metadata", "/studies/1.2.840.77/series/1.2.840.77.1/metadata")


def get_json(root: str, path: str, **headers: str) -> Any:
    """Return the JSON and the header fields of an answer; send header fields unchanged."""
    parts = urlsplit(root)
    connection = http.client.HTTPConnection(parts.netloc, timeout=60)
    fields = {
        "Authorization": "Bearer evaeva",
        **{k.replace("_", "-"): v for k, v in headers.items()},
    }
    connection.putrequest("GET", parts.path + path, skip_host="Host" in fields)
    for name, value in fields.items():
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    return json.loads(answer.read()), dict(answer.getheaders())


def addresses(found: Any) -> list[str]:
    if isinstance(found, list):
        return [uri for one in found for uri in addresses(one)]
    if isinstance(found, dict):
        own = [found["BulkDataURI"]] if "BulkDataURI" in found else []
        own += found["Value"] if found.get("vr") == "UR" else []
        return own + [uri for one in found.values() for uri in addresses(one)]
    return []


@pytest.mark.parametrize("name", ["CT_small.dcm", "693_J2KI.dcm"])
def test_dicomweb_client_retrieves_bulk_data_by_its_address(shown: Shown, name: str) -> None:
    client = DICOMwebClient(shown.root, headers={"Authorization": "Bearer evaeva"})
    ds = dcmread(shown.path(name))
    uids = (ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.SOPInstanceUID)
    uri = client.retrieve_instance_metadata(*uids)["7FE00010"]["BulkDataURI"]
    (content,) = client.retrieve_bulkdata(uri)
    if name == "CT_small.dcm":
        assert content == ds.PixelData
        # The client accepts multipart only, which has no ranges.
        assert client.retrieve_bulkdata(uri, byte_range=(10, 19)) in ([content], [content[10:20]])
    (study,) = client.search_for_studies(search_filters={"StudyInstanceUID": uids[0]})
    assert study["00081190"]["Value"] == [f"{shown.root}/studies/{uids[0]}"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example.org"},
        {"Host": "evil.example.org:80"},
        {"Host": "127.0.0.1@evil.example.org"},
        {"Host": 'evil.example.org"x'},
        {"Host": ""},
        {"Host": "127.0.0.1", "X_Forwarded_Host": "evil.example.org"},
        {"X_Forwarded_Host": "evil.example.org", "X_Forwarded_Proto": "evil"},
        {"X_Forwarded_For": "evil.example.org", "X_Forwarded_Prefix": "/evil"},
        {"Forwarded": "host=evil.example.org;proto=evil"},
        {"X_Original_URL": "/evil", "X_Rewrite_URL": "/evil"},
    ],
    ids=range(10),
)
def test_nobody_chooses_where_an_answer_leads(shown: Shown, headers: dict[str, str]) -> None:
    for path in (*PATHS, "/studies", "/instances?Unknown=1", "/studies/1.2.840.77/series"):
        found, response_headers = get_json(shown.root, path, **headers)
        assert "evil" not in json.dumps(found) and "evil" not in str(response_headers)
        for uri in addresses(found):
            where = urljoin(f"{shown.root}{path}", uri)
            assert where.startswith(f"{shown.root}/studies/")
            if "bulkdata" in where:
                assert shown.client().ask(where.removeprefix(shown.root)).ok


def test_a_client_that_leaves_out_the_port_is_led_to_it(shown: Shown) -> None:
    found, _ = get_json(shown.root, PATHS[0], Host="127.0.0.1")
    assert all(uri.startswith(f"{shown.root}/studies/") for uri in addresses(found))
    found, _ = get_json(shown.root, PATHS[0], Host=f"localhost:{urlsplit(shown.root).port}")
    local = shown.root.replace("127.0.0.1", "localhost")
    assert all(uri.startswith(f"{local}/studies/") for uri in addresses(found))


@pytest.mark.parametrize("public", ["https://grid.example.org/pacs/dicom-web", ""])
def test_behind_a_proxy_with_a_prefix(shown: Shown, public: str) -> None:
    service = dicomweb(shown.gateway, by_token(shown.gateway.settings), public)
    with Listening(Starlette(routes=[Mount("/inner/dicom-web", service)])) as server:
        inner, outer = f"{server.url}/inner/dicom-web", "https://grid.example.org/pacs/dicom-web"
        for path in (*PATHS, "/studies", "/series", "/studies/1.2.840.77/instances"):
            found, _ = get_json(inner, path, Host="grid.example.org")
            assert addresses(found)
            for uri in addresses(found):
                where = urljoin(f"{outer}{path}", uri)
                assert where.startswith(f"{outer}/studies/")
                assert Client(inner).ask(where.removeprefix(outer)).ok


AS_THEY_ARE = 'multipart/related; type="application/dicom"; transfer-syntax=*'


@pytest.mark.parametrize(
    ("accept", "status"),
    [
        ("multipart/*", 200),
        ("multipart/related", 200),
        ("*/*", 200),
        ("multipart/related; type=application/dicom", 200),
        ("multipart/related; type='application/dicom'", 406),
        ('multipart/related; type="application/*"', 200),
        ('MULTIPART/Related; TYPE="Application/DICOM"; Transfer-Syntax=*', 200),
        ('multipart/related;type="application/dicom";transfer-syntax="1.2.840.10008.1.2.1"', 200),
        ('text/html, multipart/related; type="application/dicom"; q=0.5', 200),
        ('multipart/related; type="application/dicom"; boundary="a,b;c"; q=0.1, text/plain', 200),
        ('multipart/related; type="application/dicom"; q=0', 406),
        ("multipart/*; q=0", 406),
        ("multipart/related; type=image/png, multipart/*; q=0.2", 200),
        ('multipart/*, multipart/related; type="application/dicom"; q=0', 406),
        ("application/dicom", 406),  # there are six
        ("application/*", 406),
        ("text/*", 406),
        ("application/dicom+json", 406),
        ("", 200),
        (",", 200),
        ("text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2", 200),
        ('gzip, multipart/related; type="application/dicom;x=y", /', 200),
        ("*/*; q=2", 400),
        ("*/*; q=NaN", 400),
        ("*/*; q=x", 400),
        ("gzip", 400),
        ("*/dicom", 400),
        ("multipart/" + "x" * 9000, 406),
        ("," * 9000, 200),
    ],
)
def test_a_study_is_given_as_it_is_accepted(shown: Shown, accept: str, status: int) -> None:
    answer = shown.client().ask("/studies/1.2.840.77", accept)
    assert answer.status_code == status, answer.text[:200]
    if status == 200:
        kind = answer.headers["Content-Type"]
        assert kind.startswith('multipart/related; type="application/dicom"; boundary=')
        assert answer.content.count(b"DICM") == 6


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("application/*", "application/dicom"),
        ("application/dicom", "application/dicom"),
        ("application/dicom; transfer-syntax=*", "application/dicom"),
        ("multipart/*; q=0.1, application/dicom; q=0.2", "application/dicom"),
        ("multipart/*; q=0.3, application/dicom; q=0.2", "multipart/related"),
        ("application/*; q=0.3, application/dicom; q=0, multipart/*; q=0.1", "multipart/related"),
    ],
)
def test_an_instance_is_given_as_it_is_accepted(shown: Shown, accept: str, kind: str) -> None:
    answer = shown.client().ask(shown.resource("CT_small.dcm"), accept)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].partition(";")[0] == kind


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        ("image/*", "image/jpeg"),
        ("image/*, image/jpeg; q=0.5", "image/png"),
        ("image/*, image/jpeg; q=0", "image/png"),
        ("image/png; q=0.2, image/jpeg; q=0.1", "image/png"),
        ("*/*", "image/jpeg"),
        ("multipart/*", "multipart/related"),
        ("text/html, application/json, */*; q=0.1", "image/jpeg"),
    ],
)
def test_a_picture_is_given_as_it_is_accepted(shown: Shown, accept: str, kind: str) -> None:
    answer = shown.client().ask(f"{shown.resource('CT_small.dcm')}/rendered", accept)
    assert answer.headers["Content-Type"].partition(";")[0] == kind


def test_metadata_is_given_as_it_is_accepted(shown: Shown) -> None:
    for accept, kind in (
        ("application/json", "application/json"),
        ("application/json, application/dicom+json; q=0.1", "application/dicom+json"),
        ("application/*", "application/dicom+json"),
        ("*/*", "application/dicom+json"),
    ):
        for path in ("/studies", "/studies/1.2.840.77/metadata"):
            assert shown.client().ask(path, accept).headers["Content-Type"] == kind
    for accept in ("multipart/*", 'multipart/related; type="application/dicom+xml"', "text/*"):
        assert shown.client().ask("/studies", accept).status_code == 406


@pytest.mark.parametrize(
    ("wanted", "status", "start", "end"),
    [
        ("bytes=0-9", 206, 0, 10),
        ("bytes=5-", 206, 5, None),
        ("bytes=-7", 206, -7, None),
        ("bytes=32760-99999999", 206, 32760, None),
        ("bytes=-99999999", 206, 0, None),
        ("bytes=32767-32767", 206, 32767, None),
        ("bytes=32768-", 416, 0, 0),
        ("bytes=-0", 416, 0, 0),
        ("bytes=9-5", 200, 0, None),
        ("bytes=0-1,5-6", 200, 0, None),
        ("bytes=²-5", 200, 0, None),
        ("lines=0-1", 200, 0, None),
        ("bytes=", 200, 0, None),
    ],
)
def test_a_range_of_a_value_is_given(
    shown: Shown, wanted: str, status: int, start: int, end: int | None
) -> None:
    value = dcmread(shown.path("CT_small.dcm")).PixelData
    client, path = shown.client(), f"{shown.resource('CT_small.dcm')}/bulkdata/7FE00010"
    headers = {"Range": wanted.encode(), "Accept": b"application/octet-stream"}
    answer = client.get(f"{shown.root}{path}", headers=headers, timeout=60)
    assert answer.status_code == status and answer.headers["Accept-Ranges"] == "bytes"
    if status == 416:
        assert answer.headers["Content-Range"] == f"bytes */{len(value)}"
        return
    assert answer.content == value[start:end]
    assert int(answer.headers["Content-Length"]) == len(answer.content)
    if status == 206:
        first = start if start >= 0 else len(value) + start
        last = first + len(answer.content) - 1
        assert answer.headers["Content-Range"] == f"bytes {first}-{last}/{len(value)}"
    if status == 206:
        anything = client.get(f"{shown.root}{path}", headers={"Range": wanted})
        assert anything.status_code == 206 and anything.content == answer.content
    several = client.get(
        f"{shown.root}{path}", headers={"Range": wanted.encode(), "Accept": b"multipart/*"}
    )
    assert several.status_code == 200 and several.headers["Accept-Ranges"] == "none"
    assert value in several.content


@pytest.mark.parametrize(
    "path",
    [
        "/studies/x/series", "/studies/*/series", "/studies/1.2./metadata", "/studies/.1",
        "/studies/1..2", "/studies/²", "/studies/１.２/metadata", f"/studies/1.{'2' * 63}",
        "/studies/1.2/series/x", "/studies/1.2/series/1.3/instances/..%5c..",
        "/studies/1.2/series/*/instances", "/studies/1.2/series/1.3/instances/1.4%00",
        "/studies/-1/series", "/studies/1_2/series",
    ],
)  # fmt: skip
def test_what_is_no_uid_in_an_address_is_refused(shown: Shown, path: str) -> None:
    assert shown.client().ask(path).status_code == 400


@pytest.mark.parametrize(
    "frames", ["²", "１", "+1", "1_0", "0", "-1", "1,,2", "1,", "9999999999", "1 ", "1;2", "x"]
)
def test_what_is_no_frame_number_is_refused(shown: Shown, frames: str) -> None:
    path = f"{shown.resource('CT_small.dcm')}/frames/{frames}"
    for end in ("", "/rendered", "/thumbnail"):
        assert shown.client().ask(path + end).status_code == 400


def test_frames_come_in_order_and_each_once(shown: Shown) -> None:
    path = shown.resource("emri_small.dcm")
    kind = 'multipart/related; type="application/octet-stream"'
    one, two, three = (shown.client().parts(f"{path}/frames/{n}", kind)[0] for n in (1, 2, 3))
    assert shown.client().parts(f"{path}/frames/3,1,3,2,01,1", kind) == [three, one, two]
