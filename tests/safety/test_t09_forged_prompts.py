"""T09: facts on a card do not depend on any text of a model, a person or a host."""

import json
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from opsbot.adapters.slack import card
from opsbot.adapters.slack.pieces import Payload
from opsbot.approvals import result_for_model
from opsbot.domain import (
    Approval,
    ApprovalState,
    Card,
    HostOutcome,
    Impact,
    Result,
    Review,
    StandingApproval,
    Step,
)
from tests import records
from tests.safety.hostile_text import EVERY, texts
from tests.scenario.house import ALICE, BOB, House, World
from tests.scripted_model import call

BLOCKS_OF_FACTS = 4
UNTRUSTED_MAX = 300
ACTIONS = {
    ApprovalState.PENDING: ["opsbot.leave_out", "opsbot.approve", "opsbot.deny", "opsbot.withdraw", "opsbot.plan"],
    ApprovalState.EXECUTING: ["opsbot.pause", "opsbot.halt", "opsbot.plan"],
}
# The last two: a host's line of progress, and its verdict, each behind the host's name.
LABELS = (
    "as the host says",
    "text from the host, not checked",
    "words of whoever asked, not checked",
    '"text": "web-1"}, {"type": "text", "text": ": ',
    '"text": "web-1: ',
)
# The record of what was read: names of tools, by code.
READ = ("service_logs", "words of other people")


def made(untrusted: str, state: ApprovalState) -> Approval:
    """A request into which everything that others write was put, wherever a record takes it."""
    ended = state in (ApprovalState.DONE, ApprovalState.FAILED, ApprovalState.UNKNOWN)
    result = Result.DONE if state is ApprovalState.DONE else Result.FAILED
    outcome = HostOutcome("web-1", result, untrusted, untrusted, ((untrusted, untrusted),))
    standing = StandingApproval(records.moment(), records.later(900), "p", ended=f"stale:target: {untrusted}")
    return records.approval(
        reason=untrusted,
        note=untrusted,
        state=state,
        tainted_by=READ,
        impacts={"web-1": Impact(((untrusted, untrusted), ("state", untrusted))), "web-2": Impact(())},
        outcomes=(outcome,) if ended else (),
        reviews=(Review(BOB, True, records.NOON),) if ended else (),
        standing=standing if ended else None,
    )


def rendered(untrusted: str, state: ApprovalState) -> Payload:
    steps = (Step("web-1", "running", untrusted), Step("web-2", "waiting"))
    return card.render(Card(made(untrusted, state), steps if state is ApprovalState.EXECUTING else (), seal="s"))


def facts(payload: Payload) -> bytes:
    return json.dumps(payload.blocks[:BLOCKS_OF_FACTS]).encode()


def action_ids(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["action_id"]] if "action_id" in value else []
        return own + [found for inner in value.values() for found in action_ids(inner)]
    return [found for inner in value for found in action_ids(inner)] if isinstance(value, list | tuple) else []


def check(untrusted: str, state: ApprovalState) -> None:
    plain, attacked = rendered("it leaks", state), rendered(untrusted, state)
    assert facts(attacked) == facts(plain)
    assert [block["type"] for block in attacked.blocks] == [block["type"] for block in plain.blocks]
    assert action_ids(attacked.blocks) == action_ids(plain.blocks)
    assert attacked.text == plain.text


def test_no_hostile_text_changes_a_byte_of_the_facts(figures: Any, scale: Any) -> None:
    chosen = EVERY[:: scale(4, 1)]
    for state in ApprovalState:
        for untrusted in chosen:
            check(untrusted, state)
    tried = len(chosen) * len(ApprovalState)
    figures.note(cards_with_hostile_text=f"{tried:,}", facts_changed=0)


@given(texts, st.sampled_from(list(ApprovalState)))
@settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
def test_no_text_at_all_changes_a_byte_of_the_facts(untrusted: str, state: ApprovalState) -> None:
    check(untrusted, state)


def test_buttons_come_from_the_state_alone() -> None:
    for state, expected in ACTIONS.items():
        assert action_ids(rendered("x", state).blocks) == expected
    for state in set(ApprovalState) - set(ACTIONS):
        assert not {"opsbot.approve", "opsbot.deny"} & set(action_ids(rendered("x", state).blocks))


def test_untrusted_text_comes_after_the_facts_labelled_and_short() -> None:
    """On a card that waits for a decision: up to 300 characters each. Log lines of hosts come only after the end."""
    marked = "ZZZ" + "\u202ex\n" * 3000
    for state in ApprovalState:
        payload = rendered(marked, state)
        assert b"ZZZ" not in facts(payload)
        for block in payload.blocks[BLOCKS_OF_FACTS:]:
            said = json.dumps(block)
            assert "ZZZ" not in said or any(label in said for label in LABELS)
    runs = [run for block in rendered(marked, ApprovalState.PENDING).blocks for run in texts_in(block) if "ZZZ" in run]
    assert runs
    assert all(len(run) <= 2 * UNTRUSTED_MAX for run in runs)
    quoted = [run for run in runs if "\n" in run and "  " not in run]
    assert all(len(run) <= UNTRUSTED_MAX for run in quoted)


def texts_in(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["text"]] if isinstance(value.get("text"), str) else []
        return own + [found for inner in value.values() for found in texts_in(inner)]
    return [found for inner in value for found in texts_in(inner)] if isinstance(value, list | tuple) else []


async def test_the_digest_ties_card_result_and_audit_together() -> None:
    world = World()
    house = House(world)
    await house.start()
    world.model.add(call("restart_service", hosts=["web-1"], unit="nginx"))
    world.model.add("Approved by <@UBOB>, digest ffffffffffff.")
    await house.says(ALICE, "restart nginx")
    digest = house.approval.digest[:12]
    assert digest in facts(card.render(Card(house.approval, seal="s"))).decode()
    await house.passes(5)
    await house.clicks(BOB, "approve")
    ended = house.approval
    assert ended.state is ApprovalState.DONE
    assert digest in facts(card.render(Card(ended, seal="s"))).decode()
    assert digest in result_for_model(ended).content
    stories = [record.entry for record in await world.store.audit.about(ended.id)]
    assert stories
    assert all(str(entry.facts["digest"]).startswith(digest) for entry in stories)
    await house.stop()


def test_a_long_list_of_arguments_pushes_no_mark_out_of_sight() -> None:
    arguments = {f"argument_{n:02}": "x" * 4000 for n in range(40)}
    base = made("x", ApprovalState.PENDING)
    payload = card.render(Card(replace(base, action=replace(base.action, arguments=arguments)), seal="s"))
    assert "proposed after reading untrusted text" in facts(payload).decode()
    assert base.digest[:12] in facts(payload).decode()
