#!/usr/bin/env python3
"""The zone server's container: settings from the environment and from files with secrets.

    zone.py serve       sets the zone up, or brings it up to date, and serves it
    zone.py healthy     whether it answers and is set up; 0 or 1
    zone.py settings    prints what `setup_irods.py --json_configuration_file` reads

Set up is done at each start: iRODS leaves alone a catalog that is there and brings an older one up
to date. Needs Python's standard library alone.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

SECRETS = Path("/run/secrets")
RULES = Path("/opt/pacsgrid/irods_rules")
SETUP = "/var/lib/irods/scripts/setup_irods.py"
SERVER = "/usr/sbin/irodsServer"
READY = Path("/tmp/pacsgrid-zone-is-set-up")
SERVICE, ADMIN, ROOT, LEAVES = "pacsgrid", "rods", "pair", ("disk1", "disk2")
PORT = 1247
_LANGUAGE = "irods_rule_engine_plugin-irods_rule_language"
_CPP = "irods_rule_engine_plugin-cpp_default_policy"
_LOGS = (
    *("agent", "agent_factory", "api", "authentication", "database", "delay_server", "genquery1"),
    *("genquery2", "legacy", "microservice", "network", "resource", "rule_engine", "server", "sql"),
)


class Wrong(Exception):
    """A setting is missing or wrong; says which."""


def settings(env: Mapping[str, str], secrets: Path) -> dict[str, Any]:
    """Return the unattended installation's settings (configuration schema v5).

    Parameters
    ----------
    env
        PACSGRID_ZONE, PACSGRID_IRODS_HOST, and PACSGRID_IRODS_RANGE: the parallel transfers' ports.
    secrets
        The directory with the secrets' files.
    """

    def held(name: str) -> str:
        try:
            return (secrets / name).read_text().strip()
        except OSError as error:
            raise Wrong(f"secret {name}: {error.strerror}") from None

    try:
        zone, host = env["PACSGRID_ZONE"], env["PACSGRID_IRODS_HOST"]
        first, last = (int(port) for port in env["PACSGRID_IRODS_RANGE"].split("-"))
    except KeyError as error:
        raise Wrong(f"{error.args[0]} is not set") from None
    except ValueError:
        raise Wrong("PACSGRID_IRODS_RANGE is no range of ports such as 20000-20019") from None
    home = f"/{zone}/home/{ADMIN}"
    cache = {"cache_clearer_sleep_time_in_seconds": 600, "eviction_age_in_seconds": 3600}
    server: dict[str, Any] = {
        "schema_name": "server_config",
        "schema_version": "v5",
        "host": host,
        "zone_name": zone,
        "zone_port": PORT,
        "zone_user": ADMIN,
        "zone_key": held("irods_zone_key"),
        "zone_auth_scheme": "native",
        "negotiation_key": held("irods_negotiation_key"),
        "catalog_service_role": "provider",
        "catalog_provider_hosts": [host],
        "default_resource_name": "demoResc",
        "server_port_range_start": first,
        "server_port_range_end": last,
        "client_server_policy": "CS_NEG_REQUIRE",
        "encryption": {
            "algorithm": "AES-256-CBC",
            "key_size": 32,
            "num_hash_rounds": 16,
            "salt_size": 8,
        },
        "tls_server": {
            "certificate_chain_file": str(secrets / "irods_certificate"),
            "certificate_key_file": str(secrets / "irods_key"),
            "dh_params_file": str(secrets / "irods_dhparams"),
        },
        "tls_client": {
            "ca_certificate_file": str(secrets / "grid_ca"),
            "verify_server": "hostname",
        },
        "federation": json.loads(held("irods_federation")),
        "default_hash_scheme": "SHA256",
        "match_hash_policy": "compatible",
        "default_dir_mode": "0750",
        "default_file_mode": "0600",
        "connection_pool_refresh_time_in_seconds": 300,
        "graceful_shutdown_timeout_in_seconds": 30,
        "controlled_user_connection_list": {"control_type": "denylist", "users": ["anonymous#*"]},
        "environment_variables": {},
        "host_access_control": {"access_entries": []},
        "host_resolution": {"host_entries": []},
        "log_level": dict.fromkeys(_LOGS, "info"),
        "rule_engine_namespaces": [""],
        "advanced_settings": {
            "checksum_read_buffer_size_in_bytes": 1048576,
            "default_number_of_transfer_threads": 4,
            "default_temporary_password_lifetime_in_seconds": 120,
            "delay_rule_executors": [],
            "delay_server_sleep_time_in_seconds": 30,
            "dns_cache": {**cache, "shared_memory_size_in_bytes": 5000000},
            "hostname_cache": {**cache, "shared_memory_size_in_bytes": 2500000},
            "maximum_size_for_single_buffer_in_megabytes": 32,
            "maximum_size_of_delay_queue_in_bytes": 0,
            "maximum_temporary_password_lifetime_in_seconds": 1000,
            "migrate_delay_server_sleep_time_in_seconds": 5,
            "number_of_concurrent_delay_rule_executors": 4,
            "stacktrace_file_processor_sleep_time_in_seconds": 10,
            "transfer_buffer_size_for_parallel_transfer_in_megabytes": 4,
            "transfer_chunk_size_for_parallel_transfer_in_megabytes": 40,
        },
        "plugin_configuration": {
            "authentication": {},
            "network": {},
            "resource": {},
            # The directory of the database's socket: iRODS's ODBC entry has no TLS, so its
            # catalog is not spoken to over a network.
            "database": {
                "technology": "postgres",
                "host": env.get("PACSGRID_ICAT_HOST", "/run/postgresql"),
                "name": "icat",
                "odbc_driver": "PostgreSQL ANSI",
                "password": held("icat_password"),
                "port": 5432,
                "username": "icat",
            },
            "rule_engines": [
                {
                    "instance_name": f"{_LANGUAGE}-instance",
                    "plugin_name": _LANGUAGE,
                    "plugin_specific_configuration": {
                        "re_data_variable_mapping_set": ["core"],
                        "re_function_name_mapping_set": ["core"],
                        "re_rulebase_set": ["core"],
                        "regexes_for_supported_peps": [
                            "ac[^ ]*",
                            "msi[^ ]*",
                            "[^ ]*pep_[^ ]*_(pre|post|except|finally)",
                        ],
                    },
                    "shared_memory_instance": "irods_rule_language_rule_engine",
                },
                {
                    "instance_name": f"{_CPP}-instance",
                    "plugin_name": _CPP,
                    "plugin_specific_configuration": {},
                },
            ],
        },
    }
    return {
        "admin_password": held("irods_admin_password"),
        "default_resource_name": "demoResc",
        "default_resource_directory": "/var/lib/irods/Vault",
        "host_system_information": {
            "service_account_user_name": "irods",
            "service_account_group_name": "irods",
        },
        "server_config": server,
        "service_account_environment": {
            "schema_name": "service_account_environment",
            "schema_version": "v5",
            "irods_host": host,
            "irods_port": PORT,
            "irods_user_name": ADMIN,
            "irods_zone_name": zone,
            "irods_home": home,
            "irods_cwd": home,
            "irods_default_resource": "demoResc",
            "irods_client_server_policy": "CS_NEG_REQUIRE",
            "irods_connection_pool_refresh_time_in_seconds": 300,
            "irods_default_hash_scheme": "SHA256",
            "irods_match_hash_policy": "compatible",
            "irods_default_number_of_transfer_threads": 4,
            "irods_maximum_size_for_single_buffer_in_megabytes": 32,
            "irods_transfer_buffer_size_for_parallel_transfer_in_megabytes": 4,
            "irods_encryption_algorithm": "AES-256-CBC",
            "irods_encryption_key_size": 32,
            "irods_encryption_num_hash_rounds": 16,
            "irods_encryption_salt_size": 8,
            "irods_ssl_ca_certificate_file": str(secrets / "grid_ca"),
            "irods_ssl_verify_server": "hostname",
        },
    }


def wanted(env: Mapping[str, str], given: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Return what the zone is to have: the listing that tells, a name in it, how it is made."""
    server = given["server_config"]
    host = server["host"]
    lines = [
        ("lu", SERVICE, f"mkuser {SERVICE} rodsadmin"),
        ("lr", ROOT, f"mkresc {ROOT} replication"),
    ]
    for leaf in LEAVES:
        lines.append(("lr", leaf, f"mkresc {leaf} unixfilesystem {host}:/vault/{leaf}"))
        lines.append((f"lr {leaf}", "parent", f"addchildtoresc {ROOT} {leaf}"))
    for other in server["federation"]:
        address = f"{other['catalog_provider_hosts'][0]}:{other.get('zone_port', PORT)}"
        lines.append(("lz", other["zone_name"], f"mkzone {other['zone_name']} remote {address}"))
    return lines


