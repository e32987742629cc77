"""SlackDirectory: who is in which user group, cached for a minute, failing closed."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from opsbot.adapters.slack.web import Refused, Web
from opsbot.domain import Actor
from opsbot.errors import ChatError

_log = structlog.get_logger()

_FRESH_S = 60.0
# When Slack cannot be asked, an older answer counts until then; after that nobody is in any group.
_USABLE_S = 600.0
_GONE = frozenset({"no_such_subteam", "subteam_not_found"})


@dataclass(frozen=True, slots=True)
class _Members:
    user_ids: frozenset[str]
    read_at: float


class SlackDirectory:
    """Knows the user groups that configuration names; user groups are a Tier 2 method (20 calls per minute)."""

    def __init__(self, web: Web, *, team_id: str, group_ids: Iterable[str]) -> None:
        self._web = web
        self._team_id = team_id
        self._group_ids = tuple(sorted(group_ids))
        self._known: dict[str, _Members] = {}
        self._one_reader = asyncio.Lock()

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
