"""What every store promises: one suite for the fake, SQLite and PostgreSQL."""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime

import pytest

from opsbot import audit
from opsbot.domain import (
    Approval,
    ApprovalState,
    AssistantMessage,
    AuditRecord,
    Card,
    Conversation,
    IncomingCommand,
    IncomingDecision,
    IncomingStop,
    MessageRef,
    Metric,
    Order,
    OrderVerb,
    OutboxState,
    Place,
    Report,
    Sample,
    Step,
    Table,
    Text,
    ToolCall,
    ToolResult,
    Usage,
)
from opsbot.errors import Conflict, StoreError
from opsbot.ports import Store
from tests.records import (
    ANNA,
    CAPS,
    KEY,
    NOON,
    PLACE,
    approval,
    entry,
    event,
    executing,
    later,
    operation,
    said,
)

PENDING, APPROVED, EXECUTING, DONE = (
    ApprovalState.PENDING,
    ApprovalState.APPROVED,
    ApprovalState.EXECUTING,
    ApprovalState.DONE,
)


async def whole_chain(store: Store) -> tuple[AuditRecord, ...]:
    return await store.audit.read(limit=100_000)


async def assert_recorded(store: Store, *kinds: str) -> None:
    """The audit is unbroken and holds exactly these kinds, in this order."""
    records = await whole_chain(store)
    assert [record.entry.kind for record in records] == list(kinds)
    assert audit.verify(records, KEY).ok


# --- inbox -----------------------------------------------------------------------------------------------------------


async def test_an_accepted_event_waits_until_it_is_finished(store: Store) -> None:
    events = [
        event("with \x00 and é 😀"),
        IncomingCommand(PLACE, ANNA, "status all", "https://hooks/1"),
        IncomingDecision(PLACE, ANNA, "7KQ2M4", "approve", "1.2"),
        IncomingStop(PLACE, ANNA),
    ]
    ids = [await store.inbox.accept([f"k{n}"], each, later(n)) for n, each in enumerate(events)]
    waiting = await store.inbox.waiting()
    assert [(item.id, item.event, item.received_at) for item in waiting] == [
        (item_id, each, later(n)) for n, (item_id, each) in enumerate(zip(ids, events, strict=True))
    ]
    await store.inbox.finish(ids[1])
    await store.inbox.finish(ids[1])
    assert [item.id for item in await store.inbox.waiting()] == [ids[0], ids[2], ids[3]]


@pytest.mark.parametrize("keys", [["a"], ["b"], ["b", "a"], ["new", "b"], ["a", "new", "newer"]])
async def test_an_event_with_any_known_key_is_a_duplicate(store: Store, keys: list[str]) -> None:
    assert await store.inbox.accept(["a", "b"], event("first"), NOON)
    assert await store.inbox.accept(keys, event("second"), NOON) is None
    assert [item.event for item in await store.inbox.waiting()] == [event("first")]


async def test_a_finished_event_is_still_a_duplicate(store: Store) -> None:
    item_id = await store.inbox.accept(["a"], event(), NOON)
    await store.inbox.finish(item_id)
    assert await store.inbox.accept(["a"], event(), NOON) is None


async def test_the_other_keys_of_a_duplicate_become_known(store: Store) -> None:
    await store.inbox.accept(["event-1", "message-1"], event(), NOON)
    await store.inbox.accept(["event-2", "message-1"], event(), NOON)
    assert await store.inbox.accept(["event-2"], event(), NOON) is None


async def test_one_of_many_simultaneous_deliveries_is_accepted(store: Store) -> None:
    keys = [["e1", "m"], ["m", "e2"], ["e2", "e1"], ["m"]] * 5
    accepted = await asyncio.gather(*(store.inbox.accept(each, event(), NOON) for each in keys))
    # [e1, e2] may come first, and then one of those that only share `m` with each other.
    assert 1 <= sum(item_id is not None for item_id in accepted) <= 2
    assert len(await store.inbox.waiting()) == sum(item_id is not None for item_id in accepted)


