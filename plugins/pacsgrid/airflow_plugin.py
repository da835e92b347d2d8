"""What pacsgrid adds to Airflow: a page, DICOMweb, a listener and a check of API requests.

Airflow loads this through the distribution's entry point ``airflow.plugins``, in every one of its
processes, so what only the API server needs is imported at its first use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow.plugins_manager import AirflowPlugin

from pacsgrid.airflow import listener

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send


async def pacsgrid_page(scope: Scope, receive: Receive, send: Send) -> None:
    """Pass a request to the ASGI application of the steward's page.

    Parameters
    ----------
    scope, receive, send
        As ASGI defines them.
    """
    from pacsgrid.web.app import app

    await app(scope, receive, send)


async def pacsgrid_dicomweb(scope: Scope, receive: Receive, send: Send) -> None:
    """Pass a request to the ASGI application of the gateway's DICOMweb.

    Parameters
    ----------
    scope, receive, send
        As ASGI defines them.
    """
    from pacsgrid.web.dicomweb import app

    await app(scope, receive, send)


def project_gate(app: ASGIApp) -> ASGIApp:
    """Return Airflow's ASGI application behind the check of projects."""
    from pacsgrid.web.project_gate import ProjectGate

    return ProjectGate(app)


class PacsgridPlugin(AirflowPlugin):
    """The page in Airflow's navigation, its API, DICOMweb, and who may start which run."""

    name = "pacsgrid"
    listeners = [listener]  # noqa: RUF012
    fastapi_apps = [  # noqa: RUF012
        {"app": pacsgrid_page, "url_prefix": "/pacsgrid", "name": "pacsgrid"},
        {"app": pacsgrid_dicomweb, "url_prefix": "/dicom-web", "name": "pacsgrid DICOMweb"},
    ]
    fastapi_root_middlewares = [{"middleware": project_gate, "name": "pacsgrid projects"}]  # noqa: RUF012
    # Without a leading slash the addresses follow Airflow's base URL behind a proxy.
    react_apps = [  # noqa: RUF012
        {
            "name": "pacsgrid",
            "bundle_url": "pacsgrid/static/main.js",
            "icon": "pacsgrid/static/icon.svg",
            "destination": "nav",
            "url_route": "pacsgrid",
            "nav_top_level": True,
        }
    ]
