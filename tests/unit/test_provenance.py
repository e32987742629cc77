"""What a start leaves in the audit log, and how a change since the last one is noticed."""

from dataclasses import replace

import pytest

from opsbot.discovery import SHIPPED_TOOLS, load_tools
from opsbot.domain import Risk
from opsbot.errors import StoreError
from opsbot.prompts import prompt_digest
from opsbot.provenance import STARTED, Provenance, record_start, tools_digest
from tests.fake_store import MemoryStore
from tests.records import NOON

ONE = Provenance("1.0", "keyless", "aa" * 32, "bb" * 32, "cc" * 32, "dd" * 32)


async def test_a_start_records_everything_that_decides_how_it_behaves() -> None:
    store = MemoryStore()
    assert await record_start(store.audit, ONE, NOON) == ()
    (record,) = await store.audit.read()
    assert record.entry.kind == STARTED
    assert record.entry.facts == {
        "version": "1.0",
        "model": "keyless",
        "prompt": "aa" * 32,
        "policy": "bb" * 32,
        "tools": "cc" * 32,
        "inventory": "dd" * 32,
        "changed": [],
    }


@pytest.mark.parametrize("name", ["version", "model", "prompt", "policy", "tools", "inventory"])
async def test_what_changed_since_the_last_start_is_named(name: str) -> None:
    store = MemoryStore()
    await record_start(store.audit, ONE, NOON)
    assert await record_start(store.audit, replace(ONE, **{name: "other"}), NOON) == (name,)
    assert (await store.audit.read())[-1].entry.facts["changed"] == [name]


async def test_nothing_starts_unrecorded() -> None:
    store = MemoryStore()
    store.outage.reason = "The disk is full."
    with pytest.raises(StoreError):
        await record_start(store.audit, ONE, NOON)


def test_the_digests_follow_what_they_name() -> None:
    tools = load_tools([SHIPPED_TOOLS]).tools
    digest = tools_digest(tools)
    assert len(digest) == len(prompt_digest()) == 64
    for other in (
        tools[1:],
        (replace(tools[0], description="Do as you like."), *tools[1:]),
        (replace(tools[0], sha256="0" * 64), *tools[1:]),
        (replace(tools[0], risk=Risk.DANGER), *tools[1:]),
    ):
        assert tools_digest(other) != digest
