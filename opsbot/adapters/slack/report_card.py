"""An incident's report as a Slack message: its draft with buttons, its end, and its published form.

Words of the model, of people and of hosts are literal text here: nothing in them is parsed, linked or mentioned.
"""

from collections.abc import Iterator, Sequence

from opsbot.adapters.links import inert
from opsbot.adapters.slack import pieces
from opsbot.adapters.slack.mrkdwn import escape
from opsbot.adapters.slack.pieces import Block, Payload
from opsbot.adapters.slack.visible import cut, one_line, stripped
from opsbot.domain import IncidentCard
from opsbot.incident_files import authors, hosts_lines, markdown
from opsbot.incident_report import Cause, Deed, FollowUp, Happening, IncidentReport, ReportState
from opsbot.readable import time_text

EDIT = "opsbot.report_edit"
PUBLISH = "opsbot.report_publish"
DISCARD = "opsbot.report_discard"
VERBS = {EDIT: "edit", PUBLISH: "publish", DISCARD: "discard"}

# Slack is said to refuse messages of more than 13,200 visible characters; with less room everything is cut shorter.
_ROOM = 9000
_HOSTS_SHOWN = 12
# That there are none of these is worth a line.
_ALWAYS = ("affected", "checked, healthy", "not checked")
_LINES_SHOWN, _DEEDS_SHOWN = 8, 8
_PLAIN_MAX = 12_000


def render(card: IncidentCard) -> Payload:
    """Render a report's draft, what became of it, or its published form."""
    report = card.report
    if not card.final and report.state is not ReportState.DRAFT:
        return _ended(report)
    blocks = _blocks(report, short=False)
    if _size(blocks) > _ROOM:
        blocks = _blocks(report, short=True)
    if not card.final:
        blocks.append(_buttons(report, card.seal))
    return Payload(_sentence(report, final=card.final), tuple(blocks), cut(markdown(report), _PLAIN_MAX))


def _ended(report: IncidentReport) -> Payload:
    who, when = pieces.person(_user(report.closed_by)), time_text(report.closed_at)
    said = pieces.words(f"Report {report.id} was {report.state} at {when} by ")
    return Payload(_sentence(report, final=False), (pieces.rich_text(pieces.line(said, who)),), report.words.title)


