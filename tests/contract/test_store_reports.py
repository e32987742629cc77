"""Incident reports on every store: one for each command, changed by compare-and-swap, sealed, found once published."""

from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from opsbot.adapters.store import open_store
from opsbot.errors import Conflict, StoreError
from opsbot.incident_files import incident_of
from opsbot.incident_report import (
    Cause,
    Confidence,
    Deed,
    Evidence,
    Facts,
    FollowUp,
    Happening,
    HostsSeen,
    IncidentReport,
    ReportState,
    Words,
)
from opsbot.passages import Kind
from opsbot.ports import Store
from tests.records import KEY, NOON, PLACE, entry, later

WORDS = Words(
    "Checkout down",
    "Payments failed.\nFor nine minutes.",
    "All of them.",
    (Cause("The pool was exhausted.", Confidence.HIGH, (Evidence("no free connection", "service_logs"),)),),
    (FollowUp("Enlarge the pool.", "U1"),),
)
FACTS = Facts(
    began=NOON,
    timeline=(Happening(NOON, "T1/U1", "wrote to the bot", 1),),
    deeds=(Deed("7KQ2M4", "restart_service unit=web", ("web-1",), "T1/U1", ("T1/U2",), "done", ("web-1: done",)),),
    services=("web",),
    people=("U1",),
    untrusted=("service_logs",),
)


def a_report(report_id: str = "RPRT2345", call_id: str = "command:1", **changes: object) -> IncidentReport:
    hosts = HostsSeen(("web-1",), (), ("web-2",), ("db-1",), 7)
    made = IncidentReport(report_id, PLACE.key, call_id, "T1/U1", later(60), WORDS, hosts, FACTS, writer="m")
    return replace(made, **changes)  # type: ignore[arg-type]


async def test_a_report_comes_back_as_it_was(store: Store) -> None:
    made = a_report(note="why", editors=("T1/U2",))
    await store.reports.add(made, entry("report.drafted"))
    assert await store.reports.get(made.id) == made
    assert await store.reports.of_call(PLACE.key, "command:1") == made
    assert await store.reports.of_call(PLACE.key, "command:2") is None
    assert await store.reports.get("NONE") is None
    assert await store.reports.get("\x00") is None


async def test_one_command_makes_one_report_with_one_audit_record(store: Store) -> None:
    first = await store.reports.add(a_report(), entry("report.drafted"))
    again = await store.reports.add(a_report("OTHER234"), entry("report.drafted"))
    assert again == first
    assert [record.entry.kind for record in await store.audit.read()] == ["report.drafted"]
    with pytest.raises(Conflict):
        await store.reports.add(a_report(call_id="command:2"), entry("report.drafted"))


async def test_of_two_changes_of_one_version_the_second_is_refused_and_writes_nothing(store: Store) -> None:
    made = await store.reports.add(a_report(), entry("report.drafted"))
    changed = await store.reports.change(replace(made, note="first"), entries=[entry("report.edited")])
    assert (changed.version, changed.note) == (2, "first")
    with pytest.raises(Conflict):
        await store.reports.change(
            replace(made, note="second"), entries=[entry("report.edited")], incident=incident_of(made)
        )
    assert await store.reports.get(made.id) == changed
    assert [record.entry.kind for record in await store.audit.read()] == ["report.drafted", "report.edited"]
    assert store.incidents.get(made.id) is None


async def test_what_is_published_is_found_in_the_same_moment(store: Store) -> None:
    made = await store.reports.add(a_report(), entry("report.drafted"))
    closed = replace(made, state=ReportState.PUBLISHED, closed_by="T1/U2", closed_at=later(90), closing="e1")
    await store.reports.change(closed, entries=[entry("report.published")], incident=incident_of(closed))
    (found,) = store.passages.matching(Kind.INCIDENT, ("pool", "exhausted"), every=True, limit=3)
    assert found.document == made.id
    assert store.incidents.get(made.id) == incident_of(closed)


async def test_the_log_of_a_conversation_is_its_own_and_its_newest(store: Store) -> None:
    for number in range(3):
        await store.audit.append(
            replace(entry("other"), conversation_id="x", facts={"conversation_id": PLACE.key, "facts": {}})
        )
        await store.audit.append(replace(entry("longer"), conversation_id=PLACE.key + "1"))
        await store.audit.append(replace(entry("like"), conversation_id=PLACE.key.replace("/", "_")))
        await store.audit.append(replace(entry(f"mine.{number}"), conversation_id=PLACE.key))
    kinds = [record.entry.kind for record in await store.audit.of_conversation(PLACE.key, limit=10)]
    assert kinds == ["mine.0", "mine.1", "mine.2"]
    newest = await store.audit.of_conversation(PLACE.key, limit=1)
    assert [record.entry.kind for record in newest] == ["mine.2"]


@pytest.mark.parametrize(
    "change",
    [
        "record = replace(record, 'Checkout down', 'All is well')",
        "version = 7",
        "conversation_id = 'T1/C2/1'",
        "seal = ''",
    ],
)
async def test_a_report_changed_past_opsbot_is_refused(tmp_path: Path, change: str) -> None:
    url = f"sqlite:///{tmp_path}/opsbot.db"
    store = open_store(url, audit_key=KEY)
    await store.reports.add(a_report(), entry("report.drafted"))
    await store.close()
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text(f"UPDATE incident_reports SET {change}"))
    engine.dispose()
    store = open_store(url, audit_key=KEY)
    with pytest.raises(StoreError, match="changed by something other than opsbot"):
        await store.reports.get("RPRT2345")
    await store.close()
