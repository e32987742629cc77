"""Restart a container of docker or podman: what it would hit, doing it once, and judging from the host how it ended."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from opsbot import (
    CONTAINER_FIELDS,
    BadArguments,
    CommandResult,
    CommandTimedOut,
    Container,
    Context,
    Host,
    HostOutcome,
    HostUnreachable,
    Impact,
    Look,
    OutcomeUnknown,
    Result,
    ToolError,
    as_root,
    container_log,
    container_look,
    container_looks,
    container_restart,
    duration_text,
    plain_line,
    refused_by_sudo,
    script_look,
    sudoers_rule,
    time_text,
    tool,
)

_ENGINE = """# opsbot: which container engine
engine=docker
{ command -v docker >/dev/null && [ -S /var/run/docker.sock ]; } || ! command -v podman >/dev/null || engine=podman
command -v "$engine" >/dev/null 2>&1 || exit 127
echo "$engine"
"""
_UNKNOWN = "unknown"
_OWN, _ROOT = "the bot's own user", "root, by sudo"
_LOOK_EVERY_S = 1.0
_STABLE_LOOKS = 3
_MAX_LOOKS = 300
_MAX_BLIND_LOOKS = 5
# What docker and podman wait between SIGTERM and SIGKILL unless told otherwise (docker 28, podman 4.3).
_STOP_TIMEOUT_S = 10
_MAX_STOP_TIMEOUT_S = 60
_CHANGING = "changing by itself"
_NO_DAEMON = ("permission denied", "cannot connect to the docker daemon", "is the docker daemon running")


@dataclass(frozen=True, slots=True)
class _Reach:
    """Which engine holds the container, and as whom it is spoken to."""

    engine: str
    way: str

    def argv(self, host: Host, command: Sequence[str]) -> tuple[str, ...]:
        """As root the whole path, which sudo compares; else wherever the user's PATH finds it."""
        return as_root(host, command) if self.way == _ROOT else (self.engine, *command[1:])


@dataclass(frozen=True, slots=True)
class _Facts:
    """A container as its engine sees it."""

    state: str
    health: str
    started_at: str
    fields: Mapping[str, Any]

    @property
    def running(self) -> bool:
        return self.state == "running"

    @property
    def id(self) -> str:
        return str(self.fields["id"])


# --- looking ---------------------------------------------------------------------------------------------------------


def _find(ctx: Context, host: Host, name: str) -> tuple[_Reach, _Facts]:
    """Look at the container as the bot's own user, else as root where the inventory says `sudo: true`.

    Raises:
        ToolError: there is none, or nobody may look.
    """
    reach = _Reach(_engine(ctx, host), _OWN)
    said = ctx.run(host, *reach.argv(host, container_look(reach.engine, name)))
    facts = parse_look(said.stdout) if said.exit_status == 0 else None
    if facts is None and host.sudo:
        by_root = _Reach(reach.engine, _ROOT)
        tried = ctx.run(host, *by_root.argv(host, container_look(reach.engine, name)))
        facts = parse_look(tried.stdout) if tried.exit_status == 0 else None
        reach, said = by_root, (said if refused_by_sudo(tried) and _no_such(said) else tried)
    if facts is None:
        raise ToolError(_refusal(host, reach, name, said))
    return reach, facts


def _engine(ctx: Context, host: Host) -> str:
    said = ctx.run(host, "sh", "-c", _ENGINE)
    engine = said.stdout.strip()
    if said.exit_status != 0 or engine not in ("docker", "podman"):
        raise ToolError(f"{host.name}: neither docker nor podman is installed there.")
    return engine


def parse_look(output: str) -> _Facts | None:
    """Read the JSON array of `container_look`; None if it is none."""
    try:
        values = json.loads(output)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, list) or len(values) != len(CONTAINER_FIELDS) or not isinstance(values[0], str):
        return None
    fields = dict(zip(CONTAINER_FIELDS, values, strict=True))
    state = _text(fields["state"]).lower() or _UNKNOWN
    health = fields["health"].get("Status") if isinstance(fields["health"], dict) else ""
    return _Facts(
        state=state,
        # An ended container keeps what its health check said last.
        health="" if health in (None, "none") or state != "running" else _text(health),
        started_at=_text(fields["started_at"]),
        fields=fields,
    )


