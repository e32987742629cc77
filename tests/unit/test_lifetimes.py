"""Two clocks, boots and machines: whatever happens to a clock, nothing lasts longer than it was given."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsbot.adapters.clock import SystemClock
from opsbot.lifetimes import why_over
from tests.records import later, moment

ENDS = later(300)


def now(wall_s: float, monotonic_s: float, **changes):
    return replace(moment(), at=later(wall_s), monotonic_s=1000 + monotonic_s, **changes)


@pytest.mark.parametrize(
    ("wall_s", "monotonic_s", "says"),
    [
        (0, 0, ""),
        (299.9, 299.9, ""),
        (300, 300, "ended at 12:05:00"),
        (300, 10, "ended at 12:05:00"),  # slept, or set forward
        (86_400, 10, "ended at"),
        (10, 300, "whatever the clock says"),  # set back: the monotonic clock goes on
        (-3600, 10, "set back by 3610 s"),
        (2, 10, "set back by 8 s"),
        (6, 10, ""),  # slewed a little
        (5, 10, "set back by 5 s"),
        (20, 10, ""),
        (10, -1, "contradict"),
        (-86_400, -86_400, "contradict"),
    ],
)
def test_the_first_clock_that_ends_it_ends_it(wall_s, monotonic_s, says):
    why = why_over(moment(), ENDS, now(wall_s, monotonic_s))
    assert bool(why) is bool(says)
    assert says in why


def test_a_restart_of_the_machine_ends_it_at_once():
    assert "started anew" in why_over(moment(), ENDS, now(20, -990, boot_id="boot 2"))


@pytest.mark.parametrize(
    ("wall_s", "over"), [(-31, True), (-30, True), (-29, False), (0, False), (299, False), (300, True)]
)
def test_on_another_machine_its_wall_clock_decides(wall_s, over):
    assert bool(why_over(moment(), ENDS, now(wall_s, 5_000_000, machine="bot-2", boot_id="other"))) is over


def test_a_record_without_clocks_is_over():
    assert "older opsbot" in why_over(None, ENDS, moment())


def test_what_is_over_without_a_time_is_told_as_such():
    assert why_over(None, ENDS, moment()) == "it was asked by an older opsbot, which did not note all clocks"
    assert why_over(moment(), ENDS, now(20, -990, boot_id="boot 2")) == (
        "opsbot's machine was started anew since, and nothing tells how long it was away"
    )
    assert why_over(moment(), ENDS, now(10, -1)) == "the clocks of opsbot's machine contradict each other"


@given(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6))
def test_nothing_on_one_boot_lasts_longer_than_it_was_given_by_either_clock(wall_s, monotonic_s):
    if not why_over(moment(), ENDS, now(wall_s, monotonic_s)):
        assert wall_s <= 300
        assert monotonic_s + 1e-6 >= 0
        assert monotonic_s <= 300


def test_the_systems_clock_names_machine_and_boot(tmp_path):
    one, two = SystemClock().moment(), SystemClock().moment()
    assert (one.machine, one.boot_id) == (two.machine, two.boot_id)
    assert one.monotonic_s <= two.monotonic_s
    assert abs(one.at - two.at) < timedelta(minutes=1)
    nameless = [SystemClock(boot_id=tmp_path / "none").moment().boot_id for _ in range(2)]
    assert nameless[0] != nameless[1]
