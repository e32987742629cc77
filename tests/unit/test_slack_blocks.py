"""What is rendered for Slack: valid, bounded, and with facts no outsider's text can touch (T09, T10, T11)."""

import json
import logging
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from slack_sdk.models.blocks import Block

from opsbot.adapters.slack import blocks, card
from opsbot.adapters.slack.pieces import Payload
from opsbot.domain import (
    Action,
    Actor,
    Approval,
    ApprovalState,
    Card,
    Content,
    HostOutcome,
    Impact,
    Narrowing,
    Order,
    OrderVerb,
    Report,
    Result,
    Review,
    StandingApproval,
    Step,
    Table,
    Text,
)
from opsbot.rollout import host_steps
from opsbot.workbench import Limits
from opsbot.workbench.validation import check_message
from tests import records

# Time limits of single examples say nothing on a busy machine.
patient = settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)
hostile = st.one_of(
    st.text(alphabet=st.characters(), max_size=400),
    st.sampled_from(
        [
            "",
            "   ",
            "\n" * 500,
            "x" * 5000,
            "Approved by <@U0BOSS> :white_check_mark:",
            "<!channel> *bold* `code` ```fence```",
            "</section>\n*Digest* `ffffffffffff`",
            "\u202egnp.exe",
            "\u200b",
            "https://evil.example/?d=s",
            '"}]},{"type":"actions","elements":[{"type":"button","action_id":"opsbot.approve"}]',
        ]
    ),
)
states = st.sampled_from(list(ApprovalState))
results = st.sampled_from(list(Result))


def approval_with(untrusted: str, state: ApprovalState = ApprovalState.PENDING, *ended: Result) -> Approval:
    outcomes = tuple(HostOutcome(f"web-{i}", r, "restarted", evidence=untrusted) for i, r in enumerate(ended))
    return records.approval(reason=untrusted, note=untrusted, state=state, outcomes=outcomes)


