"""Text inside compressed pixel data is removed, or refused by the checker; the image stays."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.pixels import pixel_array
from pydicom.uid import UID, JPEG2000Lossless, JPEGBaseline8Bit, RLELossless

from pacsgrid.deid import anonymise_file, check_file, collect_identifiers, load_profile
from pacsgrid.deid.check.pixel_data import _is_endless, check_decoded
from pacsgrid.deid.pixel.settings import PixelSettings
from pacsgrid.errors import HeldError
from support.codestreams import FORMS, GREY, MPEG2, TEXT, VIDEOS, coded, fragments, jpeg, units
from support.deid_file import PSEUDONYMS, checked
from support.images import header, write

LOOKS = PixelSettings(look="none", hold=frozenset())
# No decoder here reads these as they came.
UNDECODED = ("jpeg offset table", "jpeg 2000 unknown marker")
PROFILE = load_profile("basic").replace(pixels=LOOKS, hold_burned_in=False)


def image(path: Path, syntax: UID, value: bytes, frames: int = 1, **elements: object) -> Path:
    """Write a slice whose compressed pixel data has that value."""
    ds = header("CT")
    ds.PatientName, ds.PatientID, ds.PatientBirthDate = "Kvapilova^Zdenka", "RC7654321", "19610504"
    ds.ImageType = ["ORIGINAL", "PRIMARY"]
    write(path, ds, np.stack([GREY] * frames), "MONOCHROME2")
    ds = dcmread(path)
    ds.PixelData = value
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    for keyword, element in elements.items():
        setattr(ds, keyword, element)
    ds.file_meta.TransferSyntaxUID = syntax
    ds.save_as(path, implicit_vr=False, little_endian=True)
    return path


def no_text(path: Path) -> None:
    data = path.read_bytes()
    assert not any(part in data for part in (b"Kvapil", b"Zdenka", b"7654321", b"1961"))


def test_a_jpeg_without_a_number_of_lines_is_held(tmp_path: Path) -> None:
    """One decoder took 22 GB for 838 bytes."""
    data = bytearray(jpeg())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 7] = bytes(2)
    path = image(tmp_path / "a.dcm", JPEGBaseline8Bit, fragments(bytes(data)))
    with pytest.raises(HeldError, match="number of lines") as caught:
        anonymise_file(path, tmp_path / "out", PSEUDONYMS, PROFILE, collect_identifiers([path]))
    assert caught.value.code == "pixels-unreadable"
    # The checker decodes none either, whoever made the result.
    check_decoded(path, path, [0])
    # Where a later segment tells the lines, the frame is read by who knows that.
    data[-2:-2] = b"\xff\xdc\0\x04" + GREY.shape[0].to_bytes(2, "big")
    path = image(tmp_path / "b.dcm", JPEGBaseline8Bit, fragments(bytes(data)))
    assert checked(path, PROFILE)


def test_the_checker_finds_the_number_of_lines_wherever_it_stands(tmp_path: Path) -> None:
    data = bytearray(jpeg())
    at = data.index(b"\xff\xc0")
    data[at + 5 : at + 7] = bytes(2)
    lines = b"\xff\xdc\0\x04" + GREY.shape[0].to_bytes(2, "big")
    # Through the borders of the pieces that it reads, byte by byte.
    for padding in range(65536 - len(data) - 40, 65536 - len(data) + 10):
        frame = bytes(data[:-2]) + b"\x55" * padding
        for end, endless in ((lines, False), (b"", True), (lines[:-2] + bytes(2), True)):
            path = image(tmp_path / "a.dcm", JPEGBaseline8Bit, fragments(frame + end + data[-2:]))
            assert _is_endless(path) is endless


@pytest.mark.parametrize("form", FORMS)
def test_text_beside_the_image_goes_and_the_image_stays(tmp_path: Path, form: str) -> None:
    syntax, value = FORMS[form]
    path = image(tmp_path / "in.dcm", syntax, value(TEXT))
    before = None if form in UNDECODED else pixel_array(path, raw=True)
    made = checked(path, PROFILE)
    no_text(made.path)
    after = pixel_array(made.path, raw=True)
    if before is not None:
        assert (before == after).all()
    if not form.startswith("jpeg ") or "2000" in form:
        assert (after == GREY).all()


@pytest.mark.parametrize("form", VIDEOS)
def test_text_beside_the_pictures_of_a_video_goes(tmp_path: Path, form: str) -> None:
    syntax, value = VIDEOS[form]
    path = image(tmp_path / "in.dcm", syntax, value(TEXT))
    made = checked(path, PROFILE)
    no_text(made.path)
    # Slices and parameters are as they were.
    assert bytes(range(1, 250)) in made.path.read_bytes()


def test_matrices_of_a_video_stay(tmp_path: Path) -> None:
    header = bytes((4, 0, 64, 0x11, 1, 1, 1, 2)) + bytes(range(2, 66)) + bytes(range(66, 130))
    # The last bit of the first matrix's last byte says that there is a second.
    value = units(b"\xb3" + header, b"\xb5\x14" + bytes(range(1, 6)), b"\1" + bytes(range(1, 250)))
    path = image(tmp_path / "in.dcm", MPEG2, fragments(value))
    assert value in checked(path, PROFILE).path.read_bytes()


def anonymised(path: Path) -> Path:
    return anonymise_file(
        path, path.parent / "out", PSEUDONYMS, PROFILE, collect_identifiers([path])
    ).path


@pytest.mark.parametrize("form", sorted({**FORMS, **VIDEOS}))
@pytest.mark.parametrize("encoding", ["ascii", "utf-16-le"])
def test_the_checker_finds_what_was_left(tmp_path: Path, form: str, encoding: str) -> None:
    syntax, value = {**FORMS, **VIDEOS}[form]
    if encoding != "ascii" and form in ("jpeg unused table", "jpeg unused codes", "rle header"):
        pytest.skip("there is no room for it")
    text = TEXT.decode().encode(encoding)
    path = image(tmp_path / "in.dcm", syntax, value(text))
    made = anonymised(path)
    ds, source = dcmread(made), dcmread(path)
    ds.PixelData = source.PixelData
    ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    ds.save_as(made)
    with pytest.raises(HeldError, match=r"identity-left|readable text"):
        check_file(path, made, PROFILE)


def test_text_that_names_nobody_known_is_seen_too(tmp_path: Path) -> None:
    note = b"Please send the images to the ward of Doctor Brown in the new building, room 14"
    syntax, value = FORMS["jpeg before eoi"]
    path = image(tmp_path / "in.dcm", syntax, value(note))
    made = anonymised(path)
    assert b"Brown" not in made.read_bytes()
    ds = dcmread(made)
    ds.PixelData = dcmread(path).PixelData
    ds["PixelData"].is_undefined_length = True
    ds.save_as(made)
    with pytest.raises(HeldError, match="readable text"):
        check_file(path, made, PROFILE)


@pytest.mark.parametrize("where", ["scan", "tile", "segment"])
def test_the_checker_decodes_what_was_changed(tmp_path: Path, where: str) -> None:
    """Zeros in coded data are no comment that was taken out."""
    syntax, frame = {
        "scan": (JPEGBaseline8Bit, jpeg()),
        "tile": (JPEG2000Lossless, coded(JPEG2000Lossless)),
        "segment": (RLELossless, coded(RLELossless)),
    }[where]
    path = image(tmp_path / "in.dcm", syntax, fragments(frame))
    made = anonymised(path)
    data = bytearray(made.read_bytes())
    at = data.rindex(frame[-40:-20])
    data[at : at + 20] = bytes(20)
    made.write_bytes(data)
    with pytest.raises(HeldError, match="pixels-changed"):
        check_file(path, made, PROFILE)


def test_random_bytes_name_nobody(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    frame = b"\xff\xd8" + jpeg()[2:].replace(
        b"\xff\xd9", rng.integers(0, 255, 3_000_000, np.uint8).tobytes() + b"\xff\xd9"
    )
    path = image(tmp_path / "in.dcm", JPEGBaseline8Bit, fragments(frame))
    ds = dcmread(path)
    ds.PatientName, ds.PatientID = "Ng^Li Bo^Eva", "1234"
    ds.save_as(path)
    checked(path, PROFILE)


def test_frames_keep_their_offsets(tmp_path: Path) -> None:
    one, two = jpeg(), jpeg(True)
    with_text = one + TEXT + b"\0" * ((len(one) + len(TEXT)) % 2)
    table = struct.pack("<LL", 0, 8 + len(with_text))
    value = fragments(with_text, two[:100], two[100:], TEXT, table=table)
    path = image(tmp_path / "in.dcm", JPEGBaseline8Bit, value, frames=2)
    made = checked(path, PROFILE)
    no_text(made.path)
    after = dcmread(made.path)
    assert len(after.PixelData) == len(value)
    assert table in after.PixelData
    assert (pixel_array(made.path, raw=True) == pixel_array(path, raw=True)).all()


@pytest.mark.parametrize("right", [True, False])
def test_an_extended_offset_table_leads_to_fragments_or_goes(tmp_path: Path, right: bool) -> None:
    frame = jpeg() + b"\0" * (len(jpeg()) % 2)
    offsets = struct.pack("<QQ", 0, 8 + len(frame)) if right else b"Kvapilova Zdenka"
    lengths = struct.pack("<QQ", len(frame), len(frame))
    path = image(
        tmp_path / "in.dcm", JPEGBaseline8Bit, fragments(frame, frame), frames=2,
        ExtendedOffsetTable=offsets, ExtendedOffsetTableLengths=lengths,
    )  # fmt: skip
    made = dcmread(checked(path, PROFILE).path)
    assert ("ExtendedOffsetTable" in made) == right
    assert ("ExtendedOffsetTableLengths" in made) == right


def test_frames_are_looked_at_whatever_an_extended_offset_table_says(tmp_path: Path) -> None:
    frame = jpeg() + b"\0" * (len(jpeg()) % 2)
    path = image(
        tmp_path / "in.dcm", JPEGBaseline8Bit, fragments(frame, frame), frames=2,
        ExtendedOffsetTable=b"Kvapilova Zdenka", ExtendedOffsetTableLengths=bytes(16),
    )  # fmt: skip
    looking = PROFILE.replace(pixels=PROFILE.pixels.replace(look="all"))
    made = dcmread(checked(path, looking).path)
    assert "ExtendedOffsetTable" not in made
    assert int(made.NumberOfFrames) == 2


@pytest.mark.parametrize(
    ("syntax", "value"),
    [
        (JPEGBaseline8Bit, fragments(TEXT)),
        (JPEG2000Lossless, fragments(b"\xff\x4f" + TEXT)),
        (RLELossless, fragments(TEXT + bytes(64))),
        (UID("1.2.840.10008.1.2.4.102"), fragments(b"\x47" + bytes(187))),
    ],
)
def test_what_follows_no_grammar_is_held(tmp_path: Path, syntax: UID, value: bytes) -> None:
    path = image(tmp_path / "in.dcm", syntax, value)
    with pytest.raises(HeldError, match="pixels-unreadable"):
        checked(path, PROFILE)


def test_jpeg_xl_is_held(tmp_path: Path) -> None:
    video = UID("1.2.840.10008.1.2.4.101")
    path = image(tmp_path / "in.dcm", video, fragments(b"\xff\x0a" + TEXT))
    data = path.read_bytes()
    assert data.count(video.encode()) == 1
    path.write_bytes(data.replace(video.encode(), b"1.2.840.10008.1.2.4.110"))
    with pytest.raises(HeldError, match="unreadable"):
        checked(path, PROFILE)


def test_a_frame_missing_is_held(tmp_path: Path) -> None:
    path = image(tmp_path / "in.dcm", JPEGBaseline8Bit, fragments(jpeg(), jpeg()), frames=3)
    with pytest.raises(HeldError, match="2 fragments for 3 frames"):
        checked(path, PROFILE)


def test_more_images_than_frames_are_held(tmp_path: Path) -> None:
    path = image(tmp_path / "in.dcm", JPEGBaseline8Bit, fragments(jpeg(), jpeg()))
    with pytest.raises(HeldError, match=r"2 images, but NumberOfFrames \(0028,0008\) is 1"):
        checked(path, PROFILE)


@pytest.mark.parametrize("missing", ["Rows", "Columns"])
@pytest.mark.parametrize("value", [0, None], ids=["zero", "absent"])
def test_a_compressed_image_without_a_size_is_held(
    tmp_path: Path, missing: str, value: int | None
) -> None:
    """It was not searched for text, but viewers take its size from the codestream."""

    def spoil(path: Path) -> None:
        ds = dcmread(path)
        if value is None:
            delattr(ds, missing)
        else:
            setattr(ds, missing, value)
        ds.save_as(path)

    path = image(tmp_path / "in.dcm", JPEGBaseline8Bit, fragments(jpeg()), Modality="US")
    made = anonymised(path)
    spoil(path)
    with pytest.raises(HeldError, match="Rows or Columns is missing or 0"):
        anonymise_file(path, tmp_path / "no", PSEUDONYMS, PROFILE, collect_identifiers([path]))
    spoil(made)
    with pytest.raises(HeldError, match="how large the compressed image"):
        check_file(path, made, PROFILE)


def test_nothing_stands_behind_the_delimiter(tmp_path: Path) -> None:
    path = image(tmp_path / "in.dcm", JPEGBaseline8Bit, fragments(jpeg()))
    data = path.read_bytes()
    assert data.endswith(b"\xfe\xff\xdd\xe0\0\0\0\0")
    path.write_bytes(data[:-4] + b"Kvap" + b"\xfc\xff\xfc\xffOB\0\0\x26\0\0\0" + TEXT + b" ")
    made = checked(path, PROFILE)
    no_text(made.path)
    assert b"Kvap" not in made.path.read_bytes()


def test_a_scan_that_leaves_its_last_coefficient_empty_is_put_right(tmp_path: Path) -> None:
    """As old coders of processes 2 and 4 do; few decoders mind (T.81 Table B.3)."""
    path = Path(pydicom.__file__).parent / "data" / "test_files" / "JPEG-lossy.dcm"
    other = path.with_name("JPGExtended.dcm")
    made = checked(path, PROFILE, tmp_path / "out")
    assert (pixel_array(made.path, raw=True) == pixel_array(other, raw=True)).all()


def test_an_icon_is_cleaned_and_read_back(tmp_path: Path) -> None:
    profile = PROFILE.replace(overrides={0x00880200: "K"})
    icon = Dataset()
    icon.SamplesPerPixel, icon.PhotometricInterpretation = 1, "MONOCHROME2"
    icon.Rows = icon.Columns = 64
    icon.BitsAllocated = icon.BitsStored = 8
    icon.HighBit, icon.PixelRepresentation = 7, 0
    icon.PixelData = fragments(jpeg() + TEXT)
    icon["PixelData"].VR, icon["PixelData"].is_undefined_length = "OB", True
    path = image(tmp_path / "in.dcm", JPEGBaseline8Bit, fragments(jpeg()), IconImageSequence=[icon])
    made = checked(path, profile)
    no_text(made.path)
    kept = dcmread(made.path).IconImageSequence[0].PixelData
    assert jpeg()[:-2] in kept
    assert "IconImageSequence" not in dcmread(checked(path, PROFILE, tmp_path / "other").path)
