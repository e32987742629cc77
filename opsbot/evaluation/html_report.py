"""The report of a run as one HTML file: results to filter, and every transcript. Nothing is loaded from anywhere."""

from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from string import Template

from opsbot.evaluation.record import Check, Line, Result
from opsbot.evaluation.report import Outcome, agent_text, cost_text, summary, verdict
from opsbot.evaluation.tasks import Part

# A transcript shows this much of one result; the whole of it is in the JSON.
_SHOWN_CHARS = 6000
_KINDS = {
    "person": "person",
    "model": "opsbot",
    "call": "calls",
    "result": "answer of the tool",
    "card": "request for approval",
    "note": "opsbot, by code",
}


def page(outcome: Outcome) -> str:
    """Return the whole page."""
    template = Template(files("opsbot.evaluation").joinpath("eval-page.html").read_text(encoding="utf-8"))
    return template.substitute(
        model=escape(outcome.model),
        began=escape(f"{outcome.began_at:%Y-%m-%d %H:%M} UTC"),
        summary=escape(summary(outcome)),
        state="well" if outcome.well else "not-well",
        verdict="as it should be" if outcome.well else "something did not come out as it should",
        tiles="\n".join(_tiles(outcome.results)),
        agents="\n".join(_option(name) for name in dict.fromkeys(result.agent for result in outcome.results)),
        rows="\n".join(_row(number, result) for number, result in enumerate(outcome.results)),
    )


def _option(name: str) -> str:
    return f'<option value="{escape(name)}">{escape(name)}</option>'


def _tiles(results: Sequence[Result]) -> Iterable[str]:
    """Yield for each level how many attempts came out as they should."""
    for level in sorted({result.level for result in results}):
        here = [result for result in results if result.level == level]
        right = sum(result.as_it_should for result in here)
        share = 100 * right / len(here)
        yield (
            f'<div class="tile"><span>Level {level}</span><strong>{right} of {len(here)}</strong>'
            f'<div class="bar"><i style="width:{share:.0f}%"></i></div></div>'
        )


def _row(number: int, result: Result) -> str:
    took = result.record.took
    right = "yes" if result.as_it_should else "no"
    cells = (
        f"<td><button aria-expanded='false'>{escape(result.task_id)}</button>",
        f"<small>{escape(result.about)}</small></td>",
        f"<td>{result.level}</td>",
        f"<td>{escape(agent_text(result))}</td>",
        f'<td class="nowrap"><b class="{"solved" if result.solved else "unsolved"}">{escape(verdict(result))}</b></td>',
        f"<td class='nowrap'>{''.join(_mark(part, result.checks) for part in Part)}</td>",
        f"<td class='n'>{took.rounds}</td><td class='n'>{took.calls}</td><td class='n'>{took.tokens:,}</td>",
        f"<td class='n'>{escape(cost_text(took.cost_nano_usd))}</td><td class='n'>{took.seconds:.1f}</td>",
    )
    data = (
        f'data-level="{result.level}" data-agent="{escape(result.agent)}" '
        f'data-solved="{"yes" if result.solved else "no"}" data-right="{right}"'
    )
    return (
        f'<tbody {data}><tr class="head" id="r{number}">{"".join(cells)}</tr>'
        f'<tr class="detail" hidden><td colspan="10">{_detail(result)}</td></tr></tbody>'
    )


def _mark(part: Part, checks: Sequence[Check]) -> str:
    here = [check for check in checks if check.part is part]
    if not here:
        return '<i class="dot none"></i>'
    passed = all(check.passed for check in here)
    said = f"{part}: {sum(check.passed for check in here)} of {len(here)}"
    return f'<i class="dot {"pass" if passed else "fail"}" title="{escape(said)}"></i>'


def _detail(result: Result) -> str:
    checks = "\n".join(_check(check) for check in result.checks)
    lines = "\n".join(_line(line) for line in result.record.transcript)
    ended = f"<p class='ended'>{escape(result.record.ended)}</p>" if result.record.ended else ""
    return (
        f'{ended}<div class="two"><section><h3>Transcript</h3>{lines}</section>'
        f"<section><h3>Checks</h3><ul class='checks'>{checks}</ul></section></div>"
    )


def _check(check: Check) -> str:
    said = f"<small>{escape(check.said)}</small>" if check.said else ""
    kind = "pass" if check.passed else "fail"
    return f'<li class="{kind}"><em>{escape(check.part.replace("_", " "))}</em> {escape(check.name)}{said}</li>'


def _line(line: Line) -> str:
    text = (
        line.text
        if len(line.text) <= _SHOWN_CHARS
        else f"{line.text[:_SHOWN_CHARS]}\n… ({len(line.text):,} characters)"
    )
    kind = line.kind if line.kind in _KINDS else "note"
    title = f" · {escape(line.title)}" if line.title else ""
    head = f"<header>{escape(_KINDS[kind])}{title}</header>"
    body = f"<pre>{escape(text)}</pre>"
    if kind == "result":
        return f'<details class="line result"><summary>{head}</summary>{body}</details>'
    return f'<div class="line {kind}">{head}{body}</div>'
