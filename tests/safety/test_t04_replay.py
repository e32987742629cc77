"""T04: signed requests replayed to the letter, Slack's own retries, and a crash among them: no effect is doubled."""

import asyncio
import contextlib
import random
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from opsbot.adapters.store import SqlStore, open_store
from opsbot.domain import ApprovalState, IncomingCommand, Place, UserMessage
from tests.fake_clock import FakeClock
from tests.fake_store import TEST_KEY
from tests.safety.conftest import FULL
from tests.safety.flood import (
    SLACK,
    Front,
    Parcel,
    Parrot,
    cards,
    flood_world,
    mention,
    press,
    shuffled,
    slash,
    thread_of,
)
from tests.scenario.house import ALICE, CHANNEL, House, World
from tests.slack_door import signed

# A signature is good for five minutes, and Slack repeats what was not acknowledged until five minutes later.
KEPT_AT_LEAST = timedelta(minutes=15)


@pytest.fixture(params=["sqlite", "postgres"] if FULL else ["sqlite"])
def reopen(request, tmp_path) -> Callable[[], SqlStore]:
    sqlite = f"sqlite:///{tmp_path}/opsbot.db"
    url = sqlite if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    return lambda: open_store(url, audit_key=TEST_KEY)


async def crash(house: House, front: Front) -> None:
    """End the bot where it stands, as by SIGKILL: only Slack goes on, and what is on disk stays."""
    drop_everything()
    await front.shut()
    drop_everything()
    await house.world.store.close()


def drop_everything() -> None:
    for task in asyncio.all_tasks():
        if task is not asyncio.current_task() and task.get_name() != SLACK:
            task.cancel()


async def until_half(front: Front, parcels: Sequence[Parcel]) -> None:
    while len(front.taken) < len(parcels) // 2:
        await asyncio.sleep(0.005)


