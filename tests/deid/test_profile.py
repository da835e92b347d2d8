"""Profiles: what is wrong is refused by file and key, and a hash never changes by itself."""

from __future__ import annotations

import hashlib
import json
import pickle
from pathlib import Path

import pytest
import yaml

from pacsgrid.deid import load_profile, profile
from pacsgrid.errors import ConfigError

DEID = Path(profile.__file__).parent
READY = ("basic", "research", "strict")
# The order in which the tables have entered every hash that ledgers and manifests hold.
TABLES = ("table.csv", "types.csv", "content.csv", "safe_private.csv", "terms.txt")
# They follow where the profile has the option `acquisition`.
ACQUISITION = tuple(f"acquisition/{name}.csv" for name in ("elements", "fields", "words"))


def _stored_hash(text: str) -> str:
    raw = yaml.safe_load(text)
    source = json.dumps(raw, sort_keys=True, default=str).encode()
    more = ACQUISITION if "acquisition" in (raw.get("options") or ()) else ()
    names = (*TABLES, "defined_terms.txt", *more)
    tables = b"".join((DEID / name).read_bytes() for name in names)
    return hashlib.sha256(source + b"\0" + tables).hexdigest()


@pytest.mark.parametrize("name", READY)
def test_a_hash_is_that_of_the_files_content_and_the_tables(name: str) -> None:
    text = (DEID / "profiles" / f"{name}.yaml").read_text("utf-8")
    assert load_profile(name).hash == _stored_hash(text)


def test_a_hash_covers_what_is_written_not_what_is_read(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    text = "name: own\nversion: 3\noptions: [modified]\nbins: {PatientAge: 5}\nreviewed: null\n"
    for key in ("", "overrides:\n", "text: harmless\n"):
        written = text.replace("reviewed: null\n", key)
        path.write_text(written)
        assert load_profile(str(path)).hash == _stored_hash(written)


def test_what_is_left_out_follows_from_the_rest(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    for text, hold, mode in (
        ("", False, "harmless"),
        ("options: [descriptors]", False, "clean"),
        ("pixels: {look: none}", True, "harmless"),
        ("pixels: {look: none}\nhold_burned_in: false", False, "harmless"),
        ("options: [descriptors]\ntext: drop", False, "drop"),
    ):
        path.write_text(f"name: own\n{text}\n")
        loaded = load_profile(str(path))
        assert (loaded.hold_burned_in, loaded.text) == (hold, mode), text
        assert pickle.loads(pickle.dumps(loaded)) == loaded


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "needs keys with values"),
        ("- name: x", "needs keys with values"),
        ("name: [", "cannot be read as YAML"),
        ("name: x\noptions: [uids]\noptions: [patient]", "the key options stands twice"),
        ("name: 7", "name: "),
        ("version: '1'", "name: is not set"),
        ("name: x\nmodalities: []", "modalities: there is no such key"),
        ("name: x\noptions: [full, modified]", "options: full and modified exclude each other"),
        ("name: x\noptions: [dates]", "options: there is no option dates; known are: descriptors"),
        ("name: x\nhold_burned_in: 'yes'", "hold_burned_in: "),
        ("name: x\nhold_burned_in:", "hold_burned_in: "),
        ("name: x\nhold_patient_conflicts: 1", "hold_patient_conflicts: "),
        ("name: x\nheld_modalities: US", "held_modalities: "),
        ("name: x\ntext: keep", "text: "),
        ("name: x\nbins: {PatientHeight: 3}", "bins.PatientHeight"),
        ("name: x\nbins: {PatientAge: 0}", "bins.PatientAge: "),
        ("name: x\nbins: {PatientAge: '5'}", "bins.PatientAge: "),
        ("name: x\nbins: [PatientAge]", "bins: "),
        ("name: x\noverrides: [{tag: PatientSex, action: X}]", "overrides entry 1, reason: is not"),
        ("name: x\noverrides: [{tag: PatientSex, action: X, reason: ''}]", "entry 1, reason: "),
        ("name: x\noverrides: [{tag: PatientSex, action: U, reason: r}]", "entry 1, action: "),
        ("name: x\noverrides: [{tag: Sex, action: X, reason: r}]", "entry 1, tag: 'Sex' is neith"),
        ("name: x\noverrides: [PatientSex]", "overrides entry 1: must have keys"),
        ("name: x\npixels:", "pixels: must have keys"),
        ("name: x\npixels: {looks: all}", "pixels.looks: there is no such key"),
        ("name: x\npixels: {look: sometimes}", "pixels.look: "),
        ("name: x\npixels: {outside_ultrasound_regions: hide}", "outside_ultrasound_regions: "),
        ("name: x\npixels: {hold: [faces]}", "pixels.hold"),
        ("name: x\npixels: {hold: face}", "pixels.hold: "),
        ("name: x\npixels: {regions: {model: a}}", "pixels.regions: "),
        ("name: x\npixels: {regions: [{model: a}]}", "pixels.regions entry 1, blank: is not set"),
        ("name: x\npixels: {regions: [{blank: []}]}", "pixels.regions entry 1, blank: "),
        ("name: x\npixels: {regions: [{blank: [[0, 0, 1]]}]}", "blank entry 1: write a rectangle"),
        ("name: x\npixels: {regions: [{blank: [[5, 0, 5, 9]]}]}", "right must be greater"),
        (
            "name: x\npixels: {regions: [{blank: [[0, 0, 9, 9]], model: '('}]}",
            "model: is not a reg",
        ),
        ("name: x\npixels: {regions: [{blank: [[0, 0, 9, 9]], row: 5}]}", "row: there is no such"),
    ],
)
def test_what_is_wrong_is_told_with_file_and_key(tmp_path: Path, text: str, told: str) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_profile(str(path))
    assert str(path) in str(caught.value) and told in str(caught.value)


def test_regions_are_read_as_before(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text(
        "name: own\npixels: {regions: [{modality: US, manufacturer: acme, model: 5500, "
        "rows: '768', blank: [[0, 0, 100, 20]]}]}\n"
    )
    (rule,) = load_profile(str(path)).pixels.regions
    assert rule.manufacturer.search("ACME Ltd") and rule.model.search("X-5500")
    assert (rule.rows, rule.columns, rule.blank[0].right) == (768, 0, 100)


def test_a_profile_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigError, match="profile no-such: cannot be read"):
        load_profile("no-such")


def test_a_region_rule_of_ours_that_is_wrong_names_its_file() -> None:
    from pacsgrid.deid.pixel.settings import parse_rules

    with pytest.raises(ConfigError, match=r"regions\.yaml: entry 1, blank: is not set"):
        parse_rules([{"model": "x"}], "regions.yaml")
