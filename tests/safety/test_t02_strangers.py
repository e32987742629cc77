"""Guests, other workspaces, bots and workflows: refused by ids, through the real adapter, by every entrance."""

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest
import pytest_asyncio

from opsbot.adapters.slack.directory import membership_in
from opsbot.domain import ApprovalState, Membership
from opsbot.policy import ApproverRule, PolicyRules, Tiers
from opsbot.workbench import Channel, User, World
from tests.safety.workplace import OPS, TEAM, Workplace, workplace

GUEST = User("U0GUEST", "gina", "Gina Guest", is_restricted=True)
VISITOR = User("U0VISIT", "vic", "Vic Visitor", is_restricted=True, is_ultra_restricted=True)
PARTNER = User("U0PARTNER", "pat", "Pat Partner", team_id="T0OTHER")
NAMESAKE = User("U0NAMESAKE", "bob", "Bob Brandt (approver)", team_id="T0OTHER")
STRANGERS = (GUEST, VISITOR, PARTNER, NAMESAKE)
_USUAL = World()
EVERYONE = (*_USUAL.people, *STRANGERS)
WORLD = World(
    people=EVERYONE,
    channels=(Channel(OPS, "ops", (*(user.id for user in EVERYONE), "U0BOT")), *_USUAL.channels[1:]),
)
# Whoever writes the policy may name anybody: it is what they are that keeps these out.
NAMED = frozenset({"U0ALICE", *(user.id for user in STRANGERS), "U0BOT", "U0OTHERBOT", "USLACKBOT", "U0CAROL"})
RULES = PolicyRules(
    asker_users=NAMED | {"*"},
    approvers=(ApproverRule(("*",), NAMED | {"U0BOB"}),),
    tiers=Tiers(last_replica=1),
)


@pytest_asyncio.fixture
async def place() -> AsyncIterator[Workplace]:
    """A workplace where Alice asked for a restart, and a conversation of hers."""
    async with workplace(RULES, world=WORLD) as made:
        await made.prepare()
        yield made


async def untouched(place: Workplace) -> None:
    """Nothing was decided, nothing was run, nobody was asked anything."""
    approval = await place.approval()
    assert approval.state is ApprovalState.PENDING
    assert approval.reviews == ()
    assert place.reached == (0, 0)
    assert sum(place.machines.inner.restarts.values()) == 0


# --- people, as Slack sends what they do -----------------------------------------------------------------------------


@pytest.mark.parametrize("stranger", STRANGERS, ids=lambda user: user.id)
async def test_strangers_are_refused_by_every_entrance(place, stranger, figures):
    person = place.bench.person(stranger.id)
    await person.says(OPS, "<@U0BOT> restart nginx on web-1")
    await person.says(OPS, "go on", thread_ts=place.thread)
    await person.says(OPS, "!restart nginx web-1", thread_ts=place.thread)
    await person.says(person.dm, "how is web-1?")
    await person.command(OPS, "/ops restart nginx web-2")
    await person.command(OPS, "/ops status web-1")
    for button in ("opsbot.approve", "opsbot.deny", "opsbot.plan"):
        await person.clicks(place.card, button)
    addressed = 7 if stranger.team_id else 9  # of people from elsewhere nothing is read but what is meant for the bot
    await place.quiet(audited=addressed)
    await untouched(place)
    refused = [(entry.kind, entry.facts.get("rule")) for entry in place.audited]
    assert len(refused) == addressed
    assert {kind for kind, _ in refused} <= {"person.refused", "decision.refused"}
    rules = {rule for kind, rule in refused if kind == "person.refused"}
    assert rules == {"person.foreign" if stranger.team_id else "person.guest"}
    figures.note(strangers_by_every_entrance=f"{len(STRANGERS)} × 9 refused, 0 SSH, 0 model calls")


async def test_a_guest_is_told_why(place):
    guest = place.bench.person(GUEST.id)
    await guest.command(OPS, "/ops hosts")
    await guest.sees(lambda m: "Guests of this workspace may not use me" in str(m))


async def test_somebody_of_another_workspace_is_told_why_and_does_not_fill_the_log(place):
    partner = place.bench.person(PARTNER.id)
    await partner.clicks(place.card, "opsbot.approve")
    await partner.sees(lambda m: "your account belongs to another one" in str(m))
    for _ in range(30):
        await partner.command(OPS, "/ops restart nginx web-1")
    await place.quiet(audited=10)
    await untouched(place)
    assert [(entry.kind, entry.actor) for entry in place.audited] == [("person.refused", "T0OTHER/U0PARTNER")] * 10


