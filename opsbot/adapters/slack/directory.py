"""SlackDirectory: what accounts are and who is in which user group, cached for minutes, failing closed."""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from weakref import WeakValueDictionary

import structlog

from opsbot.adapters.slack.web import Refused, Web
from opsbot.domain import Actor, Membership
from opsbot.errors import ChatError

_log = structlog.get_logger()

_FRESH_S = 60.0
# Whether somebody is a guest changes rarely, and Slack allows 100 look-ups a minute (users.info is Tier 4).
_ACCOUNT_FRESH_S = 300.0
# When Slack cannot be asked, an older answer counts until then; after that nobody is in any group, or a member.
_USABLE_S = 600.0
_GONE = frozenset({"no_such_subteam", "subteam_not_found"})
# https://docs.slack.dev/reference/methods/users.info (2026-11): the errors that say something about the account.
_NO_SUCH_ACCOUNT = {
    "user_not_found": Membership.GONE,
    "users_not_found": Membership.GONE,
    "user_not_visible": Membership.FOREIGN,
}


@dataclass(frozen=True, slots=True)
class _Members:
    user_ids: frozenset[str]
    read_at: float


@dataclass(frozen=True, slots=True)
class _Account:
    membership: Membership
    read_at: float


class SlackDirectory:
    """Knows accounts, and the user groups that configuration names (a Tier 2 method: 20 calls per minute)."""

    def __init__(self, web: Web, *, team_id: str, group_ids: Iterable[str]) -> None:
        self._web = web
        self._team_id = team_id
        self._group_ids = tuple(sorted(group_ids))
        self._known: dict[str, _Members] = {}
        self._accounts: dict[str, _Account] = {}
        self._one_reader = asyncio.Lock()
        self._readers: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    # --- accounts ----------------------------------------------------------------------------------------------------

    async def membership_of(self, actor: Actor) -> Membership:
        """Return what Slack says the account is; whoever is of another workspace is not asked about.

        Raises:
            ChatError: it cannot be read and what is known of it is older than ten minutes.
        """
        if actor.team_id != self._team_id:
            return Membership.FOREIGN
        async with self._readers.setdefault(actor.user_id, asyncio.Lock()):
            return await self._membership(actor.user_id)

    async def _membership(self, user_id: str) -> Membership:
        known = self._accounts.get(user_id)
        age_s = self._web.clock.monotonic() - known.read_at if known else _USABLE_S
        if known and age_s < _ACCOUNT_FRESH_S:
            return known.membership
        try:
            membership = await self._look_up(user_id)
        except ChatError as error:
            if known and age_s < _USABLE_S:
                _log.warning("slack.account_stale", user_id=user_id, age_s=round(age_s))
                return known.membership
            raise ChatError(f"The account {user_id} cannot be looked up in Slack now.") from error
        self._accounts[user_id] = _Account(membership, self._web.clock.monotonic())
        return membership

    async def _look_up(self, user_id: str) -> Membership:
        try:
            answer = await self._web.call("users.info", {"user": user_id}, get=True)
        except Refused as refused:
            if refused.code == "missing_scope":
                _log.error("slack.scope_missing", scope="users:read", remedy="reinstall the app with its manifest")
            if refused.code not in _NO_SUCH_ACCOUNT:
                raise
            return _NO_SUCH_ACCOUNT[refused.code]
        membership = membership_in(answer.get("user"), user_id=user_id, team_id=self._team_id)
        if membership is Membership.UNKNOWN:
            raise ChatError(f"Slack's answer about {user_id} does not say what the account is.")
        return membership

    # --- groups ------------------------------------------------------------------------------------------------------

    async def groups_of(self, actor: Actor) -> frozenset[str]:
        """Return which of the configured groups the person is in; nobody of another workspace is in any.

        Raises:
            ChatError: a group cannot be read and what is known of it is older than ten minutes.
        """
        if actor.team_id != self._team_id:
            return frozenset()
        async with self._one_reader:
            return frozenset([group for group in self._group_ids if actor.user_id in await self._members(group)])

    def forget(self, group_id: str) -> None:
        """Read a group anew when it is asked for next: its members changed."""
        known = self._known.get(group_id)
        if known is not None:
            self._known[group_id] = _Members(known.user_ids, known.read_at - _FRESH_S)

    async def _members(self, group_id: str) -> frozenset[str]:
        known = self._known.get(group_id)
        age_s = self._web.clock.monotonic() - known.read_at if known else _USABLE_S
        if known and age_s < _FRESH_S:
            return known.user_ids
        try:
            user_ids = await self._read(group_id)
        except ChatError as error:
            if known and age_s < _USABLE_S:
                _log.warning("slack.group_stale", group_id=group_id, age_s=round(age_s))
                return known.user_ids
            raise ChatError(f"The members of user group {group_id} cannot be read from Slack now.") from error
        self._known[group_id] = _Members(user_ids, self._web.clock.monotonic())
        return user_ids

    async def _read(self, group_id: str) -> frozenset[str]:
        try:
            answer = await self._web.call("usergroups.users.list", {"usergroup": group_id}, get=True)
        except Refused as refused:
            if refused.code not in _GONE:
                raise
            _log.warning("slack.group_missing", group_id=group_id)
            return frozenset()
        users = answer.get("users")
        return frozenset(user for user in users if isinstance(user, str)) if isinstance(users, list) else frozenset()


def membership_in(account: object, *, user_id: str, team_id: str) -> Membership:
    """Judge a user object of Slack's by its marks alone; one that does not say everything is UNKNOWN."""
    if not isinstance(account, Mapping) or account.get("id") != user_id:
        return Membership.UNKNOWN
    if account.get("is_stranger") or not _is_home(account, team_id):
        return Membership.FOREIGN
    if account.get("deleted"):
        return Membership.GONE
    if account.get("is_bot") or account.get("is_workflow_bot") or user_id == "USLACKBOT":
        return Membership.BOT
    marks = [account.get(mark) for mark in ("is_restricted", "is_ultra_restricted")]
    if any(marks):
        return Membership.GUEST
    return Membership.MEMBER if marks == [False, False] and account.get("is_bot") is False else Membership.UNKNOWN


def _is_home(account: Mapping[str, object], team_id: str) -> bool:
    """Whether the account is of this workspace; in an Enterprise organisation, one of those it belongs to."""
    organisation = account.get("enterprise_user")
    teams = organisation.get("teams") if isinstance(organisation, Mapping) else None
    return account.get("team_id") == team_id or (isinstance(teams, list) and team_id in teams)