async def test_only_old_finished_events_are_pruned_and_their_keys_with_them(store: Store) -> None:
    old = await store.inbox.accept(["old"], event(), NOON)
    await store.inbox.accept(["old", "old-too"], event(), NOON)
    await store.inbox.accept(["old-open"], event(), NOON)
    new = await store.inbox.accept(["new"], event(), later(100))
    await store.inbox.finish(old)
    await store.inbox.finish(new)
    assert await store.inbox.prune(later(50)) == 1
    assert await store.inbox.accept(["old-open"], event(), NOON) is None
    assert await store.inbox.accept(["new"], event(), NOON) is None
    assert await store.inbox.accept(["old"], event(), NOON)
    assert await store.inbox.accept(["old-too"], event(), NOON)


# --- conversations ---------------------------------------------------------------------------------------------------


async def test_an_unknown_conversation_is_empty_with_version_0(store: Store) -> None:
    assert await store.conversations.load(PLACE) == Conversation(PLACE)


async def test_messages_come_back_equal_and_in_order(store: Store) -> None:
    call = ToolCall("c1", "restart_service", '{"unit": "x", "unit": "y"}')
    messages = [
        said("restart it\n\x00 é 😀"),
        AssistantMessage("I look.", (call,), Usage(10, 5, 2), opaque='[{"type":"reasoning","x":"gAAA"}]'),
        ToolResult("c1", '{"error":"no"}', failed=True),
        AssistantMessage("Stopped.", by_code=True),
    ]
    first = await store.conversations.append(await store.conversations.load(PLACE), messages[:2], needs_turn=True)
    second = await store.conversations.append(first, messages[2:], needs_turn=False)
    assert second == Conversation(PLACE, tuple(messages), version=2)
    assert await store.conversations.load(PLACE) == second


async def test_the_place_is_kept_as_first_stored(store: Store) -> None:
    direct = Place("T1", "D1", direct=True)
    await store.conversations.append(Conversation(direct), [said("hi")], needs_turn=True)
    assert (await store.conversations.load(Place("T1", "D1"))).place == direct
    assert await store.conversations.needing_turn() == (direct,)


async def test_an_append_to_an_old_version_is_a_conflict_and_changes_nothing(store: Store) -> None:
    new = await store.conversations.load(PLACE)
    one = await store.conversations.append(new, [said("one")], needs_turn=False)
    for stale in (new, replace(one, version=7)):
        with pytest.raises(Conflict):
            await store.conversations.append(stale, [said("lost")], needs_turn=True)
        with pytest.raises(Conflict):
            await store.conversations.reset(stale)
    assert await store.conversations.load(PLACE) == one
    assert await store.conversations.needing_turn() == ()


async def test_an_append_to_a_version_of_an_unknown_conversation_is_a_conflict(store: Store) -> None:
    with pytest.raises(Conflict):
        await store.conversations.append(Conversation(PLACE, version=1), [said("x")], needs_turn=True)


async def test_one_of_many_simultaneous_appends_wins(store: Store) -> None:
    for round_number in range(5):
        before = await store.conversations.load(PLACE)
        outcomes = await asyncio.gather(
            *(store.conversations.append(before, [said(f"{round_number}/{n}")], needs_turn=False) for n in range(8)),
            return_exceptions=True,
        )
        assert sorted(type(outcome).__name__ for outcome in outcomes) == ["Conflict"] * 7 + ["Conversation"]
    assert len((await store.conversations.load(PLACE)).messages) == 5


async def test_needs_turn_is_as_last_saved(store: Store) -> None:
    other = Place("T1", "C1", "2")
    one = await store.conversations.append(Conversation(PLACE), [said("a")], needs_turn=True)
    await store.conversations.append(Conversation(other), [said("b")], needs_turn=True)
    assert set(await store.conversations.needing_turn()) == {PLACE, other}
    one = await store.conversations.append(one, [], needs_turn=False)
    assert await store.conversations.needing_turn() == (other,)
    assert one.version == 2


async def test_reset_forgets_the_history_but_not_the_version(store: Store) -> None:
    one = await store.conversations.append(Conversation(PLACE), [said("secret")], needs_turn=True)
    empty = await store.conversations.reset(one)
    assert empty == Conversation(PLACE, version=2)
    assert await store.conversations.load(PLACE) == empty
    assert await store.conversations.needing_turn() == ()
    fresh = await store.conversations.append(empty, [said("new")], needs_turn=False)
    assert (await store.conversations.load(PLACE)).messages == (said("new"),)
    assert fresh.version == 3


