"""Answers are valid JSON, whatever values a dataset has."""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Iterator
from io import BytesIO
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.tag import Tag
from pynetdicom import AE
from pynetdicom.sop_class import StudyRootQueryRetrieveInformationModelFind

from pacsgrid.dimse.reactor import work_around_races
from pacsgrid.gateway import Gateway
from pacsgrid.gateway.dimse.service import Node
from pacsgrid.gateway.metadata import to_json
from pacsgrid.gateway.service import PREFIX, application
from pacsgrid.grid.sharing import share
from pacsgrid.pipeline.attributes import read_attributes
from pacsgrid.pipeline.dicom_json import EXACT, element_from_json, make_portable
from support.dicom import ct
from support.served_zones import PROJECT, Client, Listening, ServedZones


def strictly(text: str | bytes) -> Any:
    """Parse JSON as browsers do: in UTF-8, without NaN and Infinity."""

    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is not JSON")

    content = text.decode() if isinstance(text, bytes) else text
    content.encode()
    return json.loads(content, parse_constant=refuse)


def holding(tag: int, vr: str, value: bytes, character_set: str = "") -> Dataset:
    """Return a dataset with a raw element, whose value may be invalid."""
    ds = Dataset()
    if character_set:
        ds.SpecificCharacterSet = character_set
    ds._dict[Tag(tag)] = RawDataElement(Tag(tag), vr, len(value), value, 0, False, True)
    return ds


def doubles(*values: float) -> bytes:
    return struct.pack(f"<{len(values)}d", *values)


@pytest.mark.parametrize(
    ("tag", "vr", "value", "expected"),
    [
        (0x00189087, "FD", doubles(math.nan), {}),
        (0x00189087, "FD", doubles(math.inf, 1.5, -math.inf), {"Value": [None, 1.5, None]}),
        (0x00720076, "FL", struct.pack("<2f", -math.inf, -1), {"Value": [None, -1.0]}),
        (0x00101030, "DS", b"1e400 ", {"Value": ["1e400"]}),
        (0x00101030, "DS", b"-1e400", {"Value": ["-1e400"]}),
        (0x00101030, "DS", b"nan ", {}),
        (0x00101030, "DS", b"Infinity", {}),
        (0x00101030, "DS", b"1_0 ", {}),
        (0x00101030, "DS", b"72.5\\\\1,5", {"Value": [72.5, None, None]}),
        (0x00101030, "DS", b"+.5 ", {"Value": [0.5]}),
        (0x00200013, "IS", b"-7", {"Value": [-7]}),
        (0x00200013, "IS", b"9" * 40, {"Value": ["9" * 40]}),
        (0x00200013, "IS", b"9" * 6000, {"Value": ["9" * 6000]}),
        (0x00200013, "IS", b"1.5 ", {"Value": ["1.5"]}),
        (0x00200013, "IS", b"\xb2 ", {}),
        (0x00720082, "SV", b"\xff" * 7 + b"\x7f", {"Value": [str((1 << 63) - 1)]}),
        (0x00720082, "SV", struct.pack("<q", -5), {"Value": [-5]}),
        (0x00720083, "UV", b"\xff" * 8, {"Value": [str((1 << 64) - 1)]}),
        (0x00720083, "UV", struct.pack("<Q", EXACT), {"Value": [EXACT]}),
        (0x00280009, "AT", b"\x18\0\x63\x10" * 2, {"Value": ["00181063", "00181063"]}),
        (0x00280009, "AT", b"\1\2", {}),
        (0x00100010, "PN", b"==x ", {"Value": [{"Phonetic": "x"}]}),
        (0x00100010, "PN", b"", {}),
        (0x00081030, "LO", b"a\0\x1b\x07 ", {"Value": ["a\0\x1b\x07"]}),
        (0x00189036, "CS", b"FREE\\ ", {"Value": ["FREE", None]}),
        (0x00091001, "UN", b"\1\2", {"InlineBinary": "AQI="}),
        (0x00282000, "OB", b"\1" * 2000, {"BulkDataURI": "00282000"}),
        (0x00282000, "OB", b"", {}),
        (0x00081140, "SQ", b"", {}),
    ],
)
def test_a_value_follows_the_json_model(
    tag: int, vr: str, value: bytes, expected: dict[str, Any]
) -> None:
    found = strictly(json.dumps(to_json(holding(tag, vr, value))))
    assert found == {f"{tag:08X}": {"vr": vr, **expected}}


