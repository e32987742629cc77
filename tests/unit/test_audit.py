"""The audit's hash chain, without any database."""

import json
import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsbot import audit
from opsbot.audit import Fault, verify
from opsbot.domain import AuditEntry, AuditRecord
from opsbot.errors import StoreError
from tests.records import KEY, NOON, entry


def chain_of(count: int) -> list[AuditRecord]:
    records: list[AuditRecord] = []
    for n in range(count):
        records.append(audit.chain(records[-1] if records else None, entry("test.happened", fact=n), KEY))
    return records


# --- what is hashed --------------------------------------------------------------------------------------------------


def test_an_entry_has_one_canonical_form() -> None:
    one = AuditEntry("k", NOON, facts={"b": 1.0, "a": "é\n"})
    moved = NOON.astimezone(timezone(timedelta(hours=5)))
    other = AuditEntry("k", moved, facts={"a": "é\n", "b": 1})
    assert audit.entry_json(one) == audit.entry_json(other)
    assert audit.entry_json(one).decode() == (
        '{"actor":"","approval_id":"","at":"2026-11-20T12:00:00.000000Z","conversation_id":"",'
        '"facts":{"a":"é\\n","b":1},"kind":"k"}'
    )


def test_a_record_is_one_line_of_canonical_json() -> None:
    text = audit.record_json(3, "ab", entry("k", text="line\nline\u2028"))
    document = json.loads(text)
    assert audit.rfc8785.dumps(document) == text
    assert b"\n" not in text
    assert (document["seq"], document["prev"], document["entry"]["kind"]) == (3, "ab", "k")


@pytest.mark.parametrize("fact", [float("nan"), float("inf"), 2**53, -(2**53), "\ud800", {1: 2}, object()])
def test_a_fact_without_a_canonical_form_is_refused_by_name(fact: object) -> None:
    with pytest.raises(StoreError, match=r"`approval\.decided`"):
        audit.entry_json(AuditEntry("approval.decided", NOON, facts={"x": fact}))


def test_a_time_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        audit.timestamp(datetime(2026, 1, 1))


@given(st.datetimes(timezones=st.just(NOON.tzinfo)), st.datetimes(timezones=st.just(NOON.tzinfo)))
def test_timestamps_sort_like_times_and_can_be_read_back(one: datetime, two: datetime) -> None:
    assert (audit.timestamp(one) < audit.timestamp(two)) == (one < two)
    assert datetime.fromisoformat(audit.timestamp(one)) == one


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), json_values, max_size=4), st.text())
def test_an_entry_comes_back_equal_from_its_json(facts: dict, word: str) -> None:
    one = AuditEntry(word, NOON, word, word, word, facts)
    again = audit.parse_entry(audit.parse_json(audit.entry_json(one).decode()))
    # 1e300 is written as 1e+300 and read as a float, 1.0 as 1: equal values, and the same canonical form.
    assert again == one
    assert audit.entry_json(again) == audit.entry_json(one)


FACTLESS = '{"actor":"","approval_id":"","at":"2026-11-20T12:00:00Z","conversation_id":"","facts":"","kind":"k"}'
TIMELESS = '{"actor":"","approval_id":"","at":"noon","conversation_id":"","facts":{},"kind":"k"}'


@pytest.mark.parametrize("text", ["[]", "{}", '{"kind":1}', '"x"', FACTLESS, TIMELESS])
def test_json_that_is_no_entry_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"entry|isoformat"):
        audit.parse_entry(audit.parse_json(text))


# --- verification ----------------------------------------------------------------------------------------------------


def test_an_unbroken_chain_verifies_and_names_its_head() -> None:
    records = chain_of(5)
    result = verify(iter(records), KEY)
    assert (result.ok, result.count, result.head) == (True, 5, (5, records[4].hash))
    assert str(result) == f"5 records, unbroken; head 5 {records[4].hash[:12]}"


def test_an_empty_log_verifies() -> None:
    assert verify([], KEY).head == (0, audit.GENESIS)


@pytest.mark.parametrize(
    "change",
    [
        lambda r: replace(r, entry=replace(r.entry, kind="x")),
        lambda r: replace(r, entry=replace(r.entry, actor="x")),
        lambda r: replace(r, entry=replace(r.entry, approval_id="x")),
        lambda r: replace(r, entry=replace(r.entry, conversation_id="x")),
        lambda r: replace(r, entry=replace(r.entry, at=r.entry.at + timedelta(microseconds=1))),
        lambda r: replace(r, entry=replace(r.entry, facts={})),
        lambda r: replace(r, entry=replace(r.entry, facts={"x": float("nan")})),
        lambda r: replace(r, prev="0" * 64),
        lambda r: replace(r, hash=r.hash.upper()),
        lambda r: replace(r, hash="é"),
    ],
)
def test_an_edited_record_is_named(change) -> None:
    records = chain_of(5)
    records[2] = change(records[2])
    result = verify(records, KEY)
    assert (result.fault, result.broken_seq, result.count) == (Fault.EDITED, 3, 2)
    assert str(result) == "record 3 is edited; the 2 before it are unbroken"


