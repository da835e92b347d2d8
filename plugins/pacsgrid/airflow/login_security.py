"""FAB's security manager with the site's OpenID Connect provider, and FAB's settings for it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.providers.fab.auth_manager.security_manager.override import (
    FabAirflowSecurityManagerOverride,
)

from pacsgrid.config import load_login
from pacsgrid.login import Tokens
from pacsgrid.login.identity import PREFIX
from pacsgrid.pipeline.logins import PAGE
from pacsgrid.pipeline.page_logins import forget, page_login, site_logins

PROVIDER = "oidc"


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
        """Keep no token in Airflow's session: the ledger has it, encrypted.

        Parameters
        ----------
        provider
            FAB's name of the provider.
        oauth_response
            What the token endpoint answered.
        """

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
        names = ("id_token", "access_token", "refresh_token")
        who = site_logins().begin(PAGE, Tokens(*(str(resp.get(name) or "") for name in names)))
        forget(who.subject)
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
            site_logins().end_page(
                subject, "Airflow has no such user, and login.create_users is off"
            )
            forget(subject)
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
