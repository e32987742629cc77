"""Answers to commands, written by code: tables, log blocks, and the story of one approval."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from opsbot import standing
from opsbot.actions import Catalogue, Prepared
from opsbot.approvals import decided_text
from opsbot.charting import charts_of
from opsbot.command_forms import USAGES
from opsbot.domain import Approval, ApprovalState, AuditRecord, Host, Moment, Report, Rollout, Table
from opsbot.holds import Hold, who
from opsbot.intake import Intake
from opsbot.policy import tier_text
from opsbot.reads import FanOut
from opsbot.rollout import planned

_MAX_BLOCK_CHARS = 6000


def read_report(prepared: Prepared, outcome: FanOut, intake: Intake) -> Report:
    """Show a reading tool's answer to people."""
    errors = tuple(outcome.errors.items())
    answered = f"{len(outcome.results)} of {len(prepared.hosts)} hosts answered." if len(prepared.hosts) > 1 else ""
    if blocks := tuple(_blocks(outcome.results)):
        return Report(answered or _note(outcome.results), blocks=blocks, errors=errors)
    if not outcome.results:
        return Report(answered or "No answer.", errors=errors)
    table = _without_the_only_host(
        prepared.tool.table(outcome.results) if prepared.tool.table else _plain_table(outcome.results)
    )
    charts = charts_of(prepared.tool, outcome.results, intake)
    return Report(answered, tables=(table,), errors=errors, charts=charts)


