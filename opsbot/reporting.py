"""Incident reports: written from a thread, edited by people, published once or discarded."""

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import structlog

from opsbot.actions import Catalogue
from opsbot.approvals import is_approver
from opsbot.delivery import Delivery
from opsbot.domain import (
    Actor,
    AuditEntry,
    Conversation,
    IncidentCard,
    IncomingReportClick,
    IncomingReportEdit,
    Json,
    Place,
    ToolResult,
)
from opsbot.errors import (
    AlreadyDecided,
    ApprovalError,
    BadArguments,
    ChatError,
    Conflict,
    ModelError,
    NotAllowed,
    WrongCard,
    audited,
)
from opsbot.incident_facts import Seen, facts_of, seen_in
from opsbot.incident_files import as_json, files_of, incident_of
from opsbot.incident_report import Facts, HostsSeen, IncidentReport, ReportRules, ReportState, Words
from opsbot.incident_words import Sorted, edited, instructions, reader, record_of, report_format, words_by_code
from opsbot.intake import Intake
from opsbot.metering import Account
from opsbot.policy import PolicyRules, may_approve, may_ask
from opsbot.ports import Chat, Clock, ModelRequest, Store
from opsbot.readable import time_text
from opsbot.seals import ButtonSeals
from opsbot.typed_answers import Asking

