"""Nobody approves what they asked for, under any account; and whoever lost a role in between stops it."""

import itertools
from dataclasses import replace

import pytest

from opsbot.domain import Actor, ApprovalState, Membership
from opsbot.policy import TERMINAL_TEAM, ApproverRule, PolicyRules, Tiers
from tests.fake_chat import FakeDirectory
from tests.scenario.house import CHANNEL, THREAD, House, World
from tests.scripted_model import Say, call

ALICE, ALIAS, CASE = Actor("T1", "UALICE"), Actor("T1", "UALICE2"), Actor("T1", "ualice")
BOB, DAVE, ERIN, CAROL = (Actor("T1", name) for name in ("UBOB", "UDAVE", "UERIN", "UCAROL"))
FOREIGN = Actor("T2", "UBOB")
# Every account of Alice's is among the approvers: only that she asked keeps her from approving.
RULES = PolicyRules(
    asker_users=frozenset({"UBOB"}),
    asker_groups=frozenset({"SOPS"}),
    approvers=(
        ApproverRule(("*",), frozenset({"UALICE", "UALICE2", "ualice", "UBOB"}), frozenset({"SSRE"}), needed=1),
    ),
    people={"UALICE": "alice", "UALICE2": "alice"},
    tiers=Tiers(last_replica=1),
)
NGINX = ("web-1", "nginx.service")


def world(rules: PolicyRules = RULES) -> World:
    groups = {"SOPS": frozenset({ALICE.key, ALIAS.key}), "SSRE": frozenset({DAVE.key, ERIN.key})}
    return World(rules=rules, directory=FakeDirectory(groups))


async def opened(rules: PolicyRules = RULES) -> House:
    house = House(world(rules))
    await house.start()
    return house


def leaves(house: House, actor: Actor, group: str) -> None:
    directory = house.world.directory
    directory.groups = {**directory.groups, group: directory.groups[group] - {actor.key}}


def effects(house: House) -> int:
    return sum(house.world.machines.restarts.values())


# --- the table -------------------------------------------------------------------------------------------------------

CLICKERS = (ALICE, ALIAS, CASE, BOB, DAVE, CAROL, FOREIGN)
DISTURBANCES = {
    "nothing": lambda house, clicker: None,
    "the requester leaves the group they may ask by": lambda house, clicker: leaves(house, ALICE, "SOPS"),
    "the requester becomes a guest": lambda house, clicker: becomes(house, ALICE, Membership.GUEST),
    "the requester is deactivated": lambda house, clicker: becomes(house, ALICE, Membership.GONE),
    "the approver becomes a guest": lambda house, clicker: becomes(house, clicker, Membership.GUEST),
    "nobody can be looked up": lambda house, clicker: setattr(house.world.directory, "blind", True),
    "no group can be read": lambda house, clicker: setattr(house.world.directory, "down", True),
}


def becomes(house: House, actor: Actor, membership: Membership) -> None:
    house.world.directory.memberships[actor.key] = membership


def may(clicker: Actor, disturbance: str) -> bool:
    """The specification: another person with the role, while both still are who they were."""
    return clicker in (BOB, DAVE) and disturbance == "nothing"


@pytest.mark.parametrize("disturbance", DISTURBANCES)
@pytest.mark.parametrize("clicker", CLICKERS, ids=lambda actor: actor.key)
async def test_only_another_person_with_the_role_starts_it(clicker, disturbance, figures):
    house = await opened()
    await house.types(ALICE, "restart nginx web-1", THREAD)
    assert house.approval.requester.key == ALICE.key
    DISTURBANCES[disturbance](house, clicker)
    await house.clicks(clicker, "approve")
    assert effects(house) == may(clicker, disturbance)
    kinds = {record.entry.kind for record in await house.world.store.audit.about(house.approval.id)}
    assert ("execution.intent" in kinds) is may(clicker, disturbance)
    if not may(clicker, disturbance):
        assert kinds & {"decision.refused", "execution.refused"}
    await house.stop()
    cases = len(CLICKERS) * len(DISTURBANCES)
    figures.note(who_clicks_and_what_happens_meanwhile=f"{cases} cases, 2 run, {cases - 2} refused and audited")


# --- between the approval and the execution --------------------------------------------------------------------------

TWO = replace(RULES, approvers=(replace(RULES.approvers[0], needed=2),))


