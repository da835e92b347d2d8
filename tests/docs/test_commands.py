"""The commands and programs of the documents, run on a site of their own in a site's order.

The site is the demo's without Airflow, its project called `lung` as in the documents. What the
documents leave open (`SABCDEFGHIJKL`, `/backup/...`) is filled in; everything else runs as it
stands there.
"""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import requests
import yaml
from pydicom.uid import CTImageStorage

from pacsgrid.cli import main
from pacsgrid.config import SITE_ENV
from pacsgrid.embedded.ports import accepts, reserve_port
from pacsgrid.embedded.process import ChildProcess
from pacsgrid.embedded.stack import DSN_ENV, LEDGER_ROLE, Stack
from pacsgrid.grid.sharing import share
from pacsgrid.ledger import IngestKind
from pacsgrid.model import StudyQuery, StudyState
from pacsgrid.pipeline import STEPS, ProjectContext, clear_work_folders, find_studies, run_step
from pacsgrid.pipeline.results import CheckedObject, deposit_result, keep_object
from support.dicom import ct
from support.documents import ROOT, Block, blocks, pacsgrid_arguments, program, shell_commands
from support.irods_user import iinit
from support.waiting import wait_until

PROJECT, PASSWORD, TOKEN = "lung", "secret-word", "a token of the documents"
INGEST = "in-5c0e1bb2d1f4a86e9d07"
COMMANDS = shell_commands()
# Makes Airflow's roles with the FAB auth manager: tests/e2e/test_roles.py runs it. Sends to a PACS:
# tests/gateway/test_results.py does. Needs a provider: tests/gateway/test_login.py has one.
ELSEWHERE = {
    "pacsgrid roles",
    "pacsgrid logins",
    "pacsgrid logins --check",
    "pacsgrid return-results lung st-2f0c9d5be1a7c3d48e60 --to pacs"
    ' --who "Dr Eva Malá" --reason "finding to follow up"',
}
# What must come before what.
ORDER = (
    "zones", "subjects", "consent", "maintain", "reprofile", "backfill", "report", "cohort", "bids",
    "sample", "risk", "share", "search", "fetch", "ticket", "results",
    "reidentify", "pseudonym", "deid", "receive", "gateway", "doctor", "backup", "ledger",
    "restore",
    "remove-partner", "withdraw",
)  # fmt: skip
# What they take away, everything else needs.
ENDINGS = ("restore", "remove-partner", "withdraw", "--remove", "--revoke")


@dataclass
class Life:
    """A site, and what its commands have made so far."""

    stack: Stack
    folder: Path
    ports: dict[str, int] = field(default_factory=dict)
    subject: str = ""
    result: str = ""
    tickets: str = ""
    owner: bool = False
    backups: list[Path] = field(default_factory=list)

    def __getitem__(self, name: str) -> Path:
        return self.folder / name

    def change(self, change: Callable[[dict[str, Any]], None]) -> None:
        """Change the site file."""
        file = self.stack.dir / "site.yaml"
        site = yaml.safe_load(file.read_text())
        change(site)
        file.write_text(yaml.safe_dump(site, sort_keys=False))

    @contextmanager
    def serving(self, arguments: list[str], port: int) -> Iterator[ChildProcess]:
        """Run a service of ours until it is told to stop."""
        env = {**os.environ, "PYTHONPATH": str(ROOT / "plugins")}
        child = ChildProcess(arguments[0], [sys.executable, "-m", "pacsgrid", *arguments],
                      self[f"{arguments[0]}.log"], env)  # fmt: skip
        child.start()
        try:
            child.wait_ready(lambda: accepts(port), 90)
            yield child
            os.kill(child.pid, signal.SIGTERM)
            wait_until(lambda: not child.running, 60)
        finally:
            child.stop()


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Life]:
    folder = tmp_path_factory.mktemp("documents")
    with Stack(folder / "var" / "demo", airflow=False, say=lambda text: None) as stack:
        made = Life(stack, folder, {name: reserve_port() for name in ("http", "dicom", "receive")})
        made.change(lambda site: _as_documented(site, made))
        _ingest(made)
        _users(made)
        _files(made)
        yield made


