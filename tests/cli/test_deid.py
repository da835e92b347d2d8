"""`pacsgrid deid IN OUT` with nothing else said: the user's key, files as OUT."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from pydicom import dcmread

from pacsgrid.cli import main
from pacsgrid.cli.user_key import ensure_user_key, user_key_path
from pacsgrid.errors import ConfigError
from support.dicom import ct


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def patient(tmp_path: Path) -> Path:
    """A folder with two files of one study."""
    for number in range(2):
        ct(tmp_path / f"in/{number}.dcm", "1.2.3", f"1.2.3.{number}", patient_id="7", fill=number)
    return tmp_path / "in"


def pseudonyms(out: Path) -> set[str]:
    return {str(dcmread(path).PatientID) for path in [out, *out.rglob("*.dcm")] if path.is_file()}


def test_a_key_is_made_once_and_its_place_is_told(
    home: Path, patient: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["deid", "in", "out"]) == 0
    key = home / ".config/pacsgrid/deid.key"
    told = capsys.readouterr()
    assert f"Using the key {key}; keep it" in told.err and str(key) not in told.out
    made = key.read_bytes()
    assert len(made) == 64 and made not in (told.out + told.err).encode()
    assert (key.stat().st_mode & 0o777, key.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert main(["deid", "in", "again"]) == 0
    assert key.read_bytes() == made and [*key.parent.iterdir()] == [key]
    assert pseudonyms(Path("again")) == pseudonyms(Path("out")) != {"7"}


def test_the_defaults_can_be_said_and_replaced(home: Path, patient: Path) -> None:
    assert main(["deid", "in", "out"]) == 0
    key = str(user_key_path())
    assert main(["deid", "in", "same", "--key-file", key, "--project", "default"]) == 0
    assert main(["deid", "in", "other", "--project", "other"]) == 0
    assert pseudonyms(Path("same")) == pseudonyms(Path("out"))
    assert not pseudonyms(Path("other")) & pseudonyms(Path("out"))


def test_the_configuration_directory_is_that_of_the_xdg_specification(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    assert ensure_user_key() == tmp_path / "settings/pacsgrid/deid.key"
    monkeypatch.setenv("XDG_CONFIG_HOME", "not/absolute")
    assert user_key_path() == home / ".config/pacsgrid/deid.key"


def test_processes_that_make_the_key_at_the_same_time_use_one(tmp_path: Path) -> None:
    code = """
import sys
from pacsgrid.cli.user_key import ensure_user_key
print("ready", flush=True)
sys.stdin.readline()
print(ensure_user_key().read_text())
"""
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=env,
        )
        for _ in range(6)
    ]
    for one in running:
        assert one.stdout is not None and one.stdout.readline() == "ready\n"
    for one in running:
        assert one.stdin is not None
        one.stdin.write("\n")
        one.stdin.flush()
    keys = {one.communicate()[0] for one in running}
    assert len(keys) == 1 and len(keys.pop()) == 65
    assert len([*user_key_path().parent.iterdir()]) == 1


@pytest.mark.parametrize("what", ["a file", "a link to nowhere"])
def test_a_home_that_cannot_be_written_is_told(
    home: Path, patient: Path, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    home.mkdir()
    if what == "a file":
        (home / ".config").touch()
    else:
        (home / ".config").symlink_to("/proc/nothing")
    assert main(["deid", "in", "out"]) == 2
    said = capsys.readouterr().err
    assert "--key-file" in said and str(home / ".config/pacsgrid") in said
    assert not Path("out").exists()


def test_an_account_without_a_home_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", homeless)
    with pytest.raises(ConfigError, match="--key-file"):
        ensure_user_key()


def test_a_key_that_others_can_read_is_refused(
    patient: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ensure_user_key().chmod(0o640)
    assert main(["deid", "in", "out"]) == 2
    assert "chmod 600" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["nowhere", "out"], ["in"], ["in", "in/0.dcm"]])
def test_no_key_is_made_for_what_cannot_be_done(patient: Path, arguments: list[str]) -> None:
    assert main(["deid", *arguments]) == 2
    assert not user_key_path().exists()


def test_a_dry_run_makes_no_key(
    home: Path, patient: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["deid", "in", "--dry-run"]) == 0
    assert not home.exists() and "Using the key" not in capsys.readouterr().err


def test_one_file_goes_to_one_file(patient: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {*Path().iterdir()}
    assert main(["deid", "in/0.dcm", "results/out.dcm"]) == 0
    assert [*Path("results").iterdir()] == [Path("results/out.dcm")]
    assert dcmread("results/out.dcm").PatientIdentityRemoved == "YES"
    assert {*Path().iterdir()} - before == {Path("home"), Path("results")}
    # The same result as in a folder.
    assert main(["deid", "in/0.dcm", "out"]) == 0
    (one,) = Path("out").rglob("*.dcm")
    assert one.read_bytes() == Path("results/out.dcm").read_bytes()


def test_one_file_goes_to_a_file_with_the_same_ending(patient: Path) -> None:
    Path("in/0.dcm").rename("in/0.img")
    assert main(["deid", "in/0.img", "out.img"]) == 0
    assert pseudonyms(Path("out.img")) != {"7"}


@pytest.mark.parametrize(
    ("inputs", "out"), [("in/0.dcm", "out"), ("in/0.dcm", "there.dcm"), ("in", "out.dcm")]
)
def test_otherwise_out_is_a_folder(patient: Path, inputs: str, out: str) -> None:
    Path("there.dcm").mkdir()
    assert main(["deid", inputs, out]) == 0
    assert Path(out).is_dir() and pseudonyms(Path(out))


def test_a_file_is_not_overwritten(patient: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("out.dcm").write_text("mine")
    assert main(["deid", "in/0.dcm", "out.dcm"]) == 2
    assert "out.dcm: exists already" in capsys.readouterr().err
    assert Path("out.dcm").read_text() == "mine"


def test_one_file_that_is_held_leaves_no_result(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("in.dcm").write_bytes(b"nothing of the sort")
    assert main(["deid", "in.dcm", "out.dcm"]) == 3
    assert "held, see out-held" in capsys.readouterr().out
    assert not Path("out.dcm").exists() and [*Path("out-held").iterdir()]


def test_a_folder_that_cannot_be_written_is_named(
    patient: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("file").touch()
    assert main(["deid", "in/0.dcm", "file/out.dcm"]) != 0
    assert "file cannot be written" in capsys.readouterr().err


def test_results_do_not_go_to_the_folder_of_the_input(
    patient: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = {*patient.iterdir()}
    assert main(["deid", "in", "in/../in"]) == 2
    assert "the same folder as IN" in capsys.readouterr().err
    assert {*patient.iterdir()} == before
