"""R16: clicks in the same moment, by threads that wait for each other: exactly one counts, the others learn of whom."""

import asyncio
import re
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from opsbot.adapters.store import open_store
from opsbot.approvals import Click
from opsbot.domain import Actor, Approval, ApprovalState
from opsbot.errors import AlreadyDecided
from opsbot.policy import ApproverRule
from opsbot.ports import Store
from tests.fake_chat import FakeChat
from tests.records import KEY
from tests.safety.conftest import Figures, Scale
from tests.scenario.house import ALICE, RULES, House, World

RIVALS = 32
PEOPLE = tuple(Actor("T1", f"U{n:03}") for n in range(RIVALS))
IDS = frozenset(person.user_id for person in PEOPLE)
MANY_APPROVERS = replace(
    RULES,
    asker_users=frozenset({"UALICE"}),
    approvers=(ApproverRule(("production",), users=IDS), ApproverRule(("lab",), users=IDS, needed=2)),
)
# What each of them wants, and on which host; `lab-1` needs two people.
RACES = {
    "all approve": ("web-1", ["approve"] * RIVALS, 1),
    "half deny": ("web-1", ["approve", "deny"] * (RIVALS // 2), 1),
    "the requester withdraws": ("web-1", ["withdraw"] + ["approve"] * (RIVALS - 1), 1),
    "two are needed": ("lab-1", ["approve"] * RIVALS, 2),
}
_TOLD = re.compile(r"(?:(approved|denied) by (.+) at|withdrawn by <@(\w+)>, who made it, at) \d\d:\d\d:\d\d UTC")
_PATIENCE_S = 60


@pytest.fixture(params=["sqlite", "postgresql"])
async def store(request: pytest.FixtureRequest, in_memory: Path) -> AsyncIterator[Store]:
    if request.param == "sqlite":
        url = f"sqlite:///{in_memory}/x.db"
    else:
        url = f"{request.getfixturevalue('postgres_url')}&options=-csynchronous_commit%3Doff"
    opened = await asyncio.to_thread(open_store, url, audit_key=KEY)
    yield opened
    await opened.close()


@pytest.fixture
def in_memory(tmp_path: Path) -> Iterator[Path]:
    """A folder in memory where there is one: who wins has nothing to do with how fast a disk is."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else tmp_path) as folder:
        yield Path(folder)


class Rival:
    """A person with a thread, an event loop and a bot of their own, on everybody's database."""

    def __init__(self, person: Actor, world: World) -> None:
        self.person = person
        self._world = replace(world, chat=FakeChat())
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._house = asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(_PATIENCE_S)

    async def _open(self) -> House:
        return House(self._world)

    def presses(self, approval: Approval, verb: str, barrier: threading.Barrier) -> "asyncio.Future[Approval]":
        """Press as soon as everybody is about to."""
        return asyncio.run_coroutine_threadsafe(self._press(approval, verb, barrier), self._loop)  # type: ignore[return-value]

    async def _press(self, approval: Approval, verb: str, barrier: threading.Barrier) -> Approval:
        desk = self._house.service._parts.desk
        barrier.wait(_PATIENCE_S)
        if verb == "withdraw":
            return await desk.withdraw(approval.id, ALICE, pressed=None)
        decided = await desk.decide(approval.id, self.person, Click(approve=verb == "approve"), pressed=None)
        await asyncio.gather(*desk.running)
        return decided

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_PATIENCE_S)


@pytest.mark.timeout(1_200)
@pytest.mark.parametrize("race", RACES, ids=[name.replace(" ", "-") for name in RACES])
async def test_exactly_one_counts_and_the_others_learn_of_whom(
    store: Store, race: str, figures: Figures, scale: Scale, request: pytest.FixtureRequest
) -> None:
    host, verbs, winners = RACES[race]
    world = World(store=store, rules=MANY_APPROVERS)
    house = House(world)
    rivals = await asyncio.to_thread(lambda: [Rival(person, world) for person in PEOPLE])
    rounds = scale(3, 125)
    for _ in range(rounds):
        await house.types(ALICE, f"restart nginx {host}")
        (pending,) = await store.approvals.in_state(ApprovalState.PENDING)
        barrier = threading.Barrier(RIVALS)
        pressed = [rival.presses(pending, verb, barrier) for rival, verb in zip(rivals, verbs, strict=True)]
        ends = await asyncio.gather(*map(asyncio.wrap_future, pressed), return_exceptions=True)  # type: ignore[arg-type]
        await _check(store, pending.id, ends, winners)
        world.clock.advance(3_600)  # so that no cap on how much is done keeps the next from running
    for rival in rivals:
        rival.close()
    approved = [r for r in await _all(store) if r.entry.kind == "execution.intent"]
    assert world.machines.restarts[host, "nginx.service"] == len(approved) <= rounds
    name = f"{race}, {request.node.callspec.params['store']}"
    figures.note(**{name: f"{rounds} of {rounds} races with one result"})


async def _check(store: Store, approval_id: str, ends: Sequence[object], winners: int) -> None:
    """Hold what each was told against what is recorded. What was approved can still be withdrawn until it runs."""
    counted = [end for end in ends if isinstance(end, Approval)]
    refused = [end for end in ends if isinstance(end, AlreadyDecided)]
    final = await store.approvals.get(approval_id)
    assert final is not None
    withdrawn = final.state is ApprovalState.WITHDRAWN
    assert len(counted) == (1 + len(final.reviews) if withdrawn else winners), ends
    assert len(refused) == RIVALS - len(counted), ends
    kinds = [record.entry.kind for record in await store.audit.about(approval_id)]
    decided = [kind for kind in kinds if kind in ("approval.approved", "approval.denied", "approval.withdrawn")]
    assert len(decided) == len(counted)
    assert kinds.count("decision.refused") == len(refused)
    assert ("execution.intent" in kinds) is (final.state is ApprovalState.DONE)
    assert len(final.reviews) <= winners
    people = {f"<@{review.actor.user_id}>" for review in final.reviews}
    for error in refused:
        assert _TOLD.search(str(error)), error
        assert set(re.findall(r"<@\w+>", str(error))) in (people, {"<@UALICE>"} if withdrawn else people)


async def _all(store: Store) -> list:
    records, after = [], 0
    while page := await store.audit.read(after=after):
        records += page
        after = page[-1].seq
    return records