def _text(value: object) -> str:
    return plain_line(str(value), limit=200) if isinstance(value, str) else ""


def _no_such(said: CommandResult) -> bool:
    return "no such" in said.stderr.lower()


def _refusal(host: Host, reach: _Reach, name: str, said: CommandResult) -> str:
    words = plain_line((said.stderr or said.stdout).strip(), limit=300)
    if _no_such(said):
        return f"{host.name} has no container {name} in {reach.engine}; docker_containers lists those there are."
    if refused_by_sudo(said) or any(phrase in words.lower() for phrase in _NO_DAEMON):
        rule = sudoers_rule(host, container_restart(reach.engine, name))
        return (
            f"{host.name}: the bot may not do that in {reach.engine}; nothing was changed. "
            f"`opsbot sudoers {host.name}` prints the rules that are missing there, such as `{rule}`."
        )
    return f"{host.name}: {reach.engine} answered: {words or f'status {said.exit_status}'}"


# --- before ----------------------------------------------------------------------------------------------------------


def impact(ctx: Context, host: Host, container: Container) -> Impact:
    """Collect what a restart would hit. Raises BadArguments for a container that cannot be restarted."""
    reach, facts = _find(ctx, host, container)
    _check_restartable(host, container, facts)
    fields = facts.fields
    shown = [
        ("state", _state(facts)),
        ("image", _text(fields["image"]) or _UNKNOWN),
        ("running since", _since(facts)),
        ("ports", _ports(fields["ports"])),
        ("networks", _networks(fields["networks"])),
        ("restart policy", _text(fields["restart_policy"]) or "no"),
        ("automatic restarts", _figure(fields["restarts"])),
        ("engine", f"{reach.engine}, as {reach.way}"),
    ]
    if fields["compose_project"]:
        shown.append(("compose project", f"{_text(fields['compose_project'])}; the others in it are not restarted"))
    if not facts.running:
        shown.append(("note", "it is not running: a restart would start it"))
    elif fields["auto_remove"] is True:
        shown.append(("note", "it is removed for good when it ends, so a restart that fails leaves nothing"))
    return Impact(tuple(shown), _fingerprint(reach, facts))


def _check_restartable(host: Host, name: str, facts: _Facts) -> None:
    if facts.state in ("removing", "dead", "paused"):
        raise BadArguments(f"{name} on {host.name} is {facts.state}: it cannot be restarted as it is.")


def _fingerprint(reach: _Reach, facts: _Facts) -> dict[str, str]:
    """Identify the run that would be ended. One that its engine restarts again and again drifts by that alone: none."""
    falling = facts.state == "restarting"
    return {
        "container_id": facts.id,
        "started_at": _CHANGING if falling else facts.started_at,
        "state": _CHANGING if falling else facts.state,
        "engine": reach.engine,
        "way": reach.way,
        "stop_timeout_s": _figure(facts.fields["stop_timeout_s"] or _STOP_TIMEOUT_S),
    }


def _state(facts: _Facts) -> str:
    notes = [facts.health] if facts.health else []
    notes += ["killed for want of memory"] if facts.fields["oom_killed"] is True else []
    notes += [f"status {_figure(facts.fields['exit_status'])}"] if facts.state == "exited" else []
    return facts.state + (f" ({', '.join(notes)})" if notes else "")


def _since(facts: _Facts) -> str:
    if not facts.running:
        return "not running"
    try:
        at = datetime.fromisoformat(facts.started_at).astimezone(UTC)
    except (ValueError, OverflowError):
        return _UNKNOWN
    return f"{time_text(at)} ({duration_text((datetime.now(UTC) - at).total_seconds())})"


def _figure(value: object) -> str:
    return str(value) if isinstance(value, int) else _UNKNOWN


def _networks(networks: object) -> str:
    return _bounded(list(map(_text, networks))) or "none" if isinstance(networks, dict) else "none"


