"""What tools found, in plain words: Markdown made from JSON results, honest about what is missing."""

import html
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from opsbot.domain import ToolResult
from opsbot.readable import duration_text, percent_text, size_text

_LISTED = 30
_VALUE_CHARS = 300
_THINGS = 12
_FACTS = 8
_PASSAGES = 3
_LOG_CHARS = 2400
_FULL_PERCENT = 90.0
_RESULT_WORDS = {
    "done": "done",
    "failed": "**failed**",
    "not_done": "not done, nothing changed",
    "unknown": "**outcome unknown**",
}
_STATE_WORDS = {
    "denied": "It was **denied**, so nothing was run.",
    "expired": "Nobody approved it in time, so nothing was run.",
    "stale": "What was to be done is out of date, so nothing more was run.",
    "failed": "It was carried out and **failed**.",
    "unknown": "Whether it was carried out is **unknown**.",
    "done": "Done and verified.",
}


def summary(results: Iterable[ToolResult], tools: Mapping[str, str]) -> str:
    """Say what these results say. `tools`: the tool's name by call id."""
    return "\n\n".join(_one(result, tools.get(result.call_id, "")) for result in results)


def _one(result: ToolResult, tool: str) -> str:
    try:
        value = json.loads(result.content)
    except ValueError:
        return f"{_name(tool)} answered, but not in a form I can read; here is how it begins:\n{_code(result.content)}"
    if not isinstance(value, dict):
        return f"{_name(tool)}: {_plain(value)}"
    if "approval" in value and "state" in value:
        return _approval(value)
    if "error" in value and "results" not in value:
        return f"That was not possible: {_plain(value['error'])}"
    if isinstance(value.get("all"), dict):
        return _together(value, tool)
    if "results" in value or "errors" in value:
        return _per_host(value, tool)
    if isinstance(value.get("passages"), list):
        return _passages(value)
    return _hosts(value) if isinstance(value.get("hosts"), list) else _facts(value)


def _approval(value: Mapping[str, Any]) -> str:
    state = str(value["state"])
    lines = [_STATE_WORDS.get(state, f"It is now {state}.")]
    lines += [
        f"- **{_plain(o.get('host'))}**: {_RESULT_WORDS.get(str(o.get('result')), _plain(o.get('result')))}: "
        f"{_plain(o.get('summary'))}"
        for o in _mappings(value.get("outcomes"))
    ]
    for outcome in _mappings(value.get("outcomes")):
        if outcome.get("evidence") and outcome.get("result") != "done":
            lines.append(_code(str(outcome["evidence"])))
    if value.get("note"):
        lines.append(_plain(value["note"]))
    return "\n".join(lines)


def _per_host(value: Mapping[str, Any], tool: str) -> str:
    say: Callable[[str, Mapping[str, Any]], str] = _SENTENCES.get(tool, _any_facts)
    results = value.get("results")
    lines = []
    for host, found in results.items() if isinstance(results, Mapping) else ():
        if isinstance(found, Mapping):
            lines.append(_tolerant(say, str(host), found))
        else:
            lines.append(f"**{host}**: {_plain(found)}")
    errors = value.get("errors")
    for host, text in errors.items() if isinstance(errors, Mapping) else ():
        lines.append(f"**{host}** gave no answer: {_plain(text)}")
    separator = "\n" if tool == "server_status" else "\n\n"
    bullet = "- " if len(lines) > 1 and separator == "\n" else ""
    return separator.join(bullet + line for line in lines) or "There was nothing to report."


def _together(value: Mapping[str, Any], tool: str) -> str:
    """Tell what a tool says of all its hosts at once, then who gave no answer."""
    found = value["all"]
    said = _tolerant(lambda _, f: _history(f), "", found) if tool == "host_history" else _facts(found)
    silent = _per_host({"errors": value["errors"]}, tool) if value.get("errors") else ""
    return "\n\n".join(part for part in (said, silent) if part)


def _tolerant(say: Callable[[str, Mapping[str, Any]], str], host: str, found: Mapping[str, Any]) -> str:
    """A tool may change what it reports: facts in an unexpected form are listed as they are."""
    try:
        return say(host, found)
    except (KeyError, TypeError, ValueError, AttributeError):
        return _any_facts(host, found)


