"""The gateway's DICOMweb service (PS3.18) beside the page, for users of Airflow.

The site file's `gateway.airflow_users` maps each Airflow user to the iRODS user whose rights
apply. Storing instances needs the right to trigger `ingest_studies`, and a token in the request's
header: a cookie alone would let a page of another site store them.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import bearer_scheme, get_user
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from pacsgrid.config import load_site
from pacsgrid.errors import ConfigError
from pacsgrid.gateway import Gateway
from pacsgrid.gateway.web import dicomweb
from pacsgrid.gateway.web.authentication import Caller, Who
from pacsgrid.web.access import PAGE_DAG, irods_user


def by_airflow(gateway: Gateway) -> Who:
    """Return a function that identifies callers by Airflow's own authentication."""

    async def who(request: Request) -> Caller:
        credentials = await bearer_scheme(request)
        user: Any = await get_user(request, None, credentials)
        name = user.get_name()
        mapped = await run_in_threadpool(irods_user, gateway.settings, name)
        if not mapped:
            raise HTTPException(403, "gateway.airflow_users of the site file does not name you")
        starts = get_auth_manager().is_authorized_dag(
            method="POST",
            access_entity=DagAccessEntity.RUN,
            details=DagDetails(id=PAGE_DAG),
            user=user,
        )
        return Caller(mapped, bool(credentials and starts), name=name, way="page")

    return who


@cache
def _application() -> Starlette:
    gateway = Gateway(load_site())
    gateway.start_refreshing()
    return dicomweb(gateway, by_airflow(gateway))


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve DICOMweb; open the gateway at the first request to this process.

    Parameters
    ----------
    scope, receive, send
        As ASGI defines them.
    """
    try:
        application: ASGIApp = await run_in_threadpool(_application)
    except ConfigError as error:
        application = JSONResponse({"detail": str(error)}, 503)
    await application(scope, receive, send)
