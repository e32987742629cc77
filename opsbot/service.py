"""The use cases: events in, each handled once in its own task; recovery at start; sweeps; an orderly end."""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import assert_never

import structlog

from opsbot import grammar, replies
from opsbot.answering import Answering
from opsbot.approvals import is_approver
from opsbot.background import Background, guarded
from opsbot.command_forms import URGENT
from opsbot.domain import (
    Actor,
    Approval,
    AuditEntry,
    Content,
    InboxItem,
    Incoming,
    IncomingCommand,
    IncomingDecision,
    IncomingMessage,
    IncomingReportClick,
    IncomingReportEdit,
    IncomingStop,
    MessageRef,
    OrderVerb,
    Place,
    Text,
    ToolResult,
    UserMessage,
    Verdict,
)
from opsbot.errors import BadArguments, Fenced, OpsbotError, StoreError, TooManyMessages, audited
from opsbot.identity import account
from opsbot.inquiries import Inquiries
from opsbot.life import Life
from opsbot.minutes import Minutes
from opsbot.notes import POINTED_AT
from opsbot.parts import Parts
from opsbot.pictures import told
from opsbot.policy import TERMINAL_TEAM, may_ask
from opsbot.rollout import pause_text
from opsbot.seals import Pressed
from opsbot.takeover import Takeover

log = structlog.get_logger(__name__)