@pytest.mark.parametrize("gone", [1, 3, 4])
def test_a_missing_record_is_named(gone: int) -> None:
    records = [record for record in chain_of(5) if record.seq != gone]
    result = verify(records, KEY)
    assert (result.fault, result.broken_seq) == (Fault.MISSING, gone)


def test_swapped_records_are_named() -> None:
    records = chain_of(5)
    records[1], records[2] = records[2], records[1]
    assert (verify(records, KEY).fault, verify(records, KEY).broken_seq) == (Fault.REORDERED, 2)


def test_a_record_of_another_chain_with_the_same_key_is_named() -> None:
    records, other = chain_of(5), chain_of(1)
    other.append(audit.chain(replace(other[0], hash="ff" * 32), entry("spliced"), KEY))
    records[1] = other[1]
    assert (verify(records, KEY).fault, verify(records, KEY).broken_seq) == (Fault.REORDERED, 2)


def test_a_repeated_record_is_named() -> None:
    records = chain_of(3)
    assert verify([*records, records[1]], KEY).fault is Fault.REORDERED


def test_another_key_fits_nothing() -> None:
    assert (verify(chain_of(3), b"x" * 32).fault, verify(chain_of(3), b"x" * 32).broken_seq) == (Fault.EDITED, 1)


def test_a_cut_tail_is_found_only_with_the_head_noted_elsewhere() -> None:
    records = chain_of(5)
    noted = (5, records[4].hash)
    assert verify(records[:3], KEY).ok
    result = verify(records[:3], KEY, expected_head=noted)
    assert (result.fault, result.broken_seq) == (Fault.CUT, 4)
    assert verify([], KEY, expected_head=noted).fault is Fault.CUT


def test_a_chain_may_have_grown_since_its_head_was_noted() -> None:
    records = chain_of(5)
    assert verify(records, KEY, expected_head=(3, records[2].hash)).ok


def test_a_history_rewritten_with_the_key_does_not_fit_the_noted_head() -> None:
    records = chain_of(5)
    result = verify(records, KEY, expected_head=(3, "ff" * 32))
    assert (result.fault, result.broken_seq) == (Fault.REWRITTEN, 3)


def test_every_anchor_must_be_in_the_chain() -> None:
    records = chain_of(6)
    heads = [(record.seq, record.hash) for record in records]
    assert verify(records, KEY, anchors=heads).ok
    assert verify(records, KEY, anchors=[*heads, (9, "ff" * 32)]).fault is Fault.CUT
    result = verify(records, KEY, anchors=[(2, "ff" * 32), *heads[2:]])
    assert (result.fault, result.broken_seq) == (Fault.REWRITTEN, 2)


def test_an_older_log_put_back_and_continued_is_found_by_an_anchor_of_the_lost_part() -> None:
    records = chain_of(6)
    continued = records[:3]
    for n in range(5):
        continued.append(audit.chain(continued[-1], entry("after", n=n), KEY))
    assert verify(continued, KEY).ok
    result = verify(continued, KEY, anchors=[(5, records[4].hash)])
    assert (result.fault, result.broken_seq) == (Fault.REWRITTEN, 5)


def test_two_anchors_that_contradict_each_other_fit_no_log() -> None:
    records = chain_of(3)
    result = verify(records, KEY, anchors=[(2, "ff" * 32), (2, records[1].hash)])
    assert (result.fault, result.broken_seq) == (Fault.REWRITTEN, 2)


def test_stored_lines_are_checked_as_they_stand() -> None:
    lines = [audit.line_of(record) for record in chain_of(4)]
    assert verify(lines, KEY).ok
    assert [audit.record_of(line) for line in lines] == chain_of(4)
    respelled = lines[1]._replace(text=lines[1].text.replace('":', '": '))
    assert audit.record_of(respelled).entry == audit.record_of(lines[1]).entry
    assert verify([lines[0], respelled, *lines[2:]], KEY).broken_seq == 2
    halves = [lines[0]._replace(text=lines[0].text.replace("test", "te\ud800t"))]
    assert verify(halves, KEY).fault is Fault.EDITED


@given(st.data())
def test_no_rearrangement_of_a_chain_verifies(data: st.DataObject) -> None:
    records = chain_of(6)
    arranged = data.draw(st.lists(st.sampled_from(records), max_size=7))
    head = (6, records[5].hash)
    assert verify(arranged, KEY, expected_head=head).ok == (arranged == records)


def test_verifying_costs_little_more_than_the_canonical_form() -> None:
    """A ratio of CPU times measured side by side: a million records must stay a matter of seconds."""
    records = chain_of(3000)

    def cost(work) -> float:
        started = time.process_time()
        work()
        return time.process_time() - started

    lines = [audit.line_of(record) for record in records]
    stored = min(cost(lambda: verify(lines, KEY)) for _ in range(3))
    whole = min(cost(lambda: verify(records, KEY)) for _ in range(3))
    floor = min(cost(lambda: [audit.entry_json(record.entry) for record in records]) for _ in range(3))
    assert whole < 4 * floor
    assert stored < floor