def _server(host: str, f: Mapping[str, Any]) -> str:
    facts = [
        f"up {duration_text(f['uptime_s'])}",
        f"load {f['load_1m']:.2f} on {f['cpus']} CPU{'s' if f['cpus'] != 1 else ''}",
        f"CPU {percent_text(f['cpu_percent'])}",
        f"memory {percent_text(f['memory_used_percent'])} of {size_text(f['memory_total_bytes'])} used",
        _swap(f),
    ]
    if f["disks"]:
        disk = max(f["disks"], key=lambda one: one["used_percent"])
        free = size_text(disk["available_bytes"])
        facts.append(f"fullest disk `{disk['mount']}` at {percent_text(disk['used_percent'])} ({free} free)")
    failed = f["failed_units"]
    services = "failed services unknown" if failed is None else f"failed services: {_names(failed) or 'none'}"
    worries = _worries(f)
    verdict = f" Worth a look: {', '.join(worries)}." if worries else " Nothing stands out."
    since = [f"{_plain(what)} {_plain(said)}" for what, said in (f.get("since") or {}).items()]
    verdict += f" By what I kept: {', '.join(since)}." if since else ""
    return f"**{host}** ({f['os']}): {', '.join(facts)}; {services}.{verdict}"


def _swap(f: Mapping[str, Any]) -> str:
    if not f["swap_total_bytes"]:
        return "no swap"
    return f"swap {percent_text(100 * f['swap_used_bytes'] / f['swap_total_bytes'])} used"


def _worries(f: Mapping[str, Any]) -> list[str]:
    found = []
    if f["load_5m"] > f["cpus"]:
        found.append(f"load has been above the number of CPUs ({f['load_5m']:.2f} over 5 minutes)")
    if (f["memory_used_percent"] or 0) >= _FULL_PERCENT:
        found.append(f"memory is {percent_text(f['memory_used_percent'])} used")
    for disk in f["disks"]:
        if disk["used_percent"] >= _FULL_PERCENT:
            found.append(f"`{disk['mount']}` is {percent_text(disk['used_percent'])} full")
        if (disk["inodes_used_percent"] or 0) >= _FULL_PERCENT:
            found.append(f"`{disk['mount']}` has used {percent_text(disk['inodes_used_percent'])} of its inodes")
    if f["failed_units"]:
        found.append("failed services")
    return found


def _service(host: str, f: Mapping[str, Any]) -> str:
    if "units" in f:
        lines = [f"- {_state(unit)}" for unit in f["units"][:_LISTED]]
        hidden = f.get("not_shown", 0) + max(0, len(f["units"]) - _LISTED)
        return "\n".join([f"Services on **{host}**:", *lines, *([f"- and {hidden} more"] if hidden else [])])
    if f["load_state"] == "not-found":
        similar = _names(f.get("similar") or [])
        return f"**{host}** has no service `{f['unit']}`." + (f" Similar names there: {similar}." if similar else "")
    more = [f"health check: {f['health']}"] if f.get("health") else []
    if f["active_state"] != "active" and f.get("result"):
        status = "" if f.get("exit_status") is None else f", exit status {f['exit_status']}"
        more.append(f"result: {f['result']}{status}")
    return f"On **{host}**, {'; '.join([_state(f), *more])}."


def _state(f: Mapping[str, Any]) -> str:
    if f["load_state"] not in ("loaded", ""):
        return f"`{f['unit']}` is {f['load_state']}"
    state = f["active_state"] + (f" ({f['sub_state']})" if f["sub_state"] else "")
    facts = [f"`{f['unit']}` is {state if f['active_state'] == 'active' else f'**{state}**'}"]
    if f["active_state"] == "active" and f["active_for_s"] is not None:
        facts.append(f"for {duration_text(f['active_for_s'])}")
    if f["main_pid"]:
        facts.append(f"PID {f['main_pid']}")
    if f["memory_bytes"] is not None:
        facts.append(f"memory {size_text(f['memory_bytes'])}")
    if f["restarts"]:
        facts.append(f"{f['restarts']} automatic restart{'s' if f['restarts'] != 1 else ''}")
    return ", ".join(facts)


def _logs(host: str, f: Mapping[str, Any]) -> str:
    lines = [str(line) for line in f["lines"]]
    if not lines:
        return f"`{f['unit']}` on **{host}** has no log lines there."
    return f"Newest log lines of `{f['unit']}` on **{host}**:\n{_code(chr(10).join(lines))}"


def _history(f: Mapping[str, Any]) -> str:
    head = f"{f['metric'][:1].upper()}{f['metric'][1:]} over the last {f['hours']} h:"
    lines = [_course(name, one, f["unit"]) for name, one in f["servers"].items()]
    hidden = [f"- and {f['not_shown']} more"] if f.get("not_shown") else []
    return "\n".join([head, *(f"- {line}" for line in lines), *hidden])