class Service:
    """Implements `ports.Handler`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._background = Background()
        self._inquiries = Inquiries(parts.store, parts.catalogue, parts.executor, parts.rules, parts.clock)
        self._answering = Answering(parts, self._background, self._inquiries)
        self._takeover = Takeover(
            store=parts.store,
            replica=parts.replica,
            delivery=parts.delivery,
            desk=parts.desk,
            dialogue=parts.dialogue,
            clock=parts.clock,
            background=self._background,
            handle=self._handle,
        )
        self._life = Life(parts.organs, self._background, self._takeover.adopt, self._handle)

    # --- events in ---------------------------------------------------------------------------------------------------

    async def accept(self, keys: Sequence[str], event: Incoming) -> bool:
        """Write the event to the inbox and handle it in the background; False for a duplicate."""
        if not self._let_in(event):
            return True
        received_at = self._parts.clock.now()
        try:
            item_id = await self._parts.store.inbox.accept(keys, event, received_at)
        except Fenced:
            raise  # not acknowledged: other replicas work on
        except StoreError as error:
            log.error("event.not_written", error=str(error))
            if self._parts.looks.is_new(keys):
                self._background.begin_guarded("unrecorded", self._unrecorded(event, error))
            if isinstance(event, IncomingMessage | IncomingReportEdit):
                raise  # not acknowledged: it comes again, perhaps to a database that works
            return True
        if item_id is None:
            return False
        self._background.begin(self._handle(InboxItem(item_id, event, received_at)))
        return True

    def _let_in(self, event: Incoming) -> bool:
        """Whether there is room for it. What stops or decides anything is always let in."""
        if isinstance(event, IncomingDecision | IncomingStop | IncomingReportEdit) or _urgent(event):
            return True
        person = self._parts.rules.person(event.actor)
        try:
            self._parts.throttle.take(person)
        except TooManyMessages as error:
            log.warning("event.kept_out", actor=event.actor.key)
            if self._parts.throttle.tells(person):
                self._background.begin_guarded("kept out", self._keep_out(event, error))
            return False
        return True

    async def _keep_out(self, event: Incoming, error: TooManyMessages) -> None:
        """Tell somebody whose message was not read, and write it down: once in a while, not for each."""
        await self._tell(event, Text(str(error), trusted=True))
        await self._record_refusal(event, error)

    async def knows(self, place: Place) -> bool:
        """Whether there is a conversation in this thread."""
        return (await self._parts.store.conversations.load(place)).version > 0

    async def faults(self, edit: IncomingReportEdit) -> Mapping[str, str]:
        """Say what keeps a report from being changed so."""
        return await self._parts.reporting.faults(replace(edit, actor=await self._parts.identify(edit.actor)))

    def turn_away(self, actor: Actor, place: Place, entrance: str, *, reply_to: str = "") -> None:
        """Note somebody who is no person of the workspace."""
        noted = self._parts.strangers.turn_away(actor, place, entrance, reply_to=reply_to)
        self._background.begin_guarded("turned away", noted)

    async def _handle(self, item: InboxItem) -> None:
        """Dispatch one event. The service boundary: whatever escapes is logged with an id, and the person told."""
        event = item.event
        with structlog.contextvars.bound_contextvars(thread_id=event.place.key, event_id=item.id):
            try:
                if await self._takeover.hand_over(item):
                    return
                await self._dispatch(item)
            except Fenced:
                raise
            except StoreError as error:
                log.error("event.postponed", error=str(error))
                if self._life.postpone(item):
                    text = f"I cannot use my database just now, so nothing was done. I keep it and try again. {error}"
                    await self._tell(event, Text(text, trusted=True))
                return
            except OpsbotError as error:
                log.info("event.refused", error=type(error).__name__)
                await guarded("audit", self._record_refusal(event, error))
                await self._tell(event, Text(str(error), trusted=True))
            except Exception:
                error_id = secrets.token_hex(4)
                log.exception("event.failed", error_id=error_id)
                text = f"Something went wrong on my side (error {error_id}); my log has the rest under that id."
                await self._tell(event, Text(text, trusted=True))
            await guarded("inbox", self._parts.store.inbox.finish(item.id))

    async def _unrecorded(self, event: Incoming, error: StoreError) -> None:
        """Handle an event without its row in the inbox, for people who may ask at all."""
        event = replace(event, actor=await self._parts.identify(event.actor))
        decision = may_ask(self._parts.rules, event.actor)
        if decision.verdict is not Verdict.ALLOW:
            await self._tell(event, Text(decision.reason, trusted=True))
        elif isinstance(event, IncomingStop):
            await self._on_stop(event)
        else:
            await self._parts.looks.unrecorded(event, error)

    async def _record_refusal(self, event: Incoming, error: OpsbotError) -> None:
        """Give whatever was turned away a line in the audit log, unless it has one."""
        if error.audited:
            return
        minutes, now = Minutes(self._parts.intake), self._parts.clock.now()
        record = minutes.refusal(event.place, event.actor, now, entrance=type(event).__name__, error=error)
        await self._parts.store.audit.append(record)

    async def _dispatch(self, item: InboxItem) -> None:
        event = self._taken_in(replace(item.event, actor=await self._parts.identify(item.event.actor)))
        match event:
            case IncomingMessage():
                await self._on_message(event, item)
            case IncomingCommand():
                await self._check_may_ask(event)
                await self._answering.answer(event, item)
            case IncomingDecision():
                await self._on_decision(event)
            case IncomingStop():
                await self._on_stop(event)
            case IncomingReportClick() | IncomingReportEdit():
                await self._on_report(event, item)
            case _:
                assert_never(event)

    def _taken_in(self, event: Incoming) -> Incoming:
        """Clean and redact what a person typed: it goes on to the model, the store and chat. Raises BadArguments."""
        if isinstance(event, IncomingCommand):
            grammar.check_visible(event.text)
        if isinstance(event, IncomingMessage | IncomingCommand):
            return replace(event, text=self._parts.intake.text(event.text))
        return event

    async def _check_may_ask(self, event: Incoming) -> None:
        decision = may_ask(self._parts.rules, event.actor, event.place, self._parts.clock.now())
        if decision.verdict is Verdict.ALLOW:
            return
        facts = {"entrance": type(event).__name__, "rule": decision.rule}
        await self._parts.store.audit.append(
            AuditEntry("person.refused", self._parts.clock.now(), event.actor.key, event.place.key, facts=facts)
        )
        raise audited(BadArguments(decision.reason))

    async def _tell(self, event: Incoming, content: Content) -> None:
        replied = IncomingCommand | IncomingDecision | IncomingReportClick
        reply_to = event.reply_to if isinstance(event, replied) else ""
        await self._parts.delivery.whisper(event.place, event.actor, content, reply_to=reply_to)

    # --- messages, decisions, stops ----------------------------------------------------------------------------------

    async def _on_message(self, event: IncomingMessage, item: InboxItem) -> None:
        known = await self.knows(event.place)
        if not event.addressed and not known:
            return
        await self._check_may_ask(event)
        text = event.text
        beside: tuple[ToolResult, ...] = ()
        if alert := self._parts.alarms.seen_in(event.pointed_at or text):
            text = alert.text
            await self._parts.delivery.send(f"alert:{item.id}", event.place, Text(alert.line, trusted=True))
        elif event.pointed_at:
            beside = (self._parts.intake.note(POINTED_AT, self._parts.intake.text(event.pointed_at)),)
        before = () if known else await self._parts.overhearing.before(event, item.received_at)
        pictures = await self._parts.sights.of(event, first=not known)
        if trouble := told(pictures):
            await self._parts.delivery.send(f"unseen:{item.id}", event.place, Text(trouble, trusted=True))
        message = UserMessage(text, account(event.actor), item.received_at, pictures)
        await self._parts.dialogue.hear(event.place, message, before=before, beside=beside)

    async def _on_decision(self, event: IncomingDecision) -> None:
        if event.verb == "plan":
            known = await self._parts.store.approvals.get(event.approval_id)
            if known is None or not is_approver(known, event.actor):
                await self._check_may_ask(event)
            await self._tell(event, await self._inquiries.plan(event.approval_id))
            return
        at_terminal = event.actor.team_id == TERMINAL_TEAM
        pressed = None if at_terminal else Pressed(MessageRef(event.place.channel_id, event.message_id), event.seal)
        said = await self._decided(event, pressed)
        await self._tell(event, Text(said, trusted=True))

    async def _decided(self, event: IncomingDecision, pressed: Pressed | None) -> str:
        """Do what a button is for, and say what came of it."""
        desk, approval_id, actor = self._parts.desk, event.approval_id, event.actor
        if event.verb in tuple(OrderVerb):
            order = await desk.order(approval_id, actor, OrderVerb(event.verb), pressed=pressed)
            return replies.ordered(order, pause_text(self._parts.rules.rollout))
        if event.verb in replies.CLICKS:
            return replies.counted(await desk.decide(approval_id, actor, replies.CLICKS[event.verb], pressed=pressed))
        if event.verb == "withdraw":
            return replies.withdrawn(await desk.withdraw(approval_id, actor, pressed=pressed))
        if event.verb == "narrow":
            out = await desk.named(approval_id, event.chosen)
            return replies.narrowed(await desk.narrow(approval_id, actor, out, pressed=pressed))
        raise BadArguments(f"{event.verb[:20]!r} is not a decision.")

    async def _on_report(self, event: IncomingReportClick | IncomingReportEdit, item: InboxItem) -> None:
        await self._check_may_ask(event)
        reporting = self._parts.reporting
        if isinstance(event, IncomingReportEdit):
            said = Text(await reporting.edit(event))
        else:
            said = Text(await reporting.press(event, item.id), trusted=True)
        if said.markdown:
            await self._tell(event, said)

    async def _on_stop(self, event: IncomingStop) -> None:
        await self._check_may_ask(event)
        if not self._parts.dialogue.stop(event.place, event.actor):
            await self._tell(event, Text("Nothing is running in this thread.", trusted=True))

    # --- life --------------------------------------------------------------------------------------------------------

    @property
    def given_up(self) -> asyncio.Event:
        """Set once the other replicas gave this one up: it has dropped everything and must end."""
        return self._life.given_up

    async def start(self) -> None:
        """Take up whatever was left by others, and go on from there. Call once the chat service is reachable."""
        await self._life.start()

    async def idle(self) -> None:
        """Wait until no event, turn, action or sweep is under way."""
        await self._life.idle()

    async def settled(self, approval: Approval) -> None:
        """An approval reached its end: the conversation that asked for it goes on."""
        self._background.begin_guarded("wake", self._parts.dialogue.wake(approval.place))

    async def stop(self) -> None:
        """End within 20 s: running actions are waited for, turns left to other replicas or the next start."""
        await self._life.stop()


def _urgent(event: Incoming) -> bool:
    """Whether it is a command that stops or decides something."""
    return isinstance(event, IncomingCommand) and event.text.strip().split(" ")[0].lower() in URGENT
