"""What is in the wheel, and what a bare installation of it can do."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path
from zipfile import ZipFile

import pytest

import pacsgrid
from pacsgrid.cli.commands import COMMANDS
from support.installed import ROOT, Environment

PLUGINS = ROOT / "plugins"
HEAVY = {
    "airflow", "cryptography", "cv2", "fastapi", "numpy", "onnxruntime", "psycopg2", "pyarrow",
    "pydicom", "pynetdicom", "requests", "sqlalchemy", "starlette",
}  # fmt: skip
# What the bare installation has, and needs only when it works.
NEEDED = {"irods", "pydantic", "yaml"}
# Prints the help of what is asked for and goes on.
HELP = """
import contextlib, io, sys
from pacsgrid.cli import main
with contextlib.redirect_stdout(io.StringIO()) as out, contextlib.suppress(SystemExit):
    main(sys.argv[1:])
assert "usage: pacsgrid" in out.getvalue()
"""


def test_every_file_of_the_package_is_in_the_wheel_and_nothing_else(wheel: Path) -> None:
    with ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
    package = PLUGINS / "pacsgrid"
    files = {
        path.relative_to(PLUGINS).as_posix()
        for path in package.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert names == {name for name in files if not name.startswith("pacsgrid/embedded/")}
    assert "pacsgrid/py.typed" in names and "pacsgrid/deid/table.csv" in names
    assert any(name.startswith("pacsgrid/ledger/migrations/") for name in names)
    assert any(name.startswith("pacsgrid/web/static/") for name in names)


def test_the_wheel_says_what_it_is(bare: Environment) -> None:
    (info,) = bare.packages.glob("pacsgrid-*.dist-info")
    metadata = (info / "METADATA").read_text()
    for line in ("License-Expression: Apache-2.0", "Classifier: Typing :: Typed", "Provides-Extra"):
        assert f"\n{line}" in metadata
    assert f"\nVersion: {pacsgrid.__version__}\n" in metadata
    assert "Apache License" in (info / "licenses" / "LICENSE").read_text()


def test_a_bare_installation_is_small(bare: Environment) -> None:
    installed = {path.name.partition("-")[0] for path in bare.packages.glob("*.dist-info")}
    assert installed == {
        "pacsgrid", "argcomplete", "python_irodsclient",
        "pydantic", "pydantic_core", "annotated_types", "typing_extensions", "typing_inspection",
        "pyyaml", "defusedxml", "jsonpatch", "jsonpointer", "prettytable", "wcwidth",
    }  # fmt: skip


@pytest.mark.parametrize("arguments", [["--help"], ["fetch", "--help"], ["search", "--help"]])
def test_help_imports_nothing_heavy(
    full: Environment, tmp_path: Path, arguments: list[str]
) -> None:
    assert not full.top_modules(tmp_path, HELP, arguments) & (HEAVY | NEEDED)
    start = time.perf_counter()
    done = full.run(tmp_path, *arguments)
    print(f"pacsgrid {' '.join(arguments)}: {time.perf_counter() - start:.2f} s")
    assert done.returncode == 0 and done.stdout.startswith("usage: pacsgrid")


def test_no_help_imports_anything_heavy(full: Environment, tmp_path: Path) -> None:
    every = "\n".join(
        HELP.replace("sys.argv[1:]", f"[{command.name!r}, '--help']") for command in COMMANDS
    )
    assert not full.top_modules(tmp_path, every) & (HEAVY | NEEDED)


def test_fetching_and_searching_import_nothing_heavy(full: Environment, tmp_path: Path) -> None:
    code = "import pacsgrid.grid.fetch, pacsgrid.grid.search, pacsgrid.grid.user"
    loaded = full.top_modules(tmp_path, code)
    assert "irods" in loaded and not loaded & HEAVY


def test_there_is_one_version(bare: Environment, tmp_path: Path) -> None:
    said = f"pacsgrid {pacsgrid.__version__}\n"
    assert bare.run(tmp_path, "--version").stdout == said
    assert bare.run(tmp_path, "-m", "pacsgrid", "--version", program="python").stdout == said
    code = "import pacsgrid; assert pacsgrid.__version__"
    plain = bare.top_modules(tmp_path, "pass")
    assert bare.top_modules(tmp_path, code) - plain == {"pacsgrid"}


ARGUMENTS = {
    "deid": ["in", "out"], "cohort": ["p", "A=B"], "withdraw": ["p", "S"], "share": ["p"],
    "ticket": ["p", "/z/c"], "remove-partner": ["p", "z"], "maintain": ["p"], "report": ["p"],
    "zones": ["p"], "reidentify": ["S", "--project", "p", "--who", "w", "--reason", "r"],
    "pseudonym": ["patient", "--who", "w", "--reason", "long enough"],
    "logins": [], "doctor": [], "gateway": [], "receive": [], "backup": ["b", "--site", "s"],
    "restore": ["b", "--site", "s"], "roles": [], "risk": ["p"], "sample": ["p", "--who", "w"],
    "backfill": ["status", "p"], "bids": ["p", "heads"], "subjects": ["p"],
    "consent": ["p"], "reprofile": ["status", "p"],
    "ledger": ["--owner-dsn-file", "o"],
    "results": ["p"],
    "return-results": ["p", "r", "--to", "t", "--who", "w", "--reason", "r"],
}  # fmt: skip


@pytest.mark.parametrize("command", [one for one in COMMANDS if one.extra], ids=lambda c: c.name)
def test_a_missing_extra_is_named(bare: Environment, tmp_path: Path, command: object) -> None:
    name, extra = command.name, command.extra  # type: ignore[attr-defined]
    site = ROOT / "docker/sites/one/site.yaml"
    done = bare.run(tmp_path, name, *ARGUMENTS[name], PACSGRID_SITE=str(site))
    assert done.returncode == 2 and not done.stdout, done.stderr
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"pacsgrid {name}: ")
    assert line.endswith(f"pip install 'pacsgrid[{extra}]'")


def test_fetch_says_what_a_new_user_must_do(bare: Environment, tmp_path: Path) -> None:
    done = bare.run(tmp_path, "fetch", "/z/home/p")
    assert done.returncode == 2 and "run iinit first" in done.stderr


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(bare: Environment, tmp_path: Path, shell: str) -> None:
    done = bare.run(tmp_path, "completion", shell)
    assert done.returncode == 0 and "pacsgrid" in done.stdout and not done.stderr


@pytest.mark.parametrize(
    ("line", "expected"),
    [("pacsgrid fe", {"fetch "}), ("pacsgrid fetch --co", {"--connections "}),
     ("pacsgrid remo", {"remove-partner "}), ("pacsgrid completion f", {"fish "}),
     ("pacsgrid deid --k", {"--key-file "})],
)  # fmt: skip
def test_bash_completes(bare: Environment, tmp_path: Path, line: str, expected: set[str]) -> None:
    script = f"""
        eval "$(pacsgrid completion bash)"
        COMP_LINE={line!r} COMP_POINT={len(line)} COMP_WORDS=({line}) COMP_CWORD=1 COMP_TYPE=9
        _python_argcomplete pacsgrid
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    path = f"{bare.program('pacsgrid').parent}:{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-c", script],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=bare.variables(tmp_path, PATH=path),
    )
    assert done.returncode == 0, done.stderr
    assert {one.strip() for one in done.stdout.splitlines()} == {one.strip() for one in expected}