def is_there(listing: str, said: str, name: str) -> bool:
    """Return whether a listing of iadmin has a name; a leaf has a parent once it is a child."""
    if listing.startswith("lr "):
        parents = [
            line.partition(":")[2].strip() for line in said.splitlines() if "resc_parent:" in line
        ]
        return any(parents)
    return name in {line.split("#")[0].strip() for line in said.splitlines()}


def answers(host: str, port: int = PORT, seconds: float = 5) -> bool:
    """Return whether a zone server answers a heartbeat."""
    head = b"<MsgHeader_PI><type>HEARTBEAT</type><msgLen>0</msgLen><errorLen>0</errorLen>"
    head += b"<bsLen>0</bsLen><intInfo>0</intInfo></MsgHeader_PI>"
    try:
        with socket.create_connection((host, port), timeout=seconds) as connection:
            connection.sendall(len(head).to_bytes(4, "big") + head)
            return connection.recv(64).startswith(b"HEARTBEAT")
    except OSError:
        return False


def iadmin(command: Sequence[str] = (), typed: str = "") -> str:
    """Run iadmin; what is typed is on no command line. Returns what it printed."""
    return icommand(["iadmin", *command], typed)


def icommand(command: Sequence[str], typed: str = "") -> str:
    """Run one of the iCommands; returns what it printed."""
    done = subprocess.run(command, input=typed, capture_output=True, text=True)
    if done.returncode != 0:
        raise Wrong(f"{' '.join(command[:2])}: {done.stderr.strip()}")
    return done.stdout


