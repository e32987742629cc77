"""What code knows of an incident, out of a thread's history, its requests and the audit log. Pure."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from opsbot import taint
from opsbot.domain import (
    Approval,
    AssistantMessage,
    AuditRecord,
    Conversation,
    Json,
    Result,
    ToolCall,
    ToolResult,
    UserMessage,
)
from opsbot.errors import BadArguments
from opsbot.incident_report import DEEDS_MAX, HOSTS_MAX, TIMELINE_MAX, Deed, Evidence, Facts, Happening, HostsSeen
from opsbot.inventory import Inventory
from opsbot.minutes import digest_of
from opsbot.readable import plain_line
from opsbot.timeline import told

# Of no use to whoever reads what happened.
_QUIET = frozenset(
    {
        "conversation.condensed",
        "conversation.overheard",
        "conversation.replied",
        "conversation.reset",
        "decision.refused",
        "event.refused",
        "person.refused",
        "report.discarded",
        "report.drafted",
        "report.edited",
        "report.refused",
    }
)
# A quotation of fewer letters and digits says nothing: it stands everywhere.
_QUOTE_MIN = 4
_LINE_CHARS = 400
_WORDS_CHARS = 160
_PART = re.compile(r"(results|errors|all):(?: (.*))?$")
_NAMED = re.compile(r" {2}([A-Za-z0-9][A-Za-z0-9_.-]*):")
_BLANKS = re.compile(r"\s+")


@dataclass(frozen=True, slots=True)
class Seen:
    """What tools saw: `answered` hosts, hosts that are `part` of the incident, and their results by tool."""

    answered: frozenset[str] = frozenset()
    part: frozenset[str] = frozenset()
    results: tuple[tuple[str, str], ...] = field(default=(), repr=False)

    def source_of(self, quote: str) -> str:
        """Return the tool in whose result these words stand; "" if they stand in none, or are too few to tell."""
        wanted = _flat(quote)
        if sum(map(str.isalnum, wanted)) < _QUOTE_MIN:
            return ""
        return next((tool for tool, text in self.results if wanted in text), "")

    def checked(self, quotes: Iterable[str]) -> tuple[Evidence, ...]:
        """Look up each quotation."""
        return tuple(Evidence(quote, self.source_of(quote)) for quote in quotes)

    def sorted_hosts(self, affected: Iterable[str], healthy: Iterable[str], inventory: Inventory) -> HostsSeen:
        """Return all hosts by what is known of them; only answered ones are taken from the model's sorting."""
        bad = self.answered.intersection(affected)
        well = self.answered.intersection(healthy) - bad
        unseen = self.part - self.answered
        return HostsSeen(
            affected=_some(bad),
            healthy=_some(well),
            unclear=_some(self.answered - bad - well),
            unseen=_some(unseen),
            others=len(inventory.hosts.keys() - self.answered - unseen),
        )


def seen_in(
    conversation: Conversation,
    approvals: Sequence[Approval],
    inventory: Inventory,
    wholes: Mapping[str, str] = MappingProxyType({}),
) -> Seen:
    """Find out which hosts of the inventory were seen by a tool, and which others belong to the same matter.

    `wholes`: by their ref, the results of which the conversation itself holds only the ends.
    """
    calls = {c.call_id: c for m in conversation.messages if isinstance(m, AssistantMessage) for c in m.calls}
    answered: set[str] = set()
    asked: set[str] = set()
    results: list[tuple[str, str]] = []
    for message in conversation.messages:
        if isinstance(message, ToolResult) and (call := calls.get(message.call_id)):
            content = wholes.get(message.ref, message.content) if message.kept else message.content
            results.append((call.tool, _readings(content)))
            asked |= _asked(call, inventory)
            if not message.failed:
                answered |= _answered(call, _laid_out(content) if message.kept else _parsed(content), inventory)
    for approval in approvals:
        asked |= set(approval.action.hosts)
        answered |= {outcome.host for outcome in approval.outcomes if outcome.result is not Result.UNKNOWN}
    known = inventory.hosts.keys()
    seen = frozenset(answered & known)
    part = (seen | asked | _named(conversation, inventory) | _beside(seen, inventory)) & known
    return Seen(seen, frozenset(part), tuple(results))