async def test_messages_and_their_records_are_written_together_or_not_at_all(store: Store) -> None:
    new = await store.conversations.load(PLACE)
    one = await store.conversations.append(new, [said("a")], needs_turn=True, entries=[entry("asked"), entry("more")])
    with pytest.raises(Conflict):
        await store.conversations.append(new, [said("b")], needs_turn=True, entries=[entry("lost")])
    with pytest.raises(StoreError, match="cannot record"):
        await store.conversations.append(one, [said("c")], needs_turn=True, entries=[entry("bad", x=float("nan"))])
    assert await store.conversations.load(PLACE) == one
    with pytest.raises(Conflict):
        await store.conversations.reset(new, entries=[entry("lost")])
    await store.conversations.reset(one, entries=[entry("reset")])
    assert [record.entry.kind for record in await whole_chain(store)] == ["asked", "more", "reset"]


# --- approvals -------------------------------------------------------------------------------------------------------


async def test_an_approval_comes_back_equal(store: Store) -> None:
    made = approval(call_id="c1", bindings={"tool": "x"}, note="n", decided_at=later(1))
    assert await store.approvals.add(made, entry("approval.requested")) == made
    assert await store.approvals.get(made.id) == made
    await assert_recorded(store, "approval.requested")


async def test_the_same_call_gets_the_same_approval_and_no_second_record(store: Store) -> None:
    first = await store.approvals.add(approval("AAAA1", call_id="c1"), entry("approval.requested"))
    assert await store.approvals.add(approval("BBBB1", call_id="c1"), entry("approval.requested")) == first
    assert await store.approvals.get("BBBB1") is None
    elsewhere = approval("CCCC1", call_id="c1", conversation_id="T1/C2/9")
    assert await store.approvals.add(elsewhere, entry("approval.requested")) == elsewhere
    await assert_recorded(store, "approval.requested", "approval.requested")


async def test_approvals_without_a_call_id_are_all_different(store: Store) -> None:
    await store.approvals.add(approval("AAAA1"), entry())
    await store.approvals.add(approval("BBBB1"), entry())
    assert len(await store.approvals.of_conversation(PLACE.key)) == 2


async def test_a_taken_id_is_a_conflict(store: Store) -> None:
    await store.approvals.add(approval("AAAA1"), entry("approval.requested"))
    with pytest.raises(Conflict):
        await store.approvals.add(approval("AAAA1", reason="other"), entry("approval.requested"))
    assert (await store.approvals.get("AAAA1")).reason == "it leaks"
    await assert_recorded(store, "approval.requested")


async def test_approvals_since_a_time_are_those_asked_for_then_or_later_oldest_first(store: Store) -> None:
    for approval_id, seconds in (("YOUNG", 20), ("OLDER", 0), ("FIRST", -5), ("EQUAL", 10)):
        await store.approvals.add(approval(approval_id, created_at=later(seconds)), entry())
    assert [found.id for found in await store.approvals.since(later(10))] == ["EQUAL", "YOUNG"]
    assert [found.id for found in await store.approvals.since(later(-100))] == ["FIRST", "OLDER", "EQUAL", "YOUNG"]
    assert await store.approvals.since(later(21)) == ()


async def test_an_unambiguous_prefix_of_4_characters_finds_an_approval(store: Store) -> None:
    for approval_id in ("ABCD12", "ABCD34", "abce56", "ABCD"):
        await store.approvals.add(approval(approval_id), entry())
    found = {
        text: getattr(await store.approvals.get(text), "id", None)
        for text in ("ABCD12", "ABCD1", "ABCD", "abce", "abc", "ABCE", "", "%", "____", "ABCD\x00", "\ud800bcd", "zzzz")
    }
    hits = {text: hit for text, hit in found.items() if hit}
    assert hits == {"ABCD12": "ABCD12", "ABCD1": "ABCD12", "ABCD": "ABCD", "abce": "abce56"}


async def test_a_prefix_that_fits_two_finds_none(store: Store) -> None:
    for approval_id in ("ABCD12", "ABCD34"):
        await store.approvals.add(approval(approval_id), entry())
    assert await store.approvals.get("ABCD") is None


