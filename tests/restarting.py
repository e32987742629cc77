"""An executor with one tool that restarts as a test scripts it: what it was given, what it sent, what was recorded."""

import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest

from opsbot.actions import Catalogue
from opsbot.bindings import bind_own, digest
from opsbot.caps import Caps
from opsbot.checkpoint import Brakes
from opsbot.context import Context
from opsbot.discovery import Registry
from opsbot.domain import (
    Approval,
    ApprovalState,
    Host,
    HostOutcome,
    Impact,
    Result,
)
from opsbot.executor import Executor
from opsbot.holds import Hold, HoldKind, Scope, Where
from opsbot.inventory import Inventory
from opsbot.tooling import Container, Unit, tool
from tests.fake_clock import FakeClock
from tests.small_tools import approved, executor_of, no_progress

HOSTS = {name: Host(name, environment="x", units=("nginx.service",), containers=("web",)) for name in "ab"}
ARGUMENTS = {"unit": "nginx"}
NOW = FakeClock().now()


class Script:
    """What the one tool of this module was given, and what becomes of it."""

    def __init__(self) -> None:
        self.given: dict[str, list[tuple[str, Context, dict[str, object]]]] = {"act": [], "verify": []}
        self.looked: list[str] = []
        self.acting: list[bool] = []
        self.threads: list[str] = []
        self.commands = 1
        self.before_command: Callable[[int], None] = lambda number: None
        self.end: Callable[[], object] = lambda: None
        self.verify: Callable[[], HostOutcome] = lambda: HostOutcome("", Result.DONE, "It is up.")
        self.fingerprint = {"invocation_id": "1", "main_pid": "7"}


def restarting(script: Script) -> Catalogue:
    """Two hosts, and the tool that does what the script says."""

    def impact(ctx: Context, host: Host, unit: Unit, container: Container | None = None) -> Impact:
        script.looked.append(host.name)
        return Impact((("state", "active"),), dict(script.fingerprint))

    def verify(ctx: Context, host: Host, before: Impact, unit: Unit, container: Container | None = None) -> HostOutcome:
        script.given["verify"].append((host.name, ctx, {"before": before, "unit": unit, "container": container}))
        return replace(script.verify(), host=host.name)

    @tool(risk="change", timeout_s=40, impact=impact, verify=verify)
    def restart(ctx: Context, host: Host, unit: Unit, container: Container | None = None) -> str:
        """Restart.

        Args:
            unit: Unit.
            container: Container.
        """
        script.given["act"].append((host.name, ctx, {"unit": unit, "container": container}))
        script.acting.append(host.acting)
        script.threads.append(threading.current_thread().name)
        for number in range(script.commands):
            script.before_command(number)
            ctx.run(host, "restart", unit)
        script.end()
        return "restarted"

    return Catalogue(Registry((restart,)), Inventory(HOSTS, {}))


async def asked(executor: Executor, catalogue: Catalogue, *hosts: str, **changes: object) -> Approval:
    """An approved request for `restart`, changed as if it had been so from the start."""
    made = await approved(executor, catalogue, hosts or ("a",), name="restart", arguments=ARGUMENTS)
    if not changes:
        return made
    changed = replace(made, **changes)
    bindings = {**changed.bindings, **bind_own(changed)}
    executor._store.approvals.stored[made.id] = replace(changed, bindings=bindings, digest=digest(bindings))
    return executor._store.approvals.stored[made.id]


async def run(executor: Executor, approval: Approval) -> Approval:
    """Carry it out with a card that nobody looks at."""
    return await executor.execute(approval, no_progress)


def sent(executor: Executor) -> list[tuple[str, tuple[str, ...]]]:
    """Every command that reached a host."""
    return [(host, tuple(argv)) for host, argv in executor._workshop._machines.commands]


def recorded(executor: Executor) -> list[tuple[str, dict[str, object]]]:
    """The audit since the request was asked for: kinds, and what they say besides the request."""
    usual = {"tool", "hosts", "digest", "state", "stands_on", "tainted_by"}
    found = [record.entry for record in executor._store.audit.records[1:]]
    return [(each.kind, {name: value for name, value in each.facts.items() if name not in usual}) for each in found]


async def running(executor: Executor, approval: Approval) -> Approval:
    """Store the approval as executing."""
    return await executor._store.approvals.change(
        replace(approval, state=ApprovalState.EXECUTING), expected=(approval.state, approval.version), entries=[]
    )


FREEZE = Hold("F7KQ2M", HoldKind.FREEZE, Scope(Where.HOST, "a", "nginx"), "T1/UBOB", NOW, "works")


def raising(error: Exception) -> Callable[[], Any]:
    """Make something that only fails, with this."""

    def fail() -> None:
        raise error

    return fail


@pytest.fixture
def script() -> Script:
    return Script()


@pytest.fixture
def catalogue(script: Script) -> Catalogue:
    return restarting(script)


@pytest.fixture
async def executor(catalogue: Catalogue) -> AsyncIterator[Executor]:
    made = executor_of(catalogue, brakes=Brakes(Caps(an_hour=50, an_hour_per_person=50)))
    yield made
    made.close()
