"""T08: nothing begins after its approval ended, whatever happens to the clock, and a clock set back revives nothing."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.safety.conftest import FULL, Figures
from tests.safety.faked_time import ClockBotProcess

# Real seconds a request lasts here; jumps are as long as in the table.
LIFETIME_S = 3.0
MINUTE, HOUR, DAY = 60, 3600, 86_400
JUMPS = (10 * MINUTE, -10 * MINUTE, -DAY, DAY, HOUR, -HOUR)

full_size = pytest.mark.skipif(not FULL, reason="in full size only")

Bots = Callable[..., ClockBotProcess]


@pytest.fixture
def bots(tmp_path: Path) -> Iterator[Bots]:
    made: list[ClockBotProcess] = []

    def make(**settings: object) -> ClockBotProcess:
        made.append(ClockBotProcess(tmp_path, **({"lifetime_s": LIFETIME_S} | settings)))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for bot in made:
        bot.kill()


@full_size
def test_without_a_jump_it_runs_in_time_and_not_after(bots: Bots) -> None:
    bot = bots(lifetime_s=60)
    bot.tell("ask")
    assert bot.tell("approve")["restarts"] == 1


def test_a_jump_while_it_waits_ends_it(bots: Bots, figures: Figures) -> None:
    """Forward it is late by the wall clock; back, nobody could tell how late it is."""
    bot = bots(lifetime_s=60)
    for jump in JUMPS:
        bot.jump(0)
        assert bot.tell("ask")["state"] == "pending"
        bot.jump(jump)
        after = bot.tell("approve")
        assert after["restarts"] == 0
        assert "expired" in after["said"]
        assert bot.tell("sweep")["state"] == "expired"
        bot.jump(0)
        assert bot.tell("approve")["restarts"] == 0, "a clock put right revives nothing"
    figures.note(jumps_tried=", ".join(f"{each / 60:+.0f} min" for each in JUMPS), late_runs=0)


def test_a_jump_after_the_approval_and_before_it_begins_ends_it(bots: Bots) -> None:
    bot = bots(lifetime_s=60)
    for jump in JUMPS:
        bot.jump(0)
        bot.tell("ask")
        assert bot.tell("approve_only")["state"] == "approved"
        bot.jump(jump)
        after = bot.tell("sweep")
        assert (after["state"], after["restarts"]) == ("expired", 0)


@full_size
@pytest.mark.parametrize("jump", JUMPS)
def test_another_process_of_the_same_boot_finds_it_ended_too(bots: Bots, jump: int) -> None:
    bot = bots(lifetime_s=60)
    bot.tell("ask")
    assert bot.tell("approve_only")["state"] == "approved"
    bot.kill()
    bot.jump(jump)
    bot.start()
    after = bot.tell("sweep")
    assert (after["state"], after["restarts"]) == ("expired", 0)


@full_size
@pytest.mark.parametrize("jump", [0, -1, -4])
def test_real_time_alone_ends_it_whatever_the_wall_clock_says(bots: Bots, jump: int) -> None:
    """Small steps back, as of NTP, are tolerated, but add nothing."""
    bot = bots()
    bot.tell("ask")
    bot.jump(jump)
    time.sleep(LIFETIME_S)
    after = bot.tell("approve")
    assert after["restarts"] == 0
    assert "expired" in after["said"]


@full_size
def test_late_execution_after_a_queue_of_its_own(bots: Bots) -> None:
    """Approved in time, but nobody came to it until it was over."""
    bot = bots()
    bot.tell("ask")
    assert bot.tell("approve_only")["state"] == "approved"
    time.sleep(LIFETIME_S)
    after = bot.tell("sweep")
    assert (after["state"], after["restarts"]) == ("expired", 0)


@pytest.mark.parametrize("jump", [0, pytest.param(-DAY, marks=full_size), pytest.param(-10 * MINUTE, marks=full_size)])
def test_a_restart_of_the_machine_ends_it(bots: Bots, jump: int) -> None:
    bot = bots(lifetime_s=60)
    bot.tell("ask")
    bot.tell("approve_only")
    bot.jump(jump)
    bot.reboot()
    after = bot.tell("sweep")
    assert (after["state"], after["restarts"]) == ("expired", 0)
    assert "started anew" in after["note"]


@full_size
def test_a_restart_of_the_process_does_not(bots: Bots) -> None:
    bot = bots(lifetime_s=60)
    bot.tell("ask")
    bot.kill()
    bot.start()
    after = bot.tell("approve")
    assert (after["state"], after["restarts"]) == ("done", 1), after


SWITCHES = [datetime(2026, 10, 25, 0, 59, 59, tzinfo=UTC), datetime(2026, 3, 29, 0, 59, 59, tzinfo=UTC)]
SWITCH_NAMES = ["an hour twice", "an hour left out"]


@full_size
@pytest.mark.parametrize("switch", SWITCHES, ids=SWITCH_NAMES)
def test_daylight_saving_time_changes_nothing(bots: Bots, switch: datetime) -> None:
    bot = bots(lifetime_s=60, zone="Europe/Berlin")
    bot.begin_at(switch)
    bot.tell("ask")
    time.sleep(1.2)  # over the switch
    assert bot.tell("approve")["restarts"] == 1


@full_size
@pytest.mark.parametrize("switch", SWITCHES, ids=SWITCH_NAMES)
def test_daylight_saving_time_gives_nobody_more_time(bots: Bots, switch: datetime) -> None:
    bot = bots(lifetime_s=2, zone="Europe/Berlin")
    bot.begin_at(switch)
    bot.tell("ask")
    time.sleep(2)
    assert bot.tell("approve")["restarts"] == 0