_RECORDS = 2000
_ANSWER_TOKENS = 4000
_ALPHABET = "23456789ABCDEFGHJKMNPQRSTVWXYZ"
_CLOSED = {ReportState.PUBLISHED: "report.published", ReportState.DISCARDED: "report.discarded"}
NO_MODEL = "No model is configured, so this holds only what code recorded. Edit adds the words."

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Reporting:
    """What people do with reports. `asking` None: there is no model."""

    store: Store
    chat: Chat
    delivery: Delivery
    asking: Asking | None
    catalogue: Catalogue
    rules: PolicyRules
    intake: Intake
    clock: Clock
    seals: ButtonSeals
    reports: ReportRules = field(default_factory=ReportRules)

    # --- writing -----------------------------------------------------------------------------------------------------

    async def make(self, place: Place, actor: Actor, call_id: str) -> None:
        """Write a report of the thread and show it as a draft; once for each call, also after a crash.

        Raises:
            BadArguments: not a thread, or nothing happened in it.
        """
        if not place.thread_id:
            raise BadArguments("A report is made of a thread: write `!report` there, after mentioning me.")
        report = await self.store.reports.of_call(place.key, call_id)
        if report is None:
            try:
                report = await self._written(place, actor, call_id)
            finally:
                await self.chat.status(place, "")
        await self._show(report, place)

    async def _written(self, place: Place, actor: Actor, call_id: str) -> IncidentReport:
        conversation = await self.store.conversations.load(place)
        approvals = await self.store.approvals.of_conversation(place.key)
        records = await self.store.audit.of_conversation(place.key, limit=_RECORDS)
        facts = facts_of(conversation, approvals, records)
        wholes = await self._wholes(conversation)
        seen = seen_in(conversation, approvals, self.catalogue.inventory, wholes)
        await self.chat.status(place, "is writing the report…")
        sorted_words, note = await self._worded(conversation, seen, facts, actor)
        report = self._composed(seen, facts, sorted_words)
        report = replace(report, conversation_id=place.key, call_id=call_id, requester=actor.key, note=note)
        entry = self._entry(report, "report.drafted", actor, {"writer": report.writer, "note": bool(note)})
        return await self.store.reports.add(report, entry)

    async def _wholes(self, conversation: Conversation) -> dict[str, str]:
        """Return the long results of which the conversation itself holds only the ends, as far as they are kept."""
        refs = [m.ref for m in conversation.messages if isinstance(m, ToolResult) and m.kept]
        found = [await self.store.outputs.get(conversation.id, ref) for ref in refs]
        return {output.ref: output.text for output in found if output is not None}

    def _composed(self, seen: Seen, facts: Facts, sorted_words: Sorted | None) -> IncidentReport:
        inventory = self.catalogue.inventory
        affected, healthy = (sorted_words.affected, sorted_words.healthy) if sorted_words else ((), ())
        hosts: HostsSeen = seen.sorted_hosts(affected, healthy, inventory)
        return IncidentReport(
            id="".join(secrets.choice(_ALPHABET) for _ in range(8)),
            conversation_id="",
            call_id="",
            requester="",
            created_at=self.clock.now(),
            words=sorted_words.words if sorted_words else words_by_code(facts, hosts),
            hosts=hosts,
            facts=facts,
            writer=self.asking.model.name if sorted_words and self.asking else "",
        )

    async def _worded(
        self, conversation: Conversation, seen: Seen, facts: Facts, actor: Actor
    ) -> tuple[Sorted | None, str]:
        """Ask the model for the words; without any, return why."""
        if self.asking is None:
            return None, NO_MODEL
        request = ModelRequest(
            system=instructions(seen, facts.people),
            messages=record_of(conversation, actor, self.clock.now()),
            tools=(),
            max_output_tokens=_ANSWER_TOKENS,
            prefix_key=f"opsbot-report-{conversation.place.team_id}",
            asker=actor.key,
            answer_format=report_format(seen, facts.people),
        )
        account = Account(conversation.place, f"report:{secrets.token_hex(8)}", self.rules.person(actor))
        try:
            return await self.asking.ask(request, account, reader(seen, facts.people, self.intake)), ""
        except ModelError as error:
            said = self.intake.line(str(error), limit=600)
            return None, f"{said} What follows is what code recorded: Edit adds the words, `!report` tries again."

    # --- buttons -----------------------------------------------------------------------------------------------------

    async def press(self, click: IncomingReportClick, event_id: str) -> str:
        """Do what a button of a draft is for; return what to tell whoever pressed it, "" for nothing.

        Raises:
            ApprovalError, BadArguments, ChatError: it was not done; the text says why. Refusals are audited.
        """
        report = await self._known(click.report_id)
        if report.closing == event_id:
            # The same click, taken up again after a crash.
            return "" if report.delivered else await self._deliver(report, click.place, click.actor, look=True)
        try:
            await self._check(report, click)
            return await self._done(report, click, event_id)
        except (NotAllowed, WrongCard, AlreadyDecided) as error:
            facts: dict[str, Json] = {"verb": click.verb[:20], "reason": str(error)}
            await self.store.audit.append(self._entry(report, "report.refused", click.actor, facts))
            raise audited(error) from error

    async def _done(self, report: IncidentReport, click: IncomingReportClick, event_id: str) -> str:
        match click.verb:
            case "edit":
                await self.chat.form(click.trigger, click.place, self._card(report))
                return ""
            case "publish":
                closed = await self._closed(report, ReportState.PUBLISHED, click.actor, event_id)
                return await self._deliver(closed, click.place, click.actor, look=False)
            case "discard":
                await self._show(await self._closed(report, ReportState.DISCARDED, click.actor, event_id), click.place)
                return ""
        raise BadArguments(f"{click.verb[:20]!a} is nothing that can be done with a report.")

    async def _check(self, report: IncidentReport, click: IncomingReportClick) -> None:
        await self._check_may(report, click.actor)
        _check_open(report)
        item = await self.store.outbox.get(report_key(report))
        on_its_card = item is not None and item.ref is not None and item.ref.message_id == click.message_id
        fits = self.seals.fits_report(click.seal, report.id, report.version)
        if click.place.key != report.conversation_id or not on_its_card or not fits:
            raise WrongCard("That button is not one of this draft as it stands now; read it again and use its buttons.")

    async def _check_may(self, report: IncidentReport, actor: Actor) -> None:
        """Raise NotAllowed unless the person asked for the report, or may approve something of it or at all."""
        own = self.rules.person_of(*report.requester.split("/", 1)) == self.rules.person(actor)
        allowed = may_ask(self.rules, actor)
        if (
            own
            or (self.reports.askers and allowed.verdict == "allow")
            or may_approve(self.rules, actor, self.clock.now())
        ):
            return
        approvals = await self.store.approvals.of_conversation(report.conversation_id)
        if not any(is_approver(approval, actor) for approval in approvals):
            raise NotAllowed("A report is edited and published by whoever asked for it, or by an approver.")

    async def _closed(self, report: IncidentReport, state: ReportState, actor: Actor, event_id: str) -> IncidentReport:
        """Publish or discard: one change, with its audit record, and with what can be found from now on."""
        now = self.clock.now()
        closed = replace(report, state=state, closed_by=actor.key, closed_at=now, closing=event_id)
        published = state is ReportState.PUBLISHED
        facts: dict[str, Json] = {"sha256": hashlib.sha256(as_json(closed).encode()).hexdigest()}
        entry = self._entry(closed, _CLOSED[state], actor, facts)
        try:
            return await self.store.reports.change(
                closed, entries=[entry], incident=incident_of(closed) if published else None
            )
        except Conflict as error:
            _check_open(await self._known(report.id))
            raise WrongCard("The report was changed in this very moment; read it again and use its buttons.") from error

    async def _deliver(self, report: IncidentReport, place: Place, actor: Actor, *, look: bool) -> str:
        """Do what publishing means for people. Everything here may be done again after a crash and shows once."""
        trouble = ""
        if report.state is ReportState.PUBLISHED:
            await self.delivery.send(
                f"{report_key(report)}:final", place, IncidentCard(report, final=True), recovering=look
            )
            if self.reports.channel and self.reports.channel != place.channel_id:
                where = Place(place.team_id, self.reports.channel)
                await self.delivery.send(
                    f"{report_key(report)}:channel", where, IncidentCard(report, final=True), recovering=look
                )
            try:
                await self.chat.files(place, files_of(report), look=look)
            except ChatError as error:
                trouble = (
                    f"The report is published, but its files are not: {error} `opsbot report {report.id}` prints them."
                )
        await self._show(report, place)
        await self.store.reports.change(replace(report, delivered=True))
        return trouble

    # --- the form ----------------------------------------------------------------------------------------------------

    async def faults(self, edit: IncomingReportEdit) -> Mapping[str, str]:
        """Say what keeps a draft from being changed so, by the form's field."""
        try:
            if not self._is_done(await self._known(edit.report_id), edit):
                await self._editable(edit)
        except (ApprovalError, BadArguments) as error:
            return {"title": str(error)}
        return {}

    async def edit(self, edit: IncomingReportEdit) -> str:
        """Take a person's words into the draft; return what to tell them. Raises ApprovalError, BadArguments."""
        report = await self._known(edit.report_id)
        if self._is_done(report, edit):
            return ""
        report = await self._editable(edit)
        words = self._merged(report, edit)
        editors = (*(each for each in report.editors if each != edit.actor.key), edit.actor.key)
        digest = hashlib.sha256(repr(words).encode("utf-8", "replace")).hexdigest()
        entry = self._entry(report, "report.edited", edit.actor, {"version": report.version + 1, "sha256": digest})
        try:
            changed = await self.store.reports.change(replace(report, words=words, editors=editors), entries=[entry])
        except Conflict:
            return await self._too_late(edit)
        await self._show(changed, edit.place)
        return ""

    def _is_done(self, report: IncidentReport, edit: IncomingReportEdit) -> bool:
        """Whether the very same form was taken already: it comes again after a crash, or is sent again."""
        latest = report.version == edit.version + 1 and report.editors[-1:] == (edit.actor.key,)
        return latest and report.words == self._merged(report, edit)

    def _merged(self, report: IncidentReport, edit: IncomingReportEdit) -> Words:
        return edited(report.words, edit.words, self.intake)

    async def _too_late(self, edit: IncomingReportEdit) -> str:
        """Give people back what they wrote, where somebody was faster between the check and the change."""
        said = f"{edit.words.summary}\n{edit.words.impact}".strip()
        return f"Somebody changed the report in this very moment, so yours was not taken. You wrote:\n{said}"

    async def _editable(self, edit: IncomingReportEdit) -> IncidentReport:
        report = await self._known(edit.report_id)
        if (
            not self.seals.fits_report(edit.seal, edit.report_id, edit.version)
            or edit.place.key != report.conversation_id
        ):
            raise WrongCard("This form does not belong to a report of this thread. Press Edit on its draft again.")
        await self._check_may(report, edit.actor)
        _check_open(report)
        if report.version != edit.version:
            raise AlreadyDecided("It was changed meanwhile. Copy your words, close this form and press Edit again.")
        return report

    # --- shared ------------------------------------------------------------------------------------------------------

    async def _known(self, report_id: str) -> IncidentReport:
        report = await self.store.reports.get(report_id)
        if report is None:
            raise BadArguments(f"There is no report {report_id[:20]!a}. `!report` in a thread makes one.")
        return report

    async def _show(self, report: IncidentReport, place: Place) -> None:
        await self.delivery.send(report_key(report), place, self._card(report))

    def _card(self, report: IncidentReport) -> IncidentCard:
        return IncidentCard(report, self.seals.of_report(report.id, report.version))

    def _entry(self, report: IncidentReport, kind: str, actor: Actor, facts: Mapping[str, Json]) -> AuditEntry:
        return AuditEntry(
            kind, self.clock.now(), actor.key, report.conversation_id, facts={"report": report.id, **facts}
        )


def report_key(report: IncidentReport) -> str:
    """The outbox key of a report's draft."""
    return f"report:{report.id}"


def _check_open(report: IncidentReport) -> None:
    if report.state is not ReportState.DRAFT:
        by = f"<@{report.closed_by.partition('/')[2]}>"
        raise AlreadyDecided(f"This report was {report.state} by {by} at {time_text(report.closed_at)}.")