def make_zone(env: Mapping[str, str], given: Mapping[str, Any], secrets: Path) -> None:
    """Make what the zone lacks, and give the service account its password."""
    for listing, name, command in wanted(env, given):
        if not is_there(listing, iadmin(listing.split()), name):
            iadmin(command.split())
    password = (secrets / "irods_service_password").read_text().strip()
    iadmin(typed=f"moduser {SERVICE} password {password}\nquit\n")
    # An administrator, too, makes projects' collections only where it may write.
    home = f"/{env['PACSGRID_ZONE']}/home"
    if f"{SERVICE}#" not in icommand(["ils", "-A", home]):
        icommand(["ichmod", "write", SERVICE, home])


def serve(env: Mapping[str, str], secrets: Path) -> int:
    """Set the zone up, serve it until a signal comes; returns the server's exit status."""
    READY.unlink(missing_ok=True)
    given = settings(env, secrets)
    Path("/var/lib/irods/Vault").mkdir(exist_ok=True, mode=0o700)
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        json.dump(given, file)
        file.flush()
        subprocess.run(
            [sys.executable, SETUP, "-v", "--json_configuration_file", file.name], check=True
        )
    install = [sys.executable, str(RULES / "install.py"), "install", "--zone", env["PACSGRID_ZONE"]]
    projects = env["PACSGRID_PROJECTS"].split()
    subprocess.run([*install, "--service", SERVICE, *projects], check=True)
    subprocess.run([SERVER, "--validate-config"], check=True)
    server = subprocess.Popen([SERVER, "--stdout"])
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.terminate())
    try:
        while server.poll() is None and not answers(env["PACSGRID_IRODS_HOST"]):
            time.sleep(1)
        if server.poll() is None:
            make_zone(env, given, secrets)
            READY.touch()
            print("pacsgrid: the zone is set up", flush=True)
        return server.wait()
    finally:
        server.terminate()
        server.wait()


def main(arguments: Sequence[str]) -> int:
    """Read the command line."""
    command = arguments[0] if arguments else "serve"
    try:
        if command == "settings":
            print(json.dumps(settings(os.environ, SECRETS), indent=4))
            return 0
        if command == "healthy":
            return 0 if READY.exists() and answers(os.environ["PACSGRID_IRODS_HOST"]) else 1
        if command == "serve":
            return serve(os.environ, SECRETS)
        raise Wrong(f"no command {command!r}; there are serve, healthy, settings")
    except (Wrong, subprocess.CalledProcessError) as error:
        print(f"zone.py: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
