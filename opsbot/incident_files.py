"""An incident's report as files: Markdown for people, JSON for programs, and what is found of it later. Pure."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from opsbot.domain import TextFile
from opsbot.incident_report import Cause, HostsSeen, IncidentReport
from opsbot.passages import Incident
from opsbot.readable import time_text
from opsbot.timeline import code

# Of what a program needs to know how to read it; it grows with every change of names.
_FORMAT = 1
# Characters that mean something in Markdown wherever they stand. What only does at the start of a line stands in none.
_MARKUP = str.maketrans({c: f"\\{c}" for c in "\\`*_[]<>#|!~&"})


def markdown(report: IncidentReport) -> str:
    """Write the report as Markdown; words of people, hosts and the model have no markup, link or mention in it."""
    words = report.words
    parts = [f"# {_words(words.title)}", _head(report), "## Summary", _words(words.summary) or "None."]
    parts += ["## Impact", _words(words.impact) or "Not established.", _hosts(report.hosts)]
    parts += ["## Likely causes", "\n".join(_causes(words.causes)) or "None established."]
    parts += [
        "## Follow-ups",
        _list(f"{_words(f.text)}{f' ({code(f.owner)})' if f.owner else ''}" for f in words.follow_ups),
    ]
    parts += ["## Actions taken", _list(_deeds(report)), "## Timeline (UTC, from the audit log)", _timeline(report)]
    return "\n\n".join(parts) + "\n"


def as_json(report: IncidentReport) -> str:
    """Write the report as JSON."""
    kept = {name: value for name, value in asdict(report).items() if name not in ("closing", "delivered", "call_id")}
    return json.dumps({"format": _FORMAT, **kept}, ensure_ascii=False, indent=2, default=_plain) + "\n"


def files_of(report: IncidentReport) -> tuple[TextFile, TextFile]:
    """Return both files, named after the report."""
    name = f"incident-{report.id}"
    return TextFile(f"{name}.md", f"{name}.md", markdown(report)), TextFile(
        f"{name}.json", f"{name}.json", as_json(report)
    )


def incident_of(report: IncidentReport) -> Incident:
    """Return what is found of a published report."""
    return Incident(
        id=report.id,
        title=report.words.title,
        closed_at=report.closed_at or report.created_at,
        summary=report.words.summary,
        services=report.facts.services,
        hosts=(*report.hosts.affected, *(host for deed in report.facts.deeds for host in deed.hosts)),
        causes=tuple(cause.text for cause in report.words.causes),
        markdown=markdown(report),
    )


def authors(report: IncidentReport) -> str:
    """Say whose words these are."""
    said = f"words by {report.writer}" if report.writer else "no words of a model"
    edited = f", edited by {', '.join(person.partition('/')[2] for person in report.editors)}" if report.editors else ""
    return f"{said}{edited}; hosts, actions and timeline by opsbot"


def _head(report: IncidentReport) -> str:
    lines = [
        f"- Report {report.id}, {report.state}; began {time_text(report.facts.began)}",
        f"- Asked for by {code(report.requester)} at {time_text(report.created_at)}",
        f"- Whose words: {code(authors(report))}",
    ]
    if report.closed_at is not None:
        lines.append(f"- {str(report.state).capitalize()} by {code(report.closed_by)} at {time_text(report.closed_at)}")
    if report.facts.untrusted:
        lines.append(f"- Written after reading untrusted text: {code(', '.join(report.facts.untrusted))}")
    return "\n".join(lines + ([f"- Note: {_words(report.note)}"] if report.note else []))


def hosts_lines(hosts: HostsSeen) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Name the hosts by what is known of them, as people read it."""
    return (
        ("affected", hosts.affected),
        ("checked, healthy", hosts.healthy),
        ("checked, unclear", hosts.unclear),
        ("not checked", hosts.unseen),
    )


def _hosts(hosts: HostsSeen) -> str:
    lines = [f"- {name}: {', '.join(map(code, names)) or 'none'}" for name, names in hosts_lines(hosts)]
    return "\n".join([*lines, f"- other hosts of the inventory, not looked at: {hosts.others}"])


def _causes(causes: Sequence[Cause]) -> Iterator[str]:
    for cause in causes:
        yield f"- {_words(cause.text)} (confidence: {cause.confidence})"
        for each in cause.evidence:
            yield f"    - {code(each.quote)}: {code(each.source) if each.source else 'not found in the thread'}"


def _deeds(report: IncidentReport) -> Iterator[str]:
    for deed in report.facts.deeds:
        decided = f", decided by {', '.join(map(code, deed.decided_by))}" if deed.decided_by else ""
        asked = f"asked for by {code(deed.asked_by)}{decided}"
        where = ", ".join(map(code, deed.hosts)) or "no host"
        yield f"{code(deed.request)}: {code(deed.action)} on {where}; {asked}: {deed.state}"
        yield from (f"  {code(verdict)}" for verdict in deed.verdicts)


def _timeline(report: IncidentReport) -> str:
    rows = [
        f"| {line.at:%Y-%m-%d %H:%M:%S} | {code(line.who)} | {code(line.what)} | {line.record} |"
        for line in report.facts.timeline
    ]
    missing = f"{report.facts.left_out} earlier lines are left out.\n\n" if report.facts.left_out else ""
    return "\n".join([f"{missing}| time | who | what | record |", "| --- | --- | --- | --- |", *rows])


def _list(lines: Iterator[str]) -> str:
    return "\n".join(f"- {line}" if not line.startswith("  ") else f"    - {line.strip()}" for line in lines) or "None."


def _words(text: str) -> str:
    """Return words of others as a paragraph: no line of it can begin a heading, a list, a quotation or a block."""
    lines = (" ".join(line.split()).translate(_MARKUP).replace("://", "[:]//") for line in text.splitlines())
    return "  \n".join(_unlisted(line) for line in lines if line)


def _unlisted(line: str) -> str:
    if line.startswith(("-", "+", "=")):
        return f"\\{line}"
    head, dot, tail = line.partition(".")
    return f"{head}\\.{tail}" if dot and head.isdigit() else line


def _plain(value: object) -> Any:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, StrEnum):
        return str(value)
    raise TypeError(f"{type(value).__name__} is not written to files")
