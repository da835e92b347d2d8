"""Hostile UIDs in every element that holds one, through anonymiser and checker.

Each case is made from its number alone. Nothing may be written outside of the folder for results,
nothing in it may hold the canary, and what goes wrong may only be a held file.
"""

from __future__ import annotations

import random
import shutil
import struct
from pathlib import Path

import numpy as np
from pydicom.datadict import DicomDictionary
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from pacsgrid.deid import (
    Profile,
    Pseudonyms,
    anonymise_file,
    check_file,
    collect_identifiers,
    load_profile,
)
from pacsgrid.errors import HeldError
from pacsgrid.log_suppression import pydicom_suppressed
from pacsgrid.uids import is_uid

CT, EXPLICIT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.1.2.1"
WORD, NUMBER = "KANARI", "7562031234"
ROOT = "1.2.840.10008."
TAGS = sorted(t for t, e in DicomDictionary.items() if e[0] == "UI" and 0x80000 <= t < 0x7FE00000)
CORE = [0x00080016, 0x00080018, 0x0020000D, 0x0020000E]
META = [0x00020002, 0x00020003, 0x00020010, 0x00020012]
FORMS = [
    ROOT + "/../{}", ROOT + "../../{}", ROOT + "{}", ROOT + "1.2.5/../{}", ROOT + "1.2.4.90 {}",
    "../{}", "../../../{}", "/{}", "/tmp/{}", "/dev/shm/{}", "{}", ".{}", "{}.", "1.2.3/{}",
    "1.2.3.{}", "1.2.3\\{}", "1.2.3\0{}", "1..2.{}", "1.2.3.{}/..", "./{}", "~/{}", "{}/",
    "%2e%2e%2f{}",
    "1.3.12.2.1107.5.9.{}", "2.25.{}", "2.25.1{}", "..\\..\\{}", "\u2024\u2024/{}", " 1.2.3 {} ",
    "1.2.3\n{}", "{0}.{0}", "0{}", "1.{}",
]  # fmt: skip
# What has no canary in it: damaged all the same.
PLAIN = [
    "",
    ".",
    "..",
    "/",
    "\0",
    "\\",
    "1",
    "1.",
    ROOT,
    "1." * 40,
    "9" * 70,
    "\xff\xfe",
    "1.2.3/..",
]
PEOPLE = "Kanari^Zdenka", "756203/1234"


def hostile(draw: random.Random) -> str:
    """Give a text for a UID element."""
    if draw.random() < 0.15:
        return draw.choice(PLAIN)
    text = draw.choice(FORMS).format(draw.choice((WORD, NUMBER, WORD + NUMBER)))
    if draw.random() < 0.2:
        at = draw.randrange(len(text) + 1)
        text = text[:at] + draw.choice(("/", "..", "\0", ".", "\\", "é", "/../")) + text[at:]
    return text


def element(tag: int, text: str) -> RawDataElement:
    data = text.encode("utf-8", "replace")
    data += b"\0" * (len(data) % 2)
    return RawDataElement(Tag(tag), "UI", len(data), data, 0, False, True)


def dataset() -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID, ds.SOPInstanceUID, ds.StudyInstanceUID = CT, "1.2.3.4", "1.2.3"
    ds.SeriesInstanceUID, ds.FrameOfReferenceUID = "1.2.3.1", "1.2.3.9"
    ds.PatientName, ds.PatientID = PEOPLE
    ds.PatientBirthDate, ds.StudyDate, ds.Modality = "19750312", "20240102", "CT"
    ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    ds.Rows = ds.Columns = 4
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.BitsAllocated = ds.BitsStored = 16
    ds.HighBit, ds.PixelRepresentation = 15, 0
    ds.PixelData = np.zeros((4, 4), np.uint16).tobytes()
    return ds