async def test_a_change_bumps_the_version_and_is_recorded_with_it(store: Store) -> None:
    made = await store.approvals.add(approval(), entry("approval.requested"))
    decided = replace(made, state=APPROVED, decided_at=later(2), version=99)
    after = await store.approvals.change(
        decided, expected=(PENDING, 1), entries=[entry("approval.approved"), entry("approval.noted")]
    )
    assert after == replace(decided, version=2)
    assert await store.approvals.get(made.id) == after
    await assert_recorded(store, "approval.requested", "approval.approved", "approval.noted")


@pytest.mark.parametrize("expected", [(PENDING, 2), (APPROVED, 1), (DONE, 3)])
async def test_an_unexpected_state_or_version_is_a_conflict_and_records_nothing(store: Store, expected) -> None:
    made = await store.approvals.add(approval(), entry("approval.requested"))
    with pytest.raises(Conflict):
        await store.approvals.change(replace(made, state=DONE), expected=expected, entries=[entry("no")])
    assert await store.approvals.get(made.id) == made
    await assert_recorded(store, "approval.requested")


async def test_changing_an_unknown_approval_is_a_conflict(store: Store) -> None:
    with pytest.raises(Conflict):
        await store.approvals.change(approval(), expected=(PENDING, 1), entries=[entry("no")])
    await assert_recorded(store)


async def test_a_change_whose_record_cannot_be_written_does_not_happen(store: Store) -> None:
    made = await store.approvals.add(approval(), entry("approval.requested"))
    for fact in (float("nan"), 2**60, "\ud800"):
        with pytest.raises(StoreError, match=r"approval\.broken"):
            await store.approvals.change(
                replace(made, state=APPROVED),
                expected=(PENDING, 1),
                entries=[entry("fine"), entry("approval.broken", fact=fact)],
            )
    assert await store.approvals.get(made.id) == made
    await assert_recorded(store, "approval.requested")


async def test_exactly_one_of_many_simultaneous_decisions_wins(store: Store) -> None:
    """Also: the losers leave no record, and the chain never forks."""
    rounds, rivals = 12, 6
    for n in range(rounds):
        made = await store.approvals.add(approval(f"ROUND{n}"), entry("requested"))
        outcomes = await asyncio.gather(
            *(
                store.approvals.change(
                    replace(made, state=APPROVED, note=str(rival)),
                    expected=(PENDING, 1),
                    entries=[entry("approved", rival=rival)],
                )
                for rival in range(rivals)
            ),
            return_exceptions=True,
        )
        winners = [outcome for outcome in outcomes if isinstance(outcome, Approval)]
        assert Counter(type(outcome) for outcome in outcomes) == {Conflict: rivals - 1, Approval: 1}
        assert await store.approvals.get(made.id) == winners[0]
    await assert_recorded(store, *["requested", "approved"] * rounds)


async def test_approvals_are_listed_by_state_and_conversation_oldest_first(store: Store) -> None:
    await store.approvals.add(approval("YOUNG", created_at=later(9)), entry())
    await store.approvals.add(approval("OLDER", created_at=later(1)), entry())
    await store.approvals.add(approval("THIRD", created_at=later(5), state=DONE, conversation_id="T1/C9/1"), entry())
    await store.approvals.add(approval("FIRST", created_at=NOON, state=EXECUTING), entry())

    async def ids(*states: ApprovalState) -> list[str]:
        return [found.id for found in await store.approvals.in_state(*states)]

    assert await ids(PENDING) == ["OLDER", "YOUNG"]
    assert await ids(PENDING, EXECUTING, DONE) == ["FIRST", "OLDER", "THIRD", "YOUNG"]
    assert await ids() == []
    assert [found.id for found in await store.approvals.of_conversation(PLACE.key)] == ["FIRST", "OLDER", "YOUNG"]


# --- operations ------------------------------------------------------------------------------------------------------