def _as_documented(site: dict[str, Any], life: Life) -> None:
    project = {**site["projects"]["demo"], "nightly": []}
    registers = {
        "subjects": {"from": "table"},
        "consent": {"from": "file", "file": str(life["consent.csv"])},
    }
    site["projects"] = {PROJECT: site["projects"]["demo"], "trial": {**project, **registers}}
    (life.folder / "token").write_text(TOKEN)
    site["gateway"] |= {
        "bind": "127.0.0.1", "http_port": life.ports["http"], "dicom_port": life.ports["dicom"],
        "peers": [{"ae_title": "WORKSTATION", "user": "jana#brno"}],
        "tokens": [{"name": "jana", "user": "jana#brno", "token_file": str(life["token"])}],
        "airflow_users": {}, "refresh_seconds": 0.2,
    }  # fmt: skip
    site["receiver"] = {
        "folder": str(life["incoming"]), "bind": "127.0.0.1", "port": life.ports["receive"],
        "allow": [{"ae_title": "CT1"}], "project": PROJECT,
    }  # fmt: skip


def _ingest(life: Life) -> None:
    for number in (1, 2):
        ct(life.stack.drop / f"{number}.dcm", "1.2.3.4", f"1.2.3.4.{number}", fill=number)
    with ProjectContext(life.stack.site, PROJECT) as context:
        context.ledger.ingests.begin(INGEST, PROJECT, "drop", IngestKind.BACKFILL)
        refs = find_studies(context, "drop", StudyQuery())
        for name in STEPS:
            refs = run_step(context, name, refs).refs
        clear_work_folders(context, refs)
        (ref,) = refs
        assert context.ledger.studies.state(ref) is StudyState.VERIFIED
        row = context.ledger.instances.of_study(ref)[0]
        life.subject = row.subject
        sent = CheckedObject(
            ct(life.folder / "result.dcm", row.study_uid, "2.25.7", patient="", patient_id="S"),
            row.study_uid, "2.25.8", "2.25.7", str(CTImageStorage), row.subject, "CT", "nodule-net",
        )  # fmt: skip
        life.result = keep_object(context, "nodule-net", "jana#brno", sent)
        assert deposit_result(context, life.result)


def _users(life: Life) -> None:
    with ProjectContext(life.stack.site, PROJECT) as context:
        jana = context.home.session.users.create("jana", "rodsuser")
        jana.modify("password", PASSWORD)
        context.zone("praha").session.users.create("petr", "rodsuser")
        share(context.home, PROJECT, ["jana#brno"])
        life["jana"].mkdir()
        iinit(life["jana"], context.home.settings, "jana", PASSWORD)


def _files(life: Life) -> None:
    """Write what the documents name: folders to anonymise, a key, connection strings."""
    ct(life["IN/1.dcm"], "1.9.8", "1.9.8.1")
    ct(life["FILE"], "1.9.9", "1.9.9.1")
    life["project.key"].write_bytes(b"0123456789abcdef" * 2)
    life["subjects.csv"].write_text("patient_id;subject\n756203/1234;TRIAL-001\n")
    life["consent.csv"].write_text("patient_id;consent\n756203/1234;yes\n")
    life["my.yaml"].write_text("name: my\nversion: '1'\noptions: [full]\n")
    life["patients.txt"].write_text("756203/1234\n")
    life["passphrase"].write_text("correct horse battery\n")
    life["owner.dsn"].write_text(life.stack.postgres.dsn("ledger"))
    for name in ("airflow", "icat"):
        life.stack.postgres.create_database(name)
        life[f"{name}_dsn"].write_text(life.stack.postgres.dsn(name))
    (life.folder / ".venv").symlink_to(ROOT / ".venv")


