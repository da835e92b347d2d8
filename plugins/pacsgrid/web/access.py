"""Rights on the page, as Airflow's auth manager grants them.

- See the page: read access to the DAG `ingest_studies`.
- See a project: read access to the custom view ``pacsgrid <project>``. Airflow's simple auth
  manager grants it to everyone who may log in, the FAB auth manager to the roles that have it.
- Start a project's runs and answer their questions: see `project_gate`.
- Be an operator, who sees every project's runs: read access to the custom view
  ``pacsgrid (operator)`` and the right to create connections.
- Name patients to ingest: the right to trigger `ingest_studies` as well.
- See the exact counts, the series and the images of a cohort: the right to trigger
  `release_cohort` as well. Others get rounded counts.
- See held images, which may show a name: the right to trigger `review_held` as well.
- Name a patient to withdraw: the right to trigger `withdraw_patient`.
- Answer researchers who ask for a release, and decide about results: the right to trigger
  `release_cohort`.
- Send a result back to the hospital: the right to trigger `return_results`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import Depends, HTTPException

from pacsgrid.config import GatewaySettings, Site, load_site, site_names
from pacsgrid.errors import ConfigError
from pacsgrid.login.identity import PREFIX
from pacsgrid.pipeline.page_logins import page_login

PAGE_DAG = "ingest_studies"
REVIEW_DAG = "review_held"
WITHDRAW_DAG = "withdraw_patient"
RELEASE_DAG = "release_cohort"
RETURN_DAG = "return_results"
# No project can have this name.
OPERATOR_VIEW = "pacsgrid (operator)"


@dataclass(frozen=True)
class Viewer:
    """A user who is logged in.

    Attributes
    ----------
    name
        The user name in Airflow.
    projects
        The projects that the user may see.
    ingests, reviews, withdraws, releases, returns
        Whether the user may trigger `ingest_studies`, `review_held`, `withdraw_patient`,
        `release_cohort` and `return_results`.
    viewer
        Whether the page can open studies in the viewer for this user.
    time_zone
        IANA name of the site's time zone, in which the page writes times.
    """

    name: str
    projects: tuple[str, ...]
    ingests: bool
    reviews: bool
    withdraws: bool = False
    releases: bool = False
    viewer: bool = False
    returns: bool = False
    time_zone: str = "UTC"

    def seen(self, project: str | None) -> Sequence[str]:
        """Return the requested projects, None for all; answer 404 to one that may not be seen."""
        if project and project not in self.projects:
            raise HTTPException(404, f"no project {project} that you may see")
        return [project] if project else self.projects


def project_view(project: str) -> str:
    """Return the name of the custom view that stands for a project in Airflow's roles."""
    return f"pacsgrid {project}"


def sees(user: BaseUser, project: str) -> bool:
    """Return whether a user may see a project.

    Parameters
    ----------
    user
        The user, as Airflow's auth manager knows them.
    project
        The project's name in the site file.

    Returns
    -------
    bool
        Whether the user may read the project's custom view.
    """
    auth, view = get_auth_manager(), project_view(project)
    return bool(auth.is_authorized_custom_view(method="GET", resource_name=view, user=user))


def own_projects(user: BaseUser) -> frozenset[str]:
    """Return the site's projects that a user may see."""
    return frozenset(name for name in site_names().projects if sees(user, name))


def is_operator(user: BaseUser) -> bool:
    """Return whether a user holds the operators' permission.

    Airflow's simple auth manager grants every custom view to everybody, so the right to create
    connections is asked for as well.
    """
    auth = get_auth_manager()
    return bool(
        auth.is_authorized_custom_view(method="GET", resource_name=OPERATOR_VIEW, user=user)
        and auth.is_authorized_connection(method="POST", user=user)
    )


def irods_user(gateway: GatewaySettings, name: str) -> str:
    """Return the iRODS user of a user of Airflow; empty for none.

    Parameters
    ----------
    gateway
        The gateway's settings, whose `airflow_users` go before the user of a login.
    name
        The user's name in Airflow.
    """
    if name in gateway.airflow_users:
        return gateway.airflow_users[name]
    if not name.startswith(PREFIX):
        return ""
    login = page_login(name)
    return login.user if login is not None else ""


def the_site() -> Site:
    """Return the site settings; answer 503 with what is wrong with them."""
    try:
        return load_site()
    except ConfigError as error:
        raise HTTPException(503, str(error)) from None


def viewer(user: GetUserDep, site: Annotated[Site, Depends(the_site)]) -> Viewer:
    """Return the user who asks, with their rights; a FastAPI dependency.

    Parameters
    ----------
    user
        The user whom Airflow authenticated; without one Airflow answers 401.
    site
        The site settings.

    Returns
    -------
    Viewer
        The user and what they may see and start.

    Raises
    ------
    HTTPException
        403: the user may not see the page.
    """
    auth = get_auth_manager()
    if not auth.is_authorized_dag(method="GET", details=DagDetails(id=PAGE_DAG), user=user):
        raise HTTPException(403, f"seeing this page needs read access to the DAG {PAGE_DAG}")
    projects = tuple(name for name in site.projects if sees(user, name))

    def starts(dag: str) -> bool:
        return bool(
            auth.is_authorized_dag(
                method="POST",
                access_entity=DagAccessEntity.RUN,
                details=DagDetails(id=dag),
                user=user,
            )
        )

    name, gateway = user.get_name(), site.gateway
    shows = gateway is not None and gateway.viewer is not None and bool(irods_user(gateway, name))
    return Viewer(
        name,
        projects,
        ingests=starts(PAGE_DAG),
        reviews=starts(REVIEW_DAG),
        withdraws=starts(WITHDRAW_DAG),
        releases=starts(RELEASE_DAG),
        viewer=shows,
        returns=starts(RETURN_DAG),
        time_zone=site.time_zone,
    )


SiteDep = Annotated[Site, Depends(the_site)]
ViewerDep = Annotated[Viewer, Depends(viewer)]