def test_undecodable_text_is_marked() -> None:
    broken = holding(0x00081030, "LO", b"\xed\xa0\x80a\xff", "ISO_IR 192")
    (value,) = to_json(broken)["00081030"]["Value"]
    assert value.endswith("a\ufffd") and strictly(json.dumps(value, ensure_ascii=False))
    surrogates = {"00081030": {"vr": "LO", "Value": ["x\ud800y", "\ud83d\ude00"]}}
    assert make_portable(surrogates)["00081030"]["Value"] == ["x\ufffdy", "😀"]


_TAGS = st.sampled_from(["00081030", "00100010", "00101030", "0008114A", "00081140", "x", ""])
_ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TAGS, inner, max_size=3),
    max_leaves=8,
)
_ATTRIBUTE = st.fixed_dictionaries(
    {}, optional={"vr": st.sampled_from(["DS", "PN", "SQ", "LO", "FD", "", 3]), "Value": _ANY}
)


@given(st.dictionaries(_TAGS, _ATTRIBUTE | _ANY, max_size=4))
@settings(max_examples=200, deadline=None, derandomize=True)
def test_whatever_a_manifest_says_becomes_attributes(attributes: dict[str, Any]) -> None:
    found = make_portable(attributes)
    text = json.dumps(found, ensure_ascii=False, allow_nan=False)
    strictly(text)
    assert make_portable(found) == found
    for element in found.values():
        assert len(element["vr"]) == 2 and element.get("Value") != []


@pytest.mark.parametrize(
    ("vr", "values"),
    [
        ("DS", ["1e400"]), ("DS", [None, 1.5]), ("IS", ["1.5"]), ("IS", ["9" * 40, 3]),
        ("FD", [None, 1.5]), ("FL", [None]), ("CS", ["A", None]), ("PN", [None, {"Phonetic": "x"}]),
        ("SV", [str((1 << 63) - 1)]), ("UV", [7]), ("LO", [None]),
    ],
)  # fmt: skip
def test_json_values_are_encoded_for_dimse(vr: str, values: list[Any]) -> None:
    ds = Dataset()
    ds.add(element_from_json("00720076", {"vr": vr, "Value": values}))
    target = BytesIO()
    ds.save_as(target, implicit_vr=False, little_endian=True)
    assert target.getvalue()


