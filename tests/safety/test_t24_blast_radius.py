"""T24: thousands of random intents on a real database, through restarts, reboots, clocks set back: caps hold."""

import asyncio
import random
from collections import Counter
from pathlib import Path

import pytest

from opsbot.caps import Caps
from opsbot.checkpoint import Brakes
from opsbot.domain import Approval, ApprovalState, Result, Verdict
from opsbot.errors import Conflict, HeldBack
from tests.safety.conftest import Figures, Scale
from tests.safety.works import HOSTS, PEOPLE, UNITS, Works, unwatched

CAPS = Caps(an_hour=12, an_hour_per_person=6, hosts_in={"production": 1})
HOUR_S = 3600
pytestmark = pytest.mark.timeout(1800)


class Days:
    """Random days at the works. Everything is decided by `chance`, so that a run can be repeated."""

    def __init__(self, works: Works, chance: random.Random) -> None:
        self.works, self.chance = works, chance
        self.counts: Counter[str] = Counter()
        self.finals: list[Approval] = []
        self._set_by_s = 0.0
        # Such a clock is set right, if at all: what a half of that would mean, nobody can tell.
        self._came_up_behind = False

    async def step(self) -> None:
        """One thing that happens."""
        kind = self.chance.choices(["ask", "pass", "set clock", "restart", "reboot"], weights=[70, 20, 4, 3, 3])[0]
        self.counts[kind] += 1
        match kind:
            case "ask":
                await self.ask()
            case "pass":
                self.works.passes(self.chance.choice([1, 60, 600, 1800]))
            case "set clock":
                self.set_clock(0 if self._came_up_behind else self.chance.choice([-86_400, -HOUR_S, 0]))
            case "restart":
                # A process cannot know of a clock that was set back before it started.
                self.set_clock(0)
                await self.works.close()
                await self.works.open()
            case "reboot":
                await self.works.close()
                # A machine comes up with its clock right, or a day behind, as without a battery.
                self.set_clock(self.chance.choice([0, 0, -86_400]))
                self._came_up_behind = self._set_by_s < 0
                self.works.reboots(self.chance.choice([30, 600]))
                await self.works.open()

    def set_clock(self, off_s: float) -> None:
        """Set the wall clock so far from the right time."""
        self.works.clock.jump(off_s - self._set_by_s)
        self._set_by_s = off_s
        self._came_up_behind &= off_s < 0

    async def ask(self) -> None:
        """Ask for one to five things at once; some were let through as a proposal before there was no room."""
        approvals = [made for _ in range(self.chance.randint(1, 5)) if (made := await self.one()) is not None]
        self.counts["approved"] += len(approvals)
        ends = await asyncio.gather(*(self.run(approval) for approval in approvals))
        self.finals += [final for final in ends if final is not None]

    async def one(self) -> Approval | None:
        self.counts["intents"] += 1
        requester = self.chance.choice(PEOPLE)
        hosts = self.chance.sample(sorted(HOSTS), self.chance.choice([1, 1, 1, 2, 3, 4, 8]))
        ticket, prepared = self.works.wanted(requester, hosts, self.chance.choice(UNITS))
        self.works.truth.bad |= {(ticket, host) for host in hosts if self.chance.random() < 0.1}
        try:
            decision = await self.works.proposed(requester, prepared)
        except HeldBack as error:
            self.counts[f"refused: {error.rule}"] += 1
            return None
        if decision.verdict is not Verdict.NEED_APPROVAL:
            self.counts[f"refused: {decision.rule}"] += 1
            return None
        return await self.works.approved(requester, prepared, decision)

    async def run(self, approval: Approval) -> Approval | None:
        executor = self.chance.choice(self.works.executors)
        try:
            return await executor.execute(approval, unwatched)
        except Conflict:
            return None


def check(days: Days) -> None:
    """Hold everything that happened to the specification, by true time."""
    truth, works = days.works.truth, days.works
    assert truth.doubled == [], "two actions on one unit of a host at once"
    for ticket, hosts in truth.by_ticket().items():
        assert len(hosts) == len(set(hosts)) <= 3, f"ticket {ticket}"
        assert sum(HOSTS[host].environment == "production" for host in hosts) <= 1, f"ticket {ticket}"
        bad = [n for n, host in enumerate(hosts) if (ticket, host) in truth.bad]
        assert not bad or bad == [len(hosts) - 1], f"ticket {ticket} went on after a failure"
    for person in (None, *PEOPLE):
        own = [e.at_s for e in truth.effects if person is None or works.requester[e.ticket] == person]
        most = CAPS.an_hour if person is None else CAPS.an_hour_per_person
        for n, at_s in enumerate(own):
            within = sum(at_s - HOUR_S < other <= at_s for other in own[: n + 1])
            assert within <= most, f"{within} effects within an hour for {person}"