@pytest.mark.parametrize("is_workflow", [True, False])
async def test_other_apps_and_workflows_are_not_heard(place, is_workflow, figures):
    for text, thread in (
        ("<@U0BOT> restart nginx on web-1", ""),
        ("approve", place.thread),
        ("!approvals", place.thread),
    ):
        await place.bench.control("app_message", channel=OPS, text=text, thread_ts=thread, is_workflow=is_workflow)
    await place.bench.person("alice").command(OPS, "/ops hosts")  # everything before it was dealt with
    await place.quiet()
    await untouched(place)
    heard = [(entry.kind, entry.facts.get("rule")) for entry in place.audited if entry.actor != f"{TEAM}/U0ALICE"]
    assert heard == [("person.refused", "person.bot")]  # the one that mentions the bot
    figures.note(messages_of_apps_and_workflows="6 of 6 not heard")


async def test_who_becomes_a_guest_or_leaves_is_refused_once_that_is_known(place):
    bob = place.bench.person("bob")
    await place.bench.control("person", id="U0BOB", is_restricted=True)
    await bob.clicks(place.card, "opsbot.approve")
    await place.quiet()
    await untouched(place)
    assert [(entry.kind, entry.actor) for entry in place.audited] == [("decision.refused", f"{TEAM}/U0BOB")]


async def test_while_slack_cannot_say_who_somebody_is_nobody_counts(place, figures):
    await place.bench.control("fault", kind="server_error", method="users.info", count=None)
    bob, dave = place.bench.person("bob"), place.bench.person("dave")
    await bob.clicks(place.card, "opsbot.approve")
    await dave.command(OPS, "/ops status web-1")
    await place.quiet()
    await untouched(place)
    assert [entry.facts.get("rule") for entry in place.audited] == [None, "person.unknown"]
    await place.bench.control("clear_faults")
    await bob.clicks(place.card, "opsbot.approve")
    await place.quiet()
    assert (await place.approval()).state is ApprovalState.DONE
    figures.note(while_nobody_can_be_looked_up="0 of 2 counted; then 1 of 1")


# --- payloads that no client sends -----------------------------------------------------------------------------------


BOB = {"id": "U0BOB", "username": "bob", "name": "bob", "team_id": TEAM}
BAD_CLICKS = {
    "another team": {"team": {"id": "T0OTHER"}},
    "another team's user": {"user": BOB | {"team_id": "T0OTHER"}},
    "the same user id in another team": {"team": {"id": "T0OTHER"}, "user": BOB | {"team_id": "T0OTHER"}},
    "no team": {"team": None},
    "a team without id": {"team": {"domain": "workbench"}},
    "a user without team": {"user": {"id": "U0BOB", "name": "bob"}},
    "no user": {"user": None},
    "an empty user": {"user": {}},
    "a user that is a word": {"user": "U0BOB"},
    "a bot user": {"user": BOB | {"is_bot": True}},
    "the bot itself": {"user": BOB | {"id": "U0BOT"}},
    "Slackbot": {"user": BOB | {"id": "USLACKBOT"}},
    "an approver's name": {"user": {"id": "U0EVE", "username": "bob", "name": "bob", "team_id": TEAM}},
    "lower case": {"user": BOB | {"id": "u0bob"}},
    "a prefix": {"user": BOB | {"id": "U0BO"}},
    "white space": {"user": BOB | {"id": " U0BOB"}},
    "a list of users": {"user": BOB | {"id": ["U0BOB"]}},
    "an organisation's id": {"user": BOB | {"team_id": "E0ORG"}, "enterprise": {"id": "E0ORG"}},
}


async def test_clicks_that_are_not_clearly_a_members_do_not_count(place, figures):
    for case, changed in BAD_CLICKS.items():
        assert await place.clicks(place.click("opsbot.approve", "U0BOB") | changed) == 200, case
        await untouched(place)
    figures.note(forged_clicks=f"{len(BAD_CLICKS)} of {len(BAD_CLICKS)} refused, then a true one counts")
    await place.clicks(place.click("opsbot.approve", "U0BOB"))
    assert (await place.approval()).state is ApprovalState.DONE


def mention(place: Workplace, event=None, **changed):
    """A mention of the bot by Alice, with something changed in the event or around it."""
    number = place.number()
    said = {"type": "app_mention", "channel": OPS, "user": "U0ALICE", "ts": f"1700.{number:06d}", "team": TEAM}
    said |= {"text": "<@U0BOT> !restart nginx web-2"} | (event or {})
    body = {"type": "event_callback", "team_id": TEAM, "event_id": f"Ev0RAW{number}", "event": said}
    return body | changed


