"""The use cases: events in, each handled once in its own task; recovery at start; sweeps; an orderly end."""

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import assert_never

import structlog

from opsbot import answers, commands, replies, standing
from opsbot.actions import Catalogue, Prepared
from opsbot.alarms import Alarms
from opsbot.approvals import is_approver
from opsbot.background import Background, guarded
from opsbot.delivery import Delivery
from opsbot.desk import ApprovalDesk
from opsbot.dialogue import Dialogue
from opsbot.domain import (
    Actor,
    Approval,
    ApprovalState,
    AuditEntry,
    Chart,
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
    Report,
    Risk,
    Text,
    ToolResult,
    UserMessage,
    Verdict,
)
from opsbot.errors import BadArguments, ChatError, Fenced, OpsbotError, StoreError, TooManyMessages, audited
from opsbot.escalation import Escalation
from opsbot.executor import Executor
from opsbot.identity import Identify
from opsbot.intake import Intake
from opsbot.life import Life, Organs
from opsbot.looking import Looks
from opsbot.metering import Meter
from opsbot.minutes import Minutes
from opsbot.notes import POINTED_AT
from opsbot.overhearing import Overhearing
from opsbot.pictures import told
from opsbot.policy import TERMINAL_TEAM, PolicyRules, may_ask
from opsbot.ports import Clock, Store
from opsbot.recorder import Recorder
from opsbot.replica import Replica
from opsbot.reporting import Reporting
from opsbot.rollout import pause_text
from opsbot.sampling import Sampling
from opsbot.schema import typed_words
from opsbot.seals import Pressed
from opsbot.shelving import Shelving
from opsbot.sights import Sights
from opsbot.stopping import Stopping
from opsbot.strangers import Strangers
from opsbot.takeover import Takeover
from opsbot.throttle import Throttle
from opsbot.usage import UsageReports

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Parts:
    """What the service works with; put together by bootstrap."""

    store: Store
    replica: Replica
    identify: Identify
    catalogue: Catalogue
    executor: Executor
    rules: PolicyRules
    intake: Intake
    clock: Clock
    delivery: Delivery
    desk: ApprovalDesk
    escalation: Escalation
    dialogue: Dialogue
    recorder: Recorder
    sampling: Sampling
    shelving: Shelving
    throttle: Throttle
    stopping: Stopping
    looks: Looks
    strangers: Strangers
    meter: Meter
    usage: UsageReports
    reporting: Reporting
    alarms: Alarms
    sights: Sights
    overhearing: Overhearing
    bot_name: str = "opsbot"

    @property
    def organs(self) -> Organs:
        """The parts that live."""
        return Organs(
            self.store,
            self.replica,
            self.executor,
            self.clock,
            self.delivery,
            self.desk,
            self.dialogue,
            self.escalation,
            self.recorder,
            self.sampling,
            self.shelving,
            self.stopping,
            self.meter,
        )


