"""The receiver and the gateway, their secrets resolved."""

from __future__ import annotations

import hashlib

from pacsgrid.config.schema import SiteFile
from pacsgrid.config.secrets import read_key, read_secret
from pacsgrid.errors import ConfigError
from pacsgrid.gateway_settings import GatewaySettings, Served, Token
from pacsgrid.receiver_settings import ReceiverSettings


def resolve_receiver(where: str, given: ReceiverSettings) -> ReceiverSettings:
    """Return the receiver's settings with the password it announces studies with."""
    if not given.airflow_url:
        return given
    password = read_secret(where, given.password_env, given.password_file)
    return given.model_copy(update={"airflow_password": password})


def resolve_gateway(where: str, given: GatewaySettings, site: SiteFile) -> GatewaySettings:
    """Resolve the tokens' files, and which projects are served where none is named."""

    def served(one: Served) -> Served:
        if one.zone not in site.zones:
            raise ConfigError(f"{where}.serve: no zone named {one.zone!r}")
        here = (n for n, p in site.projects.items() if one.zone in (p.home_zone, *p.partner_zones))
        names = one.projects or tuple(here)
        if not names:
            raise ConfigError(f"{where}.serve: name the projects of zone {one.zone!r}")
        return Served(zone=one.zone, projects=names)

    def resolved(one: Token) -> Token:
        if one.token_file is None:
            return one
        token = read_key(f"{where}.tokens.{one.name}", one.token_file).strip()
        if not token:
            raise ConfigError(f"{where}.tokens.{one.name}: {one.token_file} is empty")
        return one.model_copy(update={"sha256": hashlib.sha256(token).hexdigest()})

    return given.model_copy(
        update={
            "serve": tuple(served(one) for one in given.serve),
            "tokens": tuple(resolved(one) for one in given.tokens),
        }
    )