def _bounded(words: Sequence[str]) -> str:
    return ", ".join(words[:10]) + (f" and {len(words) - 10} more" if len(words) > 10 else "")


def _ports(ports: object) -> str:
    """Spell `{"80/tcp": [{"HostIp": …, "HostPort": …}]}`; a port without a binding is only seen by other containers."""
    if not isinstance(ports, dict) or not ports:
        return "none published"
    spelled = [
        f"{_text(at.get('HostIp')) or '0.0.0.0'}:{_text(at.get('HostPort'))}->{_text(inner)}"  # noqa: S104 - as docker spells it
        for inner, bound in ports.items()
        for at in (bound if isinstance(bound, list) else ())
        if isinstance(at, dict)
    ]
    return _bounded(spelled) or "none published"


# --- after -----------------------------------------------------------------------------------------------------------


def verify(ctx: Context, host: Host, before: Impact, container: Container) -> HostOutcome:
    """Wait until the container has settled: the same one, in a new run that lasts and is healthy, is done."""
    reach = _Reach(before.fingerprint.get("engine", "docker"), before.fingerprint.get("way", _OWN))
    try:
        result, words, facts = _watch(ctx, host, before, container, reach)
    except (HostUnreachable, CommandTimedOut, OutcomeUnknown) as error:
        return HostOutcome(host.name, Result.UNKNOWN, f"{container}: the host could not be read: {error}")
    except ToolError as error:
        return HostOutcome(host.name, Result.UNKNOWN, f"{container}: {error}")
    evidence = _evidence(ctx, host, container, reach, facts) if result is Result.FAILED else ""
    return HostOutcome(host.name, result, f"{container} {words}", evidence, _changes(before, facts))


_End = tuple[Result, str, _Facts | None]


def _watch(ctx: Context, host: Host, before: Impact, name: str, reach: _Reach) -> _End:
    """Look until one state has lasted, the container has failed, or the time is used up."""
    looks, last = 0, None
    for _ in range(_MAX_LOOKS):
        try:
            if last is not None:
                ctx.sleep(_LOOK_EVERY_S)
            now = _look(ctx, host, name, reach)
        except CommandTimedOut:
            if last is None:
                raise
            break
        failure = _failure(before, now, last)
        if failure or now is None:
            return Result.FAILED, failure, now
        looks = looks + 1 if last is not None and _alike(last, now) else 1
        if looks >= _looks_needed(before, now):
            return _settled(before, now)
        last = now
    assert last is not None  # the loop looks at least once
    return Result.UNKNOWN, f"was last seen {_state(last)}; what becomes of it is not known", last


def _look(ctx: Context, host: Host, name: str, reach: _Reach) -> _Facts | None:
    """Read the container, None if it is gone; a few lost connections are forgiven."""
    for blind in range(_MAX_BLIND_LOOKS):
        try:
            said = ctx.run(host, *reach.argv(host, container_look(reach.engine, name)))
            break
        except (HostUnreachable, OutcomeUnknown):
            if blind == _MAX_BLIND_LOOKS - 1:
                raise
            ctx.sleep(_LOOK_EVERY_S)
    if said.exit_status != 0 and _no_such(said):
        return None
    facts = parse_look(said.stdout) if said.exit_status == 0 else None
    if facts is None:
        raise ToolError(_refusal(host, reach, name, said))
    return facts


def _failure(before: Impact, now: _Facts | None, last: _Facts | None) -> str:
    """Say why the restart has failed, or ""."""
    if now is None:
        return "is gone: the host has no such container any more"
    if now.id != before.fingerprint.get("container_id"):
        return "is another container now: somebody has replaced it"
    if _same_run(before, now):
        return ""
    if now.state in ("exited", "dead", "restarting") and _ended_badly(before, now):
        return f"did not come back: {_state(now)}"
    if last is not None and not _same_run(before, last) and last.started_at != now.started_at:
        return "started, fell over, and was started again"
    return f"runs again, but is {now.health}" if now.running and now.health == "unhealthy" else ""


