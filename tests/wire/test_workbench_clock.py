"""The virtual clock of the workbench: order, moments, cancellation."""

import asyncio

from opsbot.workbench.clock import Clock


async def test_timers_fire_in_order_each_at_its_moment() -> None:
    clock = Clock()
    start = clock.now()
    fired: list[tuple[str, int]] = []
    for name, delay_s in (("late", 300), ("early", 10), ("middle", 60)):
        clock.call_later(delay_s, lambda n=name: fired.append((n, round(clock.now() - start))))  # type: ignore[misc]
    await clock.advance(100)
    assert fired == [("early", 10), ("middle", 60)]
    await clock.advance(250)
    assert fired[2] == ("late", 300)


async def test_what_waits_can_set_its_next_timer_before_time_moves_on() -> None:
    clock = Clock()
    start = clock.now()
    moments: list[int] = []

    async def beat() -> None:
        for _ in range(3):
            await clock.sleep(60)
            moments.append(round(clock.now() - start))

    task = asyncio.create_task(beat())
    await asyncio.sleep(0)
    await clock.advance(200)
    await task
    assert moments == [60, 120, 180]


async def test_cancelled_timer_stays_silent() -> None:
    clock = Clock()
    fired: list[int] = []
    clock.call_later(5, lambda: fired.append(1)).cancel()
    await clock.advance(10)
    assert fired == []


async def test_real_time_passes_too() -> None:
    clock = Clock()
    rung = asyncio.Event()
    clock.call_later(0.01, rung.set)
    await asyncio.wait_for(rung.wait(), 20)


async def test_a_cancelled_sleep_leaves_the_other_timers_alone() -> None:
    clock = Clock()
    fired: list[int] = []
    clock.call_later(1, lambda: fired.append(1))
    waiting = asyncio.create_task(clock.sleep(2))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    await clock.advance(3)
    assert fired == [1]
