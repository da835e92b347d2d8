"""Airflow's FAB auth manager with the site's OpenID Connect provider.

Airflow's setting ``[core] auth_manager`` names `LoginAuthManager`, and ``[fab] config_file`` a file
that takes over `fab_settings`. Without a section `login` in the site file both do what FAB does by
itself.

A user of the provider is called `PREFIX` and its ``sub`` in Airflow, so that nobody at the provider
can choose the name of a local account. Roles come from groups at each login. Every request asks
the ledger whether the login lasts; the DAG `check_logins` asks the provider.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from airflow.providers.fab.auth_manager.fab_auth_manager import FabAuthManager
from airflow.providers.fab.auth_manager.models import Role, User
from airflow.providers.fab.auth_manager.security_manager.override import (
    FabAirflowSecurityManagerOverride,
)
from airflow.utils.session import create_session
from cachetools import TTLCache
from jwt.exceptions import InvalidTokenError
from sqlalchemy import select
from starlette.concurrency import run_in_threadpool

from pacsgrid.config import load_login, load_site
from pacsgrid.errors import PacsgridError
from pacsgrid.login.tokens import looks_like_jwt, unverified_issuer

if TYPE_CHECKING:
    from pacsgrid.ledger import Login
    from pacsgrid.pipeline.logins import Logins

PREFIX = "oidc-"
PROVIDER = "oidc"
# How long an answer of the ledger is used, in seconds: a page asks dozens of things at once.
_REMEMBERED = 5.0
_lasting: TTLCache[str, Any] = TTLCache(maxsize=2048, ttl=_REMEMBERED)
_lock = threading.Lock()


def fab_settings() -> dict[str, Any]:
    """Return the settings of FAB's ``webserver_config.py`` for the site's login.

    Raises
    ------
    ConfigError
        The site file is wrong.
    """
    from flask_appbuilder.const import AUTH_DB, AUTH_OAUTH

    login = load_login()
    if login is None:
        return {"AUTH_TYPE": AUTH_DB}
    secret = login.client_secret
    client: dict[str, Any] = {
        "scope": " ".join(login.scopes),
        "code_challenge_method": "S256",
        "timeout": 10,
    }
    if login.ca_file is not None:
        client["verify"] = str(login.ca_file)
    if secret is None:
        client["token_endpoint_auth_method"] = "none"
    roles = {one.airflow_role for one in login.groups} - {""}
    return {
        "AUTH_TYPE": AUTH_OAUTH,
        "AUTH_USER_REGISTRATION": login.create_users,
        "AUTH_ROLES_SYNC_AT_LOGIN": True,
        # `LoginSecurityManager` gives the roles' own names as keys.
        "AUTH_ROLES_MAPPING": {role: [role] for role in sorted(roles)},
        "SECURITY_MANAGER_CLASS": LoginSecurityManager,
        "OAUTH_PROVIDERS": [
            {
                "name": PROVIDER,
                "icon": "fa-key",
                "token_key": "access_token",
                "remote_app": {
                    "client_id": login.client_id,
                    "client_secret": secret.get_secret_value() if secret else None,
                    "server_metadata_url": f"{login.issuer.rstrip('/')}"
                    "/.well-known/openid-configuration",
                    "client_kwargs": client,
                },
            }
        ],
    }


class LoginSecurityManager(FabAirflowSecurityManagerOverride):
    """FAB's users and roles, with logins in the ledger."""

    def set_oauth_session(self, provider: str, oauth_response: Mapping[str, Any]) -> None:
        """Keep no token in Airflow's session: the ledger has it, encrypted."""

    def get_oauth_user_info(self, provider: str, resp: dict[str, Any]) -> dict[str, Any]:
        """Return FAB's description of the person whom the provider logged in.

        Parameters
        ----------
        provider
            FAB's name of the provider.
        resp
            What the token endpoint answered; Authlib has compared the nonce.

        Raises
        ------
        LoginRefusedError
            The person may not log in here.
        """
        from pacsgrid.login import Tokens
        from pacsgrid.pipeline.logins import PAGE

        names = ("id_token", "access_token", "refresh_token")
        who = _logins().begin(PAGE, Tokens(*(str(resp.get(name) or "") for name in names)))
        _forget(who.subject)
        claims = resp.get("userinfo") or {}
        return {
            "username": PREFIX + who.subject,
            "first_name": str(claims.get("given_name") or who.subject)[:200],
            "last_name": str(claims.get("family_name") or "")[:200],
            "role_keys": who.airflow_roles,
        }

    def auth_user_oauth(self, userinfo: dict[str, Any], rotate_session_id: bool = True) -> Any:
        """Return the user in Airflow; end the login of somebody who has none.

        Parameters
        ----------
        userinfo
            What `get_oauth_user_info` returned.
        rotate_session_id
            As FAB defines it.
        """
        user = super().auth_user_oauth(userinfo, rotate_session_id)
        subject = str(userinfo.get("username", "")).removeprefix(PREFIX)
        if user is None and subject:
            _logins().end_page(subject, "Airflow has no such user, and login.create_users is off")
            _forget(subject)
        return user

    def _oauth_calculate_user_roles(self, userinfo: dict[str, Any]) -> list[Any]:
        """Return the roles of the groups alone; FAB would add one for new users."""
        return list(self.get_roles_from_keys(userinfo.get("role_keys", [])))

    def load_user(self, pk: int) -> Any:
        """Return the user of FAB's own session; None once the login has ended."""
        user = super().load_user(pk)
        if user is not None and user.username.startswith(PREFIX):
            return user if page_login(user.username) is not None else None
        return user


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


def page_login(username: str) -> Login | None:
    """Return the login of a user of the provider on Airflow's page; None if it has ended.

    Parameters
    ----------
    username
        The user's name in Airflow, with `PREFIX`.
    """
    with _lock:
        if username in _lasting:
            found: Login | None = _lasting[username]
            return found if found is None or found.ends_at > datetime.now(UTC) else None
    try:
        login = _logins().current_page(username.removeprefix(PREFIX))
    except PacsgridError:
        return None  # not known to last; asked again with the next request
    with _lock:
        _lasting[username] = login
    return login


def _forget(subject: str) -> None:
    with _lock:
        _lasting.pop(PREFIX + subject, None)


@cache
def _issuer() -> str:
    login = load_login()
    return login.issuer if login is not None else ""


@cache
def _logins() -> Logins:
    from pacsgrid.pipeline.logins import Logins

    return Logins(load_site())


def _user_of_bearer(token: str) -> Any:
    """Return the user of an access token of the provider, with the roles of its groups."""
    try:
        who = _logins().of_token(token)
    except PacsgridError as error:
        raise InvalidTokenError(str(error)) from None
    with create_session() as session:
        user = session.scalars(select(User).where(User.username == PREFIX + who.subject)).first()
        if user is None or not user.is_active:
            raise InvalidTokenError("the token's subject has no user in Airflow")
        roles = session.scalars(select(Role).where(Role.name.in_(who.airflow_roles))).unique().all()
        if not roles:
            raise InvalidTokenError("none of the token's groups has a role in Airflow")
        if {one.id for one in user.roles} != {one.id for one in roles}:
            user.roles = list(roles)
            session.commit()
            session.refresh(user)
        return user
