"""Who may see what on the page, as Airflow's own auth manager says.

- The page: whoever may see the DAG `ingest_studies`.
- A project: whoever may read the custom view ``pacsgrid <project>``. Airflow's simple auth
  manager grants that to everyone who may log in; the FAB one to the roles that have it.
- Starting a project's runs and answering their questions: see `gate`.
- Being an operator, who sees every project's runs: whoever may read the custom view
  ``pacsgrid (operator)`` and also make connections.
- Naming patients to take: whoever may also trigger `ingest_studies`.
- Held images, which may show a name: whoever may also trigger `review_held`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.base_user import BaseUser
from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity, DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep
from fastapi import Depends, HTTPException

from pacsgrid.config import Site, load_site, site_names
from pacsgrid.errors import ConfigError

PAGE_DAG = "ingest_studies"
REVIEW_DAG = "review_held"
# No project can have this name.
OPERATOR_VIEW = "pacsgrid (operator)"


@dataclass(frozen=True)
class Viewer:
    """Someone who is logged in: the name, the projects they see, what they may start."""

    name: str
    projects: tuple[str, ...]
    ingests: bool
    reviews: bool


def project_view(project: str) -> str:
    """Return the name of the custom view that stands for a project in Airflow's roles."""
    return f"pacsgrid {project}"


def sees(user: BaseUser, project: str) -> bool:
    """Return whether a user may see a project."""
    auth, view = get_auth_manager(), project_view(project)
    return bool(auth.is_authorized_custom_view(method="GET", resource_name=view, user=user))


def own_projects(user: BaseUser) -> frozenset[str]:
    """Return those of the site's projects that a user may see."""
    return frozenset(name for name in site_names().projects if sees(user, name))


def is_operator(user: BaseUser) -> bool:
    """Return whether a user keeps the site running: by a permission for that, not by lack of one.

    Airflow's simple auth manager lets everybody see custom views, hence its own right as well.
    """
    auth = get_auth_manager()
    return bool(
        auth.is_authorized_custom_view(method="GET", resource_name=OPERATOR_VIEW, user=user)
        and auth.is_authorized_connection(method="POST", user=user)
    )


def the_site() -> Site:
    """Return the site settings; answers 503 with what is wrong with them."""
    try:
        return load_site()
    except ConfigError as error:
        raise HTTPException(503, str(error)) from None


def viewer(user: GetUserDep, site: Annotated[Site, Depends(the_site)]) -> Viewer:
    """Return what the user who asks may see; answers 401 or 403 to who may not see the page."""
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

    return Viewer(user.get_name(), projects, starts(PAGE_DAG), starts(REVIEW_DAG))


SiteDep = Annotated[Site, Depends(the_site)]
ViewerDep = Annotated[Viewer, Depends(viewer)]
