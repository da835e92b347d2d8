"""The caches of anonymiser and checker change no result, and are bounded."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydicom import dcmread
from pydicom.dataset import Dataset

from pacsgrid.deid import Checker, Pseudonyms, collect_identifiers, load_profile
from pacsgrid.deid.anonymise import Anonymiser
from pacsgrid.deid.caching import bounded_cache, element_cache, read_tracking, seen_elements
from pacsgrid.deid.check import verdict_cache
from support.dicom import ct, save

PSEUDONYMS = Pseudonyms(b"k" * 32, "demo")


def test_a_full_cache_is_emptied() -> None:
    cache: bounded_cache.BoundedCache[str, int] = bounded_cache.BoundedCache(limit=10)
    assert cache.store("a", 1, size=6) == 1 and cache.store("b", 2, size=4) == 2
    assert cache == {"a": 1, "b": 2}
    cache.store("c", 3, size=1)
    assert cache == {"c": 3}
    cache.store("d", 4, size=9)
    assert cache == {"c": 3, "d": 4}


def test_a_full_cache_of_verdicts_is_emptied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdict_cache, "_MAX_VERDICTS", 2)
    cache: verdict_cache.VerdictCache[bytes, str] = verdict_cache.VerdictCache()
    for key in (b"a", b"b", b"c"):
        cache.keep(key, "kept")
    assert cache == {b"c": "kept"}


def test_a_decision_holds_for_the_same_bytes_of_what_was_read() -> None:
    cache: read_tracking.DecisionCache[str] = read_tracking.DecisionCache()
    taken: list[str] = []

    def decide(header: Any) -> str:
        taken.append(header.Modality)
        # Of a magnetic resonance image another element decides.
        return str(header.get("ScanningSequence") if header.Modality == "MR" else "seen")

    def ask(modality: str, sequence: str, thickness: str) -> str:
        ds = Dataset()
        ds.Modality, ds.ScanningSequence, ds.SliceThickness = modality, sequence, thickness
        elements = {int(e.tag): str(e.value).encode() for e in ds}
        found = cache.find(elements)
        return found or cache.decide(elements, read_tracking.TrackedHeader(ds), decide)

    assert ask("CT", "SE", "1") == ask("CT", "GR", "2") == "seen"
    assert ask("MR", "SE", "1") == ask("MR", "SE", "2") == "SE" and ask("MR", "GR", "1") == "GR"
    assert taken == ["CT", "MR", "MR"]


def test_a_keyword_that_nobody_knows_cannot_be_tracked() -> None:
    with pytest.raises(AttributeError, match="Modalty"):
        read_tracking.TrackedHeader(Dataset()).get("Modalty")


def series(folder: Path) -> list[Path]:
    files = []
    for number in range(8):
        ds = dcmread(ct(folder / f"{number}", "1.2.3", f"1.2.3.{number}", fill=number))
        ds.SliceLocation, ds.SeriesDescription = number * 1.5, f"Novakova {number % 3}"
        ds.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
        ds.private_block(0x0029, "SIEMENS CSA HEADER", create=True).add_new(8, "CS", f"IM{number}")
        files.append(save(ds, folder / f"{number}"))
    return files


def results(files: list[Path], out: Path) -> list[bytes]:
    profile = load_profile("research")
    anonymiser = Anonymiser(PSEUDONYMS, profile, collect_identifiers(files))
    checker = Checker(profile)
    made = []
    for path in files:
        result = anonymiser.anonymise(path, out).path
        checker.check(path, result)
        made.append(result.read_bytes())
    return made


def test_caches_that_hold_next_to_nothing_change_no_result(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = series(tmp_path / "in")
    large = results(files, tmp_path / "large")
    monkeypatch.setattr(element_cache, "_MAX_BYTES", 64)
    monkeypatch.setattr(seen_elements, "_MAX_BYTES", 64)
    monkeypatch.setattr(read_tracking, "_MAX_DECISIONS", 1)
    monkeypatch.setattr(verdict_cache, "_MAX_VERDICTS", 1)
    monkeypatch.setattr("pacsgrid.deid.anonymise._MAX_ELEMENT_CACHES", 1)
    identifiers = collect_identifiers(files)
    assert results(files, tmp_path / "small") == large
    monkeypatch.undo()
    assert identifiers == collect_identifiers(files)
