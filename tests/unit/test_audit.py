"""The audit's hash chain, without any database."""

import json
import os
import time
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsbot import audit
from opsbot.audit import Fault, verify
from opsbot.domain import AuditEntry, AuditRecord
from opsbot.errors import ConfigError, StoreError
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
    assert (result.fault, result.broken_seq) == (Fault.EDITED, 3)


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

    whole = min(cost(lambda: verify(records, KEY)) for _ in range(3))
    floor = min(cost(lambda: [audit.entry_json(record.entry) for record in records]) for _ in range(3))
    assert whole < 4 * floor


# --- the key ---------------------------------------------------------------------------------------------------------


def test_a_key_is_made_once_readable_by_its_owner_only(tmp_path) -> None:
    path = tmp_path / "sub" / "audit.key"
    key = audit.load_or_create_key(path, has_records=False)
    assert len(key) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert audit.load_or_create_key(path, has_records=True) == key
    assert [each.name for each in path.parent.iterdir()] == ["audit.key"]


def test_no_new_key_is_made_for_a_database_with_records(tmp_path) -> None:
    path = tmp_path / "audit.key"
    with pytest.raises(ConfigError, match="Restore the key"):
        audit.load_or_create_key(path, has_records=True)
    assert not path.exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602])
def test_a_key_that_others_may_touch_is_refused(tmp_path, mode: int) -> None:
    path = tmp_path / "audit.key"
    audit.load_or_create_key(path, has_records=False)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"chmod 600 {path}"):
        audit.load_or_create_key(path, has_records=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_key_of_another_user_is_refused(tmp_path) -> None:
    path = tmp_path / "audit.key"
    audit.load_or_create_key(path, has_records=False)
    os.chown(path, 65534, 65534)
    with pytest.raises(ConfigError, match="another user"):
        audit.load_or_create_key(path, has_records=False)


@pytest.mark.parametrize("content", [b"", b"zz" * 32, b"ab" * 31, b"ab" * 33, b"\xff\xfe"])
def test_a_damaged_key_is_refused_and_kept(tmp_path, content: bytes) -> None:
    path = tmp_path / "audit.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="damaged"):
        audit.load_or_create_key(path, has_records=False)
    assert path.read_bytes() == content


def test_a_key_that_cannot_be_read_or_made_is_explained(tmp_path) -> None:
    with pytest.raises(ConfigError, match="cannot be"):
        audit.load_or_create_key(tmp_path, has_records=False)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be"):
        audit.load_or_create_key(tmp_path / "file" / "audit.key", has_records=False)


def test_a_key_from_the_environment_is_read_like_one_from_a_file():
    assert audit.parse_key("ab" * 32 + "\n", "store.audit_key") == bytes.fromhex("ab" * 32)
    for text in ("", "ab", "xy" * 32, "ab" * 33):
        with pytest.raises(ConfigError, match=r"store\.audit_key is damaged"):
            audit.parse_key(text, "store.audit_key")
