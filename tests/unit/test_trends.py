"""Courses of figures: levels, steps, slopes, spells, pauses and boots, told from noise."""

import math
import random
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsbot.trends import (
    evened,
    last_step,
    pauses,
    percentile,
    reboots,
    since_when,
    slope_per_hour,
    spells,
)

START = datetime(2026, 11, 22, 10, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def course(values, step: timedelta = MINUTE):
    return [(START + n * step, float(value)) for n, value in enumerate(values)]


def at(minutes: float) -> datetime:
    return START + minutes * MINUTE


def noisy(level: float, count: int, spread: float = 2.0, seed: int = 1) -> list[float]:
    return [level + random.Random(seed + n).uniform(-spread, spread) for n in range(count)]


# --- steps -----------------------------------------------------------------------------------------------------------


def test_a_step_is_found_where_the_new_level_begins() -> None:
    found = last_step(course([35.0] * 60 + [62.0] * 40), least=5)
    assert found is not None
    assert (found.at, found.before, found.after) == (at(60), 35.0, 62.0)


def test_the_last_of_several_steps_is_told() -> None:
    found = last_step(course([20.0] * 30 + [50.0] * 30 + [80.0] * 30 + [50.0] * 30), least=5)
    assert found is not None
    assert (found.at, found.before, found.after) == (at(90), 80.0, 50.0)


def test_a_step_shows_through_noise() -> None:
    found = last_step(course(noisy(35, 200) + noisy(55, 100, seed=500)), least=5)
    assert found is not None
    assert abs((found.at - at(200)).total_seconds()) <= 120


@pytest.mark.parametrize(
    "values",
    [
        [],
        [5.0],
        [5.0, 90.0, 90.0],
        [50.0] * 100,
        noisy(50, 300),
        [30 + 20 * math.sin(n / 15) for n in range(400)],
        [n / 4 for n in range(300)],
        [50.0] * 150 + [95.0] + [50.0] * 150,
        [50.0] * 100 + [52.0] * 100,
    ],
    ids=["nothing", "one", "too few", "flat", "noise", "waves", "a ramp", "one spike", "a small step"],
)
def test_what_is_no_lasting_change_is_no_step(values) -> None:
    assert last_step(course(values), least=5) is None


@given(st.lists(st.floats(0, 100), max_size=80), st.floats(0.1, 50))
def test_a_step_is_at_a_point_and_of_at_least_that_size(values, least) -> None:
    found = last_step(course(values), least=least)
    if found is not None:
        assert found.at in [when for when, _ in course(values)]
        assert min(values) <= found.after <= max(values) + 1e-9


# --- slopes ----------------------------------------------------------------------------------------------------------


def test_a_slope_is_per_hour_and_survives_noise() -> None:
    assert slope_per_hour(course([n / 60 for n in range(600)])) == pytest.approx(1.0)
    rising = [40 + n / 30 + extra for n, extra in enumerate(noisy(0, 600))]
    assert slope_per_hour(course(rising)) == pytest.approx(2.0, rel=0.05)
    assert slope_per_hour(course([90 - n / 60 for n in range(60)])) == pytest.approx(-1.0)


@pytest.mark.parametrize(
    "values", [[], [1.0, 2.0, 3.0], [5.0] * 50, noisy(5, 300)], ids=["none", "few", "flat", "noise"]
)
def test_what_has_no_direction_has_no_slope(values) -> None:
    assert slope_per_hour(course(values)) is None


# --- since when, spells, pauses --------------------------------------------------------------------------------------


def test_since_when_it_has_held_without_a_break() -> None:
    points = course([95, 50, 91, 92, 99])
    assert since_when(points, lambda value: value >= 90) == at(2)
    assert since_when(points, lambda value: value >= 1) == at(0)
    assert since_when(points, lambda value: value < 90) is None
    assert since_when([], lambda value: True) is None


def test_spells_end_where_it_no_longer_holds_or_at_the_end() -> None:
    points = course([0, 1, 1, 0, 0, 1])
    assert spells(points, lambda value: value == 1) == [(at(1), at(3)), (at(5), at(5))]
    assert spells(points, lambda value: value > 1) == []
    assert spells([], lambda value: True) == []


def test_pauses_are_longer_than_allowed() -> None:
    times = [at(0), at(1), at(9), at(10), at(14)]
    assert pauses(times, longest_s=300) == [(at(1), at(9))]
    assert pauses(times[:1], longest_s=300) == []


# --- boots -----------------------------------------------------------------------------------------------------------


def test_reboots_are_told_from_uptime_also_when_it_did_not_fall() -> None:
    points = [(at(0), 300.0), (at(1), 360.0), (at(21), 900.0), (at(22), 960.0)]
    assert reboots(points) == [at(6)]


def test_a_clock_that_drifts_and_means_of_ten_minutes_are_no_reboots() -> None:
    drifting = [(at(n), 10_000 + 60.0 * n + 0.2 * n) for n in range(1000)]
    assert reboots(drifting) == []
    # Booted at 5.5 minutes: the first mean is clamped to its middle, at 5; the next one knows better.
    assert reboots([(at(-5), 50_000.0), (at(5), 0.0), (at(15), 570.0), (at(20), 870.0)]) == [at(5)]


# --- thinner ---------------------------------------------------------------------------------------------------------


def test_few_points_stay_as_they_are() -> None:
    points = course(range(10))
    assert evened(points, most=10) == points


def test_many_points_become_means_of_equal_times_and_gaps_stay() -> None:
    points = course(range(100)) + [(at(300 + n), 7.0) for n in range(100)]
    thin = evened(points, most=40)
    assert len(thin) < 40
    assert thin[-1][1] == 7.0
    times = [when for when, _ in thin]
    assert times == sorted(times)
    assert max(b - a for a, b in pairwise(times)) >= timedelta(hours=3)


def test_a_spike_can_be_kept() -> None:
    points = course([0.0] * 500 + [3.0] + [0.0] * 499)
    assert max(value for _, value in evened(points, most=50, merge=max)) == 3.0


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200), st.integers(1, 50))
def test_thinned_points_are_few_in_order_and_within_the_range(values, most) -> None:
    thin = evened(course(values), most=most)
    assert 1 <= len(thin) <= max(most, 1) or len(values) <= most
    assert all(min(values) - 1e-6 <= value <= max(values) + 1e-6 for _, value in thin)
    assert [when for when, _ in thin] == sorted(when for when, _ in thin)


def test_percentiles_are_values_that_were_measured() -> None:
    assert percentile([float(n) for n in range(1, 101)], 0.95) == 96.0
    assert percentile([3.0], 0.95) == 3.0
    assert percentile([1.0, 2.0], 0.0) == 1.0