def _course(name: str, f: Mapping[str, Any], unit: str) -> str:
    where = f"**{name}** `{_plain(f['mount'])}`" if f.get("mount") else f"**{name}**"
    if "mean" not in f:
        return f"{where}: {_plain(f['note'])}"
    figure = _FIGURES.get(unit, _number)
    now = f"last {_plain(f['last'])}" if f["now"] is None else f"{figure(f['now'])} now"
    said = [f"{now}, between {figure(f['min'])} and {figure(f['max'])}", *([f["trend"]] if f["trend"] else [])]
    said += f["since"]
    said += [f"unreachable {span}" for span in f["unreachable"]] + [f"no samples {span}" for span in f["gaps"]]
    said += [f["note"]] if f["note"] else []
    return f"{where}: {'; '.join(said)} ({f['samples']} samples)"


def _number(value: float) -> str:
    return f"{value:g}"


_FIGURES: dict[str, Callable[[float], str]] = {"percent": percent_text, "seconds": duration_text}
_SENTENCES: dict[str, Callable[[str, Mapping[str, Any]], str]] = {
    "server_status": _server,
    "service_status": _service,
    "service_logs": _logs,
}


def _hosts(value: Mapping[str, Any]) -> str:
    hosts = _mappings(value["hosts"])
    lines = []
    for host in hosts[:_LISTED]:
        facts = [str(host.get("environment") or "")]
        if groups := _names(host.get("groups") or []):
            facts.append(f"groups {groups}")
        units = _names(host.get("units_that_may_be_restarted") or [])
        facts.append(f"may restart {units}" if units else "nothing may be restarted")
        lines.append(f"- **{_plain(host.get('name'))}**: {'; '.join(fact for fact in facts if fact)}")
    total = value.get("matching", len(hosts))
    hidden = total - len(lines) if isinstance(total, int) else 0
    head = f"I look after {total} server{'s' if total != 1 else ''}:"
    return "\n".join([head, *lines, *([f"- and {hidden} more"] if hidden > 0 else [])])


def _passages(value: Mapping[str, Any]) -> str:
    """Quote what was written down, each passage under the file and heading it stands at."""
    found = _mappings(value["passages"])
    if not found:
        return "None of the runbooks says anything about that."
    shown = [
        f"**{_plain(one.get('cite'))}** (line {_plain(one.get('line'))})\n{_code(str(one.get('text', '')))}"
        for one in found
    ]
    note = f"\n\n_{_plain(value['note'])}_" if value.get("note") else ""
    return "\n\n".join(["From the runbooks:", *shown[:_PASSAGES]]) + note


def _any_facts(host: str, found: Mapping[str, Any]) -> str:
    return f"**{host}**:\n{_facts(found)}"


def _facts(value: Mapping[str, Any]) -> str:
    """A line per fact; a list of things is a line per thing, and what says nothing is left out."""
    lines: list[str] = []
    for key, found in list(value.items())[:_LISTED]:
        name = key.replace("_", " ")
        if things := _mappings(found):
            lines.append(f"- {name}:")
            lines += [f"  - {_thing(thing)}" for thing in things[:_THINGS]]
            lines += [f"  - and {len(things) - _THINGS} more"] if len(things) > _THINGS else []
        elif found not in (None, [], {}, ""):
            lines.append(f"- {name}: {_value(key, found)}")
    return "\n".join(lines) or "- nothing to report"


def _thing(thing: Mapping[str, Any]) -> str:
    facts = [f"{key.replace('_', ' ')} {_value(key, found)}" for key, found in thing.items() if _says_something(found)]
    return _plain(", ".join(facts[:_FACTS]))


def _says_something(found: object) -> bool:
    return found is not False and found not in (None, [], {}, "")


def _value(key: str, found: object) -> str:
    """A figure with the unit its name says, else one line of text."""
    if isinstance(found, int | float) and not isinstance(found, bool):
        if key.endswith("_bytes"):
            return size_text(int(found))
        if key.endswith("_percent"):
            return percent_text(float(found))
        if key.endswith("_s"):
            return duration_text(float(found))
    if isinstance(found, list) and all(isinstance(one, str) for one in found):
        return _plain(", ".join(found))
    return _plain(found)


def _mappings(value: object) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, Mapping)] if isinstance(value, list) else []


def _names(values: Iterable[object]) -> str:
    return ", ".join(f"`{_plain(value)}`" for value in values)


def _name(tool: str) -> str:
    return f"`{tool}`" if tool else "The tool"


def _plain(value: object) -> str:
    """One line of text, cut."""
    if value is None:
        return "unknown"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    line = " ".join(text.split())
    return line if len(line) <= _VALUE_CHARS else f"{line[:_VALUE_CHARS]}…"


def _code(text: str) -> str:
    """A block that its content cannot leave; the end is kept, as the newest lines are there."""
    shown = text if len(text) <= _LOG_CHARS else f"…{text[-_LOG_CHARS:]}"
    # `&#96;` is a backtick to whoever reads Markdown.
    while (read := html.unescape(shown)) != shown:
        shown = read
    return "```\n" + shown.replace("```", "'''").strip("\n") + "\n```"
