"""Logins: begun at the provider, checked there again every few minutes, and ended.

What the provider says decides. A login lasts while it confirms it, and while it is silent for no
longer than `login.outage_minutes`. Somebody who is in none of the site's groups any more loses, in
this order, every login, the project's group in iRODS, and open grants. The readers in iRODS follow
the logins: each check repeats what a zone that was away has missed.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from irods.exception import UserDoesNotExist

from pacsgrid.config import LoginSettings, Site
from pacsgrid.errors import (
    ConfigError,
    LoginRefusedError,
    NotAllowedError,
    PacsgridError,
    ProviderUnavailableError,
)
from pacsgrid.grid import Zone
from pacsgrid.grid.sharing import add_reader, is_reader, unshare
from pacsgrid.grid.zone import translated_errors
from pacsgrid.ledger import GrantState, Ledger, Login, LoginMember, Vault
from pacsgrid.login import (
    Identity,
    Provider,
    Tokens,
    identity_of,
    verify_access_token,
    verify_id_token,
)
from pacsgrid.login.identity import has_groups
from pacsgrid.pipeline.context import ProjectContext
from pacsgrid.pipeline.grants import end_grant

log = logging.getLogger(__name__)

GATEWAY, PAGE = "gateway", "page"
_KEPT = timedelta(days=1)
# How long it is remembered when somebody left: a viewer asks for hundreds of frames a minute.
_REMEMBERED, _MOST_REMEMBERED = timedelta(seconds=5), 5000
_NEVER = datetime.min.replace(tzinfo=UTC)
_GRANTS_ENDED = "in none of the groups that may log in"


@dataclass(frozen=True)
class LoginReport:
    """What a check of all logins did.

    Attributes
    ----------
    confirmed, ended
        Logins that go on, and that do not.
    unanswered
        Logins about which the provider gave no answer.
    readers
        Readers in iRODS who were added or removed.
    failures
        What must be tried again.
    """

    confirmed: int
    ended: int
    unanswered: int
    readers: int
    failures: tuple[str, ...]


class Logins:
    """The logins of a site.

    Parameters
    ----------
    site
        The site settings.
    now
        Tells the current time.

    Attributes
    ----------
    provider
        The provider.
    settings
        The site's login.

    Raises
    ------
    ConfigError
        The site file has no section `login`.
    """

    def __init__(self, site: Site, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        if site.login is None:
            raise ConfigError("the site file has no section login")
        self.site, self.now = site, now
        self.settings: LoginSettings = site.login
        self.provider = Provider(self.settings)
        self._vault = Vault(site.vault_key)
        self.ledger = Ledger(site.ledger_dsn, "login")
        self._left_known: dict[str, tuple[datetime, datetime | None]] = {}

    # -- one login ------------------------------------------------------------------------

    def begin(self, place: str, tokens: Tokens, nonce: str = "", secret: str = "") -> Identity:
        """Enter a login.

        Parameters
        ----------
        place
            `GATEWAY` or `PAGE`.
        tokens
            What the provider gave for the code.
        nonce
            The nonce that the login began with; empty if another has compared it.
        secret
            The secret of the gateway's cookie.

        Returns
        -------
        Identity
            Whose login it is.

        Raises
        ------
        LoginRefusedError
            The ID token is not valid, or the person may not log in.
        ProviderUnavailableError, RetryableError
            The provider or the ledger does not answer.
        """
        claims = verify_id_token(self.provider, tokens.id_token, nonce, self._seconds)
        subject = str(claims["sub"])
        name = cookie_id(secret) if place == GATEWAY else page_id(self.settings.issuer, subject)
        try:
            who = identity_of(self.settings, self._completed(claims, tokens))
            if place == GATEWAY and not who.researches:
                raise NotAllowedError(
                    "you have no user in iRODS here, or none of your groups is of researchers; ask"
                    " the site's data steward"
                )
            if place == PAGE and not who.airflow_roles:
                raise NotAllowedError("none of your groups has a role on this page")
        except NotAllowedError as error:
            self.ledger.logins.note(self.settings.issuer, subject, "refused", f"{place}: {error}")
            raise
        now = self.now()
        # What cannot be asked about again is over when a bearer token would be.
        lasts = timedelta(hours=self.settings.session_hours)
        if not tokens.refresh_token:
            lasts = min(lasts, timedelta(minutes=self.settings.token_minutes))
        sealed = self._vault.seal(name, {"refresh": tokens.refresh_token})
        self.ledger.logins.begin(
            Login(
                *(name, place, who.issuer, who.subject, who.user, who.group_names),
                *(sealed, now, now, now + lasts),
            )
        )
        return who

    def current(self, name: str, recheck: bool = True) -> Login | None:
        """Return a login that lasts; None for one that does not.

        Parameters
        ----------
        name
            The login's id.
        recheck
            Whether to ask the provider, if it was not asked for `login.recheck_minutes`.

        Raises
        ------
        ProviderUnavailableError
            It lasts, but the provider has confirmed it too long ago.
        RetryableError
            The ledger does not answer.
        """
        login = self.ledger.logins.get(name, self.now())
        if login is None:
            return None
        if recheck and self._age(login) > timedelta(minutes=self.settings.recheck_minutes):
            try:
                login = self.recheck(login)
            except ProviderUnavailableError as error:
                log.warning("%s", error)
        if login is not None and not self._confirmed(login):
            raise ProviderUnavailableError(
                f"the login was not confirmed for {self.settings.outage_minutes} minutes"
                " (login.outage_minutes); log in again when the provider answers"
            )
        return login

    def current_page(self, subject: str) -> Login | None:
        """Return somebody's login on the page; see `current`. The provider is not asked."""
        return self.current(page_id(self.settings.issuer, subject), recheck=False)

    def end_page(self, subject: str, detail: str) -> None:
        """End somebody's login on the page.

        Parameters
        ----------
        subject
            The person.
        detail
            Why, for the audit trail.
        """
        self.end(page_id(self.settings.issuer, subject), detail)

    def of_token(self, token: str) -> Identity:
        """Return whom a bearer token of the provider stands for.

        Parameters
        ----------
        token
            The token.

        Raises
        ------
        LoginRefusedError
            The token is not valid, or was made before its subject left the site's groups.
        NotAllowedError
            Its subject is in none of the site's groups.
        ProviderUnavailableError, RetryableError
            The provider's keys cannot be had, or the ledger does not answer.
        """
        claims = verify_access_token(self.provider, token, self._seconds)
        who = identity_of(self.settings, claims)
        left = self._left_at(who)
        if left is not None and datetime.fromtimestamp(float(claims["iat"]), UTC) <= left:
            raise LoginRefusedError("the token is from before its subject left; get a new one")
        return who

    def _left_at(self, who: Identity) -> datetime | None:
        until, left = self._left_known.get(who.subject, (_NEVER, None))
        if until <= self.now():
            left = self.ledger.logins.left_at(who.issuer, who.subject)
            if len(self._left_known) >= _MOST_REMEMBERED:
                self._left_known = {}
            self._left_known[who.subject] = (self.now() + _REMEMBERED, left)
        return left

    def identity(self, login: Login) -> Identity:
        """Return whose a login is, with what the site file says now of their groups."""
        groups = self.settings.of_groups(login.groups)
        results = next((one.results for one in groups if one.results), "")
        return Identity(login.issuer, login.subject, login.user, groups, results=results)

    def end(self, name: str, detail: str = "by the person") -> None:
        """End a login; one that has ended stays ended.

        Parameters
        ----------
        name
            The login's id.
        detail
            Why, for the audit trail.
        """
        login = self.ledger.logins.get(name, self.now())
        if login is not None:
            self.ledger.logins.end(login, "logged out", detail, self.now())

    def recheck(self, login: Login) -> Login | None:
        """Ask the provider about a login, and return it as it is now; None if it has ended.

        Parameters
        ----------
        login
            The login.

        Raises
        ------
        ProviderUnavailableError
            The provider does not answer; the login is as it was.
        """
        with self.ledger.database.lock(f"pacsgrid.login.{login.id}", 30) as ours:
            before = self.ledger.logins.get(login.id, self.now()) if ours else None
            # A refresh token often works once: whoever waited takes what the other has learned.
            if before is None or before.confirmed_at > login.confirmed_at:
                return before if ours else login
            refresh = self._vault.open(login.id, before.sealed)["refresh"]
            if not refresh:
                return before
            try:
                tokens = self.provider.refresh(refresh)
                who = identity_of(self.settings, self._refreshed(before, tokens))
            except NotAllowedError:
                self._left(before)
                return None
            except LoginRefusedError as error:
                self.ledger.logins.end(before, "ended", str(error), self.now())
                return None
            if before.place == PAGE and set(who.group_names) != set(before.groups):
                # Airflow reads groups at login only.
                self.ledger.logins.end(before, "ended", "the groups changed", self.now())
                return None
            sealed = self._vault.seal(login.id, {"refresh": tokens.refresh_token or refresh})
            self.ledger.logins.confirm(before, who.group_names, sealed, self.now())
        return self.ledger.logins.get(login.id, self.now())

    def _left(self, login: Login) -> None:
        # Grants first: if this is interrupted, the login is still there and is checked again.
        if login.user:
            self.end_grants(login.issuer, login.subject, login.user)
        detail = "in none of the site's groups any more"
        self.ledger.logins.end_of(login.issuer, login.subject, detail, self.now())

    def _refreshed(self, login: Login, tokens: Tokens) -> Mapping[str, Any]:
        """Return the claims after a refresh; they must be of the same person."""
        if tokens.id_token:
            claims: Mapping[str, Any] = verify_id_token(
                self.provider, tokens.id_token, "", self._seconds
            )
        else:
            claims = self.provider.userinfo(tokens.access_token)
        if claims.get("sub") != login.subject:
            raise LoginRefusedError("the provider answered for somebody else; log in again")
        return self._completed(claims, tokens)

    def _completed(self, claims: Mapping[str, Any], tokens: Tokens) -> Mapping[str, Any]:
        """Return claims with those of the userinfo endpoint, where groups are only there."""
        if has_groups(self.settings, claims) or not tokens.access_token:
            return claims
        if not self.provider.discovered("userinfo_endpoint"):
            return claims
        more = self.provider.userinfo(tokens.access_token)
        if more.get("sub") != claims["sub"]:
            raise LoginRefusedError("the provider answered for somebody else; log in again")
        return {**more, **claims}

    def _age(self, login: Login) -> timedelta:
        return self.now() - login.confirmed_at

    def _confirmed(self, login: Login) -> bool:
        """Return whether a login counts though the provider may be silent."""
        most = self.settings.recheck_minutes + self.settings.outage_minutes
        if login.ends_at - login.made_at <= timedelta(minutes=self.settings.token_minutes):
            return True  # short enough by itself
        return self._age(login) <= timedelta(minutes=most)

    def _seconds(self) -> float:
        return self.now().timestamp()

    # -- all logins -----------------------------------------------------------------------

    def check(self) -> LoginReport:
        """Ask the provider about every login, and let iRODS follow.

        Raises
        ------
        RetryableError
            The ledger does not answer. A provider or zone that is away is in the report.
        """
        confirmed = unanswered = 0
        ended = self.ledger.logins.end_over(self.now())
        failures: list[str] = []
        due = timedelta(minutes=self.settings.recheck_minutes) / 2
        silent = ""
        for login in self.ledger.logins.live(self.now()):
            if self._age(login) < due:
                confirmed += 1
                continue
            try:
                # One unanswered question is enough: each waits for the connection's time-out.
                if silent:
                    raise ProviderUnavailableError(silent)
                alive = self.recheck(login)
            except ProviderUnavailableError as error:
                silent = str(error)
                unanswered += 1
                continue
            confirmed, ended = confirmed + (alive is not None), ended + (alive is None)
        if silent:
            failures.append(silent)
        readers, problems = self.settle()
        self.ledger.logins.forget_over(self.now() - _KEPT)
        return LoginReport(confirmed, ended, unanswered, readers, (*failures, *problems))

    def settle(self) -> tuple[int, list[str]]:
        """Let the readers in iRODS follow the logins, and end the grants of those who left.

        Returns
        -------
        int
            How many readers were added or removed.
        list of str
            What must be tried again.
        """
        live = [one for one in self.ledger.logins.live(self.now()) if self._confirmed(one)]
        projects = self.site.projects
        wanted = {
            LoginMember(zone, name, one.user, one.issuer, one.subject)
            for one in live
            for name in self.identity(one).reads
            if name in projects
            for zone in (projects[name].home_zone, *projects[name].partner_zones)
        }
        known = set(self.ledger.logins.members())
        changed, failures = 0, list[str]()
        for project in sorted({one.project for one in wanted ^ known}):
            here = {one for one in wanted if one.project == project}
            there = {one for one in known if one.project == project}
            if project not in projects:
                for member in there:
                    self.ledger.logins.remove_member(member)
                continue
            for zone in sorted({one.zone for one in here ^ there}):
                try:
                    with ProjectContext(self.site, project, "login") as context:
                        changed += self._settle(
                            *(context, context.zone(zone)),
                            {one for one in here if one.zone == zone},
                            {one for one in there if one.zone == zone},
                        )
                except PacsgridError as error:
                    failures.append(f"{project}: {error}")
                    log.warning("readers of %s: %s; tried again later", project, error)
        return changed, failures

    def _settle(
        self,
        context: ProjectContext,
        zone: Zone,
        wanted: set[LoginMember],
        known: set[LoginMember],
    ) -> int:
        name, changed = context.project.name, 0
        for member in sorted(known - wanted, key=lambda one: one.user):
            # Somebody else's login may stand for the same user.
            if all(one.user != member.user for one in wanted) and is_reader(
                zone, name, member.user
            ):
                unshare(zone, name, member.user)
                changed += 1
            self.ledger.logins.remove_member(member)
        users = {one.user for one in known}
        for member in sorted(wanted - known, key=lambda one: one.user):
            if is_reader(zone, name, member.user):
                # Whoever is a reader anyway stays one when the login ends.
                if member.user in users:
                    self.ledger.logins.add_member(member)
                continue
            if not self._has_user(zone, member.user):
                log.info(
                    "zone %s does not know the user of a login that reads %s: an administrator"
                    " must make it, or login.create_users be set",
                    *(zone.settings.name, name),
                )
                continue
            # Entered first: a membership that nobody knows of would stay for ever.
            self.ledger.logins.add_member(member)
            add_reader(zone, name, member.user)
            users.add(member.user)
            changed += 1
        return changed

    def _has_user(self, zone: Zone, user: str) -> bool:
        """Return whether a zone has a user, after making it where the site allows that."""
        name, _, home = user.partition("#")
        with translated_errors(zone.settings.name):
            try:
                zone.session.users.get(name, home)
                return True
            except UserDoesNotExist:
                if not self.settings.create_users:
                    return False
                if home == zone.settings.name:
                    zone.session.users.create(name, "rodsuser")
                else:
                    zone.session.users.create_remote(name, home)
        return True

    def end_grants(self, issuer: str, subject: str, user: str) -> int:
        """End the open grants of somebody who left.

        Parameters
        ----------
        issuer, subject
            The person.
        user
            Their iRODS user.

        Returns
        -------
        int
            How many were open.

        Raises
        ------
        RetryableError
            The ledger does not answer.
        """
        ended = 0
        for grant in self.ledger.grants.of_researcher(user):
            state = grant.state_at(self.now())
            if state not in (GrantState.REQUESTED, GrantState.GRANTED):
                continue
            if grant.project not in self.site.projects:
                continue
            with ProjectContext(self.site, grant.project, "login") as context:
                end_grant(context, grant, "login", _GRANTS_ENDED, self.now())
            self.ledger.logins.note(issuer, subject, "grant ended", grant.id)
            ended += 1
        return ended


def cookie_id(secret: str) -> str:
    """Return the id of a login from the secret in its cookie."""
    return hashlib.sha256(secret.encode()).hexdigest()


def page_id(issuer: str, subject: str) -> str:
    """Return the id of somebody's login on Airflow's page, of which there is one.

    Parameters
    ----------
    issuer, subject
        The person.
    """
    return "page-" + hashlib.sha256(f"{issuer}\n{subject}".encode()).hexdigest()