async def test_a_claim_succeeds_once_per_host_and_records_once(store: Store) -> None:
    made = await store.approvals.add(executing(), entry("requested"))
    assert await store.operations.claim(operation(made, "web-1"), entry("claimed 1"), caps=CAPS) is True
    assert await store.operations.claim(operation(made, "web-1", at=later(9)), entry("no"), caps=CAPS) is False
    assert await store.operations.claim(operation(made, "web-2"), entry("claimed 2"), caps=CAPS) is True
    assert await store.operations.started(made.id) == {"web-1", "web-2"}
    assert await store.operations.started("other") == frozenset()
    await assert_recorded(store, "requested", "claimed 1", "claimed 2")


@pytest.mark.parametrize("state", [state for state in ApprovalState if state is not EXECUTING])
async def test_nothing_is_claimed_unless_the_stored_approval_is_executing(store: Store, state: ApprovalState) -> None:
    await store.approvals.add(approval(state=state), entry("requested"))
    with pytest.raises(Conflict):
        await store.operations.claim(operation(executing(), "web-1"), entry("no"), caps=CAPS)
    assert await store.operations.started("7KQ2M4") == frozenset()
    await assert_recorded(store, "requested")


async def test_nothing_is_claimed_for_another_digest_or_an_unknown_approval(store: Store) -> None:
    await store.approvals.add(executing(), entry("requested"))
    for other in (replace(executing(), digest="ef" * 32), executing("OTHER")):
        with pytest.raises(Conflict):
            await store.operations.claim(operation(other, "web-1"), entry("no"), caps=CAPS)
    assert await store.operations.started("7KQ2M4") == frozenset()
    await assert_recorded(store, "requested")


async def test_a_claim_whose_record_cannot_be_written_does_not_happen(store: Store) -> None:
    made = await store.approvals.add(executing(), entry("requested"))
    with pytest.raises(StoreError):
        await store.operations.claim(operation(made, "web-1"), entry("bad", fact=float("inf")), caps=CAPS)
    assert await store.operations.started(made.id) == frozenset()


async def test_one_of_20_simultaneous_claims_wins(store: Store) -> None:
    made = await store.approvals.add(executing(), entry("requested"))
    claims = (store.operations.claim(operation(made, "web-1"), entry("claimed", by=n), caps=CAPS) for n in range(20))
    assert Counter(await asyncio.gather(*claims)) == {False: 19, True: 1}
    await assert_recorded(store, "requested", "claimed")


# --- outbox ----------------------------------------------------------------------------------------------------------


async def test_a_message_waits_until_it_was_sent(store: Store) -> None:
    contents = [
        Text("**hi** \x00 é", trusted=True, footer="f"),
        Report("r", (Table(("a",), (("1",), ("2",)), "t"),), (("b", "c"),), (("web-1", "down"),)),
        Card(approval(bindings={"a": "b"}), (Step("restart", "running", "d"),), Order(OrderVerb.PAUSE, ANNA, NOON)),
    ]
    for n, content in enumerate(contents):
        item = await store.outbox.put(f"k{n}", PLACE, content)
        assert (item.key, item.place, item.content, item.state, item.ref) == (
            f"k{n}",
            PLACE,
            content,
            OutboxState.WAITING,
            None,
        )
    assert [item.content for item in await store.outbox.waiting()] == contents
    ref = MessageRef("C1", "17.1")
    await store.outbox.sent("k1", ref, version=1)
    assert [item.key for item in await store.outbox.waiting()] == ["k0", "k2"]
    found = await store.outbox.get("k1")
    assert (found.state, found.ref, found.content) == (OutboxState.SENT, ref, contents[1])
    assert await store.outbox.get("k9") is None


async def test_a_known_key_gets_new_content_and_keeps_the_rest(store: Store) -> None:
    ref = MessageRef("C1", "17.1")
    await store.outbox.put("k", PLACE, Text("one"))
    await store.outbox.put("later", PLACE, Text("x"))
    await store.outbox.put("k", Place("T1", "C9"), Text("two"))
    assert [item.key for item in await store.outbox.waiting()] == ["k", "later"]
    await store.outbox.sent("k", ref, version=2)
    item = await store.outbox.put("k", PLACE, Text("three"))
    assert (item.place, item.content, item.state, item.ref) == (PLACE, Text("three"), OutboxState.WAITING, ref)
    assert await store.outbox.get("k") == item


