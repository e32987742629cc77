"""Caps: how old an effect is whatever the clock says, which cap refuses, and when there is room again."""

from dataclasses import replace
from datetime import timedelta

import pytest

from opsbot.caps import Caps, Effect, Noted, age_s, check_hosts, check_hour, journal_time
from opsbot.domain import Host, Moment
from opsbot.errors import CapReached
from tests.records import NOON, later

CAPS = Caps(an_hour=4, an_hour_per_person=2, hosts_in={"production": 1})


def moment(seconds: float, boot: str = "b1", *, jump_s: float = 0) -> Moment:
    return Moment(later(seconds + jump_s), "m1", boot, 100 + seconds)


@pytest.mark.parametrize("jump_s", [-86_400, 0, 86_400])
def test_within_a_boot_the_clock_does_not_matter(jump_s: float) -> None:
    assert age_s(moment(0), moment(600, jump_s=jump_s)) == 600


def test_across_boots_the_clock_counts_unless_it_is_or_was_behind() -> None:
    assert age_s(moment(0), moment(600, "b2")) == 600
    assert age_s(moment(0), moment(600, "b2", jump_s=-86_400)) == 700  # as old as the boot
    assert age_s(moment(0), moment(600, "b2"), behind=True) == 700


@pytest.mark.parametrize("seconds", [0, 0.5])
def test_what_was_done_just_now_is_no_older_than_it_is(seconds: float) -> None:
    assert age_s(moment(0), moment(seconds)) == seconds
    assert age_s(moment(0), replace(moment(seconds, "b2"), monotonic_s=7)) == seconds


def test_nothing_is_younger_than_now() -> None:
    assert age_s(moment(10), moment(0)) == 0
    assert age_s(moment(0), replace(moment(0, "b2", jump_s=-60), monotonic_s=-1)) == 0


def test_a_boot_tells_no_age_beyond_its_own_and_none_of_another_machine() -> None:
    assert age_s(moment(0), replace(moment(0, "b2", jump_s=-60), monotonic_s=0.5)) == 0.5
    assert age_s(moment(0), replace(moment(600, "b2", jump_s=-86_400), machine="m2")) == 0


def noted(now: Moment, newest: Noted | None) -> tuple[float, bool]:
    found = journal_time(now, newest)
    return (found.moment.at - NOON).total_seconds(), found.behind


def test_the_journal_goes_on_within_a_boot_and_knows_when_the_clock_is_behind() -> None:
    first = Noted(moment(0))
    assert noted(moment(5), None) == (5, False)
    assert noted(moment(60, jump_s=-3600), first) == (60, False)
    assert noted(moment(60, jump_s=3600), first) == (3660, False)
    assert noted(moment(60, "b2"), first) == (60, False)
    assert noted(moment(60, "b2", jump_s=-3600), first) == (0, True)
    assert noted(moment(0, "b2", jump_s=-20), first) == (0, False)  # another replica's clock


def test_what_follows_in_a_boot_that_came_up_behind_is_as_unsure_until_the_clock_is_right() -> None:
    unsure = Noted(replace(moment(60, "b2"), at=later(0)), behind=True)
    assert noted(moment(90, "b2", jump_s=-86_400), unsure) == (30, True)
    assert noted(moment(90, "b2"), unsure) == (90, False)


@pytest.mark.parametrize(("ahead_s", "unsure"), [(-10, True), (10, True), (29.9, True), (30, False), (31, False)])
def test_a_boot_is_unsure_until_its_clock_is_right_but_for_what_clocks_differ(ahead_s: float, unsure: bool) -> None:
    behind = Noted(moment(0, "b2"), behind=True)
    assert noted(moment(60, "b2", jump_s=ahead_s), behind)[1] is unsure


@pytest.mark.parametrize(("back_s", "unsure"), [(29.9, False), (30, False), (30.1, True)])
def test_another_boot_is_behind_from_more_on_than_clocks_differ(back_s: float, unsure: bool) -> None:
    assert noted(moment(0, "b2", jump_s=-back_s), Noted(moment(0)))[1] is unsure


def effects(*who: str, age: float = 600) -> list[Effect]:
    return [Effect(name, age + 10 * n) for n, name in enumerate(who)]


def refused(done: list[Effect], who: str, more: int = 1) -> CapReached:
    with pytest.raises(CapReached) as caught:
        check_hour(CAPS, done, who, more=more, now=NOON)
    return caught.value


def test_up_to_the_cap_there_is_room() -> None:
    check_hour(CAPS, effects("a", "b", "b"), "a", more=1, now=NOON)


def test_the_cap_of_a_person_comes_first_and_the_oldest_frees_it() -> None:
    error = refused(effects("a", "a", "b"), "a")
    assert error.rule == "limits.actions_per_hour_per_person"
    assert error.free_at == NOON + timedelta(seconds=3600 - 610)
    assert "12:49:50 UTC" in str(error)


def test_the_cap_of_all_holds_for_those_who_did_nothing() -> None:
    assert refused(effects("a", "a", "b", "b"), "c").rule == "limits.actions_per_hour"


def test_a_refusal_says_whose_cap_it_is_how_much_was_done_and_when_there_is_room() -> None:
    assert str(refused(effects("a", "a", "b"), "a")) == (
        "2 hosts were acted on at your request within an hour; 2 are the most "
        "(limits.actions_per_hour_per_person). There is room again at 12:49:50 UTC."
    )
    assert str(refused(effects("a", "a", "b", "b"), "c")) == (
        "4 hosts were acted on in all within an hour; 4 are the most (limits.actions_per_hour). "
        "There is room again at 12:49:30 UTC."
    )
    assert str(refused([], "a", more=3)) == (
        "That are 3 hosts; 2 in an hour are the most (limits.actions_per_hour_per_person). Ask for fewer."
    )


def test_hosts_in_one_action_are_refused_by_environment_with_both_numbers() -> None:
    with pytest.raises(CapReached) as caught:
        check_hosts(Caps(hosts_in={"lab": 1, "production": 2}), [Host(n, environment="lab") for n in "abc"])
    assert str(caught.value) == (
        "3 hosts of lab in one action; 1 at most (limits.hosts_per_action_in). Ask for fewer at a time."
    )
    assert caught.value.rule == "limits.hosts_per_action_in:lab"


def test_room_for_several_needs_several_to_age() -> None:
    assert refused(effects("a", "a"), "a", more=2).free_at == NOON + timedelta(seconds=3600 - 600)


def test_more_than_ever_fit_never_get_room() -> None:
    assert refused([], "a", more=3).free_at is None


def test_hosts_are_counted_by_environment() -> None:
    production = [Host(name, environment="production") for name in "ab"]
    check_hosts(CAPS, [production[0], Host("x"), Host("y")])
    with pytest.raises(CapReached, match="2 hosts of production in one action; 1 at most"):
        check_hosts(CAPS, production)
