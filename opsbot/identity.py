"""Who somebody is now: looked up anew for each event, each call and each execution, never taken from a record."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import structlog

from opsbot.domain import Actor, Membership
from opsbot.errors import ChatError
from opsbot.policy import TERMINAL_TEAM, PolicyRules
from opsbot.ports import Directory

log = structlog.get_logger(__name__)

Identify: TypeAlias = Callable[[Actor], Awaitable[Actor]]


@dataclass(frozen=True, slots=True)
class Identity:
    """Asks the chat service. What cannot be read gives nobody anything: see `Actor.unread` and `Membership.UNKNOWN`."""

    directory: Directory
    rules: PolicyRules

    async def now(self, actor: Actor) -> Actor:
        """Return the person with their present membership, and those of their groups that rules name."""
        bare = Actor(actor.team_id, actor.user_id)
        if actor.team_id == TERMINAL_TEAM:
            return bare
        membership = await self._membership(bare)
        if membership is not Membership.MEMBER or not self.rules.group_ids:
            return replace(bare, membership=membership)
        try:
            groups = await self.directory.groups_of(bare)
        except ChatError as error:
            log.warning("directory.unavailable", error=str(error))
            return replace(bare, unread=self.rules.group_ids)
        return replace(bare, groups=groups & self.rules.group_ids)

    async def _membership(self, actor: Actor) -> Membership:
        try:
            return await self.directory.membership_of(actor)
        except ChatError as error:
            log.warning("directory.unavailable", error=str(error))
            return Membership.UNKNOWN


async def unchanged(actor: Actor) -> Actor:
    """Return the person as recorded: where nobody can be looked up."""
    return actor


def account(actor: Actor) -> Actor:
    """Return which account it is, and nothing that may change until it is asked again."""
    return Actor(actor.team_id, actor.user_id)