@pytest.mark.timeout(1800)
async def test_retries_replays_and_a_crash_double_nothing(reopen, figures, scale) -> None:
    total, buttons = scale(150, 10_000), scale(5, 100)
    world = flood_world(await asyncio.to_thread(reopen), buttons)
    first_life = House(world)
    await first_life.start()
    presses = [press(card, ref, number) for number, (card, ref) in enumerate(await cards(first_life, buttons))]
    plain = total - buttons
    unique = [*presses, *(mention(n) if n % 2 else slash(n) for n in range(plain))]
    parcels = shuffled(unique, 0.2, "T04")
    async with Front(first_life).open() as before:
        sending = asyncio.create_task(before.flow(parcels, scale(300, 60), at_once=32), name=SLACK)
        await until_half(before, parcels)
        await crash(first_life, before)
        await sending
    world = replace(world, store=await asyncio.to_thread(reopen))
    house = House(world)
    await house.start()
    replays = random.Random(4).sample(before.taken, len(before.taken) // 5)
    async with Front(house).open() as after:
        await after.flow(before.refused, scale(300, 60), at_once=32)
        assert after.refused == []
        for parcel, headers in replays:
            await after.take(parcel, headers)  # taken, or refused since its signature is older than five minutes
        await all_handled(house)
    accepted = {parcel.name for parcel, _ in (*before.taken, *after.taken)}
    assert accepted == {parcel.name for parcel in unique}
    restarts = [world.machines.restarts[f"app-{n}", "nginx.service"] for n in range(buttons)]
    states = Counter(str(approval.state) for approval in await world.store.approvals.in_state(*ApprovalState))
    heard = await messages(world, range(1, plain, 2))
    figures.note(
        requests=f"{len(parcels):,} with 20 % retries, {len(before.refused):,} cut off by the crash and sent again",
        replayed_to_the_letter=len(replays),
        actions=f"{buttons}: {', '.join(f'{n} {state}' for state, n in sorted(states.items()))}",
        doubled_effects=sum(times > 1 for times in restarts) + sum(times > 1 for times in heard),
    )
    assert max(restarts) == 1
    assert restarts.count(1) == states[ApprovalState.DONE]
    assert set(states) <= {ApprovalState.DONE, ApprovalState.FAILED, ApprovalState.UNKNOWN}  # none is left open
    assert set(heard) == {1}
    assert await world.store.inbox.waiting() == ()
    await house.stop()
    await world.store.close()


async def all_handled(house: House) -> None:
    """Wait until nothing is left, also of what a dead replica was at: on PostgreSQL it counts as dead after 6 s."""
    async with asyncio.timeout(900):
        while await house.world.store.inbox.waiting():
            await asyncio.sleep(0.1)
        await house.quiet(600)


async def messages(world: World, numbers: Sequence[int]) -> list[int]:
    """How many messages of people each mention became."""
    found = []
    for number in numbers:
        conversation = await world.store.conversations.load(Place("T1", "C0OPS", thread_of(number)))
        found.append(sum(isinstance(message, UserMessage) for message in conversation.messages))
    return found


# --- each kind of request, to the letter ------------------------------------------------------------------------------


@pytest.fixture
async def house(reopen):
    house = House(flood_world(await asyncio.to_thread(reopen), 2))
    await house.start()
    yield house
    await house.stop()
    await house.world.store.close()


@pytest.mark.parametrize("kind", ["mention", "command", "press"])
async def test_a_captured_request_counts_once(house: House, kind: str) -> None:
    asked = await cards(house, 1)
    parcel = {"mention": mention(1), "command": slash(2), "press": press(*asked[0], 3)}[kind]
    headers = signed(parcel.body, kind=parcel.kind)
    async with Front(house).open() as front:
        assert [await front.take(parcel, headers) for _ in range(3)] == [True] * 3
        await house.quiet()
        told = len(house.world.chat.messages), len(house.world.chat.whispers)
        assert [await front.take(parcel, headers) for _ in range(3)] == [True] * 3
        await house.quiet()
    assert (len(house.world.chat.messages), len(house.world.chat.whispers)) == told
    assert sum(house.world.machines.restarts.values()) == (kind == "press")


async def test_slacks_own_retries_are_known_by_their_ids_under_any_signature(house: House) -> None:
    async with Front(house).open() as front:
        for number in range(4):
            retry = {"X-Slack-Retry-Num": str(number), "X-Slack-Retry-Reason": "http_timeout"} if number else {}
            headers = signed(mention(1).body, at=time.time() - 60 * number)
            assert await front.take(mention(1), headers | retry)
        await house.quiet()
    assert await messages(house.world, [1]) == [1]


async def test_what_was_signed_more_than_five_minutes_ago_is_refused(house: House) -> None:
    async with Front(house).open() as front:
        assert not await front.take(mention(1), signed(mention(1).body, at=time.time() - 330))
    assert await house.world.store.inbox.waiting() == ()


@pytest.mark.parametrize("parcel", [mention(1), slash(2)], ids=lambda parcel: parcel.name)
async def test_the_signature_alone_tells_a_repeat(house: House, parcel: Parcel) -> None:
    """Whatever a payload's ids are made of: the keys of what was heard do not have to be right."""
    headers = signed(parcel.body, kind=parcel.kind)
    async with Front(house).open() as front:
        assert await front.take(parcel, headers)
    fresh = await house.send(IncomingCommand(CHANNEL, ALICE, "help"), key=f"signed:{headers['X-Slack-Signature']}")
    assert not fresh


# --- how long, and before what ---------------------------------------------------------------------------------------


class Witness(Parrot):
    """A model that notes which keys the database held when it was asked."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.keys: list[set[str]] = []

    def reply(self, request):
        self.keys.append(keys_in(self._path))
        return super().reply(request)


def keys_in(path: Path) -> set[str]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return {row[0] for row in connection.execute("SELECT key FROM inbox_keys")}


async def opened(path: Path, **parts: object) -> House:
    store = await asyncio.to_thread(open_store, f"sqlite:///{path}", audit_key=TEST_KEY)
    house = House(replace(flood_world(store, 1), **parts))
    await house.start()
    return house


async def test_the_keys_are_stored_before_anything_is_begun(tmp_path: Path) -> None:
    model = Witness(tmp_path / "opsbot.db")
    house = await opened(tmp_path / "opsbot.db", model=model)
    headers = signed(mention(1).body)
    async with Front(house).open() as front:
        assert await front.take(mention(1), headers)
        await house.quiet()
    expected = {"event:Ev1", f"message:C0OPS:{thread_of(1)}", f"signed:{headers['X-Slack-Signature']}"}
    assert model.keys == [expected]
    await house.stop()
    await house.world.store.close()


async def test_while_keys_cannot_be_stored_nothing_is_begun_or_acknowledged(tmp_path: Path) -> None:
    path, model = tmp_path / "opsbot.db", Witness(tmp_path / "opsbot.db")
    house = await opened(path, model=model)
    async with Front(house).open() as front:
        path.rename(tmp_path / "elsewhere")
        assert not await front.take(mention(1))
        await house.quiet()
        assert model.keys == []
        (tmp_path / "elsewhere").rename(path)
        assert await front.take(mention(1))
        await house.quiet()
    assert len(model.keys) == 1
    await house.stop()
    await house.world.store.close()


async def test_keys_are_kept_for_a_quarter_of_an_hour_at_least_and_not_for_ever(tmp_path: Path, figures) -> None:
    path, clock = tmp_path / "opsbot.db", FakeClock()
    house = await opened(path, clock=clock)
    headers = signed(mention(1).body)
    async with Front(house).open() as front:
        assert await front.take(mention(1), headers)
        await house.quiet()
        mine = keys_in(path)
        await house.passes(KEPT_AT_LEAST.total_seconds() + 60)
        assert keys_in(path) == mine
        assert await front.take(mention(1), headers)
        await house.quiet()
    assert await messages(house.world, [1]) == [1]
    held = []
    for day in range(1, 15):
        await house.send(IncomingCommand(CHANNEL, ALICE, "help", "https://reply"), key=f"day:{day}")
        await house.passes(timedelta(days=1).total_seconds())
        held.append(len(keys_in(path)))
    figures.note(keys_kept_for="7 days, at least 15 minutes", most_keys_at_one_key_a_day=max(held))
    assert not mine & keys_in(path)
    assert held[7:] == [held[7]] * len(held[7:])
    await house.stop()
    await house.world.store.close()
