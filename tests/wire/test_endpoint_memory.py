"""What an endpoint refuses is kept: a restart does not ask again, another configuration and a week's age do."""

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from opsbot.adapters.doctor_model import ModelDoctor
from opsbot.adapters.openai_endpoint import Capabilities
from opsbot.adapters.openai_format import FormatWay
from opsbot.adapters.openai_memory import learned, recalled, said
from opsbot.adapters.openai_model import ModelSettings, OpenAIModel
from opsbot.adapters.store import SqlStore, open_store, read_learned
from opsbot.diagnosis import Check
from opsbot.domain import Actor, UserMessage
from opsbot.endpoints import HOLDS_FOR, Learned
from opsbot.errors import StoreError
from opsbot.ports import ModelRequest
from tests.fake_store import TEST_KEY
from tests.model_servers import ModelServer, Turn, refusal

NOW = datetime(2026, 11, 22, tzinfo=UTC)
ASKED = ModelRequest("Be brief.", (UserMessage("hello", Actor("T1", "U1"), NOW),), ())


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/opsbot.db"


@pytest.fixture(params=["sqlite", "postgres"])
def any_url(request: pytest.FixtureRequest, url: str) -> str:
    found: str = url if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    return found


def settings(server: ModelServer, **changes: Any) -> ModelSettings:
    return ModelSettings(**{"model": "m", "base_url": server.base_url, "temperature": 0.1} | changes)


async def answered(store: SqlStore | None, its: ModelSettings, now: datetime = NOW) -> None:
    """One process of the bot asks once."""
    model = OpenAIModel(its, memory=store.endpoints if store else None, now=lambda: now)
    assert [event async for event in model.reply(ASKED)]
    await model.close()


def temperatures(server: ModelServer) -> list[bool]:
    return ["temperature" in body for body in server.bodies]


async def test_a_restart_does_not_ask_for_what_was_refused(any_url: str) -> None:
    async with ModelServer(refusal("temperature"), Turn("a"), Turn("b")) as server:
        for _ in range(2):
            store = open_store(any_url, audit_key=TEST_KEY)
            await answered(store, settings(server))
            await store.close()
        assert temperatures(server) == [True, False, False]
        kept = read_learned(any_url)
    assert kept is not None
    assert "temperature" in said(kept, settings(server), NOW)


@pytest.mark.parametrize("changes", [{"model": "other"}, {"api": "responses"}])
async def test_another_configuration_begins_anew(url: str, changes: dict[str, Any]) -> None:
    async with ModelServer(refusal("temperature"), Turn("a"), Turn("b")) as server:
        store = open_store(url, audit_key=TEST_KEY)
        await answered(store, settings(server))
        await answered(store, settings(server, **changes))
        await store.close()
        assert temperatures(server) == [True, False, True]


async def test_after_a_week_it_is_tried_again_also_by_a_process_that_runs_on(url: str) -> None:
    async with ModelServer(refusal("temperature"), Turn("a"), Turn("b"), Turn("c")) as server:
        store = open_store(url, audit_key=TEST_KEY)
        days = [0]
        model = OpenAIModel(settings(server), memory=store.endpoints, now=lambda: NOW + timedelta(days=days[0]))
        for day in (0, 6, 8):
            days[0] = day
            assert [event async for event in model.reply(ASKED)]
        await model.close()
        await store.close()
        assert temperatures(server) == [True, False, False, True]


async def test_a_store_that_fails_costs_no_answer() -> None:
    class Broken:
        async def recall(self) -> Learned | None:
            raise StoreError("the disk is full")

        async def keep(self, learned: Learned) -> None:
            raise StoreError("the disk is full")

    async with ModelServer(refusal("temperature"), Turn("a")) as server:
        model = OpenAIModel(settings(server), memory=Broken(), now=lambda: NOW)
        assert [event async for event in model.reply(ASKED)]
        await model.close()


def test_everything_that_can_be_learned_comes_back() -> None:
    its = ModelSettings("gpt-5.5", temperature=0.5, api="chat")
    can = Capabilities(its)
    facts = {"max_tokens_name": "max_tokens", "system_role": "system", "format_way": FormatWay.WORDS}
    can.take(frozenset({"vision", "stream_options"}), **facts, tools_need_no_effort=True)  # type: ignore[arg-type]
    back = recalled(learned(can, its, NOW), its, NOW)
    assert back is not None
    assert (back.refused, back.max_tokens_name, back.system_role) == (can.refused, "max_tokens", "system")
    assert (back.format_way, back.tools_need_no_effort, back.looks_at_pictures) == (FormatWay.WORDS, True, False)
    assert said(learned(can, its, NOW), its, NOW) == (
        "it takes no `stream_options`, no pictures, no JSON schemas, no developer role, tools only without reasoning "
        "effort (learned 2026-11-22, tried again 2026-11-29)"
    )


GOOD = json.loads(learned(Capabilities(ModelSettings("m")), ModelSettings("m"), NOW).facts)


@pytest.mark.parametrize(
    "facts",
    [
        "",
        "[]",
        "{}",
        "null",
        json.dumps(GOOD | {"refused": ["model"]}),
        json.dumps(GOOD | {"refused": 5}),
        json.dumps(GOOD | {"system_role": "user"}),
        json.dumps(GOOD | {"max_tokens_name": "n"}),
        json.dumps(GOOD | {"format_way": 9}),
        json.dumps(GOOD | {"tools_need_no_effort": "yes"}),
        json.dumps(GOOD | {"more": 1}),
    ],
)
def test_a_damaged_record_is_none(facts: str) -> None:
    its = ModelSettings("m")
    name = learned(Capabilities(its), its, NOW).endpoint
    assert recalled(Learned(name, NOW, json.dumps(GOOD)), its, NOW) is not None
    assert recalled(Learned(name, NOW, facts), its, NOW) is None


@pytest.mark.parametrize("at", [NOW - HOLDS_FOR, NOW + timedelta(seconds=1)])
def test_too_old_and_from_the_future_is_none(at: datetime) -> None:
    its = ModelSettings("m")
    assert recalled(learned(Capabilities(its), its, at), its, NOW) is None


def test_no_key_and_no_path_of_secrets_is_kept() -> None:
    its = ModelSettings("m", "https://models.example.com/v1", api_key="sk-secret")
    assert "secret" not in repr(learned(Capabilities(its), its, NOW))


async def test_the_doctor_says_what_is_left_out(url: str) -> None:
    import asyncio

    async with ModelServer(refusal("temperature"), Turn("a"), Turn("b"), repeat=True) as server:
        store = open_store(url, audit_key=TEST_KEY)
        model = OpenAIModel(settings(server), memory=store.endpoints)
        assert [event async for event in model.reply(ASKED)]
        await model.close()
        await store.close()
        doctor = ModelDoctor(settings(server), recall=lambda: read_learned(url))
        found = await asyncio.to_thread(lambda: list(doctor.check(30)))
    (finding,) = [one for one in found if one.check == Check.LEARNED]
    assert finding.said.startswith("it takes no `temperature` (learned ")


def test_without_a_database_nothing_is_known(url: str) -> None:
    assert read_learned(url) is None
