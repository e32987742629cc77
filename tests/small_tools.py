"""An executor with small tools of its own: one that changes what a test scripts, one that looks, one that counts."""

import time
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

from opsbot.actions import Catalogue
from opsbot.approvals import Proposal, open_approval
from opsbot.context import Context
from opsbot.discovery import Registry
from opsbot.domain import (
    Actor,
    Approval,
    ApprovalState,
    Decision,
    Host,
    HostOutcome,
    Impact,
    Json,
    Place,
    Result,
    Review,
    Verdict,
)
from opsbot.errors import HostUnreachable, ToolError
from opsbot.executor import Executor
from opsbot.intake import Intake
from opsbot.inventory import Inventory
from opsbot.policy import ApproverRule, PolicyRules
from opsbot.redact import Redactor
from opsbot.tooling import tool
from opsbot.workshop import Surroundings
from tests.fake_clock import FakeClock
from tests.fake_machines import FakeMachines
from tests.fake_store import MemoryStore
from tests.records import entry

ALICE = Actor("T1", "UALICE")
BOB = Actor("T1", "UBOB")
RULES = PolicyRules(asker_users=frozenset({"UALICE"}), approvers=(ApproverRule(("*",), users=frozenset({"UBOB"})),))
A, B = Host("a", environment="x"), Host("b", environment="x")


class Script:
    """What the writing tool of a test does: `act` and `verify` are called, `ran` counts the runs."""

    def __init__(self) -> None:
        self.ran = 0
        self.act = lambda: "ok"
        self.verify = lambda: HostOutcome("", Result.DONE, "done")
        self.mark = "1"


def catalogue_of(script: Script) -> Catalogue:
    """Two hosts and the three tools."""

    def impact(ctx: Context, host: Host) -> Impact:
        return Impact((("mark", script.mark),), {"mark": script.mark})

    def verify(ctx: Context, host: Host, before: Impact) -> HostOutcome:
        return replace(script.verify(), host=host.name)

    @tool(risk="change", impact=impact, verify=verify)
    def change_it(ctx: Context, host: Host) -> str:
        """Change it."""
        script.ran += 1
        return script.act()

    @tool(risk="read", timeout_s=1)
    def look(ctx: Context, host: Host, how: str = "well") -> str:
        """Look.

        Args:
            how: Well, slowly, badly or strangely.
        """
        if how == "slowly" and host.name == "b":
            time.sleep(ctx.remaining_s + 3)
        if how == "badly":
            raise HostUnreachable(f"{host.name} is down.")
        if how == "strangely":
            raise ZeroDivisionError("secret detail")
        return how

    @tool(risk="read")
    def count(ctx: Context, fail: bool = False) -> int:
        """Count the hosts.

        Args:
            fail: Fail instead.
        """
        if fail:
            raise ToolError("It failed.")
        return len(ctx.hosts)

    return Catalogue(Registry((change_it, look, count)), Inventory({"a": A, "b": B}, {}))


def executor_of(catalogue: Catalogue, *, rules: PolicyRules = RULES, **surroundings: object) -> Executor:
    """An executor on a store in memory and a clock that moves when told; close it in the end."""
    around = Surroundings(Intake(Redactor(["hunter2-hunter2"])), **{"threads": 4, **surroundings})  # type: ignore[arg-type]
    return Executor(
        catalogue=catalogue,
        machines=FakeMachines(),
        store=MemoryStore(),
        rules=rules,
        clock=FakeClock(),
        surroundings=around,
    )


async def approved(
    executor: Executor,
    catalogue: Catalogue,
    hosts: tuple[str, ...] = ("a",),
    *,
    name: str = "change_it",
    arguments: Mapping[str, Json] = MappingProxyType({}),
) -> Approval:
    """A stored approval of a tool, as it is after the last needed click."""
    prepared = catalogue.from_words(name, list(hosts), arguments)
    proposal = Proposal(
        place=Place("T1", "C1", "1"),
        requester=ALICE,
        prepared=prepared,
        decision=Decision(Verdict.NEED_APPROVAL, "approvers:x", needed=1, approver_users=frozenset({"UBOB"})),
        impacts=await executor.impacts(prepared),
        call_id="c1",
    )
    made = open_approval(proposal, executor.scrutiny.rules, now=executor._clock.moment(), lifetime_s=300)
    store = executor._store
    stored = await store.approvals.add(made, entry())
    return await store.approvals.change(
        replace(stored, state=ApprovalState.APPROVED, reviews=(Review(BOB, True, stored.created_at),)),
        expected=(stored.state, stored.version),
        entries=[],
    )


async def no_progress(approval: Approval, steps: object) -> None:
    """A card that nobody looks at."""
