"""The incident timeline: audit records as Markdown, to paste into a post-mortem. UTC, words of others as code."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from opsbot.domain import AuditEntry, AuditRecord, Json
from opsbot.readable import plain_line

_CELL_CHARS = 300
_HASH_CHARS = 12

# What each kind of record says, with its facts by name; kinds not named here are shown with all their facts.
_TOLD: dict[str, str] = {
    "approval.approved": "approved request {approval}",
    "approval.denied": "denied request {approval}",
    "approval.escalated": "nobody had clicked, so {told} were told of request {approval}",
    "approval.expired": "request {approval} expired; nothing was run",
    "approval.narrowed": "left {left_out} out of request {approval}",
    "approval.requested": "asked for {tool} {arguments}, request {approval}; reason: {reason}",
    "approval.standing_ended": "the approval for a while ended: {why}",
    "approval.stood": "request {approval} was approved by an approval given for a while, until {until}",
    "approval.withdrawn": "withdrew request {approval}",
    "call.denied": "{tool} was denied by policy ({rule})",
    "call.finished": "{tool} {arguments} gave its answer",
    "call.refused": "{tool} {arguments} was not run: {reason}",
    "conversation.asked": "wrote to the bot ({characters} characters){words}",
    "conversation.closed": "the bot ended the turn: {text}",
    "conversation.condensed": "from here on the model was shown {folded} earlier messages as a summary",
    "conversation.overheard": "the bot read what was written in the thread before ({characters} characters)",
    "conversation.replied": "the model answered ({characters} characters){called}{words}",
    "conversation.reset": "made the bot forget the conversation",
    "decision.refused": "a click did not count ({verb}): {reason}",
    "event.abandoned": "a {kind} was given up: it ended opsbot each of {attempts} times",
    "event.refused": "was turned away: {reason}",
    "execution.finished": "the action ended: {state}. {note}",
    "execution.halted": "stopped the action",
    "execution.host": "verdict of the host: {result}. {summary}",
    "execution.intent": "the command is about to be sent",
    "execution.not_begun": "the command was not sent after all: {summary}",
    "execution.paused": "paused the action",
    "execution.reconciled": "settled after an interruption: {state}. {note}",
    "execution.refused": "not run: {note}",
    "execution.resumed": "resumed the action",
    "execution.started": "the action began, after everything was checked again",
    "inventory.refused": "a faulty inventory was not taken over",
    "inventory.reloaded": "the inventory changed",
    "opsbot.started": "opsbot {version} started, answered by {model}; changed since the last start: {changed}",
    "person.refused": "was turned away by policy ({rule})",
    "report.discarded": "discarded report {report}",
    "report.drafted": "had report {report} written",
    "report.edited": "edited report {report}",
    "report.published": "published report {report}",
    "report.refused": "a click on report {report} did not count ({verb}): {reason}",
    "request.refused": "a request was refused: {why}",
}
KINDS = frozenset(_TOLD)
_OUR_WORDS = frozenset({"state", "result", "verb"})
_MAY_BE_MISSING = frozenset({"note", "summary", "arguments"})


@dataclass
class _Request:
    """One approval's story, as far as the records tell it."""

    id: str
    asked: AuditRecord | None = None
    decided: list[str] = field(default_factory=list)
    verdicts: list[str] = field(default_factory=list)
    state: str = ""


def timeline(records: Sequence[AuditRecord], words: Mapping[str, str], *, title: str, remark: str) -> str:
    """Tell what happened: who asked, the facts, who approved, what ran where, and the verdicts.

    `records` is not empty. `words` are what was said, by SHA-256: the log has only that.
    """
    requests = _requests(records)
    parts = [f"# {title}", _head(records, remark)]
    if requests:
        parts += ["## Requests", _requests_table(requests)]
        parts += [text for request in requests if (text := _facts_of(request))]
    parts += ["## What happened", _story(records, words)]
    return "\n\n".join(parts) + "\n"


def _head(records: Sequence[AuditRecord], remark: str) -> str:
    first, last = records[0], records[-1]
    conversations = dict.fromkeys(record.entry.conversation_id for record in records if record.entry.conversation_id)
    lines = [
        f"- From {_at(first.entry)} to {_at(last.entry)}, all times UTC",
        f"- Conversations: {', '.join(code(each) for each in conversations) or 'none'}",
        f"- {len(records)} records of the audit log, {first.seq} to {last.seq}; {remark}",
    ]
    return "\n".join(lines)


def _requests(records: Sequence[AuditRecord]) -> list[_Request]:
    found: dict[str, _Request] = {}
    for record in records:
        entry = record.entry
        if not entry.approval_id:
            continue
        request = found.setdefault(entry.approval_id, _Request(entry.approval_id))
        request.state = _text(entry.facts.get("state")) or request.state
        if entry.kind == "approval.requested":
            request.asked = record
        elif entry.kind in ("approval.approved", "approval.denied"):
            request.decided.append(f"{entry.kind.partition('.')[2]} by {code(entry.actor)} at {_at(entry)}")
        elif entry.kind == "execution.host":
            said = _text(entry.facts.get("summary"))
            request.verdicts.append(f"{code(_text(entry.facts.get('host')))}: {_plain(entry, 'result')}; {code(said)}")
    return list(found.values())


