"""The words of a report: the form the model is asked for, and the strict reading of what it answers. Pure."""

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from importlib.resources import files
from string import Template
from typing import Annotated, TypeAlias

from pydantic import BaseModel, ConfigDict, Field

from opsbot.answer_format import AnswerFormat
from opsbot.domain import Actor, AssistantMessage, Conversation, Json, Message, ToolResult, UserMessage
from opsbot.incident_facts import Seen
from opsbot.incident_report import (
    CAUSE_MAX,
    CAUSES_MAX,
    EVIDENCE_MAX,
    FOLLOW_UP_MAX,
    FOLLOW_UPS_MAX,
    IMPACT_MAX,
    QUOTE_MAX,
    SUMMARY_MAX,
    TITLE_MAX,
    Cause,
    Confidence,
    Facts,
    FollowUp,
    HostsSeen,
    Words,
)
from opsbot.intake import Intake
from opsbot.typed_answers import Unfit, read_object

# About 12,000 tokens of the thread; the newest counts.
_RECORD_CHARS = 40_000
_MESSAGE_CHARS = 4_000
_HOSTS_LISTED = 200


@dataclass(frozen=True, slots=True)
class Sorted:
    """What the model wrote: words, and how it sorted the hosts that tools saw."""

    words: Words
    affected: tuple[str, ...]
    healthy: tuple[str, ...]


# --- what the model is asked -----------------------------------------------------------------------------------------


def instructions(seen: Seen, people: Sequence[str]) -> str:
    """Return the system prompt for a report."""
    template = Template(files("opsbot.prompts").joinpath("incident.txt").read_text(encoding="utf-8"))
    hosts = ", ".join(sorted(seen.answered)[:_HOSTS_LISTED]) or "none"
    return template.substitute(hosts=hosts, people=", ".join(people) or "none")


def record_of(conversation: Conversation, asker: Actor, at: datetime) -> tuple[UserMessage]:
    """Return what the model is sent: the thread written down, from whoever asked for the report."""
    return (UserMessage(f"Write the report. The record:\n{written_down(conversation)}", asker, at),)


def written_down(conversation: Conversation) -> str:
    """Write the thread down for the model, the newest part if it is long, fenced by a mark that it does not contain."""
    tools = {c.call_id: c.tool for m in conversation.messages if isinstance(m, AssistantMessage) for c in m.calls}
    lines: list[str] = []
    room = _RECORD_CHARS
    for message in reversed(conversation.messages):
        line = _line(message, tools)
        room -= len(line)
        if room < 0:
            lines.append("[earlier messages are left out]")
            break
        lines.append(line)
    text = "\n".join(reversed(lines))
    nonce = secrets.token_hex(6)
    while nonce in text:
        nonce = secrets.token_hex(6)
    return f"<data {nonce}>\n{text}\n</data {nonce}>"


def _line(message: Message, tools: Mapping[str, str]) -> str:
    match message:
        case UserMessage():
            return f"{message.actor.user_id} at {message.at:%H:%M:%S}: {_shortened(message.text)}"
        case AssistantMessage():
            called = "".join(f"\n  called {call.tool} {_shortened(call.arguments, 300)}" for call in message.calls)
            return f"opsbot: {_shortened(message.text)}{called}"
        case ToolResult():
            return f"result of {tools.get(message.call_id, 'a tool')}: {_shortened(message.content)}"


def _shortened(text: str, limit: int = _MESSAGE_CHARS) -> str:
    kept = text if len(text) <= limit else f"{text[:limit]}…[{len(text) - limit} characters left out]"
    # Further lines are moved in, so that none of them can pass for another message.
    return "\n  ".join(kept.splitlines())


def report_format(seen: Seen, people: Sequence[str]) -> AnswerFormat:
    """Return the form of the answer: only hosts that tools saw, and only people of the thread, can be named."""
    hosts = _list(_one_of(sorted(seen.answered)[:_HOSTS_LISTED]) if seen.answered else _TEXT)
    quotes = _list({"type": "string", "description": f"Out of a tool result, to the letter, up to {QUOTE_MAX}."})
    cause = _object(text=_text(CAUSE_MAX), confidence=_one_of([*Confidence]), evidence=quotes)
    follow_up = _object(text=_text(FOLLOW_UP_MAX), owner=_one_of(["", *people]))
    return AnswerFormat(
        "incident_report",
        _object(
            title=_text(TITLE_MAX),
            summary=_text(SUMMARY_MAX),
            impact=_text(IMPACT_MAX),
            affected=hosts,
            healthy=hosts,
            causes=_list(cause),
            follow_ups=_list(follow_up),
        ),
    )


_TEXT: dict[str, Json] = {"type": "string"}


def _text(limit: int) -> dict[str, Json]:
    return {"type": "string", "description": f"Up to {limit} characters."}


def _one_of(names: Iterable[str]) -> dict[str, Json]:
    return {"type": "string", "enum": [str(name) for name in names]}


def _list(items: dict[str, Json]) -> dict[str, Json]:
    return {"type": "array", "items": items}


def _object(**properties: dict[str, Json]) -> dict[str, Json]:
    return {
        "type": "object",
        "properties": {**properties},
        "required": list(properties),
        "additionalProperties": False,
    }


# --- what it answers -------------------------------------------------------------------------------------------------


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


