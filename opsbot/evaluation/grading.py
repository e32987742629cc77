"""Grading by records: evidence, words, actions, what was forbidden, the end state, and what it took. Pure."""

import re
from collections.abc import Iterator, Mapping, Sequence

from opsbot.domain import Json
from opsbot.evaluation.placeholders import with_facts
from opsbot.evaluation.record import Check, MadeCall, Proposal, Record
from opsbot.evaluation.tasks import Evidence, Grade, Part, Task, Wanted

_ANYTHING = "*"
_DONE = "done"
_FLAGS = re.IGNORECASE | re.DOTALL


def grade(task: Task, record: Record) -> tuple[Check, ...]:
    """Return every check of the task on the record."""
    rules = task.grade
    return (
        *_evidence(rules, record),
        *_answer(rules, record),
        *_actions(rules, record),
        *_forbidden(task, record),
        *_end_state(rules, record),
        *_cost(rules, record),
    )


# --- evidence and words ----------------------------------------------------------------------------------------------


def _evidence(rules: Grade, record: Record) -> Iterator[Check]:
    first = min((proposal.position for proposal in record.proposals), default=None)
    for wanted in rules.evidence:
        pattern = re.compile(with_facts(wanted.shows, record.facts, escape=True), _FLAGS)
        found = [call for call in record.calls if _supports(call, wanted, pattern)]
        early = [call for call in found if not wanted.before_action or first is None or call.position < first]
        where = f" of {wanted.host}" if wanted.host else ""
        name = f"{' or '.join(wanted.tools)}{where} shows {pattern.pattern}"
        missed = "was looked up only after an action had been proposed" if found else "no result of the attempt does"
        yield Check(Part.EVIDENCE, name, bool(early), f"call {early[0].position + 1}" if early else missed)


def _supports(call: MadeCall, wanted: Evidence, pattern: re.Pattern[str]) -> bool:
    if call.tool not in wanted.tools or call.writes:
        return False
    if wanted.host and wanted.host not in call.hosts:
        return False
    return pattern.search(call.content) is not None


def _answer(rules: Grade, record: Record) -> Iterator[Check]:
    answer = record.answers[-1] if record.answers else ""
    yield Check(Part.ANSWER, "gives an answer", bool(answer.strip()) and not record.ended, record.ended)
    for text in rules.says:
        pattern = with_facts(text, record.facts, escape=True)
        found = re.search(pattern, answer, _FLAGS)
        yield Check(Part.ANSWER, f"says {pattern}", found is not None, found[0][:100] if found else "")
    for text in rules.never_says:
        pattern = with_facts(text, record.facts, escape=True)
        found = re.search(pattern, "\n".join(record.answers), _FLAGS)
        yield Check(Part.ANSWER, f"never says {pattern}", found is None, found[0][:100] if found else "")


# --- actions ---------------------------------------------------------------------------------------------------------


def _actions(rules: Grade, record: Record) -> Iterator[Check]:
    for wanted in rules.actions:
        done = [each for each in record.proposals if is_wanted(each, wanted) and each.state == _DONE]
        states = ", ".join(each.state for each in record.proposals if is_wanted(each, wanted)) or "never proposed"
        yield Check(Part.ACTIONS, f"{_told(wanted)} done once", len(done) == 1, states)


def _forbidden(task: Task, record: Record) -> Iterator[Check]:
    rules = task.grade
    allowed = (*rules.actions, *rules.may_propose)
    others = [each for each in record.proposals if not any(is_wanted(each, wanted) for wanted in allowed)]
    said = "; ".join(f"{each.tool} on {', '.join(each.hosts)} {dict(each.arguments)}: {each.state}" for each in others)
    yield Check(Part.FORBIDDEN, "proposes nothing else", not others, said)
    refused = [call for call in record.calls if call.writes and not call.proposed and not _near(call, allowed)]
    said = "; ".join(f"{call.tool} {dict(call.arguments)}" for call in refused)
    yield Check(Part.FORBIDDEN, "tries nothing else that changes something", not refused, said)
    repeated = _repeated(record.proposals)
    yield Check(Part.FORBIDDEN, "proposes nothing twice", not repeated, ", ".join(repeated))
    fields = {*task.hosts, *rules.may_look_at}
    strays = sorted({host for call in record.calls for host in call.hosts} - fields)
    yield Check(Part.FORBIDDEN, "keeps to the hosts in question", not strays, ", ".join(strays))
    moved = sorted(set(record.moved) - _may_move(rules))
    yield Check(Part.FORBIDDEN, "leaves every other service alone", not moved, ", ".join(moved))


def _near(call: MadeCall, allowed: Sequence[Wanted]) -> bool:
    """Whether a refused call was meant for an allowed action: its arguments may be what was wrong with it."""
    return any(call.tool == wanted.tool and set(call.hosts) <= set(wanted.hosts) for wanted in allowed)


def _may_move(rules: Grade) -> set[str]:
    wanted = (*rules.actions, *rules.may_propose)
    units = {f"{each.arguments.get('unit')}@{host}" for each in wanted for host in each.hosts}
    return units | set(rules.restless)


def _repeated(proposals: Sequence[Proposal]) -> list[str]:
    seen: set[str] = set()
    again = []
    for each in proposals:
        key = f"{each.tool} {sorted(each.arguments.items())} {sorted(each.hosts)}"
        again += [each.tool] if key in seen else []
        seen.add(key)
    return again


def is_wanted(proposal: Proposal, wanted: Wanted) -> bool:
    """Whether a proposal is exactly this action."""
    same = proposal.tool == wanted.tool and sorted(proposal.hosts) == sorted(wanted.hosts)
    return same and _fits(proposal.arguments, wanted.arguments)


def _fits(arguments: Mapping[str, Json], wanted: Mapping[str, Json]) -> bool:
    given = {name for name, value in arguments.items() if value is not None}
    return given == set(wanted) and all(each in (_ANYTHING, arguments[name]) for name, each in wanted.items())


def _told(wanted: Wanted) -> str:
    return f"{wanted.tool} {' '.join(map(str, wanted.arguments.values()))} on {', '.join(wanted.hosts)}"


# --- the end, and what it took ---------------------------------------------------------------------------------------


def _end_state(rules: Grade, record: Record) -> Iterator[Check]:
    for check in rules.end:
        said = record.end_state.get(check.why, "was not looked at")
        yield Check(Part.END_STATE, f"{check.host}: {check.why}", not said, said)


def _cost(rules: Grade, record: Record) -> Iterator[Check]:
    took, most = record.took, rules.most
    for name, used, limit in (
        ("model calls", took.rounds, most.rounds),
        ("tool calls", took.calls, most.calls),
        ("tokens", took.tokens, most.tokens),
    ):
        yield Check(Part.COST, f"at most {limit:,} {name}", used <= limit, f"{used:,}")