@pytest.mark.parametrize("lost", ["group", "guest", "gone", "unknown"])
async def test_an_approver_who_lost_the_role_before_the_execution_stops_it(lost, figures):
    """Dave approved in time; when Erin's approval would start it, Dave may no longer."""
    house = await opened(TWO)
    await house.types(ALICE, "restart nginx web-1", THREAD)
    await house.clicks(DAVE, "approve")
    assert house.approval.state is ApprovalState.PENDING
    if lost == "group":
        leaves(house, DAVE, "SSRE")
    else:
        becomes(house, DAVE, Membership(lost))
    await house.clicks(ERIN, "approve")
    assert house.approval.state is ApprovalState.STALE
    assert house.approval.note.startswith("stale:approver: <@UDAVE> may no longer approve this")
    assert effects(house) == 0
    await house.stop()
    figures.note(approvers_who_lost_their_role="4 of 4 ways stop it")


async def test_a_requester_who_lost_the_role_while_it_waited_for_a_restart_stops_it():
    """Approved, and the bot dies before it begins; the next process looks again, not at what was stored."""
    house = await opened()
    await house.types(ALICE, "restart nginx web-1", THREAD)
    pending = house.approval
    stored = await house.world.store.approvals.get(pending.id)
    house.die()
    leaves(house, ALICE, "SOPS")
    second = House(house.world)
    await second.start()
    await second.clicks(BOB, "approve")
    assert second.approval.state is ApprovalState.STALE
    assert "stale:policy" in second.approval.note
    assert effects(second) == 0
    assert stored is not None
    await second.stop()


# --- persons and accounts --------------------------------------------------------------------------------------------


async def test_two_accounts_of_one_person_are_one_approval():
    rules = replace(TWO, people={"UDAVE": "dave", "UERIN": "dave"})
    house = await opened(rules)
    await house.types(ALICE, "restart nginx web-1", THREAD)
    await house.clicks(DAVE, "approve")
    await house.clicks(ERIN, "approve")
    assert "already counted" in house.whispered
    assert house.approval.state is ApprovalState.PENDING
    await house.clicks(BOB, "approve")
    assert house.approval.state is ApprovalState.DONE
    await house.stop()


async def test_the_second_account_asks_and_the_first_approves():
    house = await opened()
    await house.types(ALIAS, "restart nginx web-1", THREAD)
    await house.clicks(ALICE, "approve")
    assert "You asked for this" in house.whispered
    assert effects(house) == 0
    await house.stop()


async def test_who_speaks_later_in_the_thread_does_not_become_the_requester():
    house = await opened()
    house.world.model.add(Say(calls=(call("restart_service", hosts=["web-1"], unit="nginx"),)), "Yes?", "Done.")
    await house.says(ALICE, "restart nginx on web-1")
    await house.says(BOB, "I will look at it")
    assert house.approval.requester.key == ALICE.key
    await house.clicks(ALICE, "approve")
    assert effects(house) == 0
    await house.clicks(BOB, "approve")
    assert effects(house) == 1
    await house.stop()


async def test_a_record_whose_requester_was_changed_runs_nothing():
    house = await opened()
    await house.types(ALICE, "restart nginx web-1", CHANNEL)
    stored = house.world.store.approvals.stored
    (key,) = stored
    stored[key] = replace(stored[key], requester=BOB)
    await house.clicks(ALICE, "approve")
    assert house.approval.state is ApprovalState.STALE
    assert effects(house) == 0
    await house.stop()


async def test_at_the_terminal_nobody_approves_what_was_asked_in_chat_or_there():
    house = await opened(replace(RULES, terminal_operator=False))
    await house.types(ALICE, "restart nginx web-1", THREAD)
    await house.clicks(Actor(TERMINAL_TEAM, "root"), "approve")
    assert effects(house) == 0
    await house.stop()


def test_spellings_of_an_account_are_one_person():
    keys = {RULES.person(Actor(team, user)) for team, user in itertools.product(("T1", "t1"), ("UX1", "ux1", "Ux1"))}
    assert len(keys) == 1
    assert RULES.person(Actor("T1", "ualice2")) == RULES.person(ALICE)
    assert RULES.person(Actor("T2", "UX1")) not in keys


async def test_who_may_approve_sees_what_it_would_do_without_being_an_asker():
    house = await opened()
    await house.types(ALICE, "restart nginx web-1", THREAD)
    await house.clicks(DAVE, "plan")
    assert "run restart_service" in house.whispered
    await house.clicks(CAROL, "plan")
    assert "not on the list" in house.whispered
    await house.stop()
