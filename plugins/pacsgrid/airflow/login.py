"""Airflow's FAB auth manager with the site's OpenID Connect provider.

Airflow's setting ``[core] auth_manager`` names `LoginAuthManager`, and ``[fab] config_file`` a file
that takes over the settings of `pacsgrid.airflow.login_security`. Without a section `login` in the
site file both do what FAB does by itself.

A user of the provider is called ``oidc-`` and its ``sub`` in Airflow, so that nobody at the
provider can choose the name of a local account. Roles come from groups at each login. Every
request asks the ledger whether the login lasts; the DAG `check_logins` asks the provider.
"""

from __future__ import annotations

from functools import cache
from typing import Any

from airflow.providers.fab.auth_manager.fab_auth_manager import FabAuthManager
from airflow.providers.fab.auth_manager.models import Role, User
from airflow.utils.session import create_session
from jwt.exceptions import InvalidTokenError
from sqlalchemy import select
from sqlalchemy.orm import selectinload
from sqlalchemy.orm.attributes import set_committed_value
from starlette.concurrency import run_in_threadpool

from pacsgrid.config import load_login
from pacsgrid.errors import PacsgridError
from pacsgrid.login.identity import PREFIX
from pacsgrid.login.tokens import looks_like_jwt, unverified_issuer


class LoginAuthManager(FabAuthManager):
    """FAB's auth manager, which lets users of the provider in while their login lasts."""

    def deserialize_user(self, token: dict[str, Any]) -> Any:
        """Return the user of Airflow's own token.

        Parameters
        ----------
        token
            Its claims.

        Raises
        ------
        ValueError
            There is no such user, or the login has ended; Airflow refuses the request.
        """
        user = super().deserialize_user(token)
        from pacsgrid.pipeline.page_logins import page_login

        if user.username.startswith(PREFIX) and page_login(user.username) is None:
            raise ValueError("the login at the provider has ended; log in again")
        return user

    async def get_user_from_token(self, token: str) -> Any:
        """Return the user of a token: Airflow's own, or an access token of the provider.

        Raises
        ------
        InvalidTokenError
            The token is not valid, or its subject has no right here.
        """
        if looks_like_jwt(token):
            issuer = await run_in_threadpool(_issuer)
            if issuer and unverified_issuer(token) == issuer:
                return await run_in_threadpool(_user_of_bearer, token)
        return await super().get_user_from_token(token)


@cache
def _issuer() -> str:
    login = load_login()
    return login.issuer if login is not None else ""


def _user_of_bearer(token: str) -> Any:
    """Return the user of an access token of the provider, with the roles of its groups."""
    from pacsgrid.pipeline.page_logins import site_logins

    try:
        who = site_logins().of_token(token)
    except PacsgridError as error:
        raise InvalidTokenError(str(error)) from None
    with create_session() as session:
        user = session.scalars(select(User).where(User.username == PREFIX + who.subject)).first()
        if user is None or not user.is_active:
            raise InvalidTokenError("the token's subject has no user in Airflow")
        named = select(Role).where(Role.name.in_(who.airflow_roles))
        roles = session.scalars(named.options(selectinload(Role.permissions))).unique().all()
        if not roles:
            raise InvalidTokenError("none of the token's groups has a role in Airflow")
        # For this request alone: the token may be older than the login on the page.
        set_committed_value(user, "roles", list(roles))
        return user
