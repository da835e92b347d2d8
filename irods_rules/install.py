#!/usr/bin/env python3
"""Install pacsgrid's policy on an iRODS server, and check it with iCommands.

    sudo -u irods ./install.py install --zone brno --service rods demo lung
    ./install.py check --data /brno/home/demo/data --service-env S.json --user-env U.json

Needs Python 3.9 or newer and nothing else, so that it runs on the server as it is.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RULE_BASES = ("pacsgrid", "pacsgrid_settings")
STATIC = ("acPostProcForPut", "acPreProcForModifyDataObjMeta")
LANGUAGE = "irods_rule_engine_plugin-irods_rule_language"


class Refused(Exception):
    """What is wrong and what to do."""


def settings(zone: str, service: str, projects: list[str]) -> str:
    """Return the rule base that names the service account and the protected collections."""
    for word in (zone, service, *projects):
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", word):
            raise Refused(f"{word!r} is no name of a zone, user or project")
    names = "|".join(name.replace(".", "[.]") for name in projects)
    rooms = f"/{zone}/home/({names})/(data|releases)/.*"
    # What takes JSON also takes a path with empty and "." components in it.
    then = "/([.]?/){0,}"  # no *: *name in a string is a variable
    inside = f"{then}{zone}{then}home{then}({names}){then}(data|releases)"
    above = f"/+({zone}/+(home/+(({names})/+)?)?)?"
    return f"""# Written by install.py; install again to change it.

pacsgrid_settings(*zone, *service, *rooms, *below) {{
    *zone = "{zone}";
    *service = "{service}";
    *rooms = "{rooms}";
    *below = "/{zone}/home/%/data/%";
}}

pacsgrid_places(*inside, *above) {{
    *inside = "{inside}";
    *above = "{above}";
}}

# Without a guard: the rule engine tells clients of every guard that fails.
acPostProcForPut {{
    if ($objPath like regex "{rooms}") {{
        pacsgrid_checksum($objPath);
    }}
}}
"""


def install(config: Path, zone: str, service: str, projects: list[str]) -> bool:
    """Copy the rules and name them in server_config.json; returns whether anything changed."""
    file = config / "server_config.json"
    try:
        server: dict[str, Any] = json.loads(file.read_text())
        engines = server["plugin_configuration"]["rule_engines"]
        engine = next(one for one in engines if one["plugin_name"] == LANGUAGE)
        bases: list[str] = engine["plugin_specific_configuration"]["re_rulebase_set"]
    except OSError as error:
        raise Refused(f"{file}: {error.strerror}; run this on the iRODS server") from None
    except (ValueError, KeyError, StopIteration):
        raise Refused(f"{file}: no {LANGUAGE} with a re_rulebase_set in it") from None
    wanted = {
        "pacsgrid.re": (HERE / "pacsgrid.re").read_text(),
        "pacsgrid_settings.re": settings(zone, service, projects),
    }
    changed = False
    for name, text in wanted.items():
        place = config / name
        if not place.exists() or place.read_text() != text:
            place.write_text(text)
            changed = True
    # Before core: the first rule of a name whose guard holds is the one that runs.
    ordered = [*RULE_BASES, *(base for base in bases if base not in RULE_BASES)]
    if ordered != bases:
        engine["plugin_specific_configuration"]["re_rulebase_set"] = ordered
        shutil.copy2(file, config / "server_config.json.before-pacsgrid")
        partial = file.with_suffix(".part")
        partial.write_text(json.dumps(server, indent=4))
        shutil.copymode(file, partial)
        os.replace(partial, file)
        changed = True
    return changed


def hidden(config: Path) -> list[str]:
    """Return the other rule bases that have a rule of the server's own which ours comes before."""
    server = json.loads((config / "server_config.json").read_text())
    engines = server["plugin_configuration"]["rule_engines"]
    engine = next(one for one in engines if one["plugin_name"] == LANGUAGE)
    bases = engine["plugin_specific_configuration"]["re_rulebase_set"]
    return [
        base
        for base in bases
        if base not in RULE_BASES
        and (config / f"{base}.re").exists()
        and re.search(rf"(?m)^\s*({'|'.join(STATIC)})\b", (config / f"{base}.re").read_text())
    ]