@pytest.fixture(autouse=True)
def _here(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(life.folder)
    monkeypatch.setenv("HOME", str(life.folder))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.setenv(SITE_ENV, str(life.stack.dir / "site.yaml"))
    role = () if life.owner else (LEDGER_ROLE,)
    monkeypatch.setenv(DSN_ENV, life.stack.postgres.dsn("ledger", *role))
    monkeypatch.setenv("IRODS_ENVIRONMENT_FILE", str(life["jana/irods_environment.json"]))
    monkeypatch.setenv("IRODS_AUTHENTICATION_FILE", str(life["jana/.irodsA"]))


def _name(command: str) -> str:
    return pacsgrid_arguments(command)[0]


def _place(command: str) -> int:
    return ORDER.index(_name(command))


def _ends(command: str) -> bool:
    return not set(ENDINGS).isdisjoint(pacsgrid_arguments(command))


OURS = sorted(
    # The tutorial's have a test of their own.
    (c for c in COMMANDS if c.startswith(("pacsgrid ", "PACSGRID_SITE=")) and c not in ELSEWHERE),
    key=_place,
)


def test_what_is_run_elsewhere_is_shown() -> None:
    assert set(COMMANDS) >= ELSEWHERE


@pytest.mark.parametrize("command", [c for c in OURS if not _ends(c)])
def test_the_command_does_what_it_is_shown_for(
    life: Life, command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments, name = _filled(life, command), _name(command)
    if name in ("receive", "gateway"):
        with life.serving(arguments, life.ports["receive" if name == "receive" else "dicom"]):
            if name == "gateway":
                _ask_the_gateway(life)
        return
    if "--diff" in arguments:
        monkeypatch.setattr(sys, "stdout", _Terminal())
    if name == "pseudonym":
        monkeypatch.setattr(sys, "stdin", io.StringIO("756203/1234\n"))
    status = main(arguments)
    monkeypatch.undo() if "--diff" in arguments else None
    told = capsys.readouterr()
    assert status == 0, told.err
    if " > " in command:
        life[command.split(" > ")[1]].write_text(told.out)
    if name == "ticket" and " > " in command:
        subprocess.run(["sh", "-n", command.split(" > ")[1]], check=True)
        found = re.search(r"^# .* by the name (\w+)\.$", told.out, re.MULTILINE)
        assert found
        life.tickets = found[1]


def _filled(life: Life, command: str) -> list[str]:
    """Return a command's arguments with names that are there."""
    if name := re.search(r"/backup/(TODAY|[-\d]+)", " ".join(pacsgrid_arguments(command))):
        if name[1] == "TODAY":
            life.backups.append(life[f"backup-{len(life.backups)}"])
        # The one with the keys apart and Airflow's database is restored.
        backup = life.backups[-1 if name[1] == "TODAY" else 0]
    places = {
        r"/backup/.*": lambda: str(backup),
        r"/safe/brno\.keys": lambda: str(life["brno.keys"]),
        r"/safe/passphrase": lambda: str(life["passphrase"]),
        r"(\w+=)/run/secrets/(\w+)": lambda: rf"\g<1>{life.folder}/\g<2>",
        r"st-2f0c9d5be1a7c3d48e60": lambda: life.result,
        r"SABCDEFGHIJKL": lambda: life.subject,
        r"NAME": lambda: life.tickets,
    }
    if _name(command) == "ledger":
        places["FILE"] = lambda: str(life["owner.dsn"])
    filled = []
    for word in pacsgrid_arguments(command):
        for pattern, text in places.items():
            if re.fullmatch(pattern, word):
                word = re.sub(pattern, text(), word)
        filled.append(word)
    return filled


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def _without_partner(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    def change(site: dict[str, Any]) -> None:
        site["projects"][PROJECT]["partner_zones"] = []
        site["gateway"]["serve"] = [{"zone": "brno"}]

    life.change(change)


def _destroyed(life: Life, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lose the databases; the role that restores owns them, as where there is one role."""
    with closing(psycopg2.connect(life.stack.postgres.dsn("postgres"))) as connection:
        connection.autocommit = True
        for name in ("ledger", "airflow"):
            connection.cursor().execute(f"DROP DATABASE {name} WITH (FORCE)")
    for name in ("ledger", "airflow"):
        life.stack.postgres.create_database(name)
    monkeypatch.setenv(DSN_ENV, life.stack.postgres.dsn("ledger"))


def _ask_the_gateway(life: Life) -> None:
    """Ask as the page about the gateway shows: with DCMTK and with Python."""
    port = life.ports["http"]
    wait_until(lambda: accepts(port), 60)
    assert requests.get(f"http://127.0.0.1:{port}/health", timeout=60).ok
    (python,) = (one for one in blocks("python") if one.page == "docs/gateway.md")
    text = python.text.replace("https://grid.example.org:8042", f"http://127.0.0.1:{port}")
    there: dict[str, Any] = {"token": TOKEN}
    exec(text, there)
    wait_until(lambda: there["client"].search_for_studies() != [], 60)
    for command in (c for c in COMMANDS if program(c) in ("findscu", "getscu")):
        asked = command.replace("grid.example.org 11113", f"127.0.0.1 {life.ports['dicom']}")
        subprocess.run(asked, shell=True, check=True, timeout=60)


def test_python_of_the_read_me_and_of_the_pages_runs(life: Life) -> None:
    for block in blocks("python"):
        if block.page in ("README.md", "docs/fetch.md", "docs/deid.md"):
            pages = {"docs/deid.md": "OUT-lung", "docs/fetch.md": "heads-v1"}
            folder = life[pages.get(block.page, "heads")]
            if "read_parquet" not in block.text:  # which reads what the block before fetched
                shutil.rmtree(folder, ignore_errors=True)
            exec(compile(block.text, str(block), "exec"), {"__name__": "__main__"})
            assert list(folder.rglob("*.dcm"))


def test_every_python_block_is_run() -> None:
    # docs/own-dags.md is read by the test of the DAG in it.
    assert {block.page for block in blocks("python")} == {
        "README.md", "docs/fetch.md", "docs/deid.md", "docs/gateway.md", "docs/own-dags.md"
    }  # fmt: skip


def _shell(life: Life, block: Block, **more: str) -> str:
    """Run a shell block where `pacsgrid` is a command; returns what it printed."""
    tools = life["bin"]
    tools.mkdir(exist_ok=True)
    tool = tools / "pacsgrid"
    tool.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pacsgrid "$@"\n')
    tool.chmod(0o755)
    env = {**os.environ, "PYTHONPATH": str(ROOT / "plugins"),
           "PATH": f"{tools}:{os.environ['PATH']}", **more}  # fmt: skip
    text = block.text.replace(".venv/bin/pacsgrid", "pacsgrid")
    done = subprocess.run(
        ["bash", "-e", "-c", text], env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, f"{block}: {done.stderr}"
    return done.stdout


def test_the_tutorial_fetches(life: Life) -> None:
    """From writing the environment file to checking what was fetched, in one shell."""
    shown = [one for one in blocks("sh") if one.page == "docs/tutorial.md"][1:]
    text = "\n".join(one.text.replace("/home/demo", f"/home/{PROJECT}") for one in shown)
    shutil.rmtree(life["heads"], ignore_errors=True)
    told = _shell(life, Block("docs/tutorial.md", 0, "sh", text))
    last = [one.text for one in blocks("text") if one.page == "docs/tutorial.md"][-1]
    assert re.search(re.sub(r"\d+", r"\\d+", last), told) and ".dcm: OK" in told


def test_the_tutorial_shows_what_the_demo_prints() -> None:
    first = next(one.text for one in blocks("text") if one.page == "docs/tutorial.md")
    code = "".join(
        (ROOT / f"plugins/pacsgrid/embedded/{n}.py").read_text() for n in ("demo", "stack")
    )
    for line in re.findall(r"s\] (?:… )?(.+)", first):
        assert line in code, line


@pytest.mark.parametrize(
    ("page", "word"), [("docs/deid.md", "project.key"), ("docs/gateway.md", "sha256sum")]
)
def test_keys_and_tokens_are_made(life: Life, page: str, word: str) -> None:
    (block,) = (one for one in blocks("sh") if one.page == page and word in one.text)
    shutil.rmtree(life["OUT-lung"], ignore_errors=True)
    _shell(life, block)
    assert len(life["project.key"].read_bytes()) == 32


@pytest.mark.parametrize("command", [c for c in OURS if _ends(c)])
def test_the_command_ends_what_it_is_shown_for(
    life: Life, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare = {"remove-partner": _without_partner, "restore": _destroyed}
    if change := prepare.get(_name(command)):
        change(life, monkeypatch)
    assert main(_filled(life, command)) == 0
    if _name(command) == "restore":
        # From now on the services' role is the owner's.
        life.owner = True