def _blocks(report: IncidentReport, *, short: bool) -> list[Block]:
    words, part = report.words, 2 if short else 1
    title = "Incident report" if report.state is ReportState.PUBLISHED else "Draft of an incident report"
    blocks = [
        pieces.header(f"{title}: {_plain(words.title, 120)}"),
        _about(report),
        *([_note(report)] if report.note else []),
        _section("Summary", pieces.line(pieces.words(_plain(words.summary or "None.", 1500 // part)))),
        _section("Impact", pieces.line(pieces.words(_plain(words.impact or "Not established.", 1000 // part)))),
        _section("Hosts", _hosts(report)),
        _section("Likely causes", *(_causes(words.causes, short=short) or [_none("None established.")])),
        _section("Actions taken", _deeds(report.facts.deeds)),
        _section("Follow-ups", _follow_ups(words.follow_ups, 300 // part)),
        _section(_timeline_title(report), *_timeline(report.facts.timeline)),
        pieces.context(_plain(_closing_words(report), 1000)),
    ]
    return blocks


def _about(report: IncidentReport) -> Block:
    began = pieces.words(f"Began {time_text(report.facts.began)}  ·  asked for by ")
    runs = [began, pieces.person(_user(report.requester))]
    if report.closed_at is not None:
        runs += [pieces.words("  ·  published by "), pieces.person(_user(report.closed_by))]
    return pieces.rich_text(pieces.line(*runs))


def _note(report: IncidentReport) -> Block:
    return pieces.rich_text(pieces.quote(_plain(report.note, 800)))


def _closing_words(report: IncidentReport) -> str:
    read = ", ".join(report.facts.untrusted)
    caution = f" · written after reading untrusted text ({read})" if read and report.writer else ""
    return f"Report {report.id} · {authors(report)}{caution}"


def _section(title: str, *elements: Block) -> Block:
    return pieces.rich_text(pieces.line(pieces.words(title, bold=True)), *elements)


def _none(text: str) -> Block:
    return pieces.line(pieces.words(text))


def _hosts(report: IncidentReport) -> Block:
    lines = [(name, _names(names)) for name, names in hosts_lines(report.hosts) if names or name in _ALWAYS]
    lines += [("others of the inventory, not looked at", str(report.hosts.others))] if report.hosts.others else []
    return pieces.bullets(
        *(pieces.line(pieces.words(f"{name}: ", bold=True), pieces.words(said)) for name, said in lines)
    )


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(inert(one_line(name, 80)) for name in names[:_HOSTS_SHOWN])
    return f"{shown} and {len(names) - _HOSTS_SHOWN} more" if len(names) > _HOSTS_SHOWN else shown or "none"


def _causes(causes: Sequence[Cause], *, short: bool) -> list[Block]:
    made: list[Block] = []
    for cause in causes:
        confidence = pieces.words(f"  ({cause.confidence} confidence)")
        made.append(pieces.line(pieces.words(f"▸ {_plain(cause.text, 200 if short else 400)}"), confidence))
        if not short and cause.evidence:
            made += [pieces.quote(each) for each in _evidence(cause)]
    return made


def _evidence(cause: Cause) -> Iterator[str]:
    for each in cause.evidence:
        where = inert(one_line(each.source, 64)) if each.source else "NOT FOUND in the thread"
        yield f"“{_plain(each.quote, 200)}”  — {where}"


def _deeds(deeds: Sequence[Deed]) -> Block:
    lines = [pieces.line(pieces.words(_deed(deed))) for deed in deeds[-_DEEDS_SHOWN:]]
    if len(deeds) > _DEEDS_SHOWN:
        lines.insert(0, _none(f"{len(deeds) - _DEEDS_SHOWN} earlier ones are in the file"))
    return pieces.bullets(*lines) if lines else _none("None.")


def _deed(deed: Deed) -> str:
    return _plain(f"{deed.action} on {_names(deed.hosts)}: {deed.state} ({deed.request})", 240)


def _follow_ups(follow_ups: Sequence[FollowUp], limit: int) -> Block:
    lines = []
    for follow_up in follow_ups:
        owner = [pieces.words("  — "), pieces.person(follow_up.owner)] if follow_up.owner else []
        lines.append(pieces.line(pieces.words(_plain(follow_up.text, limit)), *owner))
    return pieces.bullets(*lines) if lines else _none("None.")


def _timeline_title(report: IncidentReport) -> str:
    earlier = report.facts.left_out + max(0, len(report.facts.timeline) - _LINES_SHOWN)
    return f"Timeline, UTC, from the audit log{f' ({earlier} earlier lines are in the file)' if earlier else ''}"


def _timeline(lines: Sequence[Happening]) -> list[Block]:
    shown = [f"{line.at:%H:%M:%S}  {_plain(line.what, 140)}" for line in lines[-_LINES_SHOWN:]]
    return [pieces.preformatted("\n".join(shown))] if shown else [_none("Nothing.")]


def facts_shown(report: IncidentReport) -> list[Block]:
    """Return what of a report is shown in its form and cannot be edited."""
    return [
        _section("Hosts (by what tools saw)", _hosts(report)),
        _section("Actions taken (from the record)", _deeds(report.facts.deeds)),
        _section(_timeline_title(report), *_timeline(report.facts.timeline)),
    ]


def _buttons(report: IncidentReport, seal: str) -> Block:
    value = f"{report.id}.{seal}"
    publish = pieces.button("Publish", PUBLISH, value, style="primary")
    publish["confirm"] = pieces.confirm(
        "Publish this report?", "It is posted here, with files, and found from now on.", "Publish", "Not now"
    )
    discard = pieces.button("Discard", DISCARD, value, style="danger")
    discard["confirm"] = pieces.confirm("Discard this draft?", "A new one can be written any time.", "Discard", "Keep")
    return pieces.actions(pieces.button("Edit", EDIT, value), publish, discard)


def _sentence(report: IncidentReport, *, final: bool) -> str:
    state = "Incident report" if final else f"Incident report, {report.state}"
    return escape(f"{state}: {_plain(report.words.title, 120)}")


def _user(person: str) -> str:
    return person.partition("/")[2]


def _plain(text: str, limit: int) -> str:
    return cut(inert(stripped(text)).strip(), limit) or "-"


def _size(blocks: Sequence[Block]) -> int:
    return sum(_characters(block) for block in blocks)


def _characters(part: object) -> int:
    match part:
        case dict():
            return sum(len(v) if name == "text" and isinstance(v, str) else _characters(v) for name, v in part.items())
        case list():
            return sum(map(_characters, part))
    return 0