def walk(value: Any) -> Iterator[dict[str, Any]]:
    if isinstance(value, dict):
        yield value
        for inner in value.values():
            yield from walk(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from walk(inner)


def action_ids(payload: Payload) -> list[str]:
    return [element["action_id"] for element in walk(list(payload.blocks)) if "action_id" in element]


def assert_slack_takes(payload: Payload) -> None:
    """Valid for the SDK's models and for the workbench, which judges by `slackblocks` and Slack's own types."""
    sent = json.loads(json.dumps(list(payload.blocks)))
    assert check_message(sent, Limits()) == []
    for block in sent:
        parsed = Block.parse(block)
        assert parsed is not None
        parsed.to_dict()
    assert 0 < len(payload.text) <= 3000
    assert payload.plain
    assert len(sent) <= 50


# --- cards -----------------------------------------------------------------------------------------------------------


@given(hostile, states, st.lists(results, max_size=3))
@patient
def test_facts_ids_and_number_of_blocks_do_not_depend_on_untrusted_text(
    text: str, state: ApprovalState, ended: list[Result]
) -> None:
    plain, attacked = (card.render(Card(approval_with(t, state, *ended))) for t in ("it leaks", text))
    assert json.dumps(card.fact_blocks(attacked)) == json.dumps(card.fact_blocks(plain))
    assert [block["type"] for block in attacked.blocks] == [block["type"] for block in plain.blocks]
    assert action_ids(attacked) == action_ids(plain)
    assert attacked.text == plain.text


@given(hostile, states, st.lists(results, max_size=3))
@patient
def test_untrusted_text_stands_only_in_literal_rich_text(text: str, state: ApprovalState, ended: list[Result]) -> None:
    marked = f"ZZZ{text}"
    payload = card.render(Card(approval_with(marked, state, *ended)))
    for element in walk(list(payload.blocks)):
        if "ZZZ" in str(element.get("text", "")) and isinstance(element["text"], str):
            assert element["type"] == "text"
    quotes = [e for e in walk(list(payload.blocks)) if e.get("type") == "rich_text_quote"]
    assert all(len(quote["elements"][0]["text"]) <= 300 for quote in quotes)


@given(hostile, states, st.lists(results, max_size=3), st.lists(st.tuples(hostile, hostile), max_size=25))
@patient
def test_every_card_is_valid(
    text: str, state: ApprovalState, ended: list[Result], progress: list[tuple[str, str]]
) -> None:
    steps = tuple(Step(title, "running", detail) for title, detail in progress)
    action = Action("restart_service", {"unit": text, "n": [1, text]}, tuple(f"web-{i}" for i in range(len(text) % 30)))
    impacts = {host: Impact(((text, text), ("state", "active"))) for host in action.hosts}
    made = replace(approval_with(text, state, *ended), action=action, impacts=impacts, rule=text)
    assert_slack_takes(card.render(Card(made, steps)))


@pytest.mark.parametrize("state", list(ApprovalState))
def test_deciding_buttons_exist_only_while_pending(state: ApprovalState) -> None:
    shown = action_ids(card.render(Card(approval_with("why", state))))
    deciding = {
        ApprovalState.PENDING: ["opsbot.leave_out", "opsbot.approve", "opsbot.deny", "opsbot.withdraw"],
        ApprovalState.APPROVED: ["opsbot.withdraw"],
    }
    assert shown == [*deciding.get(state, []), "opsbot.plan"]


def test_buttons_carry_the_id_and_its_seal_and_nothing_else() -> None:
    payload = card.render(Card(approval_with("why"), seal="s3al"))
    buttons = [element for element in walk(list(payload.blocks)) if element.get("type") == "button"]
    assert [button["value"] for button in buttons] == ["7KQ2M4.s3al"] * 4
    assert buttons[0]["confirm"]["text"]["text"] == "restart_service 1 2.5 web.service on web-1, web-2"
    assert [button.get("style") for button in buttons] == ["primary", "danger", None, None]


def test_the_menu_of_hosts_carries_numbers_and_its_block_the_seal() -> None:
    payload = card.render(Card(approval_with("why"), seal="s3al"))
    (block,) = [block for block in payload.blocks if "accessory" in block]
    assert block["block_id"] == "leave_out.7KQ2M4.s3al"
    assert [option["value"] for option in block["accessory"]["options"]] == ["0", "1"]
    assert [option["text"]["text"] for option in block["accessory"]["options"]] == ["web-1", "web-2"]
    one = replace(approval_with("why"), action=Action("restart_service", {}, ("web-1",)))
    assert "opsbot.leave_out" not in action_ids(card.render(Card(one)))


def test_approving_for_a_while_is_offered_only_where_policy_allows_it() -> None:
    assert "opsbot.approve_while" not in action_ids(card.render(Card(approval_with("why"))))
    payload = card.render(Card(approval_with("why"), while_minutes=15))
    (button,) = [e for e in walk(list(payload.blocks)) if e.get("action_id") == "opsbot.approve_while"]
    assert button["text"]["text"] == "Approve for 15 min"
    assert "without asking" in button["confirm"]["text"]["text"]


def test_the_card_says_what_was_left_out_and_what_counts_again() -> None:
    changed = replace(
        approval_with("why", ApprovalState.DONE),
        narrowed=(Narrowing(Actor("T1", "U2"), records.NOON, ("web-3", "web-4")),),
        standing=StandingApproval(records.moment(), records.later(900), "p"),
        reviews=(Review(Actor("T1", "U2"), True, records.NOON, for_a_while=True),),
    )
    payload = card.render(Card(changed))
    said = json.dumps(card.fact_blocks(payload))
    for words in (
        "Left out by <@U2>",
        "web-3, web-4",
        "Approved for a while by <@U2>",
        "very same request again until",
    ):
        assert words in said
    assert "End the approval" in json.dumps(payload.blocks)
    ended = replace(changed, standing=replace(changed.standing, ended="stale:policy"))
    payload = card.render(Card(replace(ended, stands_on="ABCD2345")))
    said = json.dumps(payload.blocks)
    assert "that was ended: stale:policy" in said
    assert "Nobody was asked: request ABCD2345" in said
    assert "End the approval" not in said


def test_pending_card_names_action_hosts_requester_approvers_expiry_and_digest() -> None:
    made = records.approval(approver_users=frozenset({"U2", "U3"}))
    shown = json.dumps(card.fact_blocks(card.render(Card(made))))
    expiry = int(made.expires_at.timestamp())
    for fact in ("restart_service", "web.service", "web-1", "web-2", "<@U1>", "<@U2>, <@U3>, <!subteam^S1>"):
        assert fact in shown
    assert f"<!date^{expiry}^" in shown
    assert "digest    " + "cd" * 6 in shown
    assert "cd" * 7 not in shown


def test_failed_card_shows_the_hosts_verdict_and_its_log() -> None:
    outcome = HostOutcome("web-1", Result.FAILED, "not active after 5 s", evidence="nginx: bind() failed\n")
    payload = card.render(Card(records.approval(state=ApprovalState.FAILED, outcomes=(outcome,))))
    shown = json.dumps(payload.blocks)
    assert "web-1: FAILED" in shown
    assert "not active after 5 s" in shown
    assert "nginx: bind() failed" in shown


def test_decided_card_says_who_and_when() -> None:
    review = Review(Actor("T1", "U2"), approve=False, at=records.later(60))
    made = records.approval(state=ApprovalState.DENIED, reviews=(review,), decided_at=records.later(60))
    shown = json.dumps(card.fact_blocks(card.render(Card(made))))
    assert "Denied by <@U2> <!date^1795176060^" in shown


def test_a_deleted_host_log_does_not_hide_the_newest_lines() -> None:
    evidence = "\n".join(f"line {number}" for number in range(5000))
    payload = card.render(Card(approval_with(evidence, ApprovalState.FAILED, Result.FAILED)))
    assert "line 4999" in json.dumps(payload.blocks)


# --- cards of actions on many hosts ----------------------------------------------------------------------------------


def many(count: int, state: ApprovalState, *ended: Result, **changes: Any) -> Approval:
    names = tuple(f"edge-{number:02}.{'x' * 50}" for number in range(1, count + 1))
    outcomes = tuple(HostOutcome(name, r, "was restarted " * 9) for name, r in zip(names, ended, strict=False))
    impacts = {name: Impact((("state", "active"), ("network", "listens on tcp 80" * 5))) for name in names}
    action = Action("restart_service", {"unit": "nginx.service"}, names)
    bindings = {"rollout": "one canary, then 2 at a time, at most 2 unavailable; a pause of 30 min ends it"}
    return records.approval(
        action=action, impacts=impacts, state=state, outcomes=outcomes, bindings=bindings, **changes
    )


def progress(approval: Approval, waiting: str = "waiting", running: int = 2) -> tuple[Step, ...]:
    return host_steps(approval, dict.fromkeys(approval.untouched[:running], 3.0), waiting=waiting)


def texts(payload: Payload) -> str:
    return json.dumps(payload.blocks)


@pytest.mark.parametrize("count", [*range(1, 13), 20, 21, 49, 50, 51, 200])
@pytest.mark.parametrize("state", list(ApprovalState))
def test_cards_of_few_and_many_hosts_are_valid_and_name_every_host(count: int, state: ApprovalState) -> None:
    approval = many(count, state, *[Result.DONE] * (count // 2), Result.FAILED)
    payload = card.render(Card(approval, progress(approval)))
    assert_slack_takes(payload)
    assert len(json.dumps(payload.blocks)) < 60_000
    if state in (ApprovalState.EXECUTING, ApprovalState.FAILED) and 1 < count <= 50:
        lines = [e for e in walk(list(payload.blocks)) if e.get("type") == "rich_text_list"]
        assert len(lines[0]["elements"]) == count
        assert all(name in json.dumps(lines) for name in approval.action.hosts)


def test_facts_of_many_hosts_are_never_pushed_out_by_names() -> None:
    payload = card.render(Card(many(200, ApprovalState.PENDING)))
    shown = json.dumps(card.fact_blocks(payload))
    for fact in ("one canary, then 2 at a time", "digest    " + "cd" * 6, "7KQ2M4"):
        assert fact in shown
    assert "and 192 more hosts" in json.dumps(payload.blocks)


def test_with_very_many_hosts_those_under_way_and_the_failed_are_shown() -> None:
    approval = many(200, ApprovalState.EXECUTING, *[Result.DONE] * 150, Result.FAILED)
    shown = texts(card.render(Card(approval, progress(approval))))
    assert "edge-151" in shown
    assert "[running]" in shown
    assert "and 150 more hosts: 150 done" in shown


def test_a_failure_comes_before_what_went_well() -> None:
    approval = many(10, ApprovalState.FAILED, *[Result.DONE] * 8, Result.FAILED)
    verdicts = re.findall(r"(edge-\d\d)\.x+: (FAILED|done, verified)", texts(card.render(Card(approval))))
    assert verdicts[0] == ("edge-09", "FAILED")
    assert len(verdicts) == 8


@pytest.mark.parametrize("count", [8, 10, 11, 20, 50])
@pytest.mark.parametrize("state", [ApprovalState.PENDING, ApprovalState.EXECUTING, ApprovalState.FAILED])
def test_a_card_of_many_ordinary_hosts_is_not_too_long(count: int, state: ApprovalState) -> None:
    names = tuple(f"edge-{number:02}.example.net" for number in range(count))
    facts = tuple((f"fact {number}", "listens on tcp 80, 2 connections from 2 addresses") for number in range(8))
    bad = [HostOutcome(name, Result.FAILED, "did not come back", "journal line\n" * 500) for name in names[-3:]]
    good = [HostOutcome(name, Result.DONE, "nginx.service was restarted and is active (running)", "", facts[:3])
            for name in names[:-3]]  # fmt: skip
    approval = replace(
        many(count, state),
        action=Action("restart_service", {"unit": "nginx.service"}, names),
        impacts={name: Impact(facts) for name in names},
        outcomes=() if state is ApprovalState.PENDING else (*good, *bad),
    )
    payload = card.render(Card(approval, progress(approval)))
    visible = sum(len(e["text"]) for e in walk(list(payload.blocks)) if isinstance(e.get("text"), str))
    assert visible < 13_000
    assert_slack_takes(payload)


@pytest.mark.parametrize(
    ("steps", "verb", "wanted"),
    [
        ("waiting", None, ["opsbot.pause", "opsbot.halt", "opsbot.plan"]),
        ("paused", OrderVerb.PAUSE, ["opsbot.resume", "opsbot.halt", "opsbot.plan"]),
        ("waiting", OrderVerb.HALT, ["opsbot.plan"]),
    ],
)
def test_buttons_while_it_runs(steps: str, verb: OrderVerb | None, wanted: list[str]) -> None:
    approval = many(6, ApprovalState.EXECUTING, Result.DONE)
    order = Order(verb, Actor("T1", "U9"), records.NOON) if verb else None
    payload = card.render(Card(approval, progress(approval, steps), order))
    assert action_ids(payload) == wanted
    assert_slack_takes(payload)


def test_nothing_can_be_ordered_when_every_host_was_begun_or_there_is_one() -> None:
    last = many(3, ApprovalState.EXECUTING, Result.DONE)
    assert action_ids(card.render(Card(last, progress(last)))) == ["opsbot.plan"]
    alone = many(1, ApprovalState.EXECUTING)
    assert action_ids(card.render(Card(alone, progress(alone, running=0)))) == ["opsbot.plan"]


def test_a_pause_says_who_when_and_how_to_go_on() -> None:
    approval = many(6, ApprovalState.EXECUTING, Result.DONE)
    order = Order(OrderVerb.PAUSE, Actor("T1", "U9"), records.NOON)
    payload = card.render(Card(approval, progress(approval, "paused"), order))
    shown = texts(payload)
    assert payload.text.startswith("Paused: restart_service")
    assert f"*Paused* by <@U9> <!date^{int(records.NOON.timestamp())}^" in shown
    assert "press *Resume*" in shown
    assert "[paused]" in shown


def test_a_halt_is_not_shown_as_a_failure_of_a_host() -> None:
    halted = Order(OrderVerb.HALT, Actor("T1", "U9"), records.NOON)
    approval = many(4, ApprovalState.FAILED, Result.DONE, Result.DONE, halted=halted)
    payload = card.render(Card(approval))
    assert payload.text.startswith("Stopped: restart_service")
    shown = texts(payload)
    assert "*Stopped* by <@U9>" in shown
    assert shown.count("[untouched]") == 2
    assert payload.plain.count("[untouched]") == 2


# --- texts and reports -----------------------------------------------------------------------------------------------

markdowns = st.lists(st.one_of(hostile, st.sampled_from(["```\n", "word " * 900, "- item\n" * 400])), max_size=8)


@given(markdowns.map("".join), hostile, st.booleans())
@patient
def test_every_text_is_valid_however_long(markdown: str, footer: str, trusted: bool) -> None:
    payloads = blocks.render(Text(markdown, trusted=trusted, footer=footer))
    for payload in payloads:
        assert_slack_takes(payload)
        assert not re.search(r"<[!#]", payload.blocks[0]["text"])
    assert all(len(payload.blocks) == 1 for payload in payloads[:-1])


@given(hostile)
@patient
def test_every_draft_is_valid_and_can_be_stopped(markdown: str) -> None:
    payload = blocks.draft(markdown * 30)
    assert_slack_takes(payload)
    assert action_ids(payload) == [blocks.STOP]


cells = st.lists(st.one_of(hostile, st.text(max_size=10)), max_size=24).map(tuple)
tables = st.builds(Table, headers=cells, rows=st.lists(cells, max_size=6).map(tuple), title=hostile)
pairs = st.lists(st.tuples(hostile, hostile), max_size=30).map(tuple)


@given(hostile, st.lists(tables, max_size=3).map(tuple), pairs, pairs)
@patient
def test_every_report_is_valid(
    text: str, shown: tuple[Table, ...], pre: tuple[Any, ...], errors: tuple[Any, ...]
) -> None:
    for payload in blocks.render(Report(text, shown, pre, errors)):
        assert_slack_takes(payload)


def hosts_table(rows: int) -> Table:
    return Table(("host", "load"), tuple((f"web-{number}", "0.1") for number in range(rows)), "Hosts")


def kinds(content: Content) -> list[str]:
    return [block["type"] for payload in blocks.render(content) for block in payload.blocks]


def test_a_small_table_is_a_table_and_a_large_one_is_drawn() -> None:
    assert "table" in kinds(Report("", (hosts_table(99),)))
    assert "table" not in kinds(Report("", (hosts_table(100),)))


def test_only_the_first_table_is_native() -> None:
    assert kinds(Report("two", (hosts_table(2), hosts_table(3)))).count("table") == 1


def test_a_drawn_table_keeps_every_row() -> None:
    shown = "".join(payload.plain for payload in blocks.render(Report("", (hosts_table(400),))))
    assert all(f"web-{number} " in shown for number in range(400))


def test_host_errors_follow_the_answers() -> None:
    report = Report("2 of 3 answered.", (hosts_table(2),), errors=(("web-9", "no connection"),))
    [payload] = blocks.render(report)
    assert payload.plain.splitlines()[-1] == "web-9: no connection"


def test_long_log_is_split_over_messages_without_loss() -> None:
    log = "\n".join(f"{number} something happened here" for number in range(3000))
    payloads = blocks.render(Report("The log.", blocks=(("nginx.service on web-1", log),)))
    assert len(payloads) > 1
    shown = "\n".join(payload.plain for payload in payloads)
    assert [line for line in shown.splitlines() if line in set(log.splitlines())] == log.splitlines()


def test_footer_closes_the_last_part_only() -> None:
    payloads = blocks.render(Text("word " * 5000, footer="model x · 2 tools"))
    assert len(payloads) > 1
    assert [len(payload.blocks) for payload in payloads] == [1] * (len(payloads) - 1) + [2]


def test_unknown_blocks_would_be_noticed(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.CRITICAL):
        assert Block.parse({"type": "surprise"}) is None


def test_people_and_groups_are_notified_only_where_code_says_so():
    (payload,) = blocks.render(
        Text("It waits, <!subteam^S0X> <@U0X>", trusted=True, to=("user:U0BOB", "group:S0SRE", "x", "user:a>"))
    )
    (block,) = payload.blocks
    assert block["text"]["text"] == "<@U0BOB> <!subteam^S0SRE> It waits, &lt;!subteam^S0X&gt; &lt;@U0X&gt;"