async def closings(days: Days) -> tuple[int, int]:
    """Every intent has exactly one end; return how many intents, and how many ends there are."""
    intents: Counter[tuple[str, object]] = Counter()
    ends: Counter[tuple[str, object]] = Counter()
    after = 0
    while page := await days.works.store.audit.read(after=after):
        for record in page:
            key = (record.entry.approval_id, record.entry.facts.get("host"))
            intents[key] += record.entry.kind == "execution.intent"
            ends[key] += record.entry.kind == "execution.host"
        after = page[-1].seq
    assert +intents == +ends
    assert set((+intents).values()) <= {1}
    return (+intents).total(), (+ends).total()


async def test_no_cap_is_exceeded_through_restarts_reboots_and_set_clocks(
    tmp_path: Path, figures: Figures, scale: Scale
) -> None:
    works = Works(tmp_path, Brakes(CAPS))
    await works.open()
    days = Days(works, random.Random(24))
    size = scale(150, 10_000)
    while days.counts["intents"] < size:
        await days.step()
        if days.counts["intents"] % 500 < 5:
            check(days)
    check(days)
    intents, ends = await closings(days)
    await works.close()
    assert {rule for rule in days.counts if rule.startswith("refused")} >= {
        "refused: limits.actions_per_hour_per_person",
        "refused: limits.hosts_per_action",
        "refused: limits.hosts_per_action_in:production",
    }
    stale = [final for final in days.finals if final.state is ApprovalState.STALE]
    done = [o for final in days.finals for o in final.outcomes if o.result is not Result.NOT_DONE]
    assert len(done) == len(works.truth.effects)
    figures.note(
        random_intents=days.counts["intents"],
        effects=len(works.truth.effects),
        refused_when_asked=sum(n for name, n in days.counts.items() if name.startswith("refused")),
        refused_at_the_host=len(stale),
        restarts=days.counts["restart"],
        reboots=days.counts["reboot"],
        clocks_set=days.counts["set clock"],
        caps_exceeded=f"0 of {len(works.truth.effects):,} effects",
        intents_with_exactly_one_end=f"{ends:,} of {intents:,}",
    )


async def test_twenty_at_once_get_no_more_than_the_room_there_is(tmp_path: Path, figures: Figures) -> None:
    works = Works(tmp_path, Brakes(Caps(an_hour=5, an_hour_per_person=5)))
    await works.open()
    approvals = []
    for n in range(20):
        _, prepared = works.wanted(PEOPLE[n % 3], [sorted(HOSTS)[n % 8]], UNITS[n % 3])
        approvals.append(await works.approved(PEOPLE[n % 3], prepared, await works.proposed(PEOPLE[n % 3], prepared)))
    finals = await asyncio.gather(
        *(works.executors[n % 2].execute(approval, unwatched) for n, approval in enumerate(approvals))
    )
    await works.close()
    assert len(works.truth.effects) == 5
    assert Counter(final.state for final in finals) == {ApprovalState.DONE: 5, ApprovalState.STALE: 15}
    figures.note(at_once_with_room_for_five="5 of 20 done, 15 stale")


async def test_two_processes_never_act_on_one_unit_at_once(tmp_path: Path, figures: Figures, scale: Scale) -> None:
    works = Works(tmp_path, Brakes(Caps(100_000, 100_000)))
    works.truth.takes_s = 0.01
    await works.open()
    taken = 0
    for _ in range(scale(10, 300)):
        made = []
        for person in PEOPLE[:2]:
            _, prepared = works.wanted(person, ["s1"], UNITS[0])
            made.append(await works.approved(person, prepared, await works.proposed(person, prepared)))
        finals = await asyncio.gather(*(e.execute(a, unwatched) for e, a in zip(works.executors, made, strict=True)))
        taken += sum(final.state is ApprovalState.STALE for final in finals)
        assert all(f.state is ApprovalState.DONE or f.note.startswith("stale:lock") for f in finals)
    await works.close()
    assert works.truth.doubled == []
    figures.note(races_of_two_processes_on_one_unit=scale(10, 300), refused_by_the_lock=taken)
