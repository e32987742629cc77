"""Commands that only look: answered by code, recorded, and still answered while nothing can be recorded."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import structlog

from opsbot import answers, commands, grammar
from opsbot.actions import Catalogue, Prepared
from opsbot.delivery import Delivery
from opsbot.domain import (
    AuditEntry,
    Content,
    Incoming,
    IncomingCommand,
    IncomingDecision,
    IncomingMessage,
    IncomingReportClick,
    IncomingReportEdit,
    IncomingStop,
    Json,
    Report,
    Risk,
    Text,
)
from opsbot.errors import OpsbotError, StoreError
from opsbot.executor import Executor
from opsbot.intake import Intake
from opsbot.minutes import Minutes
from opsbot.ports import AuditLog, Clock
from opsbot.reads import FanOut
from opsbot.schema import typed_words
from opsbot.sightings import sighting

log = structlog.get_logger(__name__)

# After this long a command says that it is still at work.
_PATIENCE_S = 2.5
# An answer does not wait longer than this for its record.
_RECORD_S = 2.0
# Keys of events that could not be written, kept so that each is answered once.
_REMEMBERED = 1000


@dataclass(slots=True)
class Looks:
    """Runs reading tools for commands. What is looked at is recorded; if it cannot be, the answer says so."""

    catalogue: Catalogue
    executor: Executor
    intake: Intake
    audit: AuditLog
    delivery: Delivery
    clock: Clock
    _writing: set["asyncio.Task[str]"] = field(default_factory=set)
    _told: dict[str, None] = field(default_factory=dict)

    async def answer(self, event: IncomingCommand, prepared: Prepared) -> Report:
        """Look, record it, and return what to say."""
        outcome = await self._look(event, prepared)
        missing = await self._recorded(self._entry(event, prepared, outcome))
        return _flagged(answers.read_report(prepared, outcome, self.intake), missing)

    async def _look(self, event: IncomingCommand, prepared: Prepared) -> FanOut:
        reading = asyncio.ensure_future(self.executor.read(prepared))
        done, _ = await asyncio.wait({reading}, timeout=_PATIENCE_S)
        if not done:
            where = f"{len(prepared.hosts)} hosts" if len(prepared.hosts) != 1 else prepared.hosts[0].name
            limit = f"{prepared.tool.timeout_s:g} s"
            text = f"Still looking at {where}; a host that does not answer is given up after {limit}."
            await self._tell(event, Text(text, trusted=True))
        return await reading

    def _entry(self, event: IncomingCommand, prepared: Prepared, outcome: FanOut) -> AuditEntry:
        hosts: list[Json] = [*prepared.action.hosts]
        asked: Mapping[str, Json] = {**prepared.action.arguments, **({"hosts": hosts} if hosts else {})}
        answer = outcome.as_json(sighting(prepared, self.clock.now()))
        minutes = Minutes(self.intake)
        return minutes.read(
            event.place, event.actor, self.clock.now(), tool=prepared.tool.name, asked=asked, answer=answer
        )

    async def _recorded(self, entry: AuditEntry) -> str:
        """Write the record; return why it is not there, or not yet. Looking is harmless, so it does not wait for it."""
        writing = asyncio.create_task(self._write(entry))
        self._writing.add(writing)
        writing.add_done_callback(self._writing.discard)
        done, _ = await asyncio.wait({writing}, timeout=_RECORD_S)
        return writing.result() if done else f"my database takes more than {_RECORD_S:g} s to write."

    async def _write(self, entry: AuditEntry) -> str:
        try:
            await self.audit.append(entry)
        except StoreError as error:
            log.error("audit.not_written", kind=entry.kind, actor=entry.actor, error=str(error))
            return str(error)
        return ""

    # --- without a database ------------------------------------------------------------------------------------------

    def is_new(self, keys: Sequence[str]) -> bool:
        """Whether none of these keys was seen here before; remembers the newest ones."""
        known = self._told.keys().isdisjoint(keys)
        self._told |= dict.fromkeys(keys)
        for old in list(self._told)[:-_REMEMBERED]:
            del self._told[old]
        return known

    async def unrecorded(self, event: Incoming, error: StoreError) -> None:
        """Do what can be done about an event that could not be written down, and say what cannot."""
        content: Content | None
        match event:
            case IncomingCommand():
                content = await self._unrecorded_command(event, error)
            case IncomingDecision() | IncomingReportClick():
                content = _refused(
                    f"This click does not count, and nothing was run: {error} Press it again after that."
                )
            case IncomingMessage() if event.addressed or event.place.direct:
                content = _refused(f"I cannot answer, since I can write nothing down: {error} {_STILL}")
            case IncomingMessage() | IncomingStop() | IncomingReportEdit():
                content = None
        if content is not None:
            await self._tell(event, content)

    async def _unrecorded_command(self, event: IncomingCommand, error: StoreError) -> Content:
        try:
            prepared = self._reading(grammar.parse(event.text))
            if prepared is None:
                return _refused(f"Nothing was done, since I can write nothing down: {error} {_STILL}")
            outcome = await self._look(event, prepared)
        except OpsbotError as refusal:
            return _refused(str(refusal))
        entry = self._entry(event, prepared, outcome)
        log.error("audit.not_written", kind=entry.kind, actor=entry.actor, facts=dict(entry.facts), error=str(error))
        return replace(_flagged(answers.read_report(prepared, outcome, self.intake), str(error)), charts=())

    def _reading(self, command: commands.Command) -> Prepared | None:
        """Return what the command would look at; None for every other command."""
        match command:
            case commands.Read():
                return self.catalogue.from_words(command.tool, command.hosts, dict(command.arguments))
            case commands.Propose():
                tool = self.catalogue.registry.get(command.tool)
                if tool.risk is not Risk.READ:
                    return None
                words = {name: str(value) for name, value in command.arguments}
                return self.catalogue.from_words(command.tool, command.hosts, typed_words(tool, words))
            case _:
                return None

    async def _tell(self, event: Incoming, content: Content) -> None:
        reply_to = event.reply_to if isinstance(event, IncomingCommand | IncomingDecision) else ""
        await self.delivery.whisper(event.place, event.actor, content, reply_to=reply_to)


_STILL = "Commands that only look go on, as `/ops status HOST`."


def _flagged(report: Report, missing: str) -> Report:
    """Say in front of an answer that it is not in the audit log."""
    if not missing:
        return report
    note = f"Not recorded in the audit log: {missing} Looking goes on; nothing can be changed until that is over."
    return replace(report, text=f"{note}\n{report.text}".strip())


def _refused(text: str) -> Text:
    return Text(text, trusted=True)
