"""A person without rights tries every tool by every entrance: refused, nothing reached, one audit line each."""

import json
from collections.abc import AsyncIterator

import pytest_asyncio

from opsbot import command_forms
from opsbot.adapters.clock import SystemClock
from opsbot.adapters.slack import card_buttons, incoming
from opsbot.adapters.slack.blocks import STOP
from opsbot.adapters.slack.shortcuts import SHORTCUTS
from opsbot.approvals import Proposal, open_approval
from opsbot.delivery import card_key
from opsbot.domain import Actor, Approval, Card, Host, Impact, MessageRef, Place, Risk, Verdict
from opsbot.policy import decide
from opsbot.schema import typed_words
from opsbot.seals import ButtonSeals
from opsbot.tooling import Tool
from tests.fake_store import TEST_KEY
from tests.safety.workplace import HOSTS, OPS, RULES, TEAM, Workplace, workplace
from tests.workbench_fixture import MANIFEST

CAROL = "U0CAROL"
BUTTONS = (*incoming._VERBS, card_buttons.LEAVE_OUT, STOP)
# What each argument of a tool may be, so that nothing but the person is wrong with the call.
WORDS = {
    "unit": "nginx",
    "container": "cache",
    "metric": "memory",
    "pid": "4321",
    "started_ticks": "99",
    "boot_id": "5b2c0f0e-0000-4000-8000-000000000000",
}


@pytest_asyncio.fixture(loop_scope="function")
async def place() -> AsyncIterator[Workplace]:
    async with workplace() as made:
        await made.prepare()
        yield made


def words(tool: Tool) -> str:
    """A command line for a tool: hosts, and every argument it needs."""
    needed = [f"{p.name}={WORDS.get(p.name, '1')}" for p in tool.parameters if p.required]
    return " ".join([tool.name, *(["web-1"] if tool.takes_host else []), *needed])


class Attempts:
    """Counts attempts, and what came of each."""

    def __init__(self, place: Workplace) -> None:
        self.place = place
        self.made = 0

    async def check(self, what: str) -> None:
        """Nothing was reached, nothing changed, and the attempt is in the audit, as one line."""
        self.made += 1
        await self.place.quiet(audited=self.made)
        assert self.place.reached == (0, 0), what
        lines = self.place.audited
        assert len(lines) == self.made, (what, [entry.kind for entry in lines[-3:]])
        assert lines[-1].kind in ("person.refused", "decision.refused"), what
        assert lines[-1].actor == f"{TEAM}/{CAROL}", what


async def test_every_tool_by_every_entrance_in_words(place, figures):
    carol, tried = place.bench.person("carol"), Attempts(place)
    tools = place.catalogue.registry.tools
    for tool in tools:
        line = words(tool)
        await carol.command(OPS, f"/ops do {line}")
        await tried.check(f"slash: {line}")
        await carol.says(OPS, f"<@U0BOT> please use {line}")
        await tried.check(f"mention: {line}")
        await carol.says(OPS, f"<@U0BOT> !do {line}")
        await tried.check(f"mention with a command: {line}")
        await carol.says(OPS, f"and {line}", thread_ts=place.thread)
        await tried.check(f"thread reply: {line}")
        await carol.says(OPS, f"!do {line}", thread_ts=place.thread)
        await tried.check(f"command in the thread: {line}")
        await carol.says("D0CAROL", f"use {line}")
        await tried.check(f"direct message: {line}")
        await carol.says("D0CAROL", f"!do {line}")
        await tried.check(f"command in a direct message: {line}")
    figures.note(tools_by_words=f"{tried.made} of {len(tools)} tools × 7 entrances refused", audit_lines=tried.made)


async def test_every_command_by_slash_and_in_a_direct_message(place, figures):
    carol, tried = place.bench.person("carol"), Attempts(place)
    lines = [usage.words for usage in command_forms.USAGES]
    for usage in lines:
        line = usage.replace("HOST|GROUP|all", "web-1").replace("HOST|GROUP", "web-1").replace("UNIT", "nginx")
        await carol.command(OPS, f"/ops {line}")
        await tried.check(f"slash: {line}")
        await carol.says("D0CAROL", f"!{line}")
        await tried.check(f"direct message: {line}")
    figures.note(commands=f"{tried.made} of {len(lines)} commands × 2 refused")