def facts_of(conversation: Conversation, approvals: Sequence[Approval], records: Sequence[AuditRecord]) -> Facts:
    """Put together what nobody may edit. `records`: what the audit log says of this conversation, in order."""
    told_of = [record for record in records if record.entry.kind not in _QUIET]
    asked = [message for message in conversation.messages if isinstance(message, UserMessage)]
    began = [message.at for message in asked[:1]] + [record.entry.at for record in records[:1]]
    if not began:
        raise BadArguments("Nothing happened in this thread yet that a report could be made of.")
    said = {str(digest_of(message.text)["sha256"]): message.text[:_WORDS_CHARS] for message in asked}
    units = [str(unit) for a in approvals if (unit := a.action.arguments.get("unit"))]
    return Facts(
        began=min(began),
        timeline=tuple(_happening(record, said) for record in told_of[-TIMELINE_MAX:]),
        left_out=max(0, len(told_of) - TIMELINE_MAX),
        deeds=tuple(_deed(approval) for approval in approvals[-DEEDS_MAX:]),
        services=tuple(dict.fromkeys(units)),
        people=tuple(dict.fromkeys(message.actor.user_id for message in asked)),
        untrusted=taint.sources(conversation),
    )


def _happening(record: AuditRecord, said: Mapping[str, str]) -> Happening:
    entry = record.entry
    what = plain_line(told(entry, said).replace("`", "").replace("\\|", "|"), limit=_LINE_CHARS)
    return Happening(entry.at, entry.actor, what, record.seq)


def _deed(approval: Approval) -> Deed:
    arguments = " ".join(f"{name}={value}" for name, value in sorted(approval.action.arguments.items()))
    return Deed(
        request=approval.id,
        action=plain_line(f"{approval.action.tool} {arguments}".strip(), limit=_LINE_CHARS),
        hosts=approval.action.hosts,
        asked_by=approval.requester.key,
        decided_by=tuple(r.actor.key if r.approve else f"{r.actor.key} (denied)" for r in approval.reviews),
        state=str(approval.state),
        verdicts=tuple(
            plain_line(f"{outcome.host}: {outcome.result}; {outcome.summary}", limit=_LINE_CHARS)
            for outcome in approval.outcomes
        ),
    )


def _some(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(names))[:HOSTS_MAX]


def _named(conversation: Conversation, inventory: Inventory) -> set[str]:
    """Return the hosts that people named."""
    said = " ".join(message.text for message in conversation.messages if isinstance(message, UserMessage))
    words = {word.rstrip(".") for word in re.findall(r"[A-Za-z0-9][A-Za-z0-9_.-]*", said)}
    return words & inventory.hosts.keys()


def _beside(seen: Iterable[str], inventory: Inventory) -> set[str]:
    """Return the hosts that share a group with one that was seen."""
    groups = {group for name in seen for group in inventory.groups_with(name)}
    return {member for group in groups for member in inventory.groups[group]}


def _asked(call: ToolCall, inventory: Inventory) -> set[str]:
    arguments = _parsed(call.arguments)
    hosts = arguments.get("hosts") if isinstance(arguments, dict) else None
    names = [name for name in hosts if isinstance(name, str)] if isinstance(hosts, list) else []
    try:
        return {host.name for host in inventory.resolve(names)}
    except BadArguments:  # the inventory changed since
        return set(names)


def _answered(call: ToolCall, content: Json, inventory: Inventory) -> set[str]:
    """Return the hosts whose answer a result holds: by name, or for all that were asked but those that failed."""
    if not isinstance(content, dict):
        return set()
    by_host = content.get("results")
    if isinstance(by_host, dict):
        return set(by_host)
    errors = content.get("errors")
    return _asked(call, inventory) - set(errors if isinstance(errors, dict) else ()) if "all" in content else set()


def _laid_out(text: str) -> Json:
    """Read the outline of a long result (see `outputs.laid_out`): its parts, and the names in each. Texts of others
    are indented deeper than these.
    """
    outline: dict[str, Json] = {}
    inner: dict[str, Json] = {}
    for line in text.split("\n"):
        if part := _PART.match(line):
            inner = {}
            outline[part[1]] = _parsed(part[2]) if part[2] else inner
        elif (name := _NAMED.match(line)) is not None:
            inner[name[1]] = None
    return outline


def _parsed(text: str) -> Json:
    try:
        found: Json = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found


def _readings(content: str) -> str:
    """Return a result as it can be quoted: as the model read it, and the texts in it as they are."""
    return _flat("\n".join([content, *_leaves(_parsed(content))]))


def _leaves(value: Json, depth: int = 0) -> Iterable[str]:
    if depth > 20:
        return
    match value:
        case str():
            yield value
        case list():
            for item in value:
                yield from _leaves(item, depth + 1)
        case dict():
            for name, item in value.items():
                yield f"{name}: {item}" if isinstance(item, bool | int | float | str) else name
                yield from _leaves(item, depth + 1)


def _flat(text: str) -> str:
    return _BLANKS.sub(" ", text).strip().casefold()