def _ended_badly(before: Impact, now: _Facts) -> bool:
    return now.state != "exited" or now.fields["exit_status"] != 0 or before.fingerprint.get("state") == "running"


def _same_run(before: Impact, now: _Facts) -> bool:
    """Whether it has not been started since; it may have ended."""
    return before.fingerprint.get("started_at") == now.started_at


def _alike(last: _Facts, now: _Facts) -> bool:
    return (last.started_at, last.state, last.health) == (now.started_at, now.state, now.health)


def _looks_needed(before: Impact, now: _Facts) -> int:
    """A container told to stop looks untouched until it ends; one whose health check has not spoken is not settled."""
    if _same_run(before, now) and now.running:
        told = before.fingerprint.get("stop_timeout_s", "")
        return _STABLE_LOOKS + min(int(told) if told.isdecimal() else _STOP_TIMEOUT_S, _MAX_STOP_TIMEOUT_S)
    settled = now.state in ("running", "exited") and now.health != "starting"
    return _STABLE_LOOKS if settled else _MAX_LOOKS


def _settled(before: Impact, now: _Facts) -> _End:
    if _same_run(before, now) and not now.running and before.fingerprint.get("state") == "running":
        why = _text(now.fields["error"])
        return Result.FAILED, f"was stopped and did not start again: {_state(now)}{f'; {why}' if why else ''}", now
    if _same_run(before, now):
        return Result.NOT_DONE, f"was not restarted: the same run goes on, {_state(now)}", now
    if not now.running:
        return Result.DONE, f"ran to its end and is {_state(now)}", now
    return Result.DONE, f"was restarted and is {_state(now)}", now


def _evidence(ctx: Context, host: Host, name: str, reach: _Reach, facts: _Facts | None) -> str:
    """Return the newest log lines, and what the health check said last."""
    if facts is None:
        return ""
    try:
        said = ctx.run(host, *reach.argv(host, container_log(reach.engine, name)))
    except ToolError as error:
        return f"(the log could not be read: {error})"
    # Both streams, each line with its time first: sorting puts them in the order they were written.
    lines = sorted(plain_line(line, limit=500) for line in f"{said.stdout}\n{said.stderr}".splitlines() if line.strip())
    return "\n".join([*lines[-15:], *_health_words(facts)])


def _health_words(facts: _Facts) -> list[str]:
    health = facts.fields["health"]
    log = health.get("Log") if isinstance(health, dict) else None
    if facts.health != "unhealthy" or not isinstance(log, list) or not log or not isinstance(log[-1], dict):
        return []
    return [f"health check: {_text(log[-1].get('Output'))}"]


def _changes(before: Impact, now: _Facts | None) -> tuple[tuple[str, str], ...]:
    if now is None:
        return ()
    return (("state", f"{dict(before.facts).get('state', _UNKNOWN)} -> {_state(now)}"), ("running since", _since(now)))


# --- the action ------------------------------------------------------------------------------------------------------


def available(ctx: Context, host: Host, container: Container) -> bool:
    """Whether the container runs, and is healthy as far as it has a health check."""
    _, facts = _find(ctx, host, container)
    return facts.running and facts.health in ("", "healthy")


def _looks(host: Host) -> Iterator[Look]:
    if host.containers:
        yield script_look(_ENGINE)
        yield from container_looks(host)


@tool(
    risk="change",
    timeout_s=90,
    impact=impact,
    verify=verify,
    available=available,
    looks=_looks,
    needs="restart",
    deferred=True,
)
def restart_container(ctx: Context, host: Host, container: Container) -> dict[str, object]:
    """Propose to restart one container on the given servers; nothing happens until a person has approved it.

    Only containers the inventory allows on that server. Look at its state and log first, and say why.

    Args:
        container: Exact name of the container.
    """
    reach, before = _find(ctx, host, container)
    _check_restartable(host, container, before)
    sent = ctx.run(host, *reach.argv(host, container_restart(reach.engine, container)))
    if sent.exit_status != 0:
        raise ToolError(_refusal(host, reach, container, sent))
    return {"container": container, "before": {"state": _state(before), "started_at": before.started_at}}