def _requests_table(requests: Sequence[_Request]) -> str:
    rows = []
    for request in requests:
        decided = "<br>".join(request.decided) or "nobody decided"
        outcome = "<br>".join([code(request.state), *request.verdicts])
        rows.append((code(request.id), *_asked(request), decided, outcome))
    return _table(("request", "action", "hosts", "asked by", "decided", "outcome"), rows)


def _asked(request: _Request) -> tuple[str, str, str]:
    """Return action, hosts, and who asked."""
    if request.asked is None:
        return "not among these records", "", ""
    entry = request.asked.entry
    who = f"{code(entry.actor)} at {_at(entry)}; reason: {_code(entry, 'reason') or 'none given'}"
    return f"{_code(entry, 'tool')} {_code(entry, 'arguments')}", _code(entry, "hosts"), who


def _facts_of(request: _Request) -> str:
    """List what the approvers saw of each host."""
    shown = request.asked.entry.facts.get("shown") if request.asked else None
    if not isinstance(shown, dict) or request.asked is None:
        return ""
    rows = [
        (code(host), code(_text(pair[0])), code(_text(pair[1])))
        for host, pairs in shown.items()
        if isinstance(pairs, list)
        for pair in pairs
        if isinstance(pair, list) and len(pair) == 2
    ]
    digest = code(_text(request.asked.entry.facts.get("digest"))[:_HASH_CHARS])
    heading = f"### Facts shown for {code(request.id)} (digest {digest})"
    return f"{heading}\n\n{_table(('host', 'fact', 'value'), rows)}" if rows else ""


def _story(records: Sequence[AuditRecord], words: Mapping[str, str]) -> str:
    rows = [(_at(r.entry), code(r.entry.actor), told(r.entry, words), _where(r.entry), str(r.seq)) for r in records]
    return _table(("time (UTC)", "who", "what", "where", "record"), rows)


def told(entry: AuditEntry, words: Mapping[str, str]) -> str:
    """Say what a record means; `words` by their hash, where they are known."""
    template = _TOLD.get(entry.kind)
    if template is None:
        return f"{code(entry.kind)} {code(_text(dict(entry.facts)))}"
    said = code(words.get(_text(entry.facts.get("sha256")), ""))
    return template.format_map(_Words(entry, words=f": {said}" if said else "")).rstrip(" .")


class _Words(dict[str, str]):
    """The facts of an entry as words; what is missing is `-`."""

    def __init__(self, entry: AuditEntry, *, words: str) -> None:
        calls = entry.facts.get("calls")
        names = [_text(call.get("tool")) for call in calls if isinstance(call, dict)] if isinstance(calls, list) else []
        called = f" and called {', '.join(map(code, names))}" if names else ""
        super().__init__(approval=code(entry.approval_id), words=words, called=called)
        self._entry = entry

    def __missing__(self, name: str) -> str:
        value = self._entry.facts.get(name)
        if isinstance(value, int) or name in _OUR_WORDS:
            return _plain(self._entry, name)
        return _code(self._entry, name) or ("" if name in _MAY_BE_MISSING else "-")


def _where(entry: AuditEntry) -> str:
    host = entry.facts.get("host")
    return code(_text(host)) if host else _code(entry, "hosts")


def _at(entry: AuditEntry) -> str:
    return f"{entry.at:%Y-%m-%d %H:%M:%S}"


def _plain(entry: AuditEntry, name: str) -> str:
    """Return a word of our own making, such as a result."""
    word = _text(entry.facts.get(name))
    return word.replace("_", " ") if word.isascii() and word.replace("_", "").isalnum() else code(word)


def _code(entry: AuditEntry, name: str) -> str:
    return code(_text(entry.facts.get(name)))


def _text(value: Json | Mapping[str, Json]) -> str:
    """Spell a fact in one line: `unit=nginx.service` for pairs, words with commas for lists."""
    spellings: dict[type, Callable[..., str]] = {
        str: str,
        list: lambda each: ", ".join(map(_text, each)),
        dict: lambda each: " ".join(f"{name}={_text(inner)}" for name, inner in each.items()),
    }
    return "" if value is None else spellings.get(type(value), str)(value)


def code(text: str) -> str:
    """Show words of others so that they are nothing but words: no markup, no link, no mention, no new cell."""
    # A table takes `\\|` for the end of a cell, also in code, so a backslash is shown by its wide form.
    shown = plain_line(text, limit=_CELL_CHARS).replace("`", "'").replace("\\", "＼").replace("|", "\\|").strip()
    return f"`{shown}`" if shown else ""


def _table(headers: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [headers, tuple("---" for _ in headers), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
