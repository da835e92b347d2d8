"""The production stack's files as Docker Compose would see them, without Docker."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

DOCKER = Path(__file__).parents[2] / "docker"
SITES = ("one", "brno", "uvn", "lf1")
_VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?:(:[-?])([^}]*))?\})")


@dataclass(frozen=True)
class Prepared:
    """What `prepare` made of some sites, below one directory."""

    root: Path

    def state(self, site: str) -> Path:
        """Where a site's state is."""
        return self.root / site

    def env(self, site: str) -> dict[str, str]:
        """The variables that `site` gives to Docker Compose."""
        files = (DOCKER / "sites" / site / "site.env", self.state(site) / "host.env")
        lines = [line for file in files for line in file.read_text().splitlines()]
        pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
        return {name: value.strip('"') for name, _, value in pairs}

    def compose(self, site: str, *files: str) -> dict[str, Any]:
        """The compose files with their variables filled in, each file as it stands."""
        texts = [(DOCKER / file).read_text() for file in files or ("compose.yaml",)]
        read = [yaml.load(_filled(text, self.env(site)), yaml.CSafeLoader) for text in texts]
        return read[0] if len(read) == 1 else {"files": read}

    def owner(self, site: str) -> dict[str, Any]:
        """`subprocess.Popen`'s arguments to run as the account that owns a site's state."""
        if os.geteuid() != 0:
            return {}
        env = self.env(site)
        uid, gid = int(env["PACSGRID_UID"]), int(env["PACSGRID_GID"])
        return {"user": uid, "group": gid, "extra_groups": [], "cwd": "/"}

    def here(self, site: str, text: str) -> str:
        """A configuration file's text with the secrets' places on this machine."""
        given = self.compose(site)
        for name, secret in given["secrets"].items():
            text = re.sub(rf"/run/secrets/{name}\b", secret["file"], text)
        return text.replace("/run/secrets/", f"{self.state(site)}/secrets/")

    def secret(self, site: str, name: str) -> str:
        """A secret's content."""
        return Path(self.compose(site)["secrets"][name]["file"]).read_text()


def prepare(root: Path, *sites: str) -> Prepared:
    """Run `prepare` for sites, side by side."""
    env = {**os.environ, "PACSGRID_STATE": str(root)}
    running = [
        subprocess.Popen([DOCKER / "prepare", site], env=env, stdout=subprocess.PIPE, text=True)
        for site in sites
    ]
    for one in running:
        said, _ = one.communicate(timeout=120)
        assert one.returncode == 0, said
    return Prepared(root)


def _filled(text: str, env: dict[str, str]) -> str:
    """Docker Compose's interpolation, as far as these files use it."""

    def value(found: re.Match[str]) -> str:
        dollar, name, operator, rest = found.groups()
        if dollar:
            return "$"
        if operator == ":-":
            return env.get(name) or rest
        assert env.get(name), f"{name} is not set: {rest or 'required'}"
        return env[name]

    return _VARIABLE.sub(value, text)