def make(seed: int, number: int) -> bytes:
    """Make a file with a few hostile UIDs, at its top level, in items, in its file meta."""
    draw = random.Random(f"{seed} {number}")
    ds = dataset()
    meta = dict(zip(META, (CT, "1.2.3.4", EXPLICIT, "1.2.3"), strict=True))
    for _ in range(draw.randint(1, 3)):
        text, where = hostile(draw), draw.random()
        if where < 0.1:
            meta[draw.choice(META)] = text
            continue
        tag = draw.choice(CORE) if where < 0.4 else draw.choice(TAGS)
        holder = ds
        if draw.random() < 0.3:
            holder = Dataset()
            holder.ReferencedSOPInstanceUID = "1.2.3.4"
            name = draw.choice(
                ("ReferencedImageSequence", "ContentSequence", "SourceImageSequence")
            )
            setattr(ds, name, Sequence([holder]))
        holder._dict[Tag(tag)] = element(tag, text)  # type: ignore[index]
    out = DicomBytesIO()
    out.is_little_endian, out.is_implicit_VR = True, False
    write_dataset(out, ds)
    head = b"".join(_meta(tag, text) for tag, text in meta.items())
    return bytes(128) + b"DICM" + head + out.getvalue()


def _meta(tag: int, text: str) -> bytes:
    data = text.encode("utf-8", "replace")
    data += b"\0" * (len(data) % 2)
    return struct.pack("<HH2sH", tag >> 16, tag & 0xFFFF, b"UI", len(data)) + data


class Through:
    """Anonymiser and checker; `made` counts the results."""

    name = "uids"

    def __init__(self, folder: Path) -> None:
        self._room = folder / "a" / "b"
        self._room.mkdir(parents=True)
        self._folder = folder
        self._pseudonyms = Pseudonyms(b"f" * 32, "fuzz")
        retaining = folder.with_suffix(".yaml")
        retaining.write_text("name: keep\noptions: [uids, modified, descriptors]\n")
        names = ("basic", "research", "strict", str(retaining))
        self._profiles: list[Profile] = [load_profile(name) for name in names]
        self.made = 0

    def run(self, seed: int, number: int) -> str:
        """Say what is wrong with what became of a case; empty when nothing is."""
        profile = self._profiles[number % len(self._profiles)]
        path, out = self._room / "in.dcm", self._room / "out"
        with pydicom_suppressed():
            path.write_bytes(make(seed, number))
            try:
                made = anonymise_file(
                    path, out, self._pseudonyms, profile, collect_identifiers([path])
                ).path
                check_file(path, made, profile)
            except HeldError as error:
                made = None
                if WORD in str(error) or NUMBER in str(error):
                    return "the reason quotes a value"
        wrong = self._outside(out) or (self._left(made, profile) if made else "")
        self.made += made is not None
        shutil.rmtree(out, ignore_errors=True)
        return wrong

    def _outside(self, out: Path) -> str:
        known = {self._room / "in.dcm"}
        files = (path for path in self._folder.rglob("*") if path.is_file())
        strange = [path for path in files if path not in known and not path.is_relative_to(out)]
        tmp = Path("/tmp"), Path("/dev/shm"), Path("/")
        there = [
            one / name for one in tmp for name in (WORD, NUMBER, f"{WORD}.dcm", f"{NUMBER}.dcm")
        ]
        return "something stands outside" if strange or any(p.exists() for p in there) else ""

    def _left(self, made: Path, profile: Profile) -> str:
        if not (is_uid(made.stem) and is_uid(made.parent.name)):
            return "a name is no UID"
        data = made.read_bytes()
        if WORD.encode() in data:
            return "the canary is left"
        # A retained UID is kept whatever its digits are.
        return "a number is left" if NUMBER.encode() in data and _all_new(profile) else ""


def _all_new(profile: Profile) -> bool:
    return "uids" not in profile.options


def throw(seed: int, numbers: range, folder: Path) -> str:
    """Throw cases; returns what is wrong with the first bad one, or how many there were."""
    side = Through(folder / "uids")
    for number in numbers:
        try:
            wrong = side.run(seed, number)
        except Exception as error:
            wrong = repr(error)
        if wrong:
            raise AssertionError(f"uids, case {number} of seed {seed}: {wrong}")
    if side.made < len(numbers) // 4:
        raise AssertionError("uids: most cases are held; they test nothing")
    return f"uids: {len(numbers)} cases, {side.made} results, nothing outside, nobody's number left"