async def test_a_message_that_is_not_settled_stays_among_the_waiting_with_its_place(store: Store) -> None:
    ref = MessageRef("C1", "17.1")
    await store.outbox.put("k", PLACE, Text("one"))
    await store.outbox.sent("k", ref, version=1, settled=False)
    (item,) = await store.outbox.waiting()
    assert (item.state, item.ref) == (OutboxState.WAITING, ref)
    await store.outbox.sent("k", ref, version=1)
    assert await store.outbox.waiting() == ()


async def test_an_unknown_message_cannot_have_been_sent(store: Store) -> None:
    with pytest.raises(StoreError):
        await store.outbox.sent("k", MessageRef("C1", "1"), version=1)


# --- audit -----------------------------------------------------------------------------------------------------------


async def test_records_are_chained_from_the_first_one(store: Store) -> None:
    entries = [entry("a", fact=1), entry("b", "7KQ2M4", fact=[1.5, None, {"x": "é\x00"}]), entry("c", "7KQ2M4")]
    records = [await store.audit.append(each) for each in entries]
    assert [record.seq for record in records] == [1, 2, 3]
    assert [record.prev for record in records] == [audit.GENESIS, records[0].hash, records[1].hash]
    assert await whole_chain(store) == tuple(records)
    assert await store.audit.read(after=1, limit=1) == (records[1],)
    assert await store.audit.read(after=3) == ()
    assert await store.audit.about("7KQ2M4") == tuple(records[1:])
    assert audit.verify(records, KEY, expected_head=(3, records[2].hash)).ok


async def test_the_newest_record_of_a_kind_is_found(store: Store) -> None:
    assert await store.audit.newest("opsbot.started") is None
    for kind in ("opsbot.started", "opsbotxstarted", "opsbot.started", "not.opsbot.started", "other"):
        await store.audit.append(entry(kind, text='"kind":"opsbot.started"}'))
    found = await store.audit.newest("opsbot.started")
    assert found is not None
    assert found.seq == 3


async def test_simultaneous_appends_never_fork_the_chain(store: Store) -> None:
    made = [await store.approvals.add(executing(f"ID-{n}"), entry("requested")) for n in range(10)]
    await asyncio.gather(
        *(store.audit.append(entry("appended", n=n)) for n in range(30)),
        *(store.operations.claim(operation(each, "web-1", each.id), entry("claimed"), caps=CAPS) for each in made),
        *(
            store.approvals.change(replace(each, note="x"), expected=(EXECUTING, 1), entries=[entry("changed")] * 2)
            for each in made
        ),
    )
    records = await whole_chain(store)
    assert Counter(record.entry.kind for record in records) == {
        "requested": 10,
        "appended": 30,
        "claimed": 10,
        "changed": 20,
    }
    assert [record.seq for record in records] == list(range(1, 71))
    assert audit.verify(records, KEY).ok


async def test_a_time_without_a_zone_is_refused(store: Store) -> None:
    with pytest.raises(ValueError, match="time zone"):
        await store.audit.append(replace(entry(), at=datetime(2026, 1, 1)))
    await assert_recorded(store)


# --- the whole -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Call:
    name: str
    make: Callable[[Store], object]


CALLS = [
    Call("accept", lambda s: s.inbox.accept(["k"], event(), NOON)),
    Call("load", lambda s: s.conversations.load(PLACE)),
    Call("change", lambda s: s.approvals.change(approval(), expected=(PENDING, 1), entries=[])),
    Call("claim", lambda s: s.operations.claim(operation(executing(), "h"), entry(), caps=CAPS)),
    Call("put", lambda s: s.outbox.put("k", PLACE, Text("x"))),
    Call("append", lambda s: s.audit.append(entry())),
    Call("add samples", lambda s: s.samples.add([Sample("a", Metric.LOAD, NOON, 1.0)])),
    Call("thin", lambda s: s.samples.thin(NOON)),
    Call("window", lambda s: asyncio.to_thread(s.samples.window, "a", [Metric.LOAD], since=NOON)),
    Call("oldest", lambda s: asyncio.to_thread(s.samples.oldest, "a")),
]


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
async def test_a_closed_store_says_so(store: Store, call: Call) -> None:
    await store.close()
    with pytest.raises(StoreError, match="closed"):
        await call.make(store)
    await store.close()
