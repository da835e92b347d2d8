"""The option `acquisition`: private elements with the physics of a scan, kept by value."""

from __future__ import annotations

import random
import re
import struct
import zlib
from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from pacsgrid.deid import Profile, load_profile
from pacsgrid.deid.acquisition import elements
from pacsgrid.deid.acquisition.ge import rewrite_protocol_block, rewrite_user_data
from pacsgrid.deid.acquisition.siemens import rewrite_csa, rewrite_protocol, rewrite_xprotocol
from pacsgrid.deid.acquisition.table import fields
from pacsgrid.deid.check import acquisition as check
from pacsgrid.errors import HeldError
from support.csa import IMAGE, PROTOCOL, SERIES, csa, ge_protocol, ge_user_data, read_csa
from support.deid_file import checked
from support.dicom import ct, save

CSA = "SIEMENS CSA HEADER"
NAMES = (b"Novakova", b"NOVAKOVA", b"756203", b"19750312")


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profile("research")


def nobody(_text: str) -> bool:
    return False


def _with(path: Path, *elements: tuple[str, int, int, str, Any]) -> Path:
    ds = dcmread(ct(path, "1.2.3", "1.2.3.1", patient="Novakova^Zofie"))
    for creator, group, low, vr, value in elements:
        ds.private_block(group, creator, create=True).add_new(low, vr, value)
    return save(ds, path)


def _run(path: Path, profile: Profile) -> tuple[Dataset, bytes]:
    made = checked(path, profile).path
    return dcmread(made), made.read_bytes()


def test_the_tables_of_anonymiser_and_checker_agree() -> None:
    listed = elements()
    assert {key: row.vr for key, row in listed.items()} == {
        key: vr for key, (vr, _) in check._elements().items()
    }
    for header in ("csa-image", "csa-series", "protocol", "ge-protocol"):
        known = check._headers()[header]
        assert {name: row.vr for name, row in fields(header).items()} == {
            name: vr for name, (vr, _) in known.items()
        }
    words = check._vocabularies()
    for row in listed.values():
        if row.rule.kind == "words":
            assert row.rule.words == words[row.rule.name]


def test_what_tells_of_the_patient_is_in_no_table() -> None:
    # UsedPatientWeight and PatReinPattern of Siemens, image dates of GE, a user's paradigm.
    for key in (
        ("siemens mr sds 01", 0x21, 0x01),
        ("siemens mr sds 01", 0x21, 0x2B),
        ("siemens mr sds 01", 0x21, 0x60),
        ("gems_iden_01", 0x09, 0x27),
        ("gems_parm_01", 0x43, 0x70),
    ):
        assert key not in elements()
    assert not {"UsedPatientWeight", "PatReinPattern"} & fields("csa-series").keys()
    assert not [key for key in fields("protocol") if re.search("comment|patient|tname", key, re.I)]


