"""The last look at what leaves to people: no secret passes, whoever wrote the text and whatever way it came."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import assert_never

from opsbot.domain import (
    Actor,
    Approval,
    Card,
    Chart,
    Content,
    HostOutcome,
    IncidentCard,
    Json,
    MessageRef,
    Place,
    Report,
    Step,
    Table,
    Text,
    TextFile,
)
from opsbot.intake import Intake
from opsbot.ports import Chat, LiveText
from opsbot.redact import Redactor
from opsbot.threads import Thread

Redact = Callable[[str], str]


class RedactedChat:
    """Implements `ports.Chat` before another one. What hosts said is clean already; this catches everything else."""

    def __init__(self, chat: Chat, redactor: Redactor, intake: Intake) -> None:
        self._chat = chat
        self._redactor = redactor
        self._intake = intake

    async def post(self, place: Place, content: Content, *, key: str) -> MessageRef:
        return await self._chat.post(place, redacted(content, self._redactor.text), key=key)

    async def edit(self, place: Place, ref: MessageRef, content: Content) -> None:
        await self._chat.edit(place, ref, redacted(content, self._redactor.text))

    async def whisper(self, place: Place, actor: Actor, content: Content, *, reply_to: str = "") -> None:
        await self._chat.whisper(place, actor, redacted(content, self._redactor.text), reply_to=reply_to)

    async def status(self, place: Place, text: str) -> None:
        await self._chat.status(place, self._redactor.text(text))

    async def live(self, place: Place, *, key: str, asker: Actor) -> LiveText:
        return _RedactedLive(await self._chat.live(place, key=key, asker=asker), self._redactor)

    async def pictures(self, place: Place, charts: Sequence[Chart], *, to: Actor | None = None) -> None:
        await self._chat.pictures(place, [self._intake.chart(chart) for chart in charts], to=to)

    async def files(self, place: Place, files: Sequence[TextFile], *, look: bool = False) -> None:
        await self._chat.files(place, [replace(file, text=self._redactor.text(file.text)) for file in files], look=look)

    async def form(self, trigger: str, place: Place, card: IncidentCard) -> None:
        await self._chat.form(trigger, place, _incident(card, self._redactor.text))

    async def find(self, place: Place, key: str) -> MessageRef | None:
        return await self._chat.find(place, key)

    async def earlier(self, place: Place, *, before: str) -> Thread:
        return await self._chat.earlier(place, before=before)


class _RedactedLive:
    """Implements `ports.LiveText`: a text that still grows is shown without an end that may become a secret."""

    def __init__(self, live: LiveText, redactor: Redactor) -> None:
        self._live = live
        self._redactor = redactor

    async def show(self, markdown: str) -> None:
        if shown := self._redactor.draft(markdown):
            await self._live.show(shown)

    async def finish(self, content: Content) -> MessageRef:
        return await self._live.finish(redacted(content, self._redactor.text))


def redacted(content: Content, redact: Redact) -> Content:
    """Return the content with every text in it redacted."""
    match content:
        case Text():
            return replace(content, markdown=redact(content.markdown), footer=redact(content.footer))
        case Report():
            return replace(
                content,
                text=redact(content.text),
                tables=tuple(_table(table, redact) for table in content.tables),
                blocks=_pairs(content.blocks, redact),
                errors=_pairs(content.errors, redact),
            )
        case Card():
            steps = tuple(Step(redact(step.title), step.state, redact(step.detail)) for step in content.steps)
            return replace(content, approval=_approval(content.approval, redact), steps=steps)
        case IncidentCard():
            return _incident(content, redact)
        case _:
            assert_never(content)


def _incident(card: IncidentCard, redact: Redact) -> IncidentCard:
    """What tools and hosts said in it is clean already; these are words of the model and of people."""
    words = card.report.words
    clean = replace(
        words,
        title=redact(words.title),
        summary=redact(words.summary),
        impact=redact(words.impact),
        causes=tuple(replace(cause, text=redact(cause.text)) for cause in words.causes),
        follow_ups=tuple(replace(each, text=redact(each.text)) for each in words.follow_ups),
    )
    return replace(card, report=replace(card.report, words=clean, note=redact(card.report.note)))


def _table(table: Table, redact: Redact) -> Table:
    rows = tuple(tuple(redact(cell) for cell in row) for row in table.rows)
    return Table(tuple(redact(header) for header in table.headers), rows, redact(table.title))


def _approval(approval: Approval, redact: Redact) -> Approval:
    arguments = {name: _value(value, redact) for name, value in approval.action.arguments.items()}
    impacts = {host: replace(impact, facts=_pairs(impact.facts, redact)) for host, impact in approval.impacts.items()}
    return replace(
        approval,
        action=replace(approval.action, arguments=arguments),
        reason=redact(approval.reason),
        note=redact(approval.note),
        impacts=impacts,
        outcomes=tuple(_outcome(outcome, redact) for outcome in approval.outcomes),
    )


def _value(value: Json, redact: Redact) -> Json:
    match value:
        case str():
            return redact(value)
        case list():
            return [_value(item, redact) for item in value]
        case dict():
            return {redact(name): _value(item, redact) for name, item in value.items()}
        case _:
            return value


def _outcome(outcome: HostOutcome, redact: Redact) -> HostOutcome:
    return replace(
        outcome,
        summary=redact(outcome.summary),
        evidence=redact(outcome.evidence),
        facts=_pairs(outcome.facts, redact),
    )


def _pairs(pairs: tuple[tuple[str, str], ...], redact: Redact) -> tuple[tuple[str, str], ...]:
    return tuple((redact(name), redact(value)) for name, value in pairs)
