"""What pacsgrid adds to the Airflow UI."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from pacsgrid.airflow import listener


async def pacsgrid_page(scope: Any, receive: Any, send: Any) -> None:
    """Pass a request to the page's app, which is imported at the first one.

    Airflow loads plugins in all its processes, and only the API server needs the app.

    Parameters
    ----------
    scope, receive, send
        As ASGI defines them.
    """
    from pacsgrid.web.app import app

    await app(scope, receive, send)


async def pacsgrid_dicomweb(scope: Any, receive: Any, send: Any) -> None:
    """Pass a request to the gateway's DICOMweb app, which is imported at the first one.

    Parameters
    ----------
    scope, receive, send
        As ASGI defines them.
    """
    from pacsgrid.web.dicomweb import app

    await app(scope, receive, send)


def project_gate(app: Any) -> Any:
    """Wrap Airflow's API in the check of projects, which is imported only where there is an API."""
    from pacsgrid.web.project_gate import ProjectGate

    return ProjectGate(app)


class PacsgridPlugin(AirflowPlugin):
    """The page in the navigation, its API, DICOMweb, and the check of who may use which project."""

    name = "pacsgrid"
    listeners = [listener]  # noqa: RUF012
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