@pytest.mark.parametrize(
    ("creator", "group", "low", "vr", "value", "stays"),
    [
        ("SIEMENS MR HEADER", 0x19, 0x0A, "US", 36, True),
        ("SIEMENS MR HEADER", 0x19, 0x29, "FD", [0.0, 137.49999998], True),
        ("siemens  mr header ", 0x19, 0x0A, "US", 36, True),
        ("SIEMENS MR HEADER", 0x51, 0x0E, "LO", "Tra>Cor(-28.9)>Sag(19.8)", True),
        ("SIEMENS MR HEADER", 0x51, 0x0E, "SH", "Sag", True),
        ("SIEMENS MR HEADER", 0x51, 0x0E, "LO", "Novakova", False),
        ("SIEMENS MR HEADER", 0x51, 0x0E, "LO", "Smith", False),
        ("SIEMENS MR HEADER", 0x51, 0x0F, "LO", "HE1-4;NE1,2", True),
        ("SIEMENS MR HEADER", 0x51, 0x0B, "LO", "7562031234", False),
        ("SIEMENS MR HEADER", 0x51, 0x0B, "LO", "128p*128", True),
        ("SIEMENS MR HEADER", 0x19, 0x0B, "DS", "19750312", False),
        ("SIEMENS MR HEADER", 0x19, 0x0B, "DS", "8000.5", True),
        ("SIEMENS MR SDI 02", 0x21, 0x77, "LO", "*epfid2d1_64", True),
        ("SIEMENS MR SDI 02", 0x21, 0x77, "LO", "novakova", False),
        ("SIEMENS MR SDS 01", 0x21, 0x01, "IS", "70", False),
        ("GEMS_PARM_01", 0x43, 0x2C, "SS", 544, True),
        ("gems_parm_01", 0x43, 0x95, "LO", "TG/s6,RN/s6,Cal/s6,Coil/s1", True),
        ("GEMS_PARM_01", 0x43, 0xB6, "LO", ["8", "4", "19", "", ""], True),
        ("GEMS_PARM_01", 0x43, 0xB6, "LO", ["8", "Novakova", "19"], False),
        ("GEMS_ACQU_01", 0x19, 0x9C, "LO", "epiRT", True),
        ("GEMS_ACQU_01", 0x19, 0xBB, "DS", "-0.55822", True),
        ("GEMS_ACQU_01", 0x19, 0xA2, "SL", 756203, True),
        ("Philips MR Imaging DD 001", 0x2005, 0x0E, "FL", 4.5, True),
        ("PHILIPS MR IMAGING DD 001", 0x2005, 0x6F, "CS", "3D", True),
        ("Philips MR Imaging DD 001", 0x2005, 0x6F, "CS", "NOVAKOVA", False),
        ("Image Private Header", 0x65, 0x50, "DS", "20", True),
        ("Image Private Header", 0x65, 0x05, "SH", "A->P", True),
        ("Image Private Header", 0x65, 0x37, "FD", [0.44, 0.88, -0.14], True),
        ("CANON_MEC_MR3", 0x700D, 0x05, "DS", ["0.240", "0.240"], True),
        ("TOSHIBA_MEC_MR3", 0x700D, 0x0C, "CS", "Y", True),
        ("TOSHIBA_MEC_MR3^10", 0x700D, 0x16, "LO", "USER PAS", False),
        ("MMCPrivate", 0x29, 0x30, "FD", 1000.0, True),
        # Of another maker, of another VR than the table's, or letters in place of numbers.
        ("ACME", 0x19, 0x0A, "US", 36, False),
        ("SIEMENS MR HEADER", 0x19, 0x0A, "LO", "Novakova", False),
        ("SIEMENS MR HEADER", 0x19, 0x15, "FD", struct.unpack("<d", b"Novakova")[0], False),
    ],
)
def test_an_element_stays_as_far_as_its_value_may(
    tmp_path: Path, profile: Profile, creator: str, group: int, low: int, vr: str, value: Any,
    stays: bool,
) -> None:  # fmt: skip
    made, data = _run(_with(tmp_path / "in.dcm", (creator, group, low, vr, value)), profile)
    left = made.get((group, 0x1000 | low))
    assert (left is not None and left.value == value) == stays
    assert stays or left is None
    assert not any(name in data for name in NAMES)


@pytest.mark.parametrize(
    ("creator", "group", "low", "value", "made"),
    [
        ("GEMS_ACQU_01", 0x19, 0x9C, "research/novakova/epi_pepolar", "research/X/epi_pepolar"),
        ("SIEMENS MR SDI 02", 0x21, 0x77, "*epfid2d1_64_Smithers", "*epfid2d1_64_X"),
        ("SIEMENS MR HEADER", 0x51, 0x0F, "HEA;Zofie", "HEA;X"),
    ],
)
def test_an_unknown_word_in_a_name_of_a_sequence_or_coil_is_replaced(
    tmp_path: Path, profile: Profile, creator: str, group: int, low: int, value: str, made: str
) -> None:
    done, _ = _run(_with(tmp_path / "in.dcm", (creator, group, low, "LO", value)), profile)
    assert done[group, 0x1000 | low].value == made


def test_big_endian_numbers_stay(tmp_path: Path, profile: Profile) -> None:
    source = _with(tmp_path / "in.dcm", ("SIEMENS MR HEADER", 0x19, 0x15, "FD", [-624.0, -661.8]))
    ds = Dataset()
    ds.update(dcmread(source))
    ds.file_meta = FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = ExplicitVRBigEndian
    ds.save_as(source, enforce_file_format=True)
    assert _run(source, profile)[0][0x00191015].value == [-624.0, -661.8]


