"""Run the gateway as a service of its own: DIMSE and DICOMweb."""

from __future__ import annotations

import logging
import os
from contextlib import ExitStack

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Mount, Route

from pacsgrid.config import Site
from pacsgrid.errors import ConfigError
from pacsgrid.gateway.core import Gateway
from pacsgrid.gateway.dimse.service import Node
from pacsgrid.gateway.logins import logins_of
from pacsgrid.gateway.researcher import researcher_page
from pacsgrid.gateway.viewer import viewer
from pacsgrid.gateway.web import dicomweb
from pacsgrid.gateway.web.authentication import by_token
from pacsgrid.gateway.web.bounded_server import BoundedServer, ServerLimits

log = logging.getLogger(__name__)

PREFIX = "/dicom-web"


def application(gateway: Gateway) -> Starlette:
    """Return the ASGI application.

    It serves DICOMweb under ``/dicom-web``, the researcher's page under ``/researcher``, the
    viewer, if it is installed, under ``/viewer``, and ``/health``.
    """

    async def health(request: Request) -> Response:
        return PlainTextResponse("ok\n")

    settings, logins = gateway.settings, logins_of(gateway)
    who = by_token(settings, logins)
    routes: list[BaseRoute] = [
        Route("/health", health),
        Mount(PREFIX, dicomweb(gateway, who, settings.public_url)),
        Mount("/researcher", researcher_page(gateway, who, logins)),
    ]
    if settings.viewer is not None:
        routes.append(Mount("/viewer", viewer(settings.viewer, who, "researcher/")))
    return Starlette(routes=routes)


def serve(site: Site) -> None:
    """Serve until SIGTERM or SIGINT.

    Raises
    ------
    ConfigError
        The site file has no ``gateway`` section, or the gateway cannot start with its settings.
    """
    with ExitStack() as stack:
        gateway = stack.enter_context(Gateway(site))
        settings = gateway.settings
        if not settings.tokens and not settings.peers and site.login is None:
            raise ConfigError(
                "gateway: tokens and peers are empty, so nobody could use it; add at least one, or"
                " the section login"
            )
        for name in ("cert_file", "key_file"):
            path = getattr(settings, name)
            if path and not os.access(path, os.R_OK):
                raise ConfigError(
                    f"gateway: {name}: cannot read {path}; check the path and its mode"
                )
        if settings.viewer and not (settings.viewer / "index.html").is_file():
            raise ConfigError(
                f"gateway: viewer: {settings.viewer} has no index.html; install the viewer with "
                "`make viewer`, or remove the setting"
            )
        gateway.start_refreshing()
        gateway.disclosures.start_sending()
        if settings.takes_results:
            gateway.results.resume()
        if settings.peers:
            node = stack.enter_context(Node(gateway))
            log.info("AE title %s listens on port %d", settings.ae_title, node.port)
        limits = ServerLimits(
            stalled_seconds=settings.stalled_seconds,
            connections=settings.max_connections,
            per_address=settings.max_connections_per_address,
        )
        try:
            server = BoundedServer(
                application(gateway),
                settings.bind,
                settings.http_port,
                limits,
                ssl_certfile=settings.cert_file,
                ssl_keyfile=settings.key_file,
            )
        except OSError as error:
            raise ConfigError(
                f"gateway: cannot listen on {settings.bind} port {settings.http_port}:"
                f" {error.strerror}"
            ) from None
        server.run()
