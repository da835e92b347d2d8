"""What pacsgrid adds to the Airflow UI."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from pacsgrid.airflow import started


async def pacsgrid_page(scope: Any, receive: Any, send: Any) -> None:
    """Hand on to the page's app, imported at its first request.

    Airflow loads plugins in every one of its processes; only the API server needs the app.
    """
    from pacsgrid.web.app import app

    await app(scope, receive, send)


async def pacsgrid_dicomweb(scope: Any, receive: Any, send: Any) -> None:
    """Hand on to the gateway's DICOMweb, imported at its first request."""
    from pacsgrid.web.dicomweb import app

    await app(scope, receive, send)


def project_gate(app: Any) -> Any:
    """Put the gate before Airflow's API; imported where there is one to stand before."""
    from pacsgrid.web.project_gate import ProjectGate

    return ProjectGate(app)


class PacsgridPlugin(AirflowPlugin):
    """The page in the navigation, the API behind it, DICOMweb, and who may start what."""

    name = "pacsgrid"
    listeners = [started]  # noqa: RUF012
    fastapi_apps = [  # noqa: RUF012
        {"app": pacsgrid_page, "url_prefix": "/pacsgrid", "name": "pacsgrid"},
        {"app": pacsgrid_dicomweb, "url_prefix": "/dicom-web", "name": "pacsgrid DICOMweb"},
    ]
    fastapi_root_middlewares = [{"middleware": project_gate, "name": "pacsgrid projects"}]  # noqa: RUF012
    # The address has no leading slash, so that it follows Airflow's base URL behind a proxy.
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