def test_without_the_option_nothing_of_it_stays(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("name: own\noptions: [modified, descriptors]\n")
    source = _with(tmp_path / "in.dcm", ("SIEMENS MR HEADER", 0x19, 0x0A, "US", 36))
    assert 0x0019100A not in _run(source, load_profile(str(path)))[0]


@pytest.mark.parametrize("vr", ["UN", "implicit"])
def test_an_element_without_its_vr_gets_that_of_the_table(
    tmp_path: Path, profile: Profile, vr: str
) -> None:
    source = _with(
        tmp_path / "in.dcm",
        ("SIEMENS MR HEADER", 0x19, 0x0A, "UN", b"\x24\0"),
        ("Image Private Header", 0x65, 0x50, "UN", b"20"),
        (CSA, 0x29, 0x10, "UN", csa(IMAGE)),
    )
    if vr == "implicit":
        ds = dcmread(source)
        ds.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
        ds.save_as(source, implicit_vr=True, little_endian=True)
    made, data = _run(source, profile)
    if vr == "UN":
        assert (made[0x0019100A].value, made[0x00651050].value) == (36, 20)
    assert b"MosaicRefAcqTimes" in data


def test_elements_inside_private_sequences_stay(tmp_path: Path, profile: Profile) -> None:
    item = Dataset()
    item.PatientName, item.RescaleSlope = "Novakova^Zofie", "1.25"
    item.private_block(0x2005, "Philips MR Imaging DD 001", create=True).add_new(0x0E, "FL", 4.5)
    source = _with(
        tmp_path / "in.dcm",
        ("Philips MR Imaging DD 005", 0x2005, 0x0F, "SQ", Sequence([item])),
    )
    made, data = _run(source, profile)
    (kept,) = made[0x2005100F].value
    assert (kept[0x2005100E].value, kept.RescaleSlope) == (4.5, 1.25)
    assert b"Novakova" not in data


def test_csa_headers_are_reduced_to_numbers(tmp_path: Path, profile: Profile) -> None:
    made, data = _run(
        _with(
            tmp_path / "in.dcm",
            (CSA, 0x29, 0x10, "OB", csa(IMAGE)),
            (CSA, 0x29, 0x20, "OB", csa(SERIES)),
        ),
        profile,
    )
    image, series = (read_csa(made[tag].value) for tag in (0x00291010, 0x00291020))
    assert {name: [item.strip() for item in items] for name, _, _, items in IMAGE} == image
    assert series.keys() == {"TransmitterCalibration", "MrPhoenixProtocol"}
    (protocol,) = series["MrPhoenixProtocol"]
    lines = dict(line.split(" = ") for line in protocol.decode().splitlines()[1:-1])
    assert lines == {
        "ulVersion": "0x14b44b6",
        "tSequenceFileName": '""%SiemensSeq%\\ep2d_bold""',
        "sProtConsistencyInfo.tBaselineString": '""N4_VE11C_LATEST_20160120""',
        "sKSpace.lBaseResolution": "90",
        "sKSpace.dPhaseResolution": "1.0",
        "sKSpace.ucPhasePartialFourier": "0x10",
        "sWipMemBlock.alFree[2]": "5",
        "sCoilSelectMeas.sCoilStringForConversion": '""HEA;HEP""',
    }
    assert not any(name in data for name in NAMES)


def _resized(field: int, length: int) -> bytes:
    """Return an image header whose item claims another length."""
    data = bytearray(csa(IMAGE))
    at = 16
    for _, _, _, items in IMAGE[:field]:
        at += 84 + sum(16 + -(-(len(i) + 1) // 4) * 4 for i in items) + 16 * (6 - len(items))
    struct.pack_into("<i", data, at + 84 + 4, length)
    return bytes(data)


_NAME = b"Novakova Zofie"
HOSTILE = {
    "an unlisted field": csa([*IMAGE, ("PatientsName", 1, "PN", [_NAME])]),
    "a number's text": csa([("B_value", 1, "IS", [_NAME]), *IMAGE[:1]]),
    "behind a number's end": csa([("B_value", 1, "IS", [b"1000\0" + _NAME]), *IMAGE[:1]]),
    "behind a number's blank": csa([("B_value", 1, "IS", [b"1000 " + _NAME]), *IMAGE[:1]]),
    "an identifier as number": csa([("B_value", 1, "IS", [b"7562031234"]), *IMAGE[:1]]),
    "a birth date as number": csa([("B_value", 1, "IS", [b"19750312"]), *IMAGE[:1]]),
    "a listed word list": csa([("ImageHistory", 0, "LO", [b"CC:Novakova"]), *IMAGE[:1]]),
    "a field's own name": csa([("B_value\0Novakova", 1, "IS", [b"5"]), *IMAGE[:1]]),
    "a field twice": csa([*IMAGE[:1], (*IMAGE[0][:3], [_NAME])]),
    "behind the last field": csa(IMAGE, _NAME),
    "slack of an item": csa(IMAGE).replace(b"1000    \0\0\0\0", b"1000    \0Nov"),
    "a length beyond the end": _resized(1, 1 << 20) + _NAME,
    "a negative length": _resized(1, -8) + _NAME,
    "a length that swallows the rest": _resized(1, 200) + _NAME,
    "a vr": csa(IMAGE).replace(b"IS\0\0", b"Novk"),
    "nothing but a name": _NAME,
    "a cut header": csa(IMAGE)[:-40],
    "a huge count": b"SV10\x04\x03\x02\x01" + struct.pack("<2i", 1 << 30, 77) + _NAME * 50,
}


@pytest.mark.parametrize("where", HOSTILE)
def test_a_hostile_csa_header_leaks_nothing_and_holds_nothing(
    tmp_path: Path, profile: Profile, where: str
) -> None:
    source = _with(tmp_path / "in.dcm", (CSA, 0x29, 0x10, "OB", HOSTILE[where]))
    _, data = _run(source, profile)
    for name in (*NAMES, b"Nov", b"Zofie"):
        assert name not in data.replace(b"Innovation", b"")


@pytest.mark.parametrize(
    "line",
    [
        "sKSpace.lBaseResolution = 90 Novakova",
        "sKSpace.lBaseResolution = Novakova",
        'sKSpace.lBaseResolution = "90"',
        "sKSpace.lBaseResolution = 7562031234",
        'tSequenceFileName = ""%CustomerSeq%\\\\Novakova_ep2d""',
        "alTE[Novakova] = 1",
        "alTE[19750312] = 1",
        "sNovakova.lValue = 1",
        "alTE[0] = 1 # Novakova",
    ],
)
def test_a_hostile_line_of_a_protocol_leaks_nothing(
    tmp_path: Path, profile: Profile, line: str
) -> None:
    text = PROTOCOL.replace("sKSpace.dPhase", f"{line}\nsKSpace.dPhase")
    source = _with(
        tmp_path / "in.dcm",
        (CSA, 0x29, 0x20, "OB", csa([("MrPhoenixProtocol", 1, "UN", [text.encode()])])),
        ("SIEMENS MR SDS 01", 0x21, 0x19, "OB", text.encode() + b" " * (len(text) % 2)),
    )
    made, data = _run(source, profile)
    assert not any(name in data for name in NAMES)
    assert b"sKSpace.dPhaseResolution = 1.0" in made[0x00211019].value


@pytest.mark.parametrize("kind", ["MOSAIC", "OTHER"])
def test_a_mosaic_that_would_come_out_mirrored_is_held(
    tmp_path: Path, profile: Profile, kind: str
) -> None:
    normal = ("SliceNormalVector", 3, "FD", [b"0.0", b"0.98822844", b"-0.15298548"])
    for header, right in ((csa([normal]), True), (csa([normal])[:-100], False)):
        source = _with(tmp_path / "in.dcm", (CSA, 0x29, 0x10, "OB", header + header[:0]))
        ds = dcmread(source)
        ds.ImageType = ["ORIGINAL", "PRIMARY", "M", kind]
        save(ds, source)
        if right or kind == "OTHER":
            _run(source, profile)
        else:
            with pytest.raises(HeldError, match="geometry-lost"):
                _run(source, profile)


def test_ge_blocks_are_written_anew(tmp_path: Path, profile: Profile) -> None:
    block = ge_protocol(
        'SEDESC "Novakova knee"\nPSEQ "Gradient Echo"\nSLICEORDER "1"\nTE "30.0"\n'
        'NOSLC "15"\nIOPT "EPI, FMRI"\nDELACQ "Novakova"\n'
    )
    source = _with(
        tmp_path / "in.dcm",
        ("GEMS_SERS_01", 0x25, 0x1B, "OB", block),
        ("GEMS_PARM_01", 0x43, 0x2A, "OB", ge_user_data(4, 2, b"Novakova Zofie")),
    )
    made, data = _run(source, profile)
    value = made[0x0025101B].value
    (length,) = struct.unpack_from("<I", value)
    assert zlib.decompress(value[4 : 4 + length], 31).decode() == (
        '\nPSEQ "Gradient Echo"\nSLICEORDER "1"\nTE "30.0"\nNOSLC "15"\nIOPT "EPI, FMRI"\n'
    )
    user = made[0x0043102A].value
    (start,) = struct.unpack_from("<H", user, 24)
    assert struct.unpack_from("<f", user, start) == (27.0,)
    at = [start + 0x4C + 0x30, start + 0x4C + 0x3A, start + 0x4C + 0x394 - 0x8C]
    assert [struct.unpack_from("<H", user, one)[0] for one in at] == [4, 0x800, 2]
    assert not any(name in data for name in NAMES)


def _damaged(data: bytes, seed: int) -> bytes:
    chance = random.Random(seed)
    damaged = bytearray(data)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(len(damaged) or 1)
        match chance.randrange(4):
            case 0:
                damaged[at : at + 1] = bytes([chance.randrange(256)])
            case 1:
                damaged[at : at + 4] = struct.pack("<i", chance.choice((-1, 0, 7, 77, 1 << 30)))
            case 2:
                damaged[at:at] = b"Novakova"
            case _:
                del damaged[at : at + chance.randrange(1, 200)]
    return bytes(damaged)


@pytest.mark.parametrize("part", range(4))
def test_whatever_is_written_of_damaged_headers_the_checker_accepts(part: int) -> None:
    image, series = (fields(f"csa-{kind}") for kind in ("image", "series"))
    key = {"image": (CSA.casefold(), 0x29, 0x10), "series": (CSA.casefold(), 0x29, 0x20)}
    ge, user = ("gems_sers_01", 0x25, 0x1B), ("gems_parm_01", 0x43, 0x2A)
    xa = ("siemens mr sds 01", 0x21, 0x19)
    block, bits = ge_protocol('SLICEORDER "1"\nPSEQ "epi"\n'), ge_user_data(0, 0, b"")
    for seed in range(part * 250, part * 250 + 250):
        made = {
            key["image"]: rewrite_csa(_damaged(csa(IMAGE), seed), image, nobody),
            key["series"]: rewrite_csa(_damaged(csa(SERIES), seed), series, nobody),
            xa: rewrite_xprotocol(_damaged(PROTOCOL.encode(), seed), nobody),
            ge: rewrite_protocol_block(_damaged(block, seed), nobody),
            user: rewrite_user_data(_damaged(bits, seed), nobody),
        }
        for which, value in made.items():
            if value is not None:
                padded = value + bytes(len(value) % 2)
                assert b"Novakova" not in padded
                assert check.is_harmless(which, "OB", padded, nobody)


def test_the_checker_refuses_a_header_with_anything_else_in_it() -> None:
    made = rewrite_csa(csa(SERIES), fields("csa-series"), nobody)
    assert made is not None
    key = (CSA.casefold(), 0x29, 0x20)
    assert check.is_harmless(key, "OB", made, nobody)
    for seed in range(300):
        at = random.Random(seed).randrange(len(made))
        if chr(made[at]).isdigit() or made[at : at + 1] in b"-.+ ":
            continue  # another number
        changed = made[:at] + bytes([(made[at] + 0x80) % 256]) + made[at + 1 :]
        assert not check.is_harmless(key, "OB", changed, nobody), at
    for other in (made + b"ab", made[:-4], csa(SERIES), made.replace(b"lBase", b"lName")):
        assert not check.is_harmless(key, "OB", other, nobody)
    assert not check.is_harmless(key, "OB", made, lambda text: text == "20160120")
    assert rewrite_protocol(PROTOCOL.encode(), nobody) in made


def test_the_checker_refuses_an_acquisition_element_with_a_name(
    tmp_path: Path, profile: Profile
) -> None:
    from pacsgrid.deid import check_file

    source = _with(tmp_path / "in.dcm", ("SIEMENS MR HEADER", 0x51, 0x0E, "LO", "Sag"))
    made = checked(source, profile).path
    ds = dcmread(made)
    ds[0x0051100E].value = "Smith"
    ds.save_as(made)
    with pytest.raises(HeldError, match="private-left"):
        check_file(source, made, profile)
