"""Stops and freezes as people make and end them: each change once, with its audit record."""

from dataclasses import dataclass
from datetime import datetime

from opsbot.domain import AuditEntry, Json
from opsbot.errors import AlreadyDecided, BadArguments, Conflict
from opsbot.holds import Hold, HoldKind, Scope, Where, lift, new_id, vote
from opsbot.ports import Clock, Holds


@dataclass(frozen=True, slots=True)
class Holdings:
    """The holds in the database. `by` is who does it, as `Hold` says; `place` where, for the audit."""

    holds: Holds
    clock: Clock

    async def freeze(self, scope: Scope, by: str, *, reason: str, until: datetime | None, place: str = "") -> Hold:
        """Make a freeze; the very same one that stands already is returned instead."""
        for known in await self.holds.standing():
            same = (known.kind, known.scope, known.by, known.reason) == (HoldKind.FREEZE, scope, by, reason)
            if same and known.until == until and known.in_force(self.clock.now()):
                return known
        freeze = Hold(new_id(), HoldKind.FREEZE, scope, by, self.clock.now(), reason, until)
        await self.holds.add(freeze, self._entry(freeze, "freeze.made", by, place))
        return freeze

    async def stop(self, by: str, *, reason: str, place: str = "") -> Hold:
        """Stop every action; a stop that stands already is returned instead."""
        stops = await self.stops()
        if stops:
            return stops[0]
        stop = Hold(new_id(), HoldKind.STOP, Scope(Where.ALL), by, self.clock.now(), reason)
        await self.holds.add(stop, self._entry(stop, "actions.stopped", by, place))
        return stop

    async def stops(self) -> tuple[Hold, ...]:
        """Return the stops that stand, oldest first."""
        return tuple(hold for hold in await self.holds.standing() if hold.kind is HoldKind.STOP)

    async def find(self, name: str) -> Hold:
        """Return the standing freeze with this id, or the only one with this scope.

        Raises:
            BadArguments: there is none, or several.
        """
        now = self.clock.now()
        standing = [hold for hold in await self.holds.standing() if hold.in_force(now)]
        freezes = [hold for hold in standing if hold.kind is HoldKind.FREEZE]
        by_id = [hold for hold in freezes if hold.id == name.upper()]
        found = by_id or [hold for hold in freezes if name in (str(hold.scope), hold.scope.name)]
        if len(found) == 1:
            return found[0]
        if found:
            raise BadArguments(f"Several freezes fit: {', '.join(hold.id for hold in found)}. Name one by its id.")
        raise BadArguments(f"There is no freeze {name[:40]!a}. `freezes` lists them.")

    async def lift(self, freeze: Hold, by: str, *, reason: str, place: str = "") -> Hold:
        """End a freeze. Raises AlreadyDecided."""
        ended = lift(freeze, by, reason=reason, now=self.clock.now())
        try:
            return await self.holds.change(ended, self._entry(ended, "freeze.lifted", by, place))
        except Conflict as error:
            raise AlreadyDecided(f"Freeze {freeze.id} was ended by somebody else just now.") from error

    async def vote(self, stop: Hold, person: str, by: str, *, reason: str, place: str = "") -> Hold:
        """Count one person's word that actions may go on; with the second one's they do. See `holds.vote`.

        Raises:
            NotAllowed: this person's word is counted already.
            AlreadyDecided: it is over.
        """
        while True:
            counted = vote(stop, person, by, reason=reason, now=self.clock.now())
            kind = "actions.resumed" if counted.ended_at else "actions.resume_asked"
            try:
                return await self.holds.change(counted, self._entry(counted, kind, by, place))
            except Conflict as error:
                stops = [each for each in await self.stops() if each.id == stop.id]
                if not stops:
                    raise AlreadyDecided(f"Stop {stop.id} was ended by somebody else just now.") from error
                stop = stops[0]

    async def resume(self, by: str, *, reason: str) -> tuple[Hold, ...]:
        """End every stop, for whoever controls the machine anyway. Raises AlreadyDecided, Conflict."""
        ended = []
        for stop in await self.stops():
            over = lift(stop, by, reason=reason, now=self.clock.now())
            ended.append(await self.holds.change(over, self._entry(over, "actions.resumed", by, "")))
        return tuple(ended)

    def _entry(self, hold: Hold, kind: str, actor: str, place: str) -> AuditEntry:
        facts: dict[str, Json] = {
            "hold": hold.id,
            "scope": str(hold.scope),
            "reason": hold.end_reason or hold.reason,
            "until": hold.until.isoformat() if hold.until else "",
            "votes": [who for who, _ in hold.votes],
        }
        return AuditEntry(kind, self.clock.now(), actor, place, facts=facts)
