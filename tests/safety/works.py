"""Works: a tool with countable effects, executors as of several processes on one real database, and true time."""

import asyncio
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path

from opsbot.actions import Catalogue, Prepared
from opsbot.adapters.store import SqlStore, open_store
from opsbot.approvals import Proposal, open_approval
from opsbot.checkpoint import Brakes
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
    Place,
    Result,
    Review,
    Step,
    Verdict,
)
from opsbot.executor import Executor
from opsbot.intake import Intake
from opsbot.inventory import Inventory
from opsbot.policy import ApproverRule, PolicyRules, decide
from opsbot.redact import Redactor
from opsbot.tooling import Unit, tool
from opsbot.workshop import Surroundings
from tests.fake_clock import FakeClock
from tests.fake_machines import FakeMachines
from tests.records import KEY, entry

PEOPLE = tuple(Actor("T1", name) for name in ("UALICE", "UERIN", "UFRED"))
BOB = Actor("T1", "UBOB")
RULES = PolicyRules(
    asker_users=frozenset(person.user_id for person in PEOPLE),
    approvers=(ApproverRule(("*",), users=frozenset({"UBOB"})),),
    hosts_per_action=3,
)
UNITS = ("api.service", "cron.service", "web.service")
HOSTS = {
    **{f"p{n}": Host(f"p{n}", environment="production", groups=("prod",), units=UNITS) for n in range(1, 4)},
    **{f"s{n}": Host(f"s{n}", environment="staging", groups=("stage",), units=UNITS) for n in range(1, 6)},
}
GROUPS = {"prod": ("p1", "p2", "p3"), "stage": ("s1", "s2", "s3", "s4", "s5")}


@dataclass(frozen=True, slots=True)
class Effect:
    """What really happened, and when: in seconds of a time that nobody can set. `real_s`: by the test's own clock."""

    at_s: float
    real_s: float
    ticket: int
    host: str
    unit: str


@dataclass
class Truth:
    """What happens on the hosts, and the time that passes whatever clocks say. Thread-safe."""

    now_s: float = 0.0
    effects: list[Effect] = field(default_factory=list)
    doubled: list[Effect] = field(default_factory=list)
    bad: set[tuple[int, str]] = field(default_factory=set)
    takes_s: float = 0.0
    begun: threading.Event = field(default_factory=threading.Event)
    _active: Counter[tuple[str, str]] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @contextmanager
    def acting(self, ticket: int, host: str, unit: str) -> Iterator[None]:
        """One effect, from its beginning to its end."""
        effect = Effect(self.now_s, time.monotonic(), ticket, host, unit)
        with self._lock:
            self.effects.append(effect)
            self._active[host, unit] += 1
            if self._active[host, unit] > 1:
                self.doubled.append(effect)
        self.begun.set()
        try:
            yield
        finally:
            with self._lock:
                self._active[host, unit] -= 1

    def by_ticket(self) -> dict[int, list[str]]:
        """Hosts acted on, in order, for each ticket."""
        found: dict[int, list[str]] = defaultdict(list)
        for effect in self.effects:
            found[effect.ticket].append(effect.host)
        return found


class TouchMachines(FakeMachines):
    """Hosts on which `touch TICKET UNIT` is the one effect."""

    def __init__(self, truth: Truth) -> None:
        super().__init__()
        self._truth = truth

    def run(self, host, argv, *, timeout_s, max_bytes=65536, stdin=""):
        if argv[0] == "touch":
            with self._truth.acting(int(argv[1]), host.name, argv[2]):
                time.sleep(self._truth.takes_s)
        return super().run(host, argv, timeout_s=timeout_s, max_bytes=max_bytes, stdin=stdin)


def touching(truth: Truth):
    """Make the tool."""

    def impact(ctx: Context, host: Host, unit: Unit, ticket: int) -> Impact:
        return Impact((("unit", unit),), {})

    def verify(ctx: Context, host: Host, before: Impact, unit: Unit, ticket: int) -> HostOutcome:
        bad = (ticket, host.name) in truth.bad
        return HostOutcome(host.name, Result.FAILED if bad else Result.DONE, "looked at")

    @tool(risk="change", timeout_s=30, impact=impact, verify=verify)
    def touch_unit(ctx: Context, host: Host, unit: Unit, ticket: int) -> str:
        """Touch a unit.

        Args:
            unit: Unit.
            ticket: Number of the request.
        """
        return ctx.run(host, "touch", str(ticket), unit).stdout

    return touch_unit


class Works:
    """Two processes on one database, and people who ask them for things."""

    def __init__(self, folder: Path, brakes: Brakes, *, rules: PolicyRules = RULES) -> None:
        self._url = f"sqlite:///{folder}/works.db"
        self.truth, self.clock = Truth(), FakeClock()
        self.brakes, self.rules = brakes, rules
        self.tickets = count(1)
        self.requester: dict[int, Actor] = {}
        self.catalogue = Catalogue(Registry((touching(self.truth),)), Inventory(HOSTS, GROUPS))
        self.store: SqlStore
        self.executors: list[Executor] = []

    async def open(self, executors: int = 2) -> None:
        """Start processes."""
        self.store = await asyncio.to_thread(open_store, self._url, audit_key=KEY)
        self.executors = [self._executor() for _ in range(executors)]

    def _executor(self) -> Executor:
        return Executor(
            catalogue=self.catalogue,
            machines=TouchMachines(self.truth),
            store=self.store,
            rules=self.rules,
            clock=self.clock,
            surroundings=Surroundings(Intake(Redactor([])), threads=32, brakes=self.brakes),
        )

    async def close(self) -> None:
        """End them."""
        for executor in self.executors:
            executor.close()
        await self.store.close()

    # --- time --------------------------------------------------------------------------------------------------------

    def passes(self, seconds: float) -> None:
        """Let time pass."""
        self.truth.now_s += seconds
        self.clock.advance(seconds)

    def reboots(self, off_s: float) -> None:
        """Switch the machine off and on again."""
        self.truth.now_s += off_s
        self.clock.jump(off_s)
        self.clock.reboot()

    # --- people ------------------------------------------------------------------------------------------------------

    def wanted(self, requester: Actor, hosts: list[str], unit: str) -> tuple[int, Prepared]:
        """Make an intent, with its ticket."""
        ticket = next(self.tickets)
        self.requester[ticket] = requester
        return ticket, self.catalogue.from_words("touch_unit", hosts, {"unit": unit, "ticket": ticket})

    async def proposed(self, requester: Actor, prepared: Prepared) -> Decision:
        """Ask for it, as the desk does. Raises HeldBack."""
        place = Place("T1", "C1", "1")
        decision = decide(self.rules, prepared.question(requester, place, self.clock.now()))
        if decision.verdict is Verdict.NEED_APPROVAL:
            await self.executors[0].checkpoint.check_proposal(prepared, self.rules.person(requester))
        return decision

    async def approved(self, requester: Actor, prepared: Prepared, decision: Decision) -> Approval:
        """Store it as it is after Bob's click."""
        impacts = await self.executors[0].impacts(prepared)
        call_id = str(prepared.action.arguments["ticket"])
        proposal = Proposal(Place("T1", "C1", "1"), requester, prepared, decision, impacts, call_id=call_id)
        made = open_approval(proposal, self.rules, now=self.clock.moment(), lifetime_s=1800)
        review = Review(BOB, True, made.created_at)
        return await self.store.approvals.add(
            replace(made, state=ApprovalState.APPROVED, reviews=(review,), shown_at=made.created_at), entry()
        )


async def unwatched(approval: Approval, steps: tuple[Step, ...]) -> None:
    """Nobody looks at the card."""
