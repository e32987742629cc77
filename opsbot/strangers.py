"""Those who are no people of the workspace: never heard, but written down, and told why where they can be."""

import structlog

from opsbot.delivery import Delivery
from opsbot.domain import Actor, AuditEntry, Membership, Place, Text
from opsbot.errors import TooManyMessages
from opsbot.ports import AuditLog, Clock
from opsbot.throttle import Rates, Throttle

log = structlog.get_logger(__name__)

# Lines in a minute, of all and of each: whoever is kept out must not fill the audit log.
_RATES = Rates(messages=60, messages_per_person=10)
_TOLD = "Nothing was done: I work only for members of this workspace, and your account belongs to another one."


class Strangers:
    """Notes who was turned away at the door, before anything was read of what they said."""

    def __init__(self, audit: AuditLog, delivery: Delivery, clock: Clock) -> None:
        self._audit = audit
        self._delivery = delivery
        self._clock = clock
        self._throttle = Throttle(clock, _RATES)

    async def turn_away(self, actor: Actor, place: Place, entrance: str, *, reply_to: str = "") -> None:
        """Write one line, and tell a person who used a button or a command. What comes too often is only logged."""
        try:
            self._throttle.take(actor.key)
        except TooManyMessages:
            log.warning("stranger.refused", actor=actor.key, entrance=entrance)
            return
        facts = {"entrance": entrance, "rule": f"person.{actor.membership}"}
        await self._audit.append(AuditEntry("person.refused", self._clock.now(), actor.key, place.key, facts=facts))
        if reply_to and actor.membership is Membership.FOREIGN and self._throttle.tells(actor.key):
            await self._delivery.whisper(place, actor, Text(_TOLD, trusted=True), reply_to=reply_to)
