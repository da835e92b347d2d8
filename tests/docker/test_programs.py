"""Every configuration file is read by the program that it is for, and where it can run, run."""

from __future__ import annotations

import base64
import configparser
import contextlib
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import psycopg2
import pytest
import yaml
from airflow.configuration import AirflowConfigParser
from airflow.providers.fab.get_provider_info import get_provider_info as fab_provider_info

import airflow
from pacsgrid.embedded.ports import accepts, reserve_port
from pacsgrid.embedded.process import ChildProcess
from pacsgrid.ledger import migrate, owns_its_trail, prepare
from pacsgrid.ledger.dump import dump, load
from support.compose_stack import DOCKER, Prepared

SITE = "brno"


def _needs(name: str) -> str:
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if found is None:
        pytest.skip(f"no {name}")
    return found


@pytest.fixture
def folder(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A place that the account of the state owns."""
    place = prepared.root / f"run-{os.urandom(4).hex()}"
    place.mkdir()
    owner = prepared.owner(SITE)
    if owner:
        os.chown(place, owner["user"], owner["group"])
    yield place
    shutil.rmtree(place, ignore_errors=True)


def _place(prepared: Prepared, folder: Path, name: str, *changes: tuple[str, str]) -> Path:
    """Write a configuration file for this machine."""
    text = (DOCKER / name).read_text()
    for old, new in changes:
        assert old in text, f"{name} has no {old!r}"
        text = text.replace(old, new)
    file = folder / Path(name).name
    file.write_text(prepared.here(SITE, text))
    file.chmod(0o644)
    return file


@contextmanager
def _running(
    prepared: Prepared, folder: Path, command: list[str], ready: Callable[[], bool]
) -> Iterator[ChildProcess]:
    log = folder / "log"
    owner = prepared.owner(SITE)
    owner.pop("cwd", None)
    child = ChildProcess(command[0], command, log, {**os.environ, "HOME": str(folder)}, owner)
    child.start()
    try:
        child.wait_ready(ready, 60)
        yield child
    except RuntimeError as error:
        raise AssertionError(log.read_text()) from error
    finally:
        child.stop()


def _https(prepared: Prepared, port: int, host: str, request: str) -> str:
    """Ask over TLS; the certificate must be the site's authority's, for this host."""
    authority = prepared.state(SITE) / "tls" / "ca.pem"
    context = ssl.create_default_context(cafile=authority)
    with (
        socket.create_connection(("127.0.0.1", port), 10) as plain,
        context.wrap_socket(plain, server_hostname=host) as secure,
    ):
        secure.sendall(f"{request}\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
        answer = b""
        while chunk := secure.recv(65536):
            answer += chunk
    return answer.decode()


def test_nginx_serves_https_and_logs_no_query(prepared: Prepared, folder: Path) -> None:
    nginx, port = _needs("nginx"), reserve_port()
    file = _place(
        prepared,
        folder,
        "nginx/nginx.conf",
        ("listen 8443", f"listen 127.0.0.1:{port}"),
        ("/tmp/", f"{folder}/"),
        ("/dev/stdout", str(folder / "access")),
        ("/dev/stderr", str(folder / "error")),
        ("resolver_timeout 15s", "resolver_timeout 1s"),
    )
    # What start.sh writes first; nobody answers there.
    (folder / "resolver.conf").write_text("resolver 127.0.0.1:9 valid=10s ipv6=off;\n")
    told = subprocess.run(
        [nginx, "-t", "-c", file, "-p", folder],
        capture_output=True,
        text=True,
        **prepared.owner(SITE),
    )
    assert told.returncode == 0 and "warn" not in told.stderr, told.stderr
    command = [nginx, "-c", str(file), "-p", str(folder), "-g", "daemon off;"]
    with _running(prepared, folder, command, lambda: accepts(port)):
        answer = _https(prepared, port, "pacsgrid-brno", "GET /healthz HTTP/1.1")
        assert answer.startswith("HTTP/1.1 200") and answer.endswith("well\n")
        assert "Strict-Transport-Security" in answer
        # No service behind it here: refused by the proxy, not served from somewhere else.
        path = "/dicom-web/studies?PatientName=Nov%C3%A1k"
        assert _https(prepared, port, "pacsgrid-brno", f"GET {path} HTTP/1.1").startswith(
            "HTTP/1.1 502"
        )
        with pytest.raises(ssl.SSLCertVerificationError):
            _https(prepared, port, "elsewhere", "GET /healthz HTTP/1.1")
    logged = (folder / "access").read_text()
    assert "/dicom-web/studies" in logged and "Nov" not in logged
    assert [json.loads(line)["status"] for line in logged.splitlines()] == [502]
    # That nobody answered is an error, whose line would have quoted the request.
    assert "Nov" not in (folder / "error").read_text()


def test_redis_takes_the_password_over_tls_alone(prepared: Prepared, folder: Path) -> None:
    server, client, port = _needs("redis-server"), _needs("redis-cli"), reserve_port()
    file = _place(
        prepared,
        folder,
        "redis/redis.conf",
        ("tls-port 6379", f"tls-port {port}\nbind 127.0.0.1"),
        ("dir /data", f"dir {folder}"),
    )
    authority = prepared.state(SITE) / "tls" / "ca.pem"
    # Its certificate is for the host `redis`; redis-cli checks the authority, and the name by SNI.
    ask = [client, "--tls", "--cacert", authority, "-h", "localhost", "-p", str(port), "--raw"]
    broker = prepared.secret(SITE, "airflow_broker_url")
    password = re.fullmatch(
        r"rediss://:(\w+)@redis:6379/0\?ssl_cert_reqs=CERT_REQUIRED&ssl_ca_certs=/run/secrets/site_ca",
        broker,
    )
    assert password
    with _running(prepared, folder, [server, str(file)], lambda: accepts(port)):

        def say(secret: str, *command: str) -> str:
            env = {**os.environ, **({"REDISCLI_AUTH": secret} if secret else {})}
            done = subprocess.run([*ask, *command], env=env, capture_output=True, text=True)
            return done.stdout + done.stderr

        assert say(password[1], "PING").strip() == "PONG"
        assert "NOAUTH" in say("", "PING")
        assert "WRONGPASS" in say("guess", "PING")
        assert say(password[1], "CONFIG", "GET", "appendonly").split() == ["appendonly", "yes"]
        with socket.create_connection(("127.0.0.1", port), 5) as plain:
            plain.sendall(b"PING\r\n")
            with contextlib.suppress(ConnectionResetError):
                assert b"PONG" not in plain.recv(64)


def _cluster(programs: Path, data: Path, password: Path, owner: dict[str, Any]) -> None:
    """Make a cluster of the owner's; initdb itself wants an account that has a name."""
    named = {**owner, "user": "nobody", "group": "nogroup"} if owner else {}
    given = data.with_name("given")
    shutil.copyfile(password, given)
    data.mkdir(mode=0o700)
    if owner:
        shutil.chown(data, "nobody", "nogroup")
        shutil.chown(given, "nobody", "nogroup")
    command = [programs / "initdb", "-D", data, "-U", "postgres", "--auth=scram-sha-256"]
    command += [f"--pwfile={given}", "-E", "UTF8", "--locale=C"]
    done = subprocess.run(command, capture_output=True, text=True, **named)
    assert done.returncode == 0, done.stderr
    for path in (data, *data.rglob("*")) if owner else ():
        os.chown(path, owner["user"], owner["group"])


def test_postgres_serves_each_part_over_tls_and_the_catalog_by_its_socket(
    prepared: Prepared, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The same as the image's; the programs that come with a wheel have no TLS.
    programs, port, data = Path("/usr/lib/postgresql/15/bin"), reserve_port(), folder / "data"
    if not (programs / "postgres").exists():
        pytest.skip("no PostgreSQL 15")
    run = prepared.owner(SITE)
    hba = _place(prepared, folder, "postgres/pg_hba.conf")
    file = _place(
        prepared,
        folder,
        "postgres/postgresql.conf",
        ("/etc/postgresql/pg_hba.conf", str(hba)),
        ("'/run/postgresql'", f"'{folder}'"),
        ("shared_buffers = 512MB", "shared_buffers = 16MB"),
    )
    password = prepared.state(SITE) / "secrets" / "postgres_password"
    _cluster(programs, data, password, run)
    serve = [str(programs / "postgres"), "-D", str(data), "-c", f"config_file={file}"]
    script = _place(prepared, folder, "postgres/make-databases.sh")
    script.write_text(
        script.read_text().replace("/run/secrets/", f"{prepared.state(SITE)}/secrets/")
    )
    with _running(
        prepared,
        folder,
        [*serve, "-c", f"port={port}", "-c", "listen_addresses=127.0.0.1"],
        lambda: accepts(port) and (folder / f".s.PGSQL.{port}").exists(),
    ):
        env = {"PATH": f"{programs}:/usr/bin:/bin", "POSTGRES_USER": "postgres"}
        env |= {"PGHOST": str(folder), "PGPORT": str(port), "PGPASSWORD": password.read_text()}
        made = subprocess.run(["sh", script], env=env, capture_output=True, text=True, **run)
        assert made.returncode == 0, made.stderr

        def connect(dsn: str, **more: object) -> str:
            here = prepared.here(SITE, dsn)
            with closing(psycopg2.connect(here, port=port, **more)) as opened, opened.cursor() as c:
                c.execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
                return "tls" if c.fetchone() == (True,) else "plain"

        for part in ("ledger", "airflow", "icat"):
            dsn = prepared.state(SITE).joinpath("secrets", f"{part}_dsn").read_text()
            assert connect(dsn, hostaddr="127.0.0.1") == "tls"
            with pytest.raises(psycopg2.OperationalError):
                connect(dsn, hostaddr="127.0.0.1", sslmode="disable")
            with pytest.raises(psycopg2.OperationalError, match="does not match host name"):
                connect(dsn, hostaddr="127.0.0.1", host="elsewhere")
            other = "airflow" if part == "ledger" else "ledger"
            with pytest.raises(psycopg2.OperationalError):
                connect(dsn, hostaddr="127.0.0.1", dbname=other)
        airflow = (prepared.state(SITE) / "secrets" / "airflow_dsn").read_text()
        here = prepared.here(SITE, airflow)
        with (
            closing(psycopg2.connect(here, port=port, hostaddr="127.0.0.1")) as db,
            db.cursor() as cursor,
        ):
            cursor.execute("SHOW idle_in_transaction_session_timeout")
            assert cursor.fetchone() == ("2min",)
        url = prepared.secret(SITE, "airflow_db_url").replace("+psycopg2", "").replace(":5432", "")
        assert connect(url, hostaddr="127.0.0.1") == "tls"
        # What `pacsgrid backup` does in the stack.
        monkeypatch.setenv("PACSGRID_POSTGRES_BIN", str(programs))
        ledger = prepared.here(SITE, prepared.secret(SITE, "ledger_dsn"))
        dsn = f"{ledger} hostaddr=127.0.0.1 port={port}"
        owner = prepared.state(SITE).joinpath("secrets", "ledger_owner_dsn").read_text()
        owner = f"{prepared.here(SITE, owner)} hostaddr=127.0.0.1 port={port}"
        prepare(owner, dsn)
        dump(dsn, folder / "dump")
        load(owner, folder / "dump", replace=True)
        prepare(owner, dsn)
        assert migrate(dsn) and not owns_its_trail(dsn)
        # Run again, as by `./site NAME up`, it changes nothing; a ledger that its application
        # owned, as one of an older pacsgrid, gets its owner.
        owned = f"user=postgres password={password.read_text()} host={folder} port={port}"
        with closing(psycopg2.connect(f"{owned} dbname=ledger")) as db, db, db.cursor() as cursor:
            cursor.execute("REASSIGN OWNED BY ledger_owner TO ledger")
        assert owns_its_trail(dsn)
        made = subprocess.run(["sh", script], env=env, capture_output=True, text=True, **run)
        assert made.returncode == 0, made.stderr
        prepare(owner, dsn)
        assert migrate(dsn) and not owns_its_trail(dsn)
        secret = prepared.secret(SITE, "icat_password")
        assert connect("", host=str(folder), dbname="icat", user="icat", password=secret) == "plain"


def test_orthanc_serves_dicomweb_to_whom_it_knows(prepared: Prepared, folder: Path) -> None:
    orthanc, nginx = _needs("Orthanc"), _needs("nginx")
    http, https, dicom = reserve_port(), reserve_port(), reserve_port()
    if not Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so").exists():
        pytest.skip("no DICOMweb plugin")
    given, front = folder / "etc", folder / "nginx"
    for place in (given, front):
        place.mkdir()
        place.chmod(0o777)
    _place(
        prepared,
        given,
        "orthanc/orthanc.json",
        ('"HttpPort": 8080', f'"HttpPort": {http}'),
        ('"DicomPort": 4242', f'"DicomPort": {dicom}'),
        ("/var/lib/orthanc", str(folder)),
        ('"/tmp"', f'"{folder}"'),
    )
    proxy = _place(
        prepared,
        front,
        "orthanc/nginx.conf",
        ("listen 8042", f"listen 127.0.0.1:{https}"),
        ("127.0.0.1:8080", f"127.0.0.1:{http}"),
        ("/tmp/", f"{front}/"),
        ("/dev/stderr", str(front / "error")),
    )
    (given / "users.json").write_text(prepared.secret(SITE, "orthanc_users"))
    serve = [nginx, "-c", str(proxy), "-p", str(front), "-g", "daemon off;"]
    with (
        _running(prepared, folder, [orthanc, str(given)], lambda: accepts(http) and accepts(dicom)),
        _running(prepared, front, serve, lambda: accepts(https)),
    ):
        ask = "GET /dicom-web/studies HTTP/1.1"
        assert _https(prepared, https, "orthanc", ask).startswith("HTTP/1.1 401")
        login = f"pacsgrid:{prepared.secret(SITE, 'orthanc_password')}"
        known = base64.b64encode(login.encode()).decode()
        answer = _https(prepared, https, "orthanc", f"{ask}\r\nAuthorization: Basic {known}")
        assert answer.startswith("HTTP/1.1 200")
        # DICOM over TLS, to who shows a certificate of the site's authority.
        tls = prepared.state(SITE) / "tls"
        echo = ["/usr/bin/echoscu", "+tls", tls / "receiver.key", tls / "receiver.pem"]
        echo += ["+cf", tls / "ca.pem", "-aec", "ORTHANC", "localhost", str(dicom)]
        assert subprocess.run(echo, capture_output=True).returncode == 0
        others = prepared.state("one") / "tls"
        echo[2:4] = [others / "receiver.key", others / "receiver.pem"]
        assert subprocess.run(echo, capture_output=True).returncode != 0


def test_promtool_reads_prometheus_files(prepared: Prepared, folder: Path) -> None:
    promtool = _needs("promtool")
    alerts = _place(prepared, folder, "metrics/alerts.yml")
    config = _place(
        prepared, folder, "metrics/prometheus.yml", ("/etc/prometheus/alerts.yml", str(alerts))
    )
    web = _place(prepared, folder, "metrics/web.yml")
    for command in (["config", config], ["rules", alerts], ["web-config", web]):
        done = subprocess.run([promtool, "check", *command], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr


def test_airflow_reads_its_settings_and_their_secrets(
    prepared: Prepared, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in os.environ if name.startswith("AIRFLOW__")]:
        monkeypatch.delenv(name)
    conf = AirflowConfigParser()
    conf.read(_place(prepared, folder, "airflow/airflow.cfg"))
    for section, option, secret in (
        ("database", "sql_alchemy_conn", "airflow_db_url"),
        ("core", "fernet_key", "airflow_fernet_key"),
        ("api_auth", "jwt_secret", "airflow_jwt_secret"),
        ("api", "secret_key", "airflow_api_secret"),
    ):
        assert conf.get(section, option) == prepared.secret(SITE, secret), option
    certificate = prepared.compose(SITE)["secrets"]["airflow_certificate"]["file"]
    assert conf.get("api", "ssl_cert") == certificate
    assert conf.getboolean("metrics", "statsd_on")


_EXECUTOR = """
import json
from airflow.executors.executor_loader import ExecutorLoader
executor, _ = ExecutorLoader.import_default_executor_cls()
from airflow.providers.celery.executors.celery_executor import app
print(json.dumps([executor.__name__, app.conf.broker_url, app.conf.result_backend]))
"""


def test_the_executor_loads_with_the_queues_address(prepared: Prepared, folder: Path) -> None:
    """The pinned Celery is one that its provider can use."""
    pytest.importorskip("celery")
    file = _place(prepared, folder, "airflow/airflow.cfg")
    env = {k: v for k, v in os.environ.items() if not k.startswith("AIRFLOW")}
    env |= {"AIRFLOW_HOME": str(folder), "AIRFLOW_CONFIG": str(file)}
    done = subprocess.run(
        [sys.executable, "-c", _EXECUTOR], env=env, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    executor, broker, results = json.loads(done.stdout.splitlines()[-1])
    assert executor == "CeleryExecutor"
    assert broker.startswith("rediss://:") and "ssl_cert_reqs=CERT_REQUIRED" in broker
    assert results == prepared.secret(SITE, "airflow_result_url")


def test_airflow_knows_every_setting(prepared: Prepared) -> None:
    known = yaml.safe_load(
        (Path(airflow.__file__).parent / "config_templates" / "config.yml").read_text()
    )
    known |= fab_provider_info()["config"]
    celery = pytest.importorskip("airflow.providers.celery.get_provider_info")
    known |= celery.get_provider_info()["config"]
    given = configparser.ConfigParser(interpolation=None)
    given.read(DOCKER / "airflow" / "airflow.cfg")
    for section in given.sections():
        options = {option.removesuffix("_cmd") for option in given[section]}
        assert options <= set(known[section]["options"]), section
        for option in given[section]:
            if option.endswith("_cmd"):
                assert known[section]["options"][option.removesuffix("_cmd")]["sensitive"]


def test_grafana_finds_what_it_is_told_of(prepared: Prepared) -> None:
    grafana = prepared.compose(SITE)["services"]["grafana"]
    mounted = {one.split(":")[1] for one in grafana["volumes"]}
    provisioning = DOCKER / "metrics" / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources/prometheus.yml").read_text())[
        "datasources"
    ]
    assert source["secureJsonData"] == {"tlsCACert": "$__file{/run/secrets/site_ca}"}
    assert source["url"] == "https://prometheus:9090"
    (boards,) = yaml.safe_load((provisioning / "dashboards/pacsgrid.yml").read_text())["providers"]
    assert any(one.startswith(boards["options"]["path"]) for one in mounted)
    dashboard = json.loads((DOCKER / "metrics/grafana/pacsgrid.json").read_text())
    assert {panel.get("datasource", source)["uid"] for panel in dashboard["panels"]} == {
        source["uid"]
    }