@pytest.fixture(scope="module")
def spoilt(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ServedZones, Gateway, str]]:
    """Serve a good study, one with values that JSON cannot express, and broken manifests."""
    folder = tmp_path_factory.mktemp("spoilt")
    good = ct(folder / "good.dcm", "1.2.1", "1.2.1.1.1", "Good^One", patient_id="G")
    bad = ct(folder / "bad.dcm", "1.2.2", "1.2.2.1.1", "Bad^One", patient_id="B")
    data = bad.read_bytes()
    at = data.index(struct.pack("<HH", 0x20, 0x0D))
    weight = struct.pack("<HH2sH", 0x10, 0x1030, b"DS", 6) + b"1e400 "
    diffusion = struct.pack("<HH2sH", 0x18, 0x9087, b"FD", 16) + doubles(math.nan, math.inf)
    bad.write_bytes(data[:at] + weight + diffusion + data[at:])
    with ServedZones(folder) as zones:
        zones.add([good, bad])
        # Values that older versions wrote, and values that no version should write.
        for number, text in enumerate(
            (
                '"00101030": {"vr": "DS", "Value": [Infinity, NaN]}',
                '"00100010": {"vr": "PN", "Value": [{"Alphabetic": "x\\ud800"}]}',
                '"00100020": {"vr": "LO", "Value": ["\\udcff"]}',
                '"00080020": {"vr": "DA", "Value": [{"x": 1}, 3, [2]]}',
                '"00280008": {"vr": "IS", "Value": ["²"]}',
                '"00200011": {"vr": "IS", "Value": [' + "9" * 4000 + "]}",
                '"00200011": {"vr": "IS", "Value": [' + "9" * 6000 + "]}",
                '"00200011": 7, "x": [], "00080060": {"vr": 3}',
                '"00081140": ' + "[" * 2000 + "]" * 2000,
            ),
            3,
        ):
            path = ct(folder / f"{number}.dcm", f"1.2.{number}", f"1.2.{number}.1.1")
            zones.add([path])
            study = zones.studies[-1]
            where = f"{zones.collection(study, 'brno')}/manifest.json"
            manifest = zones.home.session.data_objects.get(where)
            with manifest.open("r") as file:
                content = file.read().decode()
            changed = content.replace(
                '"attributes": {"study": {', f'"attributes": {{"study": {{{text}, '
            )
            changed = changed.replace('"attributes":{"', f'"attributes":{{{text}, "')
            assert changed != content
            with zones.home.session.data_objects.open(where, "w") as file:
                file.write(changed.encode())
        share(zones.home, PROJECT, ["eva#brno"])
        peers = [{"ae_title": "EVA", "user": "eva#brno"}]
        with Gateway(zones.site(peers=peers, dicom_port=0)) as gateway:
            gateway.refresh()
            with Listening(application(gateway)) as server:
                yield zones, gateway, server.url + PREFIX


@pytest.mark.parametrize("path", ["/studies", "/series", "/instances"])
@pytest.mark.parametrize("field", ["all", "PatientWeight", "StudyDate", "PatientName", ""])
def test_one_bad_value_spoils_no_search(
    spoilt: tuple[ServedZones, Gateway, str], path: str, field: str
) -> None:
    client = Client(spoilt[2])
    answer = client.ask(path, includefield=field)
    assert answer.status_code == 200
    studies = {one["0020000D"]["Value"][0] for one in strictly(answer.content)}
    assert {"1.2.1", "1.2.2"} <= studies
    for params in ({"PatientWeight": "70"}, {"StudyDate": "20200101-"}, {"PatientName": "x*"}):
        assert client.ask(path, **params).status_code == 200


def test_metadata_of_a_bad_value_is_json(spoilt: tuple[ServedZones, Gateway, str]) -> None:
    (found,) = strictly(Client(spoilt[2]).ask("/studies/1.2.2/metadata").content)
    assert found["00101030"] == {"vr": "DS", "Value": ["1e400"]}
    assert found["00189087"] == {"vr": "FD"}
    bad = next(one for one in spoilt[0].studies if one.study == "1.2.2")
    strictly(json.dumps(read_attributes(bad.paths["1.2.2.1.1"])))


def test_one_bad_value_spoils_no_c_find(spoilt: tuple[ServedZones, Gateway, str]) -> None:
    asking = AE(ae_title="EVA")
    asking.add_requested_context(StudyRootQueryRetrieveInformationModelFind)
    with Node(spoilt[1]) as node:
        assoc = asking.associate("127.0.0.1", node.port, ae_title="PACSGRID")
        work_around_races(assoc)
        query = Dataset()
        query.QueryRetrieveLevel = "STUDY"
        query.StudyInstanceUID = query.PatientWeight = query.PatientName = ""
        found = {
            str(identifier.StudyInstanceUID)
            for status, identifier in assoc.send_c_find(
                query, StudyRootQueryRetrieveInformationModelFind
            )
            if identifier is not None
        }
        assoc.release()
    assert {"1.2.1", "1.2.2"} <= found
