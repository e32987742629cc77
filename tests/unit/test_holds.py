"""Stops and freezes: what a scope covers, who may end them and when, and what is said of them."""

from dataclasses import replace
from datetime import timedelta

import pytest

from opsbot.domain import Host
from opsbot.errors import AlreadyDecided, BadArguments, NotAllowed
from opsbot.holds import (
    Hold,
    HoldKind,
    Scope,
    Where,
    covers,
    holding,
    lift,
    overlap,
    read_scope,
    told,
    told_why,
    vote,
    who,
)
from tests.records import NOON, later

WEB1 = Host("web-1", environment="production", groups=("web",))
WEB2 = Host("web-2", environment="production", groups=("web",))
LAB = Host("lab-1", environment="lab")
HOSTS = {host.name: host for host in (WEB1, WEB2, LAB)}
GROUPS = {"web": ("web-1", "web-2")}
NGINX, REDIS = ("nginx.service",), ("redis.service",)


def scope(text: str) -> Scope:
    return read_scope(text, HOSTS, GROUPS)


def freeze(text: str = "all", **changes: object) -> Hold:
    return replace(Hold("F7KQ2M", HoldKind.FREEZE, scope(text), "T1/UBOB", NOON, "works"), **changes)


STOP = Hold("S7KQ2M", HoldKind.STOP, Scope(Where.ALL), "T1/UBOB", NOON, "fire")


@pytest.mark.parametrize(
    ("text", "host", "targets", "held"),
    [
        ("all", LAB, NGINX, True),
        ("environment:production", WEB1, NGINX, True),
        ("environment:production", LAB, NGINX, False),
        ("web", WEB2, NGINX, True),
        ("group:web", LAB, NGINX, False),
        ("web-1", WEB1, NGINX, True),
        ("host:web-1", WEB2, NGINX, False),
        ("nginx@web", WEB1, NGINX, True),
        ("nginx.service@web", WEB1, NGINX, True),
        ("nginx@web", WEB1, REDIS, False),
        ("nginx@all", LAB, NGINX, True),
        ("nginx@web", WEB1, (), True),  # the whole host has nginx on it
        ("nginx@web", LAB, (), False),
        ("cache@all", WEB1, ("cache",), True),
    ],
)
def test_what_a_scope_covers(text: str, host: Host, targets: tuple[str, ...], held: bool) -> None:
    assert covers(scope(text), host, targets) is held


def test_a_host_that_leaves_its_group_stays_frozen_and_one_that_comes_is_frozen() -> None:
    frozen = scope("web")
    assert covers(frozen, replace(WEB1, groups=()), NGINX)
    assert covers(frozen, Host("web-3", groups=("web",)), NGINX)


@pytest.mark.parametrize(
    "text", ["", "wbe", "environment:prod", "group:nope", "host:web", "@web", "x y@web", "<!here>"]
)
def test_a_scope_that_names_nothing_is_refused(text: str) -> None:
    with pytest.raises(BadArguments):
        scope(text)


@pytest.mark.parametrize("text", ["all", "environment:lab", "group:web", "host:web-1", "nginx@group:web"])
def test_a_scope_is_written_as_it_is_read(text: str) -> None:
    assert str(scope(text)) == text


def test_a_freeze_holds_until_its_time_and_not_longer() -> None:
    timed = freeze(until=later(60))
    assert holding([timed], [WEB1], NGINX, later(59)) is timed
    assert holding([timed], [WEB1], NGINX, later(60)) is None


def test_one_host_of_many_is_enough_and_a_stop_goes_first() -> None:
    assert holding([freeze("web-1")], [LAB, WEB1], NGINX, NOON)
    assert holding([freeze(), STOP], [LAB], NGINX, NOON) is STOP


def test_an_action_on_no_host_is_held_by_anything() -> None:
    assert holding([freeze("web-1")], [], (), NOON)


@pytest.mark.parametrize(("one", "other", "both"), [((), NGINX, True), (NGINX, NGINX, True), (NGINX, REDIS, False)])
def test_which_actions_touch_the_same(one: tuple[str, ...], other: tuple[str, ...], both: bool) -> None:
    assert overlap(one, other) is overlap(other, one) is both


def test_two_people_end_a_stop() -> None:
    first = vote(STOP, "t1/ubob", "T1/UBOB", reason="out", now=later(1))
    assert first.in_force(later(1))
    ended = vote(first, "t1/uann", "T1/UANN", reason="out", now=later(2))
    assert not ended.in_force(later(2))
    assert (ended.ended_by, ended.end_reason) == ("T1/UANN", "out")


def test_one_person_with_two_accounts_is_one() -> None:
    first = vote(STOP, "person:bob", "T1/UBOB", reason="", now=later(1))
    with pytest.raises(NotAllowed):
        vote(first, "person:bob", "T1/UBOB2", reason="", now=later(2))


@pytest.mark.parametrize("gap_s", [901, -5])
def test_a_word_from_too_long_ago_or_from_the_future_does_not_count(gap_s: float) -> None:
    first = vote(STOP, "a", "T1/UA", reason="", now=later(1000))
    second = vote(first, "b", "T1/UB", reason="", now=later(1000 + gap_s))
    assert second.in_force(later(2000))
    assert [voter for voter, _ in second.votes] == ["b"]


def test_what_is_over_is_not_ended_again() -> None:
    ended = lift(freeze(), "T1/UBOB", reason="done", now=later(1))
    with pytest.raises(AlreadyDecided):
        lift(ended, "T1/UBOB", reason="done", now=later(2))
    with pytest.raises(AlreadyDecided):
        vote(replace(STOP, ended_at=later(1)), "a", "T1/UA", reason="", now=later(2))


def test_what_is_told_names_who_since_when_and_why() -> None:
    assert told_why(STOP) == (
        "All actions are stopped by <@UBOB> since 2026-11-20 12:00:00 UTC (stop S7KQ2M). Reason: fire"
    )
    assert told(freeze("nginx@web", until=NOON + timedelta(hours=2))) == (
        "nginx@group:web is frozen until 2026-11-20 14:00 UTC by <@UBOB> since 2026-11-20 12:00:00 UTC (freeze F7KQ2M)."
    )


@pytest.mark.parametrize(
    ("by", "said"),
    [
        ("T1/U<!channel>", "somebody"),
        ("T1/", "somebody"),
        ("shell/<root>", "_root_ (in a shell)"),
        ("file//run/x&y", "the file /run/x_y"),
        ("configuration/weekend", "the configuration (weekend)"),
    ],
)
def test_no_name_makes_a_mention_or_markup(by: str, said: str) -> None:
    assert who(by) == said
