"""Stops and freezes in chat: who may make and end them, what people are told, and cards brought up to date."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import assert_never

import structlog

from opsbot import commands
from opsbot.actions import Catalogue
from opsbot.answers import action_text, holds_table
from opsbot.background import guarded
from opsbot.checkpoint import Checkpoint
from opsbot.desk import ApprovalDesk
from opsbot.domain import Actor, Approval, ApprovalState, AuditEntry, Json, Place, Report, Table
from opsbot.errors import AlreadyDecided, NotAllowed
from opsbot.executor import Executor
from opsbot.holdings import Holdings
from opsbot.holds import FILE, Hold, HoldKind, holding, read_scope, told, told_why
from opsbot.periods import read_end
from opsbot.policy import TERMINAL_TEAM, PolicyRules, may_approve
from opsbot.ports import Clock, Store

log = structlog.get_logger(__name__)

_STALE = "What became stale meanwhile has to be asked for anew."


@dataclass(slots=True)
class Stopping:
    """Answers the commands. `notice` is to be called now and then: it sees what was done outside this process."""

    store: Store
    catalogue: Catalogue
    executor: Executor
    desk: ApprovalDesk
    rules: PolicyRules
    clock: Clock
    _known: frozenset[str] = frozenset()
    _stopped: bool = field(default=False)

    @property
    def checkpoint(self) -> Checkpoint:
        return self.executor.checkpoint

    @property
    def _holdings(self) -> Holdings:
        return Holdings(self.store.holds, self.clock)

    async def answer(self, command: commands.Brake, actor: Actor, place: Place) -> Report:
        """Do what was asked, and say what came of it. Whoever comes here may ask.

        Raises:
            BadArguments, NotAllowed, AlreadyDecided: it cannot be done, or not by this person.
        """
        match command:
            case commands.Freeze():
                return await self._freeze(command, actor, place)
            case commands.Unfreeze():
                return await self._unfreeze(command, actor, place)
            case commands.ListFreezes():
                return await self.listed()
            case commands.StopAll(reason):
                return await self._stop(reason, actor, place)
            case commands.ResumeAll(reason):
                return await self._resume(reason, actor, place)
            case _:
                assert_never(command)

    # --- freezes -----------------------------------------------------------------------------------------------------

    async def _freeze(self, command: commands.Freeze, actor: Actor, place: Place) -> Report:
        inventory = self.catalogue.inventory
        scope = read_scope(command.scope, inventory.hosts, inventory.groups)
        until = read_end(command.period, self.clock.now())
        hold = await self._holdings.freeze(scope, actor.key, reason=command.reason, until=until, place=place.key)
        await guarded("standing", self.desk.check_standing())
        log.warning("freeze.made", hold=hold.id, scope=str(hold.scope), by=actor.key)
        await self._look()
        text = f"{told(hold)} Nothing new is asked for or begun there; `unfreeze {hold.id} because …` ends it."
        return Report(text, tables=_running(await self._under_way(hold)))

    async def _unfreeze(self, command: commands.Unfreeze, actor: Actor, place: Place) -> Report:
        freeze = await self._holdings.find(command.name)
        own = self.rules.person(actor) == self._person(freeze.by)
        if not own and not self._may_approve(actor):
            raise NotAllowed("A freeze is ended by whoever made it, or by an approver. Nothing was changed.")
        await self.desk.check_standing()  # what it held back counts for nothing afterwards, however short it was
        ended = await self._holdings.lift(freeze, actor.key, reason=command.reason, place=place.key)
        log.warning("freeze.lifted", hold=ended.id, by=actor.key)
        await self._look()
        return Report(f"Ended: freeze {ended.id} of {ended.scope}. {_STALE}")

    def _person(self, by: str) -> str:
        team_id, _, user_id = by.partition("/")
        return self.rules.person_of(team_id, user_id)

    def _may_approve(self, actor: Actor) -> bool:
        return may_approve(self.rules, actor, self.clock.now())

    async def listed(self) -> Report:
        """List what holds now, and what the configuration plans."""
        holds, planned = await self.checkpoint.in_force(), self.checkpoint.brakes.freezes
        rows = tuple((freeze.name, str(freeze.scope), str(freeze), freeze.reason) for freeze in planned)
        text = _headline(holds) or "Nothing holds actions back now."
        return Report(text, tables=holds_table(holds, rows))

    # --- the stop ----------------------------------------------------------------------------------------------------

    async def _stop(self, reason: str, actor: Actor, place: Place) -> Report:
        stop = await self._holdings.stop(actor.key, reason=reason, place=place.key)
        await guarded("standing", self.desk.check_standing())
        log.error("actions.stopped", hold=stop.id, by=actor.key)
        await self._look()
        running = await self._under_way(stop)
        text = (
            f"{told(stop)} Nothing new is begun, anywhere; hosts under way are finished. Reads go on. Two approvers "
            "let actions go on with `resume-all`, or whoever controls the machine with `opsbot resume`."
        )
        return Report(text if running else f"{text} Nothing is under way.", tables=_running(running))

    async def _resume(self, reason: str, actor: Actor, place: Place) -> Report:
        if actor.team_id == TERMINAL_TEAM:
            raise NotAllowed("At the terminal actions are let go on by `opsbot resume`, in a shell.")
        if not self._may_approve(actor):
            raise NotAllowed("Only approvers can say that actions may go on. They stay stopped.")
        await self.desk.check_standing()  # of a stop file no sweep may have seen
        stop = await self._stop_to_end(place)
        counted = await self._holdings.vote(stop, self.rules.person(actor), actor.key, reason=reason, place=place.key)
        if counted.ended_at is None:
            return Report("Counted. Another approver has to say `resume-all` within 15 minutes; actions stay stopped.")
        log.warning("actions.resumed", hold=counted.id, by=actor.key)
        self.checkpoint.brakes.switch.release()
        await self._look()
        still = await self.checkpoint.stopped()
        text = f"Actions stay stopped: {told_why(still)}" if still else "Actions go on: two people said so."
        return Report(f"Stop {counted.id} is over. {text} {_STALE}")

    async def _stop_to_end(self, place: Place) -> Hold:
        """Return the stop that people vote on; one of the stop file is noted in the database first.

        Raises:
            AlreadyDecided: there is none.
        """
        stops = await self._holdings.stops()
        if stops:
            return stops[0]
        thrown = self.checkpoint.brakes.switch.thrown()
        if thrown is None:
            raise AlreadyDecided("Actions are not stopped.")
        return await self._holdings.stop(thrown.by, reason=thrown.reason, place=place.key)

    # --- what people see ---------------------------------------------------------------------------------------------

    async def note(self) -> str:
        """Return what answers say while actions are stopped, "" while they are not. Raises StoreError."""
        stop = await self.checkpoint.stopped()
        return told_why(stop) if stop is not None else ""

    async def notice(self) -> None:
        """See stops and freezes made or ended elsewhere: record those of the file, bring cards up to date."""
        holds = await self.checkpoint.in_force()
        now, before = frozenset(hold.id for hold in holds), self._known
        self._known = now
        await self._note_file(holds)
        if now != before:
            log.warning("brakes.changed", begun=sorted(now - before), ended=sorted(before - now))
            await self.desk.show_open()

    async def _note_file(self, holds: Sequence[Hold]) -> None:
        """Give the stop file's coming and going its line in the audit log."""
        file = next((hold for hold in holds if hold.by.startswith(f"{FILE}/")), None)
        if (file is not None) is self._stopped:
            return
        kind = "actions.stopped" if file else "actions.resumed"
        reason, running = file.reason if file else "", await self._running_ids()
        facts: dict[str, Json] = {"hold": "file", "reason": reason, "running": running}
        await self.store.audit.append(AuditEntry(kind, self.clock.now(), file.by if file else FILE, facts=facts))
        self._stopped = file is not None

    async def _running_ids(self) -> list[Json]:
        return [approval.id for approval in await self.store.approvals.in_state(ApprovalState.EXECUTING)]

    async def _look(self) -> None:
        self._known = frozenset(hold.id for hold in await self.checkpoint.in_force())

    async def _under_way(self, hold: Hold) -> tuple[Approval, ...]:
        """Return the actions under way in a hold's scope, whichever replica carries them out."""
        running = await self.store.approvals.in_state(ApprovalState.EXECUTING)
        now = self.clock.now()
        return tuple(each for each in running if holding([hold], *self.executor.scrutiny.touches(each), now))


def _headline(holds: Sequence[Hold]) -> str:
    stop = next((hold for hold in holds if hold.kind is HoldKind.STOP), None)
    return told_why(stop) if stop else ""


def _running(approvals: Sequence[Approval]) -> tuple[Table, ...]:
    rows = tuple((approval.id, action_text(approval), ", ".join(approval.untouched) or "-") for approval in approvals)
    return (Table(("id", "action", "hosts without an end yet"), rows, "Under way"),) if rows else ()