def scenarios(text: str) -> list[tuple[str, bool, str]]:
    """Read the scenario file: who, whether it is to be allowed, the command."""
    found = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        who, expected, command = (part.strip() for part in line.split("|", 2))
        if who not in ("service", "user") or expected not in ("allow", "deny"):
            raise Refused(f"policy.txt, line {number}: neither {who!r} nor {expected!r} is known")
        found.append((who, expected == "allow", command))
    return found


def check(data: str, service_env: Path, user_env: Path, other: str) -> int:
    """Run every scenario with iCommands and print what happened; returns how many went wrong."""
    user, service = (json.loads(env.read_text()) for env in (user_env, service_env))
    # Of another zone, the user is known as name#zone, and has a home of that name in this one.
    here = user["irods_zone_name"] == service["irods_zone_name"]
    account = user["irods_user_name"] + ("" if here else "#" + user["irods_zone_name"])
    wrong = 0
    with tempfile.TemporaryDirectory(prefix="pacsgrid-check-") as folder:
        sample = Path(folder) / "sample.dcm"
        sample.write_bytes(b"pacsgrid" * 64)
        for name in ("out", "folder"):
            (Path(folder) / name).mkdir()
        for number in range(3):
            shutil.copy(sample, Path(folder) / f"folder/{number}.dcm")
        words = {
            "data": data.rstrip("/"),
            "home": f"/{service['irods_zone_name']}/home/{account}",
            "user": account,
            "service": service["irods_user_name"],
            "resource": service.get("irods_default_resource", "demoResc"),
            "other": other,
            "tar": shutil.make_archive(f"{folder}/packed", "tar", f"{folder}/folder"),
            "file": str(sample),
            "folder": f"{folder}/folder",
            "out": f"{folder}/out",
            "scenarios": str(HERE / "scenarios"),
        }
        for who, allowed, command in scenarios((HERE / "scenarios/policy.txt").read_text()):
            env = service_env if who == "service" else user_env
            run, _, read = command.format(**words).partition(" < ")
            said = subprocess.run(
                shlex.split(run),
                env={**os.environ, "IRODS_ENVIRONMENT_FILE": str(env)},
                input=Path(read.strip()).read_text() if read else "",
                capture_output=True,
                text=True,
                timeout=120,
            )
            right = (said.returncode == 0) is allowed
            wrong += not right
            verdict = "ok    " if right else "FAILED"
            print(f"{verdict} {who:<7} {'allow' if allowed else 'deny ':<5} {command}")
            for line in (said.stdout + said.stderr).strip().splitlines():
                print(f"         {line}")
    return wrong


def main() -> int:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="pacsgrid's policy on an iRODS server")
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("install", help="copy the rules into the server's configuration")
    one.add_argument("--config", type=Path, default=Path("/etc/irods"))
    one.add_argument("--zone", required=True)
    one.add_argument("--service", default="rods", help="the account that deposits")
    one.add_argument("projects", nargs="+")
    two = commands.add_parser("check", help="run the scenarios with iCommands")
    two.add_argument("--data", required=True, help="a protected collection, as /Z/home/P/data")
    two.add_argument("--service-env", type=Path, required=True)
    two.add_argument("--user-env", type=Path, required=True)
    two.add_argument("--other", default="second", help="a resource beside the default one")
    given = parser.parse_args()
    try:
        if given.command == "install":
            changed = install(given.config, given.zone, given.service, given.projects)
            print("installed; restart the server" if changed else "is as it should be")
            for base in hidden(given.config):
                print(
                    f"note: {' or '.join(STATIC)} of {base}.re no longer runs, since ours comes "
                    "before it; have it done by dynamic policy enforcement points instead",
                    file=sys.stderr,
                )
            return 0
        wrong = check(given.data, given.service_env, given.user_env, given.other)
    except (Refused, OSError) as error:
        print(f"install.py: {error}", file=sys.stderr)
        return 2
    print(f"{wrong} scenarios went wrong" if wrong else "every scenario went as it should")
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
