"""Rules as data: what a rule matches, whom a role holds, when a window is open, who is on call."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsbot.domain import Actor, Host, Membership, Place, Reach, Risk, Tier
from opsbot.policy_rules import TERMINAL_TEAM, Approvers, Effect, Question, Role, Rule, Window
from opsbot.rota import Override, Rota

BERLIN = ZoneInfo("Europe/Berlin")
NOW = datetime(2026, 11, 2, 10, 0, tzinfo=UTC)
ALICE = Actor("T1", "UALICE")
WEB = Host("web-1", environment="production", groups=("web",), tags=("edge",))
ASK = Question(ALICE, "restart_service", Risk.CHANGE, (WEB,), Place("T1", "C1"), NOW, Reach(Tier.REPLICA))
EVERYONE = Role.of("everyone", ["*"])


def at(text: str, zone: ZoneInfo = BERLIN, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold)


# --- roles -----------------------------------------------------------------------------------------------------------


def test_a_role_holds_its_users_and_the_members_of_its_groups():
    role = Role.of("sre", ["UALICE"], ["SSRE"])
    assert role.holds(ALICE)
    assert role.holds(Actor("T1", "UBOB", frozenset({"SSRE"})))
    assert not role.holds(Actor("T1", "UBOB", frozenset({"SOTHER"})))
    assert (role.user_ids, role.group_ids) == ({"UALICE"}, {"SSRE"})


def test_a_role_named_like_a_user_or_a_group_holds_neither():
    assert not Role.of("UALICE", [], []).holds(ALICE)
    assert not Role.of("user:UALICE", [], []).holds(ALICE)
    assert not Role.of("SSRE", ["UBOB"], []).holds(Actor("T1", "UALICE", frozenset({"SSRE"})))


def test_a_user_named_like_a_group_is_not_the_group():
    assert not Role.of("sre", [], ["UALICE"]).holds(ALICE)
    assert not Role.of("sre", ["SSRE"], []).holds(Actor("T1", "UBOB", frozenset({"SSRE"})))
    assert not Role.of("x", ["group:SSRE"], []).holds(Actor("T1", "UBOB", frozenset({"SSRE"})))


def test_a_group_that_could_not_be_read_gives_nothing_and_takes_everything():
    unread = Actor("T1", "UBOB", unread=frozenset({"SSRE"}))
    role = Role.of("sre", [], ["SSRE"])
    assert not role.holds(unread)
    assert role.may_hold(unread)
    question = replace(ASK, actor=unread)
    assert Rule("no", Effect.DENY, (role,)).misses(question) == ""
    assert Rule("yes", Effect.APPROVE, (role,)).misses(question) == "UBOB is not in role sre"


def test_whoever_sits_at_the_terminal_has_every_role_and_no_denial_of_one():
    terminal = Actor(TERMINAL_TEAM, "root")
    assert Role.of("sre", ["UALICE"]).holds(terminal)
    assert not EVERYONE.may_hold(terminal)
    assert Rule("freeze", Effect.DENY).covers(terminal)


# --- what a rule matches ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("part", "why"),
    [
        ({}, ""),
        ({"tools": frozenset({"restart_service"})}, ""),
        ({"tools": frozenset({"restart"})}, "the tool is not restart"),
        ({"risks": frozenset({Risk.DANGER})}, "the risk is change, not danger"),
        ({"channels": frozenset({"C1"})}, ""),
        ({"channels": frozenset({"C2", "C3"})}, "it is not asked in C2 or C3"),
        ({"channels": frozenset({"direct"})}, "it is not asked in direct"),
        ({"roles": (Role.of("dba", ["UBOB"]),)}, "UALICE is not in role dba"),
        ({"when": Window(frozenset({6}), 0, 1440, BERLIN)}, "Mon 11:00 Europe/Berlin is outside Sun 00:00-24:00"),
    ],
)
def test_whatever_the_host_a_rule_says_why_it_does_not_match(part, why):
    assert replace(Rule("r", Effect.APPROVE, (EVERYONE,)), **part).misses(ASK).startswith(why)
    assert bool(replace(Rule("r", Effect.APPROVE, (EVERYONE,)), **part).misses(ASK)) is bool(why)


@pytest.mark.parametrize(
    ("part", "why"),
    [
        ({}, ""),
        ({"groups": frozenset({"web"})}, ""),
        ({"groups": frozenset({"we"})}, "web-1 is not in group we"),
        ({"environments": frozenset({"production"})}, ""),
        ({"environments": frozenset({"prod"})}, "web-1 is in environment production, not prod"),
        ({"tags": frozenset({"edge"})}, ""),
        ({"tags": frozenset({"*"})}, "web-1 has not tag *"),
        ({"groups": frozenset({"web"}), "tags": frozenset({"x"})}, "web-1 has not tag x"),
    ],
)
def test_on_each_host_a_rule_says_why_it_does_not_match(part, why):
    assert replace(Rule("r", Effect.DENY), **part).misses_host(WEB) == why


def test_a_rule_about_hosts_does_not_match_a_tool_without_hosts():
    assert Rule("r", Effect.ALLOW, tags=frozenset({"edge"})).misses_host(None) == "the tool is not about a host"
    assert Rule("r", Effect.ALLOW).misses_host(None) == ""


@pytest.mark.parametrize(
    ("place", "named"),
    [
        (Place("T1", "C1", "1.2"), {"C1"}),
        (Place("T1", "D1", direct=True), {"D1", "direct"}),
        (Place(TERMINAL_TEAM, "terminal", "x", direct=True), {"terminal"}),
    ],
)
def test_a_place_is_known_by_its_channel_and_by_what_it_is(place, named):
    assert replace(ASK, place=place).channels == named


# --- windows ---------------------------------------------------------------------------------------------------------

WORK = Window(frozenset(range(5)), 8 * 60, 18 * 60, BERLIN)
NIGHT = Window(frozenset({4}), 22 * 60, 6 * 60, BERLIN)  # Friday night


@pytest.mark.parametrize(
    ("window", "text", "open_"),
    [
        (WORK, "2026-11-02T08:00", True),
        (WORK, "2026-11-02T07:59", False),
        (WORK, "2026-11-02T17:59", True),
        (WORK, "2026-11-02T18:00", False),
        (WORK, "2026-11-07T12:00", False),
        (NIGHT, "2026-11-06T21:59", False),
        (NIGHT, "2026-11-06T22:00", True),
        (NIGHT, "2026-11-07T05:59", True),
        (NIGHT, "2026-11-07T06:00", False),
        (NIGHT, "2026-11-06T05:00", False),
    ],
)
def test_a_window_is_open_from_its_start_until_before_its_end(window, text, open_):
    assert window.holds(at(text)) is open_
    assert window.holds(at(text).astimezone(UTC)) is open_


@pytest.mark.parametrize(
    ("text", "fold", "open_"),
    [
        ("2026-03-29T01:59", 0, False),
        ("2026-03-29T03:00", 0, True),  # 02:00 to 03:00 does not exist that night
        ("2026-10-25T02:30", 0, True),  # the hour that comes twice: both times
        ("2026-10-25T02:30", 1, True),
        ("2026-10-25T04:00", 0, False),
    ],
)
def test_a_window_follows_the_wall_clock_over_summer_time(text, fold, open_):
    early = Window(frozenset(range(7)), 2 * 60, 4 * 60, BERLIN)
    assert early.holds(at(text, fold=fold).astimezone(UTC)) is open_


# --- rotas -----------------------------------------------------------------------------------------------------------

ROTA = Rota("primary", ("U1", "U2", "U3"), date(2026, 3, 16), time(9), BERLIN)


@pytest.mark.parametrize(
    ("text", "who"),
    [
        ("2026-03-16T08:59", None),
        ("2026-03-16T09:00", "U1"),
        ("2026-03-23T08:59", "U1"),
        ("2026-03-23T09:00", "U2"),
        ("2026-03-30T08:59", "U2"),  # summer time began the day before
        ("2026-03-30T09:00", "U3"),
        ("2026-04-06T09:00", "U1"),
    ],
)
def test_a_week_goes_from_handover_to_handover(text, who):
    assert ROTA.on_call(at(text)) == who


def test_an_override_counts_from_its_first_handover_until_its_last():
    rota = replace(ROTA, overrides=(Override(date(2026, 3, 17), date(2026, 3, 19), "U9"),))
    found = [rota.on_call(at(f"2026-03-{day}T09:00") - timedelta(minutes=back)) for day in (17, 19) for back in (1, 0)]
    assert found == ["U1", "U9", "U9", "U1"]


def test_a_handover_in_the_hour_that_comes_twice_happens_once():
    rota = Rota("r", ("U1", "U2"), date(2026, 10, 18), time(2, 30), BERLIN)
    start = at("2026-10-25T02:00").astimezone(UTC)
    seen = [rota.on_call(start + timedelta(minutes=minute)) for minute in range(0, 180, 5)]
    assert seen == sorted(seen)
    assert {*seen} == {"U1", "U2"}


@given(st.datetimes(datetime(2026, 3, 17), datetime(2030, 1, 1), timezones=st.just(UTC)))
def test_there_is_always_exactly_one_on_call_and_each_has_whole_weeks(moment):
    who = ROTA.on_call(moment)
    assert who in ROTA.user_ids
    later = (ROTA.on_call(moment + timedelta(days=7)), ROTA.on_call(moment + timedelta(days=21)))
    local, week_on = moment.astimezone(BERLIN), (moment + timedelta(days=7)).astimezone(BERLIN)
    if local.utcoffset() == week_on.utcoffset():
        assert later[0] == ROTA.user_ids[(ROTA.user_ids.index(who) + 1) % 3]


def test_approvers_are_those_named_and_who_is_on_call():
    approvers = Approvers(frozenset({"U7"}), frozenset({"S1"}), (ROTA,))
    assert approvers.users_at(at("2026-03-24T12:00")) == {"U7", "U2"}
    assert approvers.users_at(at("2026-03-01T12:00")) == {"U7"}


def test_membership_is_a_member_unless_told_otherwise():
    assert ALICE.membership is Membership.MEMBER
