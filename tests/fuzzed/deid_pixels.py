"""Damaged compressed pixel data with a canary in it, through anonymiser and checker.

What passes both holds no canary; what does not is held with a reason. Nothing else happens, and
nothing is written outside of the folder for results.
"""

from __future__ import annotations

import random
import shutil
import signal
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from pydicom import dcmread
from pydicom.uid import UID

from pacsgrid.deid import Profile, anonymise_file, check_file, collect_identifiers, load_profile
from pacsgrid.deid.pixel.settings import PixelSettings
from pacsgrid.errors import HeldError
from support.codestreams import FORMS, GREY, ITEM, TEXT, VIDEOS, fragments
from support.deid_file import PSEUDONYMS
from support.images import header, write

ALL = {**FORMS, **VIDEOS}
CANARIES = (b"Kvapilova", b"RC7654321", b"1961-05-04")
WIDE = tuple(canary.decode().encode("utf-16-le") for canary in CANARIES)
PATIENCE = 60


class Hurt(Exception):
    """A case did what no case may do."""


def case(seed: int, number: int) -> tuple[str, UID, bytes, int]:
    """Return a case's form, its transfer syntax, its value and how many frames it claims."""
    rng = random.Random(f"pixels {seed} {number}")
    form = rng.choice(sorted(ALL))
    syntax, made = ALL[form]
    text = TEXT if rng.random() < 0.8 else TEXT[:16].decode().encode("utf-16-le")
    value = made(text if len(text) == len(TEXT) else TEXT)
    for _ in range(rng.choice((0, 0, 1, 1, 2, 5))):
        value = rng.choice(_CHANGES)(rng, value, text)
    return form, syntax, value, rng.choice((1, 1, 1, 1, 2, 3))


def _insert(rng: random.Random, value: bytes, text: bytes) -> bytes:
    at = rng.randrange(len(value) + 1)
    return value[:at] + text + value[at:]


def _again(rng: random.Random, value: bytes, text: bytes) -> bytes:
    """Insert into what the fragments hold, and put it into new ones."""
    data = bytearray(b"".join(_contents(value)))
    at = rng.randrange(len(data) + 1)
    data[at:at] = text
    cuts = sorted(rng.randrange(len(data) + 1) // 2 * 2 for _ in range(rng.choice((0, 0, 1, 2))))
    parts = [
        bytes(data[a:b]) for a, b in zip([0, *cuts], [*cuts, len(data)], strict=True)
    ]  # fmt: skip
    table = rng.choice((b"", b"", bytes(4), text[:36], struct.pack("<LL", 0, len(parts[0]) + 8)))
    return fragments(*parts, table=table)


def _contents(value: bytes) -> Iterator[bytes]:
    at = 0
    while value[at : at + 4] == ITEM:
        length = int.from_bytes(value[at + 4 : at + 8], "little")
        if at:
            yield value[at + 8 : at + 8 + length]
        at += 8 + length


def _flip(rng: random.Random, value: bytes, text: bytes) -> bytes:
    at = rng.randrange(len(value))
    return value[:at] + bytes((rng.choice((0, 0xFF, rng.randrange(256))),)) + value[at + 1 :]


def _drop(rng: random.Random, value: bytes, text: bytes) -> bytes:
    at = rng.randrange(len(value))
    return value[:at] + value[at + rng.choice((1, 2, 8, 200)) :]


def _double(rng: random.Random, value: bytes, text: bytes) -> bytes:
    at = rng.randrange(len(value))
    part = value[at : at + rng.choice((2, 10, 100, 1000))]
    return value[:at] + part + value[at:]


def _replace(rng: random.Random, value: bytes, text: bytes) -> bytes:
    at = rng.randrange(len(value))
    return value[:at] + text + value[at + len(text) :]


_CHANGES = (_insert, _again, _again, _again, _flip, _flip, _drop, _double, _replace)


class Pixels:
    """Anonymiser and checker over one folder, emptied after each case."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        ds = header("CT")
        ds.PatientName, ds.PatientID = "Kvapilova^Zdenka", "RC7654321"
        ds.PatientBirthDate, ds.ImageType = "19610504", ["ORIGINAL", "PRIMARY"]
        self._slice = write(folder / "slice.dcm", ds, GREY[None], "MONOCHROME2")
        looks = PixelSettings(look="none", hold=frozenset())
        self._profile: Profile = load_profile("basic").replace(pixels=looks, hold_burned_in=False)
        self.said: Counter[str] = Counter()

    def _file(self, syntax: UID, value: bytes, frames: int) -> Path:
        ds = dcmread(self._slice)
        ds.NumberOfFrames = frames
        ds.PixelData = value
        ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
        ds.file_meta.TransferSyntaxUID = syntax
        path = self._folder / "in.dcm"
        # A value that is no series of fragments is written all the same.
        del ds.PixelData
        ds.save_as(path, implicit_vr=False, little_endian=True)
        element = b"\xe0\x7f\x10\0OB\0\0\xff\xff\xff\xff" + value + b"\xfe\xff\xdd\xe0\0\0\0\0"
        path.write_bytes(path.read_bytes() + element)
        return path

    def run(self, syntax: UID, value: bytes, frames: int) -> None:
        path, out = self._file(syntax, value, frames), self._folder / "out"
        try:
            made = anonymise_file(path, out, PSEUDONYMS, self._profile, collect_identifiers([path]))
            check_file(path, made.path, self._profile)
        except HeldError as error:
            self.said[error.code] += 1
            if any(canary.decode() in str(error) for canary in CANARIES):
                raise Hurt("a reason holds a canary") from None
        else:
            self.said["done"] += 1
            data = made.path.read_bytes()
            if any(canary in data for canary in (*CANARIES, *WIDE)):
                raise Hurt("a canary is left")
            if out not in made.path.parents:
                raise Hurt("a result stands outside of its folder")
        finally:
            shutil.rmtree(out, ignore_errors=True)
        if left := {p.name for p in self._folder.iterdir()} - {"in.dcm", "slice.dcm"}:
            raise Hurt(f"{len(left)} files are left beside the folder of results")


def throw(
    folder: Path, seed: int, numbers: range, tell: Callable[[str], None] = print
) -> Counter[str]:
    """Throw cases at anonymiser and checker; return what became of them.

    Raises
    ------
    Hurt
        Names the case; `case(seed, number)` makes it again.
    """
    side, start = Pixels(folder), time.monotonic()

    def hung(number: int, frame: object) -> None:
        raise Hurt("it takes too long")

    old = signal.signal(signal.SIGALRM, hung)
    try:
        for number in numbers:
            form, syntax, value, frames = case(seed, number)
            signal.alarm(PATIENCE)
            try:
                side.run(syntax, value, frames)
            except Exception as error:
                raise Hurt(f"pixels, case {number} of seed {seed} ({form}): {error!r}") from error
            signal.alarm(0)
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, old)
    per_second = len(numbers) / (time.monotonic() - start)
    tell(f"pixels: {len(numbers)} cases, {per_second:.0f}/s; {dict(side.said.most_common())}")
    return side.said