async def test_every_button_of_a_request_of_every_tool(place, figures):
    tried = Attempts(place)
    tools = [tool for tool in place.catalogue.registry.tools if tool.risk is not Risk.READ]
    for number, tool in enumerate(tools):
        approval, ref = await card_of(place, tool, number)
        seal = ButtonSeals(TEST_KEY).of(approval)
        for action_id in BUTTONS:
            payload = place.click(action_id, CAROL, value=f"{approval.id}.{seal}", message_ts=ref.message_id)
            assert await place.clicks(payload) == 200
            await tried.check(f"{action_id} of {tool.name}")
        stored = place.store.approvals.stored[approval.id]
        assert (stored.state, stored.reviews) == (approval.state, ())
    assert sum(place.machines.inner.restarts.values()) == 0
    figures.note(buttons=f"{tried.made} of {len(tools)} writing tools × {len(BUTTONS)} buttons refused")


async def test_the_buttons_people_see(place, figures):
    """As a person presses them, on the card that stands in the channel."""
    carol, tried = place.bench.person("carol"), Attempts(place)
    elements = [each for block in place.card["blocks"] for each in block.get("elements", []) if "action_id" in each]
    for action_id in [each["action_id"] for each in elements]:
        await carol.clicks(place.card, action_id)
        await tried.check(f"{action_id} on the card")
    assert tried.made >= 3


async def test_stopping_a_turn_is_refused_too(place):
    tried = Attempts(place)
    number = place.number()
    event = {"type": "agent_session_stopped", "channel": OPS, "user": CAROL, "thread_ts": place.thread}
    body = {"type": "event_callback", "team_id": TEAM, "event_id": f"Ev0STOP{number}", "event": event}
    assert await place.sends(body) == 200
    await tried.check("stop by Slack's own button")


async def test_every_shortcut_on_a_message(place, figures):
    tried = Attempts(place)
    declared = json.loads(MANIFEST.read_text(encoding="utf-8"))["features"]["shortcuts"]
    message = {"ts": "1700.000100", "text": "restart nginx on web-1, please"}
    for number, shortcut in enumerate(declared):
        where = {"channel": {"id": OPS}, "message_ts": message["ts"], "message": message, "action_ts": "1700.000900"}
        person = {"team": {"id": TEAM}, "user": {"id": CAROL, "team_id": TEAM}, "trigger_id": f"t.{number}"}
        payload = {"type": "message_action", "callback_id": shortcut["callback_id"], **where, **person}
        assert await place.clicks(payload) == 200
        await tried.check(f"shortcut {shortcut['name']}")
    assert {entry["callback_id"] for entry in declared} == SHORTCUTS
    figures.note(shortcuts=f"{tried.made} of {len(declared)} refused")


async def test_other_shortcuts_and_views_are_no_entrance(place, figures):
    """Whoever sends one that is not the bot's is not heard at all."""
    person = {"team": {"id": TEAM}, "user": {"id": CAROL, "team_id": TEAM}, "trigger_id": "t.1"}
    kinds = ("shortcut", "message_action", "view_submission", "view_closed", "block_suggestion", "workflow_step_edit")
    for kind in kinds:
        assert await place.clicks({"type": kind, "callback_id": "restart_service", **person}) in (200, 404)
    await place.quiet()
    assert place.reached == (0, 0)
    assert place.audited == []
    figures.note(other_kinds_of_payloads=f"{len(kinds)} of {len(kinds)} not heard")


async def test_the_same_tools_work_for_somebody_with_rights(place):
    """Else the refusals above would prove nothing."""
    await place.bench.person("alice").command(OPS, "/ops do service_status web-1 unit=nginx")
    await place.quiet()
    assert place.reached[0] > 0
    assert [entry.kind for entry in place.audited] == ["call.finished"]


async def card_of(place: Workplace, tool: Tool, number: int) -> tuple[Approval, MessageRef]:
    """Put a pending request of Alice's for this tool into the store, with a card that stands in the channel."""
    needed = {p.name: WORDS[p.name] for p in tool.parameters if p.required}
    arguments = typed_words(tool, needed)
    prepared = place.catalogue.from_words(tool.name, ["web-1", "web-2"], arguments)
    alice, where, now = Actor(TEAM, "U0ALICE"), Place(TEAM, OPS), SystemClock().moment()
    decision = decide(RULES, prepared.question(alice, where, now.at))
    assert decision.verdict is Verdict.NEED_APPROVAL
    impacts = {host.name: Impact(()) for host in prepared.hosts}
    proposal = Proposal(where, alice, prepared, decision, impacts, call_id=f"t01:{number}")
    approval = open_approval(proposal, RULES, now=now, lifetime_s=300)
    place.store.approvals.stored[approval.id] = approval
    ref = MessageRef(OPS, f"1690.{number:06d}")
    item = await place.store.outbox.put(card_key(approval.id), where, Card(approval))
    await place.store.outbox.sent(item.key, ref, version=item.version)
    return approval, ref


def test_hosts_of_these_tests_allow_everything() -> None:
    assert all(isinstance(host, Host) and "reboot" in host.actions for host in HOSTS.values())
