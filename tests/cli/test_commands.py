"""Every command: its help, and what it says to wrong settings."""

from __future__ import annotations

import argparse
import inspect
import json
import socket
from pathlib import Path

import pytest

from pacsgrid.cli import doctor, main
from pacsgrid.cli.commands import COMMANDS, RENAMED, build_parser
from pacsgrid.grid.fetch import fetch
from pacsgrid.grid.user import ENVIRONMENT
from support.dicom import ct

ENTRY = {
    "irods_host": "127.0.0.1", "irods_port": 1, "irods_user_name": "jana", "irods_zone_name": "brno"
}  # fmt: skip


NAMES = sorted(command.name for command in COMMANDS)


@pytest.fixture(autouse=True)
def nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("PACSGRID_SITE", "XDG_CONFIG_HOME", ENVIRONMENT, "IRODS_AUTHENTICATION_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.mark.parametrize("name", NAMES)
def test_help_is_given(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main([name, "--help"])
    assert left.value.code == 0 and f"pacsgrid {name}" in capsys.readouterr().out


@pytest.mark.parametrize("name", NAMES)
def test_every_argument_is_explained_with_its_default(name: str) -> None:
    (command,) = (one for one in COMMANDS if one.name == name)
    parser = argparse.ArgumentParser()
    command.add(parser)
    assert parser.description
    for action in parser._actions:
        assert action.help, action.dest
        if action.option_strings and not action.required and action.dest != "help":
            assert "default:" in action.help, action.option_strings


@pytest.mark.parametrize("name", RENAMED)
def test_an_old_name_works_with_a_note(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([name, *GIVEN[RENAMED[name]]]) == 2
    said = capsys.readouterr().err.splitlines()
    assert f"'{name}' is now '{RENAMED[name]}'" in said[0]
    assert said[1].startswith(f"pacsgrid {RENAMED[name]}: ") and "PACSGRID_SITE" in said[1]


# Arguments that parse, so that what follows is the command's own doing.
GIVEN = {
    "cohort": ["p", "Modality=CT"], "withdraw": ["p", "S"], "share": ["p", "jana#praha"],
    "ticket": ["p", "/z/c"], "remove-partner": ["p", "praha"], "maintain": ["p"], "report": ["p"],
    "zones": ["p"], "reidentify": ["S", "--project", "p", "--who", "w", "--reason", "r"],
    "backfill": ["status", "p"], "bids": ["p", "heads"], "subjects": ["p"],
    "consent": ["p"], "reprofile": ["status", "p"],
    "pseudonym": ["patient", "--who", "w", "--reason", "long enough"],
    "logins": [], "doctor": [], "gateway": [], "receive": [], "backup": ["b"], "restore": ["b"],
    "roles": ["--show"], "risk": ["p"], "sample": ["p", "--who", "w"],
    "ledger": ["--owner-dsn-file", "owner"], "results": ["p"],
    "return-results": ["p", "r", "--to", "t", "--who", "w", "--reason", "r"],
}  # fmt: skip
SITES = {
    "none": None, "missing": "nowhere.yaml", "a folder": ".", "binary": "binary", "empty": "empty",
    "no mapping": "list.yaml", "no YAML": "broken.yaml", "unknown keys": "keys.yaml",
}  # fmt: skip


@pytest.mark.parametrize("site", SITES)
@pytest.mark.parametrize("name", sorted(GIVEN))
def test_a_wrong_site_file_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    name: str, site: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("binary").write_bytes(bytes(range(256)))
    Path("empty").touch()
    Path("owner").write_text("host=nowhere")
    Path("list.yaml").write_text("- 1\n")
    Path("broken.yaml").write_text("a: [")
    Path("keys.yaml").write_text("zone: {}\n")
    if SITES[site] is not None:
        monkeypatch.setenv("PACSGRID_SITE", str(SITES[site]))
    assert main([name, *GIVEN[name]]) == 2
    said = capsys.readouterr().err
    assert said.startswith(f"pacsgrid {name}: ") and "fails with" not in said
    # A backup is looked at before the site.
    named = "b: not a backup" if name == "restore" and SITES[site] else SITES[site]
    assert (named or "PACSGRID_SITE").removeprefix(".") in said


def test_every_command_with_a_site_is_tried() -> None:
    assert set(GIVEN) == set(NAMES) - {"deid", "fetch", "search", "completion"}


@pytest.mark.parametrize(
    ("paths", "word"),
    [(["nowhere", "out"], "nowhere: no such file"), (["in"], "OUT"), (["in", "file"], "file: is a"),
     (["in", "out", "--profile", "nothing"], "nothing"), (["in", "out", "--profile", "in"], "in"),
     (["in", "out", "--key-file", "short"], "16 bytes"), (["in", "out", "--key-file", "x"], "x"),
     (["in", "out", "--quarantine", "file"], "file: is a"), (["", "out"], "")],
)  # fmt: skip
def test_wrong_arguments_of_deid_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    paths: list[str], word: str,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    Path("file").touch()
    Path("key").write_bytes(b"k" * 32)
    Path("short").write_bytes(b"k")
    key = [] if "--key-file" in paths else ["--key-file", "key"]
    if paths[0] == "":
        Path("out").mkdir()
        paths = ["in/../nowhere", "out"]
    assert main(["deid", *paths, *key, "--project", "d"]) == 2
    said = capsys.readouterr().err
    assert word in said and "fails with" not in said and not list(Path("in").iterdir())


@pytest.mark.parametrize("number", ["-3", "two", "1.5", ""])
def test_a_wrong_number_of_processes_is_told(
    capsys: pytest.CaptureFixture[str], number: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["deid", "in", "out", f"--processes={number}"])
    assert ended.value.code == 2
    assert "is not a number of processes, 0 or more" in capsys.readouterr().err


@pytest.mark.parametrize("there", [True, False])
def test_a_profile_is_tried_as_documented(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], there: bool
) -> None:
    """docs/profiles.md, step 5."""
    monkeypatch.chdir(tmp_path)
    ct(Path("IN/a"), "1.2.3", "1.2.3.1")
    Path("my.yaml").write_text("name: my\nversion: '1'\noptions: [full]\n")
    if there:
        Path("OUT").mkdir()
    assert main(["deid", "IN", "OUT", "--profile", "my.yaml", "--dry-run"]) == 0
    told = capsys.readouterr().out
    assert told.splitlines()[-1].startswith("1 files: 1 done") and Path("OUT").exists() == there
    assert not Path("OUT-held").exists() and not (there and list(Path("OUT").iterdir()))


def test_two_folders_are_rehearsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    ct(Path("a/1"), "1.2.3", "1.2.3.1")
    ct(Path("b/1"), "1.2.4", "1.2.4.1")
    Path("key").write_bytes(b"k" * 32)
    assert main(["deid", "a", "b", "--dry-run", "--key-file", "key", "--project", "d"]) == 0
    assert "2 files: 2 done" in capsys.readouterr().out


@pytest.mark.parametrize("command", [["fetch", "/brno/home/x"], ["search", "/brno/home", "A=B"]])
@pytest.mark.parametrize(
    ("environment", "password", "word", "status"),
    [
        (None, None, "run iinit first", 2),
        ("{}", None, "lacks irods_zone_name", 2),
        ("[]", None, "not an iRODS environment", 2),
        ("\x00", None, "not an iRODS environment", 2),
        (json.dumps({**ENTRY, "irods_port": "x"}), None, "not an iRODS environment", 2),
        (json.dumps(ENTRY), None, "no iRODS password", 2),
        (json.dumps(ENTRY), "", "run iinit", 2),
        (json.dumps(ENTRY), "anything", "127.0.0.1", 75),
        (json.dumps({**ENTRY, "irods_host": "zone.invalid"}), "anything", "zone.invalid", 75),
    ],
)
def test_what_is_missing_before_a_zone_answers_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    command: list[str], environment: str | None, password: str | None, word: str, status: int,
) -> None:  # fmt: skip
    from irods.password_obfuscation import encode

    place = tmp_path / ".irods"
    place.mkdir()
    monkeypatch.chdir(tmp_path)
    if environment is not None:
        (place / "irods_environment.json").write_text(environment)
    if password == "anything":
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        entry = {**json.loads(environment or ""), "irods_port": port}
        (place / "irods_environment.json").write_text(json.dumps(entry))
        password = encode("rods")
    if password is not None:
        (place / ".irodsA").write_text(password)
    assert main(command) == status
    said = capsys.readouterr().err
    assert word in said and "fails with" not in said


def test_a_fault_of_our_own_is_told_without_a_value(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fails(given: argparse.Namespace) -> int:
        raise LookupError("Nováková")

    monkeypatch.setattr(doctor, "run_doctor", fails)
    assert main(["doctor"]) == 1
    said = capsys.readouterr().err
    assert "LookupError at test_commands.py" in said and "ovák" not in said


def test_fetch_shows_the_default_that_it_has() -> None:
    given = build_parser().parse_args(["fetch", "/brno/home/x"])
    assert given.connections == inspect.signature(fetch).parameters["connections"].default


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("deid IN --profile research OUT", {"paths": [Path("IN"), Path("OUT")]}),
        ("cohort demo --release heads Modality=CT", {"criteria": ["Modality=CT"]}),
        ("fetch /brno/x --connections 2 heads", {"to": Path("heads"), "connections": 2}),
    ],
)
def test_options_may_stand_between_arguments(words: str, expected: dict[str, object]) -> None:
    given = vars(build_parser().parse_args(words.split()))
    assert {key: given[key] for key in expected} == expected
