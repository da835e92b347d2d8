"""Secrets and certificates as `prepare` and `federate` make them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.compose_stack import DOCKER, SITES, Prepared, prepare

SERVED = {
    "postgres": "postgres",
    "redis": "redis",
    "orthanc": "orthanc",
    "airflow": "api-server",
    "receiver": "receiver",
    "gateway": "gateway",
    "nginx": "pacsgrid-brno",
    "irods": "irods-brno",
    "grafana": "grafana",
    "prometheus": "prometheus",
}


def _openssl(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["openssl", *command], capture_output=True, text=True)


def _verified(authority: Path, certificate: Path, host: str) -> bool:
    trust = ["-no-CApath", "-CAfile", authority, "-verify_hostname", host, "-purpose", "sslserver"]
    return _openssl("verify", "-x509_strict", *trust, certificate).returncode == 0


@pytest.mark.parametrize(("service", "host"), SERVED.items())
def test_certificates_are_their_authoritys_and_for_their_host(
    prepared: Prepared, service: str, host: str
) -> None:
    tls = prepared.state("brno") / "tls"
    certificate = tls / f"{service}.pem"
    assert _verified(tls / "ca.pem", certificate, host)
    assert _verified(tls / "ca.pem", certificate, "localhost")
    assert not _verified(tls / "ca.pem", certificate, "elsewhere")
    assert not _verified(prepared.state("one") / "tls" / "ca.pem", certificate, host)
    public = _openssl("x509", "-in", certificate, "-noout", "-pubkey").stdout
    assert public and _openssl("pkey", "-in", tls / f"{service}.key", "-pubout").stdout == public


def test_partners_trust_each_other_and_nobody_else(prepared: Prepared) -> None:
    irods = prepared.state("uvn") / "tls" / "irods.pem"
    assert _verified(prepared.state("brno") / "tls" / "grid-ca.pem", irods, "irods-uvn")
    assert not _verified(prepared.state("one") / "tls" / "grid-ca.pem", irods, "irods-uvn")


def test_nobody_else_can_read_them(prepared: Prepared) -> None:
    for site in SITES:
        for part in ("secrets", "tls"):
            for path in (prepared.state(site) / part).rglob("*"):
                assert path.stat().st_mode & 0o077 == 0, path


def test_secrets_are_of_the_shape_that_their_readers_want(prepared: Prepared) -> None:
    secrets = prepared.state("brno") / "secrets"
    assert re.fullmatch(r"[A-Za-z0-9_]{32}", (secrets / "irods_negotiation_key").read_text())
    assert re.fullmatch(r"[A-Za-z0-9_]{1,49}", (secrets / "irods_zone_key").read_text())
    # A native password has at most 42 characters.
    assert len((secrets / "irods_service_password").read_text()) <= 42
    assert (secrets / "vault_key").stat().st_size == 32
    assert (secrets / "site" / "project_lung_key").stat().st_size == 32
    json.loads((secrets / "orthanc_users").read_text())
    every = [path.read_bytes() for site in SITES for path in _drawn(prepared, site)]
    assert len(set(every)) == len(every)


def _drawn(prepared: Prepared, site: str) -> list[Path]:
    secrets = prepared.state(site) / "secrets"
    return [*secrets.glob("*_password"), *secrets.glob("*_key"), *secrets.glob("*_secret")]


def test_federation_is_the_same_on_both_sides(prepared: Prepared) -> None:
    told = {
        site: {
            one["zone_name"]: one
            for one in json.loads((prepared.state(site) / "secrets/irods_federation").read_text())
        }
        for site in SITES[1:]
    }
    for site, others in told.items():
        assert set(others) == set(SITES[1:]) - {site}
        for other, one in others.items():
            assert one["negotiation_key"] == told[other][site]["negotiation_key"]
            key = (prepared.state(other) / "secrets/irods_zone_key").read_text()
            assert one["zone_key"] == key
            assert one["catalog_provider_hosts"] == [f"irods-{other}"]
    keys = [one["negotiation_key"] for others in told.values() for one in others.values()]
    assert len(set(keys)) == 3
    # Only who puts copies into a zone has its service password.
    held = prepared.state("brno") / "secrets/site/zone_uvn_password"
    assert (
        held.read_text() == (prepared.state("uvn") / "secrets/irods_service_password").read_text()
    )
    assert not (prepared.state("uvn") / "secrets/site/zone_lf1_password").exists()


@pytest.fixture
def root() -> Iterator[Path]:
    root = Path(tempfile.mkdtemp(prefix="pacsgrid-state-"))
    yield root
    shutil.rmtree(root)


def test_again_it_changes_nothing_and_renews_what_ends(root: Path) -> None:
    state = prepare(root, "one").state("one")
    before = {p: p.read_bytes() for p in state.rglob("*") if p.is_file()}
    kept = state / "tls" / "redis.pem"
    # One that ends tomorrow is made anew; the authority is left alone.
    short = _openssl(
        *("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-days", "1", "-subj", "/CN=redis", "-keyout", state / "x.key", "-out", state / "x.pem"),
    )
    assert short.returncode == 0
    kept.chmod(0o600)
    kept.write_bytes((state / "x.pem").read_bytes())
    (state / "x.pem").unlink()
    (state / "x.key").unlink()
    prepare(root, "one")
    after = {p: p.read_bytes() for p in state.rglob("*") if p.is_file()}
    assert set(after) == set(before)
    changed = {p.relative_to(state).as_posix() for p in before if after[p] != before[p]}
    assert changed == {"tls/redis.pem", "tls/redis.key"}
    assert _verified(state / "tls" / "ca.pem", kept, "redis")
    # A key that is lost is not replaced by another one.
    (state / "secrets" / "vault_key").unlink()
    env = {**os.environ, "PACSGRID_STATE": str(root)}
    done = subprocess.run([DOCKER / "prepare", "one"], env=env, capture_output=True, text=True)
    assert done.returncode == 1 and "vault_key is lost" in done.stderr
    assert not (state / "secrets" / "vault_key").exists()


def test_keys_that_a_backup_has_are_not_made_anew(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PACSGRID_KEYS_COME_FROM_BACKUP", "1")
    secrets = prepare(root, "one").state("one") / "secrets"
    assert not (secrets / "vault_key").exists()
    assert not list((secrets / "site").glob("project_*"))


def test_an_unknown_site_is_refused(root: Path) -> None:
    done = subprocess.run([DOCKER / "prepare", "nowhere"], capture_output=True, text=True)
    assert done.returncode == 2 and "site.env" in done.stderr


@pytest.mark.skipif(shutil.which("shellcheck") is None, reason="no shellcheck")
def test_scripts_are_sound() -> None:
    scripts = [
        path
        for path in DOCKER.rglob("*")
        if path.is_file() and path.read_bytes().startswith(b"#!/bin/sh")
    ]
    assert len(scripts) >= 7
    done = subprocess.run(["shellcheck", *scripts], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
