"""An action on many hosts: canary, batches side by side, who may be missing, pauses and stops at every moment."""

import asyncio
import threading
from collections import defaultdict
from dataclasses import replace

import pytest

from opsbot import campaign
from opsbot import executor as executor_module
from opsbot.actions import Catalogue
from opsbot.approvals import Proposal, open_approval
from opsbot.campaign import Control
from opsbot.caps import Caps
from opsbot.checkpoint import Brakes
from opsbot.context import Context
from opsbot.discovery import Registry
from opsbot.domain import (
    Actor,
    ApprovalState,
    Decision,
    Host,
    HostOutcome,
    Impact,
    Order,
    OrderVerb,
    Place,
    Result,
    Review,
    Rollout,
    Verdict,
)
from opsbot.errors import AlreadyDecided, HostUnreachable, StoreError
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

ALICE, BOB = Actor("T1", "UALICE"), Actor("T1", "UBOB")
RULES = PolicyRules(asker_users=frozenset({"UALICE"}), approvers=(ApproverRule(("*",), users=frozenset({"UBOB"})),))
SIX = ("h1", "h2", "h3", "h4", "h5", "h6")
PATIENCE_S = 10
CAPS = Caps(an_hour=100, an_hour_per_person=100)


class Script:
    """What happens on the hosts. `started` is the order they were begun in; a host with a gate waits at it."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.gates: dict[str, threading.Event] = {}
        self.meet: threading.Barrier | None = None
        self.bad: set[str] = set()
        self.away: set[str] = set()
        self.silent: set[str] = set()
        self.marks: dict[str, str] = defaultdict(lambda: "1")
        self.then = lambda host: None
        self.look = lambda host: None
        self.asked: list[str] = []

    def hold(self, host: str) -> threading.Event:
        self.gates[host] = threading.Event()
        return self.gates[host]

    def act(self, host: str) -> None:
        self.started.append(host)
        if self.meet is not None:
            self.meet.wait(PATIENCE_S)
        if host in self.gates:
            self.gates[host].wait(PATIENCE_S)
        self.then(host)


class Watch:
    """The card as it is refreshed: wait until it shows something."""

    def __init__(self) -> None:
        self.news = asyncio.Condition()
        self.shown: list[dict[str, str]] = []

    async def __call__(self, approval, steps) -> None:
        async with self.news:
            self.shown.append({step.title: step.state for step in steps})
            self.news.notify_all()

    async def until(self, **states: str) -> None:
        async with asyncio.timeout(PATIENCE_S), self.news:
            await self.news.wait_for(lambda: self.shown and states.items() <= self.shown[-1].items())


class Field:
    """An executor, its hosts and the one action under test."""

    def __init__(self, rollout: Rollout, hosts: tuple[str, ...], *, can_tell: bool) -> None:
        self.script, self.watch, self.clock, self.store = Script(), Watch(), FakeClock(), MemoryStore()
        inventory = Inventory({name: Host(name, environment="x") for name in hosts}, {})
        self.catalogue = Catalogue(Registry((scripted_tool(self.script, can_tell=can_tell),)), inventory)
        self.hosts = hosts
        self.rules = replace(RULES, rollout=rollout)
        self.executor = Executor(
            catalogue=self.catalogue,
            machines=FakeMachines(),
            store=self.store,
            rules=self.rules,
            clock=self.clock,
            surroundings=Surroundings(Intake(Redactor([])), threads=8, brakes=Brakes(CAPS)),
        )
        self.control = Control(hosts)

    async def approved(self):
        prepared = self.catalogue.from_words("change_it", list(self.hosts), {})
        decision = Decision(Verdict.NEED_APPROVAL, "approvers:x", needed=1, approver_users=frozenset({"UBOB"}))
        impacts = await self.executor.impacts(prepared)
        place = Place("T1", "C1", "1")
        proposal = Proposal(place, ALICE, prepared, decision, impacts, call_id=str(id(self)))
        made = open_approval(proposal, self.rules, now=self.clock.moment(), lifetime_s=300)
        made = replace(made, state=ApprovalState.APPROVED, reviews=(Review(BOB, True, made.created_at),))
        return await self.store.approvals.add(made, entry())

    async def start(self) -> "asyncio.Task":
        approval = await self.approved()
        return asyncio.create_task(self.executor.execute(approval, self.watch, self.control))

    async def run(self):
        async with asyncio.timeout(PATIENCE_S * 2):
            return await (await self.start())

    async def asleep(self) -> None:
        """Wait until the pause is slept through."""
        while not self.clock._sleepers:
            await asyncio.sleep(0)

    def order(self, verb: str, actor: Actor = BOB) -> None:
        self.control.check(OrderVerb(verb))
        self.control.obey(Order(OrderVerb(verb), actor, self.clock.now()), self.clock.monotonic())


def scripted_tool(script: Script, *, can_tell: bool):
    def impact(ctx: Context, host: Host) -> Impact:
        return Impact((), {"mark": script.marks[host.name]})

    def verify(ctx: Context, host: Host, before: Impact) -> HostOutcome:
        script.look(host.name)
        return HostOutcome(host.name, Result.FAILED if host.name in script.bad else Result.DONE, "looked at")

    def available(ctx: Context, host: Host) -> bool:
        script.asked.append(host.name)
        if host.name in script.silent:
            raise HostUnreachable(f"{host.name} is down.")
        return host.name not in script.away

    @tool(risk="change", timeout_s=5, impact=impact, verify=verify, available=available if can_tell else None)
    def change_it(ctx: Context, host: Host) -> str:
        """Change it."""
        script.act(host.name)
        return "ok"

    return change_it


@pytest.fixture
def lay(monkeypatch):
    monkeypatch.setattr(campaign, "_TICK_S", 0.01)
    made = []

    def lay(rollout: Rollout = Rollout(), hosts: tuple[str, ...] = SIX, *, can_tell: bool = True) -> Field:  # noqa: B008
        made.append(Field(rollout, hosts, can_tell=can_tell))
        return made[-1]

    yield lay
    for field in made:
        for gate in field.script.gates.values():
            gate.set()
        field.executor.close()


def results(approval) -> dict[str, str]:
    return {outcome.host: str(outcome.result) for outcome in approval.outcomes}


def done(*hosts: str) -> dict[str, str]:
    return dict.fromkeys(hosts, "done")


# --- order and batches -----------------------------------------------------------------------------------------------


async def test_one_after_the_other_by_default(lay):
    field = lay()
    running: set[str] = set()

    def alone(host: str) -> None:
        assert not running
        running.add(host)
        running.discard(host)

    field.script.then = alone
    final = await field.run()
    assert field.script.started == list(SIX)
    assert final.state is ApprovalState.DONE
    assert final.note == ""


async def test_the_canary_is_verified_before_anybody_else_is_begun(lay):
    field = lay(Rollout(batch=5, max_unavailable=5))
    field.script.bad = {"h1"}
    final = await field.run()
    assert field.script.started == ["h1"]
    assert final.state is ApprovalState.FAILED
    assert final.untouched == SIX[1:]
    assert "not done on h1" in final.note
    assert "Not touched: h2, h3, h4, h5, h6." in final.note


async def test_a_batch_runs_side_by_side(lay):
    field = lay(Rollout(canary=2, batch=2, max_unavailable=2))
    field.script.meet = threading.Barrier(2)  # each waits until the other has begun as well
    final = await field.run()
    assert results(final) == done(*SIX)
    assert field.script.meet.broken is False


async def test_the_batch_with_a_failure_is_finished_and_is_the_last(lay):
    field = lay(Rollout(batch=2, max_unavailable=2))
    field.script.bad = {"h4"}
    final = await field.run()
    assert results(final) == done("h1", "h2", "h3", "h5") | {"h4": "failed"}
    assert final.untouched == ("h6",)


async def test_a_tool_that_cannot_tell_is_held_to_the_number_at_a_time(lay):
    field = lay(Rollout(canary=6, batch=6, max_unavailable=3), can_tell=False)
    field.script.meet = threading.Barrier(3)
    assert results(await field.run()) == done(*SIX)
    assert set(field.script.started[:3]) == {"h1", "h2", "h3"}


async def test_fifty_hosts(lay):
    field = lay(Rollout(batch=8, max_unavailable=8), tuple(f"h{n:02}" for n in range(50)))
    field.executor.scrutiny.rules = field.rules = replace(field.rules, hosts_per_action=50)
    final = await field.run()
    assert final.state is ApprovalState.DONE
    assert sorted(field.script.started) == list(field.hosts)


async def test_a_hung_host_holds_up_nobody_elses_outcome(lay):
    field = lay(Rollout(canary=2, max_unavailable=2), ("h1", "h2"))
    gate = field.script.hold("h1")
    task = await field.start()
    await field.watch.until(h1="running", h2="done")
    (stored,) = await field.store.approvals.in_state(ApprovalState.EXECUTING)
    assert results(stored) == done("h2")
    gate.set()
    assert results(await task) == done("h1", "h2")


async def test_a_thread_that_ignores_its_deadline_is_answered_for_by_the_host(lay, monkeypatch):
    monkeypatch.setattr(executor_module, "GRACE_S", -4.95)  # of the tool's 5 s
    field = lay(Rollout(), ("h1", "h2"))
    field.script.hold("h1")
    field.script.bad = {"h1"}
    final = await field.run()
    assert "did not end within its 5 s" in final.outcomes[0].summary
    assert final.untouched == ("h2",)


async def test_a_verification_that_never_ends_leaves_the_outcome_unknown(lay, monkeypatch):
    monkeypatch.setattr(executor_module, "_VERIFY_TIMEOUT_S", -0.95)
    field = lay(hosts=("h1", "h2"))
    ended = threading.Event()
    field.script.look = lambda host: ended.wait(PATIENCE_S)
    final = await field.run()
    ended.set()
    assert final.state is ApprovalState.UNKNOWN
    assert final.untouched == ("h2",)


# --- before each batch -----------------------------------------------------------------------------------------------


async def test_a_later_host_that_changed_stops_it_before_that_host(lay):
    field = lay()
    field.script.then = lambda host: field.script.marks.update(h3="2")
    final = await field.run()
    assert field.script.started == ["h1", "h2"]
    assert final.state is ApprovalState.FAILED
    assert "stale:target: h3 changed" in final.note
    assert final.untouched == ("h3", "h4", "h5", "h6")


async def test_a_host_that_was_acted_on_may_look_different(lay):
    field = lay()
    field.script.then = lambda host: field.script.marks.update({host: "2"})
    assert results(await field.run()) == done(*SIX)


@pytest.mark.parametrize(
    ("rules", "says"),
    [
        (replace(RULES, asker_users=frozenset()), "stale:policy"),
        (replace(RULES, hosts_per_action=2), "stale:policy"),
        (replace(RULES, rollout=Rollout(batch=2)), "stale:rollout"),
    ],
)
async def test_rules_that_change_under_way_stop_it(lay, rules, says):
    field = lay()

    def change(host: str) -> None:
        if host == "h2":
            field.executor.scrutiny.rules = rules

    field.script.then = change
    final = await field.run()
    assert results(final) == done("h1", "h2")
    assert says in final.note


async def test_a_rollout_that_changed_after_the_approval_makes_it_stale(lay):
    field = lay()
    approval = await field.approved()
    field.executor.scrutiny.rules = replace(field.rules, rollout=Rollout(max_unavailable=2))
    final = await field.executor.execute(approval, field.watch, field.control)
    assert final.state is ApprovalState.STALE
    assert final.note.startswith("stale:rollout:")
    assert field.script.started == []


async def test_what_was_begun_in_time_does_not_expire(lay):
    field = lay()
    field.script.then = lambda host: field.clock.advance(200)
    assert results(await field.run()) == done(*SIX)


async def test_somebody_elses_action_on_a_host_means_another_look_at_it(lay):
    field = lay(hosts=("h1",))
    turn = field.executor._turns.take("h1")
    await turn.acquire()
    task = await field.start()
    await field.watch.until(h1="waiting")
    field.script.marks["h1"] = "2"
    field.executor._turns.end("h1")
    turn.release()
    final = await task
    assert field.script.started == []
    assert final.state is ApprovalState.STALE
    assert "h1 changed since the card was made" in final.note


@pytest.mark.parametrize("verb", ["pause", "halt"])
async def test_a_host_that_waits_for_its_turn_is_not_begun_after_an_order(lay, verb):
    field = lay(Rollout(canary=2, max_unavailable=2), ("h1", "h2"))
    turn = field.executor._turns.take("h2")
    await turn.acquire()
    task = await field.start()
    await field.watch.until(h1="done", h2="waiting")
    field.order(verb)
    turn.release()
    if verb == "pause":
        await field.watch.until(h2="paused")
        await field.asleep()
        assert field.script.started == ["h1"]
        field.order("resume")
    final = await task
    assert final.untouched == (() if verb == "pause" else ("h2",))


async def test_a_host_that_waits_for_its_turn_is_not_begun_after_a_failure(lay):
    field = lay(Rollout(canary=2, max_unavailable=2), ("h1", "h2"))
    field.script.bad = {"h1"}
    turn = field.executor._turns.take("h2")
    await turn.acquire()
    task = await field.start()
    await field.watch.until(h1="failed", h2="waiting")
    turn.release()
    assert (await task).untouched == ("h2",)
    assert field.script.started == ["h1"]


async def test_no_host_is_begun_while_an_order_is_being_written_down(lay):
    field = lay(hosts=("h1", "h2"))
    await field.control.lock.acquire()
    task = await field.start()
    async with asyncio.timeout(PATIENCE_S), field.watch.news:
        await field.watch.news.wait_for(lambda: len(field.watch.shown) > 4)
    assert field.watch.shown[-1] == {"h1": "waiting", "h2": "waiting"}
    assert field.script.started == []
    field.order("halt")
    field.control.lock.release()
    assert (await task).untouched == ("h1", "h2")


# --- who may be missing ----------------------------------------------------------------------------------------------


async def test_it_stops_and_names_who_is_missing_when_a_finished_host_goes_away(lay):
    field = lay()
    field.script.then = lambda host: field.script.away.update({"h1"} if host == "h2" else ())
    final = await field.run()
    assert results(final) == done("h1", "h2")
    assert "Stopped before h3: h1 out of service or not answering, and no more than 1" in final.note
    assert final.untouched == ("h3", "h4", "h5", "h6")


async def test_one_that_does_not_serve_goes_first(lay):
    field = lay()
    field.script.away = {"h5"}
    field.script.then = lambda host: field.script.away.discard(host)
    assert results(await field.run()) == done(*SIX)
    assert field.script.started == ["h5", "h1", "h2", "h3", "h4", "h6"]


async def test_a_batch_is_cut_to_the_room_that_is_left(lay):
    field = lay(Rollout(batch=3, max_unavailable=3))
    most = set()

    def go(host: str) -> None:
        field.script.away.update({"h1"} if host == "h1" else ())
        most.add(len(field.script.started))

    field.script.then = go
    assert results(await field.run()) == done(*SIX)
    assert set(field.script.started[1:3]) == {"h2", "h3"}
    assert set(field.script.started[3:5]) == {"h4", "h5"}


async def test_one_that_cannot_say_counts_as_missing(lay):
    field = lay(hosts=("h1", "h2", "h3"))
    field.script.then = lambda host: field.script.silent.add("h1")
    final = await field.run()
    assert results(final) == done("h1")
    assert "h1 out of service or not answering" in final.note


async def test_a_single_host_is_not_asked(lay):
    field = lay(hosts=("h1",))
    field.script.away = {"h1"}
    assert results(await field.run()) == done("h1")
    assert field.script.asked == []


# --- pause, resume, halt ---------------------------------------------------------------------------------------------


async def test_a_pause_counts_before_the_next_host_and_never_in_the_middle_of_one(lay):
    field = lay()
    gate = field.script.hold("h1")
    task = await field.start()
    await field.watch.until(h1="running")
    field.order("pause")
    gate.set()
    await field.watch.until(h1="done", h2="paused", h6="paused")
    assert field.script.started == ["h1"]
    field.order("resume")
    assert results(await task) == done(*SIX)


async def test_the_hosts_are_looked_at_again_after_a_pause(lay):
    field = lay()
    field.order("pause")
    task = await field.start()
    await field.watch.until(h1="paused")
    field.script.marks["h1"] = "2"
    field.order("resume")
    final = await task
    assert final.state is ApprovalState.STALE
    assert field.script.started == []


async def test_a_pause_that_lasts_too_long_ends_it_and_a_late_resume_is_too_late(lay):
    field = lay(Rollout(pause_max_s=60))
    gate = field.script.hold("h1")
    task = await field.start()
    await field.watch.until(h1="running")
    field.order("pause")
    gate.set()
    await field.watch.until(h2="paused")
    await field.asleep()
    field.clock.advance(59)
    await field.asleep()
    field.clock.advance(1)
    final = await task
    assert results(final) == done("h1")
    assert "paused for longer than 1 min" in final.note
    assert final.untouched == SIX[1:]
    with pytest.raises(AlreadyDecided, match="It is over"):
        field.order("resume")


async def test_a_second_pause_has_its_own_time(lay):
    field = lay(Rollout(pause_max_s=60), ("h1", "h2"))
    field.order("pause")
    task = await field.start()
    await field.watch.until(h1="paused")
    await field.asleep()
    field.clock.advance(59)
    field.order("resume")
    field.order("pause")
    await field.asleep()
    field.clock.advance(59)
    field.order("resume")
    assert results(await task) == done("h1", "h2")


@pytest.mark.parametrize("paused", [False, True])
async def test_a_halt_ends_it_after_the_hosts_under_way(lay, paused):
    field = lay(Rollout(batch=2, max_unavailable=2))
    gates = [field.script.hold("h2"), field.script.hold("h3")]
    task = await field.start()
    await field.watch.until(h2="running", h3="running")
    if paused:
        field.order("pause")
    field.order("halt", ALICE)
    for gate in gates:
        gate.set()
    final = await task
    assert results(final) == done("h1", "h2", "h3")
    assert final.state is ApprovalState.FAILED
    assert final.halted is not None
    assert final.halted.actor == ALICE
    assert final.note.startswith("Stopped by a person at 03:00:00 UTC. Not touched: h4, h5, h6.")


async def test_orders_that_cannot_count_are_refused_with_the_reason(lay):
    field = lay(hosts=("h1", "h2"))
    with pytest.raises(AlreadyDecided, match="not paused"):
        field.order("resume")
    field.order("pause")
    with pytest.raises(AlreadyDecided, match="paused already, as <@UBOB>"):
        field.order("pause")
    field.order("resume")
    gate = field.script.hold("h2")
    task = await field.start()
    await field.watch.until(h1="done", h2="running")
    for verb in ("pause", "halt"):
        with pytest.raises(AlreadyDecided, match="Every host has been started"):
            field.order(verb)
    gate.set()
    assert results(await task) == done("h1", "h2")
    for verb in OrderVerb:
        with pytest.raises(AlreadyDecided, match="It is over"):
            field.order(verb)


async def test_nothing_follows_a_halt(lay):
    field = lay()
    field.order("halt")
    for verb in OrderVerb:
        with pytest.raises(AlreadyDecided, match="being stopped already"):
            field.order(verb)
    final = await field.run()
    assert field.script.started == []
    assert final.untouched == SIX


# --- the end of the process, and of the database ---------------------------------------------------------------------


async def test_an_orderly_end_of_the_bot_begins_no_more_hosts(lay):
    field = lay()
    gate = field.script.hold("h2")
    task = await field.start()
    await field.watch.until(h2="running")
    field.control.leave()
    gate.set()
    final = await task
    assert results(final) == done("h1", "h2")
    assert "opsbot was shut down in between. Not touched: h3, h4, h5, h6." in final.note


async def test_an_orderly_end_wakes_a_pause(lay):
    field = lay()
    field.order("pause")
    task = await field.start()
    await field.watch.until(h1="paused")
    field.control.leave()
    assert (await task).untouched == SIX


async def test_what_has_not_begun_is_not_lost_to_an_orderly_end(lay):
    field = lay(hosts=("h1",))
    field.control.leave()
    assert results(await field.run()) == done("h1")


@pytest.mark.parametrize("lasts", [True, False])
async def test_without_a_database_nothing_more_is_begun_and_nobody_is_left_alone(lay, lasts):
    field = lay(Rollout(canary=2, max_unavailable=2))
    gate = field.script.hold("h1")
    field.script.then = lambda host: setattr(field.store.outage, "reason", "disk full" if host == "h2" else "")
    if lasts:
        field.script.then = lambda host: setattr(field.store.outage, "reason", "disk full")
    task = await field.start()
    await field.watch.until(h1="running", h2="waiting")
    gate.set()
    with pytest.raises(StoreError, match="disk full"):
        await task
    assert sorted(field.script.started) == ["h1", "h2"]
    assert field.control.over
    field.store.outage.reason = ""
    (stored,) = await field.store.approvals.in_state(ApprovalState.EXECUTING)
    final = await field.executor.reconcile(stored)
    assert results(final) == done("h1", "h2")
    assert final.untouched == ("h3", "h4", "h5", "h6")