class Service:
    """Implements `ports.Handler`."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._background = Background()
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
                await self._on_command(event, item)
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
            commands.check_visible(event.text)
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
        message = UserMessage(text, _account(event.actor), item.received_at, pictures)
        await self._parts.dialogue.hear(event.place, message, before=before, beside=beside)

    async def _on_decision(self, event: IncomingDecision) -> None:
        if event.verb == "plan":
            known = await self._parts.store.approvals.get(event.approval_id)
            if known is None or not is_approver(known, event.actor):
                await self._check_may_ask(event)
            await self._tell(event, await self._plan(event.approval_id))
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

    async def _plan(self, approval_id: str) -> Report:
        """Show what approving would do; once that is decided, what became of it."""
        approval = await self._approval(approval_id)
        if approval.state is not ApprovalState.PENDING:
            return await self._explain(approval.id)
        hosts = self._parts.catalogue.current_hosts(approval.action)
        return answers.plan_report(approval, hosts, self._parts.rules.rollout)

    async def _approval(self, approval_id: str) -> Approval:
        approval = await self._parts.store.approvals.get(approval_id.strip().upper())
        if approval is None:
            raise BadArguments(f"There is no request {approval_id[:20]!r}. `approvals` lists the open ones.")
        return approval

    async def _on_stop(self, event: IncomingStop) -> None:
        await self._check_may_ask(event)
        if not self._parts.dialogue.stop(event.place, event.actor):
            await self._tell(event, Text("Nothing is running in this thread.", trusted=True))

    # --- commands ----------------------------------------------------------------------------------------------------

    async def _on_command(self, event: IncomingCommand, item: InboxItem) -> None:
        await self._check_may_ask(event)
        match commands.parse(event.text):
            case commands.Read() as read:
                await self._answer_read(event, item, read)
            case commands.Propose() as proposal:
                await self._propose(event, item, proposal)
            case commands.Ask(text):
                await self._ask(event, item, text)
            case commands.ListTools() | commands.ListApprovals() | commands.ShowUsage() as listing:
                await self._reply(event, item, await self._listed(listing, event.actor))
            case commands.Explain(approval_id):
                await self._reply(event, item, await self._explain(approval_id))
            case commands.Withdraw() | commands.LeaveOut() as amendment:
                await self._amend(event, item, amendment)
            case commands.Reset():
                await self._reset(event, item)
            case commands.TakeAlert() | commands.MakeReport() as incident:
                await self._on_incident(event, item, incident)
            case commands.Help():
                await self._reply(event, item, await self._noted(answers.help_report(self._parts.bot_name)))
            case _ as brake:
                await self._brake(event, item, brake)

    async def _answer_read(self, event: IncomingCommand, item: InboxItem, read: commands.Read) -> None:
        await self._show(event, item, self._parts.catalogue.from_words(read.tool, read.hosts, dict(read.arguments)))

    async def _show(self, event: IncomingCommand, item: InboxItem, prepared: Prepared) -> None:
        await self._reply(event, item, await self._noted(await self._parts.looks.answer(event, prepared)))

    async def _noted(self, report: Report) -> Report:
        """Say in front of an answer that actions are stopped, while they are."""
        try:
            note = await self._parts.stopping.note()
        except StoreError:
            return report  # which says so itself
        return replace(report, text=f"{note}\n{report.text}".strip()) if note else report

    async def _brake(self, event: IncomingCommand, item: InboxItem, command: commands.Brake) -> None:
        report = await self._parts.stopping.answer(command, event.actor, event.place)
        self._background.begin_guarded("cards", self._parts.desk.show_open())
        await self._reply(event, item, report)

    async def _propose(self, event: IncomingCommand, item: InboxItem, proposal: commands.Propose) -> None:
        tool = self._parts.catalogue.registry.get(proposal.tool)
        arguments = typed_words(tool, {name: str(value) for name, value in proposal.arguments})
        if proposal.hosts and not tool.takes_host:
            raise BadArguments(f"{tool.name} is not about a host; leave {' '.join(proposal.hosts)[:80]!a} out.")
        prepared = self._parts.catalogue.from_words(proposal.tool, proposal.hosts, arguments)
        if tool.risk is Risk.READ:
            await self._show(event, item, prepared)
            return
        approval = await self._parts.desk.propose(
            event.place, event.actor, prepared, call_id=f"command:{item.id}", reason=proposal.reason
        )
        text = f"Asked as request {approval.id}: somebody who may approve it has to press the button on the card."
        if approval.stands_on:
            text = f"Request {approval.id} runs now: request {approval.stands_on} was approved for a while."
        await self._tell(event, Text(text, trusted=True))

    async def _ask(self, event: IncomingCommand, item: InboxItem, text: str) -> None:
        """Give a question from a slash command a thread of its own."""
        place = event.place
        if not place.thread_id:
            opening = Text(f"<@{event.actor.user_id}> asks: {text}", trusted=True)
            ref = await self._parts.delivery.send(f"ask:{item.id}", place, opening)
            if ref is None:
                raise ChatError("Slack did not take the message just now; please ask again.")
            place = replace(place, thread_id=ref.message_id)
        message = UserMessage(text, _account(event.actor), item.received_at)
        await self._parts.dialogue.hear(place, message)

    async def _on_incident(
        self, event: IncomingCommand, item: InboxItem, command: commands.TakeAlert | commands.MakeReport
    ) -> None:
        if isinstance(command, commands.TakeAlert):
            await self._take_alert(event, item, command.text)
        else:
            await self._parts.reporting.make(event.place, event.actor, f"command:{item.id}")

    async def _take_alert(self, event: IncomingCommand, item: InboxItem, text: str) -> None:
        """Look into an alert, in the thread or in one of its own that begins with how it was read."""
        alert = await self._parts.alarms.read(text, event.actor, event.place)
        ref = await self._parts.delivery.send(f"alert:{item.id}", event.place, Text(alert.line, trusted=True))
        place = event.place
        if not place.thread_id:
            if ref is None:
                raise ChatError("Slack did not take the message just now; please ask again.")
            place = replace(place, thread_id=ref.message_id)
        await self._parts.dialogue.hear(place, UserMessage(alert.text, _account(event.actor), item.received_at))

    async def _listed(
        self, listing: commands.ListTools | commands.ListApprovals | commands.ShowUsage, actor: Actor
    ) -> Report:
        match listing:
            case commands.ListTools():
                return answers.tools_report(self._parts.catalogue)
            case commands.ListApprovals():
                return await self._open_approvals()
            case commands.ShowUsage():
                return await self._parts.usage.answer(listing, actor)

    async def _open_approvals(self) -> Report:
        states = (ApprovalState.PENDING, ApprovalState.APPROVED, ApprovalState.EXECUTING, ApprovalState.UNKNOWN)
        now = self._parts.clock.moment()
        lately = await self._parts.store.approvals.since(now.at - standing.LONGEST)
        holds = await self._parts.executor.checkpoint.in_force()
        return answers.approvals_report(await self._parts.store.approvals.in_state(*states), lately, now, holds=holds)

    async def _explain(self, approval_id: str) -> Report:
        approval = await self._approval(approval_id)
        return answers.explain_report(approval, await self._parts.store.audit.about(approval.id))

    async def _amend(
        self, event: IncomingCommand, item: InboxItem, amendment: commands.Withdraw | commands.LeaveOut
    ) -> None:
        approval, desk = await self._approval(amendment.approval_id), self._parts.desk
        if isinstance(amendment, commands.Withdraw):
            said = replies.withdrawn(await desk.withdraw(approval.id, event.actor, pressed=None))
        else:
            said = replies.narrowed(await desk.narrow(approval.id, event.actor, amendment.hosts, pressed=None))
        await self._reply(event, item, Text(said, trusted=True))

    async def _reset(self, event: IncomingCommand, item: InboxItem) -> None:
        if not event.place.thread_id:
            raise BadArguments("A reset is for one thread: write `!reset` in it, mentioning me in a channel.")
        await self._parts.dialogue.reset(event.place, event.actor)
        await self._reply(event, item, Text("Forgotten. Open requests and the audit stay.", trusted=True))

    async def _reply(self, event: IncomingCommand, item: InboxItem, content: Content) -> None:
        """Answer a slash command privately, a `!command` in its thread; charts follow the answer they belong to."""
        charts: tuple[Chart, ...] = ()
        if isinstance(content, Report):
            content, charts = replace(content, charts=()), content.charts
        private = bool(event.reply_to) or not event.place.thread_id
        if private:
            await self._tell(event, content)
        else:
            await self._parts.delivery.send(f"command:{item.id}", event.place, content)
        await self._parts.delivery.pictures(event.place, event.actor, charts, private=private, reply_to=event.reply_to)

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
    return isinstance(event, IncomingCommand) and event.text.strip().split(" ")[0].lower() in commands.URGENT


def _account(actor: Actor) -> Actor:
    """Which account it is, and nothing that may change until it is asked again."""
    return Actor(actor.team_id, actor.user_id)