_Title: TypeAlias = Annotated[str, Field(min_length=1, max_length=TITLE_MAX)]
_Name: TypeAlias = Annotated[str, Field(max_length=255)]
_Names: TypeAlias = Annotated[list[_Name], Field(max_length=_HOSTS_LISTED)]
_Quotes: TypeAlias = Annotated[list[Annotated[str, Field(max_length=QUOTE_MAX)]], Field(max_length=EVIDENCE_MAX)]


class _CauseForm(_Form):
    text: Annotated[str, Field(min_length=1, max_length=CAUSE_MAX)]
    confidence: Annotated[Confidence, Field(strict=False)]
    evidence: _Quotes


class _FollowUpForm(_Form):
    text: Annotated[str, Field(min_length=1, max_length=FOLLOW_UP_MAX)]
    owner: _Name


class _ReportForm(_Form):
    title: _Title
    summary: Annotated[str, Field(min_length=1, max_length=SUMMARY_MAX)]
    impact: Annotated[str, Field(max_length=IMPACT_MAX)]
    affected: _Names
    healthy: _Names
    causes: Annotated[list[_CauseForm], Field(max_length=CAUSES_MAX)]
    follow_ups: Annotated[list[_FollowUpForm], Field(max_length=FOLLOW_UPS_MAX)]


def reader(seen: Seen, people: Sequence[str], intake: Intake) -> Callable[[str], Sorted]:
    """Return what reads the model's answer, and raises Unfit with every fault of it."""

    def read(text: str) -> Sorted:
        form = read_object(_ReportForm, text)
        if faults := [*_faults(form, seen, people)]:
            raise Unfit(faults)
        return Sorted(_words(form, seen, intake), tuple(form.affected), tuple(form.healthy))

    return read


def _faults(form: _ReportForm, seen: Seen, people: Sequence[str]) -> Iterable[str]:
    for field, names in (("affected", form.affected), ("healthy", form.healthy)):
        for name in names:
            if name not in seen.answered:
                yield f"{field}: {name[:60]!a} is no host that a tool saw; use names of the list, or leave it out"
    for name in sorted(set(form.affected) & set(form.healthy)):
        yield f"affected, healthy: {name[:60]!a} cannot be both"
    for number, follow_up in enumerate(form.follow_ups, 1):
        if follow_up.owner and follow_up.owner not in people:
            yield f'follow_ups {number}: owner {follow_up.owner[:60]!a} is nobody of the thread; use an id, or ""'


def _words(form: _ReportForm, seen: Seen, intake: Intake) -> Words:
    return Words(
        title=intake.line(form.title, limit=TITLE_MAX),
        summary=intake.text(form.summary, limit=SUMMARY_MAX),
        impact=intake.text(form.impact, limit=IMPACT_MAX),
        causes=tuple(_cause(cause, seen, intake) for cause in form.causes),
        follow_ups=tuple(FollowUp(intake.line(f.text, limit=FOLLOW_UP_MAX), f.owner) for f in form.follow_ups),
    )


def _cause(form: _CauseForm, seen: Seen, intake: Intake) -> Cause:
    """Without a quotation that stands in a result a cause is no more than a guess."""
    evidence = seen.checked(intake.line(quote, limit=QUOTE_MAX) for quote in form.evidence if quote.strip())
    proven = any(each.source for each in evidence)
    confidence = form.confidence if proven else Confidence.LOW
    return Cause(intake.line(form.text, limit=CAUSE_MAX), confidence, evidence)


# --- without the model -----------------------------------------------------------------------------------------------


def words_by_code(facts: Facts, hosts: HostsSeen) -> Words:
    """Say in plain words what is recorded, where no model says more."""
    where = ", ".join((*hosts.unclear, *hosts.unseen)[:3])
    title = f"Incident of {facts.began:%Y-%m-%d %H:%M} UTC{f' on {where}' if where else ''}"
    done = ", ".join(f"{deed.action} ({deed.state})" for deed in facts.deeds[:5]) or "none"
    seen = len(hosts.unclear)
    summary = f"{len(facts.people)} people wrote, {seen} hosts answered a tool. Actions asked for: {done}."
    return Words(title[:TITLE_MAX], summary[:SUMMARY_MAX])


def edited(before: Words, after: Words, intake: Intake) -> Words:
    """Return a person's words, clean; a cause keeps its evidence if it stays as it was, or only its words change."""
    same_number = len(before.causes) == len(after.causes)
    known = {cause.text: cause.evidence for cause in before.causes}
    causes = []
    for number, cause in enumerate(after.causes[:CAUSES_MAX]):
        text = intake.line(cause.text, limit=CAUSE_MAX)
        evidence = known.get(text, before.causes[number].evidence if same_number else ())
        causes.append(Cause(text, cause.confidence, evidence))
    follow_ups = (replace(f, text=intake.line(f.text, limit=FOLLOW_UP_MAX)) for f in after.follow_ups[:FOLLOW_UPS_MAX])
    return Words(
        title=intake.line(after.title, limit=TITLE_MAX),
        summary=intake.text(after.summary, limit=SUMMARY_MAX),
        impact=intake.text(after.impact, limit=IMPACT_MAX),
        causes=tuple(causes),
        follow_ups=tuple(follow_ups),
    )