BAD_EVENTS = {
    "another team": ({}, {"team_id": "T0OTHER"}),
    "no team": ({}, {"team_id": None}),
    "an author of another team": ({"team": "T0OTHER"}, {}),
    "a user of another team": ({"user_team": "T0OTHER"}, {}),
    "a source of another team": ({"source_team": "T0OTHER"}, {}),
    "an actor of another team": ({"actor_team_id": "T0OTHER"}, {}),
    "a shared channel and no author's team": ({"team": None}, {"is_ext_shared_channel": True}),
    "a bot id": ({"bot_id": "B0OTHER"}, {}),
    "a bot profile": ({"bot_profile": {"id": "B0OTHER"}}, {}),
    "is_bot": ({"is_bot": True}, {}),
    "a workflow": ({"subtype": "bot_message", "bot_id": "B0FLOW"}, {}),
    "a bot_message without bot id": ({"subtype": "bot_message"}, {}),
    "no user": ({"user": None}, {}),
    "a user that is an object": ({"user": {"id": "U0ALICE"}}, {}),
    "the bot itself": ({"user": "U0BOT"}, {}),
    "Slackbot": ({"user": "USLACKBOT"}, {}),
    "lower case": ({"user": "u0alice"}, {}),
    "an edited message": ({"edited": {"user": "U0ALICE", "ts": "1"}}, {}),
    "a changed message": ({"subtype": "message_changed", "message": {"user": "U0ALICE", "text": "x"}}, {}),
    "hidden": ({"hidden": True}, {}),
}


BAD_COMMANDS = (
    {"team_id": "T0OTHER"},
    {"team_id": ""},
    {"user_id": ""},
    {"user_id": "u0alice"},
    {"user_id": "U0NEVERTHERE"},
)


async def test_events_and_commands_that_are_not_clearly_a_members_are_not_heard(place, figures):
    for case, (event, around) in BAD_EVENTS.items():
        assert await place.sends(mention(place, event, **around)) == 200, case
        await untouched(place)
    for changed in BAD_COMMANDS:
        fields = {"command": "/ops", "text": "restart nginx web-2", "team_id": TEAM, "channel_id": OPS}
        fields |= {"user_id": "U0ALICE", "user_name": "alice", "trigger_id": f"trigger.c{place.number()}"}
        assert await place.sends_form(fields | changed) == 200, changed
        await untouched(place)
    assert len(place.store.approvals.stored) == 1
    forged = len(BAD_EVENTS) + len(BAD_COMMANDS)
    figures.note(forged_events_and_commands=f"{forged} of {forged} refused, then a true one is heard")
    await place.sends(mention(place))
    assert len(place.store.approvals.stored) == 2


# --- what Slack says an account is -----------------------------------------------------------------------------------

MEMBER = {
    "id": "U1",
    "team_id": "T1",
    "deleted": False,
    "is_bot": False,
    "is_restricted": False,
    "is_ultra_restricted": False,
}
ACCOUNTS = [
    ({}, Membership.MEMBER),
    ({"is_restricted": True}, Membership.GUEST),
    ({"is_ultra_restricted": True}, Membership.GUEST),
    ({"deleted": True}, Membership.GONE),
    ({"is_bot": True}, Membership.BOT),
    ({"is_workflow_bot": True}, Membership.BOT),
    ({"is_stranger": True}, Membership.FOREIGN),
    ({"team_id": "T2"}, Membership.FOREIGN),
    ({"team_id": "E1", "enterprise_user": {"teams": ["T1"]}}, Membership.MEMBER),
    ({"team_id": "E1", "enterprise_user": {"teams": ["T2"]}}, Membership.FOREIGN),
    ({"id": "U2"}, Membership.UNKNOWN),
    ({"name": "alice", "is_admin": True, "is_restricted": True}, Membership.GUEST),
    ({"is_restricted": None}, Membership.UNKNOWN),
    ({"is_restricted": "false"}, Membership.GUEST),
    ({"is_bot": None}, Membership.UNKNOWN),
]


@pytest.mark.parametrize(("marks", "membership"), ACCOUNTS)
def test_an_account_is_what_its_marks_say(marks, membership):
    assert membership_in(MEMBER | marks, user_id="U1", team_id="T1") is membership


@pytest.mark.parametrize("missing", ["id", "team_id", "is_bot", "is_restricted", "is_ultra_restricted"])
def test_an_account_that_does_not_say_everything_is_no_member(missing):
    account = {name: value for name, value in MEMBER.items() if name != missing}
    assert membership_in(account, user_id="U1", team_id="T1") is not Membership.MEMBER
    for nothing in (None, [], "U1", 1):
        assert membership_in(nothing, user_id="U1", team_id="T1") is Membership.UNKNOWN


def test_worlds_of_other_tests_have_members_only():
    assert all(user == replace(user, is_restricted=False, team_id="", deleted=False) for user in _USUAL.people)