def _blocks(results: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of what is read as a whole: log lines by host, passages by what to cite."""
    for host, result in results.items():
        if not isinstance(result, Mapping):
            continue
        if isinstance(result.get("lines"), list):
            yield host, _newest(_lines(result["lines"]))
        for passage in result.get("passages") or result.get("incidents") or ():
            if isinstance(passage, Mapping) and "text" in passage:
                name = passage.get("cite") or f"{passage.get('id')}: {passage.get('title')}"
                yield str(name), str(passage["text"])


def _note(results: Mapping[str, Any]) -> str:
    found = results.get("", {})
    return str(found.get("note", "")) if isinstance(found, Mapping) else ""


def tools_report(catalogue: Catalogue) -> Report:
    """List the tools with what they may do."""
    rows = tuple(
        (tool.name, str(tool.risk), f"{tool.timeout_s:g} s", tool.description.splitlines()[0])
        for tool in catalogue.registry.tools
    )
    return Report("", tables=(Table(("tool", "risk", "time limit", "what it does"), rows),))


def approvals_report(
    open_ones: Sequence[Approval], lately: Sequence[Approval], now: Moment, *, holds: Sequence[Hold] = ()
) -> Report:
    """List what waits for people, which approvals count again for a while, and what holds actions back."""
    standing_ones = [approval for approval in lately if standing.alive(approval, now)]
    tables = [_open_table(open_ones, now)] if open_ones else []
    tables += [_standing_table(standing_ones, lately)] if standing_ones else []
    tables += holds_table(holds, ())
    return Report("" if open_ones else "Nothing waits for a decision.", tables=tuple(tables))


def holds_table(holds: Sequence[Hold], planned: Sequence[tuple[str, ...]]) -> tuple[Table, ...]:
    """List what holds now, and the freezes of the configuration: (name, scope, when, reason) each."""
    rows = tuple(
        (
            hold.id,
            str(hold.kind),
            str(hold.scope),
            _at(hold.until) if hold.until else "it is ended",
            who(hold.by),
            hold.reason or "none given",
        )
        for hold in holds
    )
    tables = [Table(("id", "what", "scope", "until", "by", "reason"), rows, "In force")] if rows else []
    if planned:
        tables.append(Table(("name", "scope", "when", "reason"), tuple(planned), "In the configuration"))
    return tuple(tables)


def _open_table(open_ones: Sequence[Approval], now: Moment) -> Table:
    rows = tuple(
        (
            approval.id,
            action_text(approval),
            f"<@{approval.requester.user_id}>",
            str(approval.state),
            f"{max(0, (approval.expires_at - now.at).total_seconds()):.0f} s left",
        )
        for approval in open_ones
    )
    return Table(("id", "action", "asked by", "state", "expires"), rows)


def _standing_table(standing_ones: Sequence[Approval], lately: Sequence[Approval]) -> Table:
    rows = tuple(
        (
            approval.id,
            action_text(approval),
            f"<@{approval.requester.user_id}>",
            ", ".join(f"<@{review.actor.user_id}>" for review in approval.reviews),
            _at(approval.standing.until),
            str(sum(each.stands_on == approval.id for each in lately)),
        )
        for approval in standing_ones
        if approval.standing is not None
    )
    return Table(("id", "action", "for", "approved by", "until", "used"), rows, "Approved for a while")


def explain_report(approval: Approval, records: Sequence[AuditRecord]) -> Report:
    """Tell the whole story of an approval: what was bound, who decided by which rule, what the hosts said."""
    facts = [
        ("action", action_text(approval)),
        ("state", str(approval.state)),
        ("asked by", f"<@{approval.requester.user_id}>"),
        ("asked at", _at(approval.created_at)),
        ("expires at", _at(approval.expires_at)),
        ("rule", approval.rule),
        ("tier", tier_text(approval.reach) if approval.reach else "not recorded"),
        ("approvers", f"{approval.needed} of {_approvers(approval)}; never whoever asked"),
        ("digest", approval.digest),
        ("reason", approval.reason or "none given"),
        ("note", approval.note or "-"),
        ("read before", ", ".join(approval.tainted_by) or "no untrusted text"),
    ]
    facts += [
        ("approved by" if done.approve else "denied by", f"<@{done.actor.user_id}> at {_at(done.at)}")
        for done in approval.reviews
    ]
    facts += [
        ("left out", f"{', '.join(each.hosts)} by <@{each.actor.user_id}> at {_at(each.at)}")
        for each in approval.narrowed
    ]
    facts += _standing_facts(approval)
    facts += [(outcome.host, f"{outcome.result}: {outcome.summary}") for outcome in approval.outcomes]
    story = tuple((str(record.seq), _at(record.entry.at), record.entry.kind, _facts(record)) for record in records)
    tables = [Table(("", ""), tuple(facts), f"Request {approval.id}")]
    if story:
        tables.append(Table(("seq", "at", "what", "detail"), story, "Audit"))
    if approval.state is ApprovalState.PENDING:
        return Report("It waits for a decision.", tables=tuple(tables))
    return Report(decided_text(approval), tables=tuple(tables))


def _standing_facts(approval: Approval) -> list[tuple[str, str]]:
    facts = [("approved by request", approval.stands_on)] if approval.stands_on else []
    if approval.standing is not None:
        ended = f"; {approval.standing.ended}" if approval.standing.ended else ""
        facts.append(("counts again until", f"{_at(approval.standing.until)}{ended}"))
    return facts


def plan_report(approval: Approval, hosts: Sequence[Host], rollout: Rollout) -> Report:
    """Say exactly what approving would do, step by step."""
    steps = [f"Check again: policy, expiry, digest {approval.digest[:12]}, and that each target is as on the card."]
    said = {
        host.name: f"{host.name} ({host.connection}{', ' + host.address if host.address else ''})" for host in hosts
    }
    for names in planned(rollout, tuple(said)):
        where = ", ".join(said[name] for name in names)
        each = "on each at once: record the intent" if len(names) > 1 else "record the intent"
        steps.append(f"{where}: {each}, run {action_text(approval, with_hosts=False)} once, verify from the host.")
    if len(said) > 1:
        steps.append(
            f"Before each batch: policy, its targets, and that no more than {rollout.max_unavailable} of the hosts are "
            "out of service; one that is goes before its turn. Pause and Stop count before the next host."
        )
    steps.append("Stop at the first host that is not verified as done; the rest stays untouched.")
    rows = tuple((str(number), step) for number, step in enumerate(steps, 1))
    return Report("", tables=(Table(("step", "what happens"), rows, f"Plan of {approval.id}"),))


def help_report(bot_name: str) -> Report:
    """List the commands, and the other ways in."""
    rows = tuple((usage.words, usage.does) for usage in USAGES)
    text = (
        f"Type `/ops` and one of these words, or `@{bot_name} !word …` in a thread. Mention me with a question in your "
        "own words, and I look at the servers and answer with evidence. Whatever changes a host waits for a person."
    )
    return Report(text, tables=(Table(("command", "what it does"), rows),))


def _approvers(approval: Approval) -> str:
    users = [f"<@{user}>" for user in sorted(approval.approver_users)]
    return ", ".join([*users, *(f"<!subteam^{group}>" for group in sorted(approval.approver_groups))]) or "nobody"


def action_text(approval: Approval, *, with_hosts: bool = True) -> str:
    """One line: `restart_service unit=nginx.service on web-1, web-2`."""
    arguments = " ".join(f"{name}={value}" for name, value in approval.action.arguments.items())
    where = f" on {', '.join(approval.action.hosts)}" if with_hosts else ""
    return f"{approval.action.tool} {arguments}{where}".strip()


def _without_the_only_host(table: Table) -> Table:
    """Name one host above its rows instead of in each of them: there is little room for columns."""
    names = {row[0] for row in table.rows}
    if table.headers[:1] != ("host",) or len(names) != 1 or len(table.headers) < 3:
        return table
    title = f"{table.title} on {names.pop()}" if table.title else names.pop()
    return Table(table.headers[1:], tuple(row[1:] for row in table.rows), title)


def _plain_table(results: Mapping[str, Any]) -> Table:
    rows = []
    for host, result in results.items():
        pairs = result.items() if isinstance(result, Mapping) else (("result", result),)
        rows += [(host, str(name), str(value)) for name, value in pairs]
    return Table(("host", "fact", "value"), tuple(rows))


def _lines(lines: Sequence[object]) -> str:
    return "\n".join(
        f"{line.get('at', '')} {line.get('text', '')}".strip() if isinstance(line, Mapping) else str(line)
        for line in lines
    )


def _newest(text: str) -> str:
    missing = len(text) - _MAX_BLOCK_CHARS
    return text if missing <= 0 else f"[{missing:,} earlier characters left out]…{text[missing:]}"


def _facts(record: AuditRecord) -> str:
    # What the table above says already, or what only matters to machines.
    hidden = {"tool", "hosts", "digest", "arguments", "shown", "needed", "expires_at", "tainted_by"}
    hidden |= {"tool_sha256", "evidence_sha256"}
    pairs = [f"{name}={value}" for name, value in record.entry.facts.items() if name not in hidden]
    return " ".join([*([record.entry.actor] if record.entry.actor else []), *pairs])


def _at(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S} UTC"
