"""A flood of events, a fifth of them delivered again, in any order, with every button pressed three times."""

import time
from collections import Counter

from opsbot.domain import ApprovalState
from opsbot.ports import Store
from tests.safety.cpu_wait import waited_for_cpu_s
from tests.safety.figures import FULL, Figures
from tests.safety.flood import Front, cards, flood_world, mention, press, shuffled, slash, thread_of
from tests.scenario.house import House

# Arrivals a second at most; what is said of the acknowledgements holds for the rate that is noted with them.
RATE = 50
P99_MS = 500
_WARMING = range(1_000_000, 1_000_100)


async def bearable_rate(house: House, front: Front) -> float:
    """Return half of what this machine does when it is given a hundred at once, and no more than RATE."""
    began = time.perf_counter()
    await front.flow([mention(n) for n in _WARMING], rate=1_000_000)
    await house.quiet(120)
    per_s = len(_WARMING) / (time.perf_counter() - began)
    front.latencies_s.clear()
    return min(RATE, per_s / 2)


async def stands(name: str, store: Store, figures: Figures, *, events: int, buttons: int) -> None:
    """Send so many different events to a bot on this database, three presses of each button among them, and compare."""
    house = House(flood_world(store, buttons))
    await house.start()
    asked = await cards(house, buttons)
    presses = [press(card, ref, 3 * n + turn) for n, (card, ref) in enumerate(asked) for turn in range(3)]
    plain = events - len(presses)
    unique = [mention(n) if n % 2 else slash(n) for n in range(plain)]
    threads = {thread_of(n) for n in range(1, plain, 2)}
    parcels = shuffled([*unique, *presses], 0.2, name)
    async with Front(house).open() as front:
        rate = await bearable_rate(house, front) if FULL else RATE
        house.world.chat.whispers.clear()
        began, waited_s = time.perf_counter(), waited_for_cpu_s()
        await front.flow(parcels, rate)
        arrived_s = time.perf_counter() - began
        waited = (waited_for_cpu_s() - waited_s) / arrived_s
        await house.quiet(600)
        done_s = time.perf_counter() - began
    restarts = house.world.machines.restarts
    answers = Counter(
        posted.place.thread_id
        for posted in house.world.chat.messages
        if posted.key.startswith("answer:") and posted.place.thread_id in threads
    )
    replies = Counter(whisper.reply_to for whisper in house.world.chat.whispers if whisper.reply_to[-1].isdigit())
    approvals = await store.approvals.in_state(*ApprovalState)
    waiting = await store.inbox.waiting()
    await house.stop()
    await store.close()
    arrivals = f"{events:,} events, {len(parcels) - events:,} of them twice, at {len(parcels) / arrived_s:.0f}/s"
    figures.note(
        **{
            f"{name}": f"{arrivals}, all handled after {done_s:.0f} s",
            f"ack_p50_p99_max_{name}_ms": f"{front.ack_ms(0.5):.0f}, {front.ack_ms(0.99):.0f}, {front.ack_ms(1):.0f}",
            f"waited_for_a_CPU_{name}": f"{100 * waited:.0f} % of the time",
        }
    )
    assert front.refused == []
    assert waiting == ()
    assert (len(answers), set(answers.values())) == (plain // 2, {1})
    assert (len(replies), set(replies.values())) == (plain - plain // 2, {1})
    assert [restarts[f"app-{n}", "nginx.service"] for n in range(buttons)] == [1] * buttons
    assert {approval.state for approval in approvals} == {ApprovalState.DONE}
    # A small run goes beside other tests.
    assert front.ack_ms(0.99) < P99_MS or not FULL
