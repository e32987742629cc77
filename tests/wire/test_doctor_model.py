"""`opsbot doctor` on models: one question over the wire, and what each kind of answer means."""

import asyncio
import json
import time
from datetime import date

import pytest

from opsbot.adapters.doctor_model import ModelDoctor, switched_off
from opsbot.adapters.openai_endpoint import ModelSettings
from opsbot.diagnosis import Area, Finding, Status, Subject
from opsbot.spending import Price
from tests.model_servers import Hang, ModelServer, Raw, Step, Turn, chat_events
from tests.model_servers import Status as Answer
from tests.ports import reserved_port

KEY = "sk-canary-0123456789abcdef"
CALLED = Turn(calls=(("call_1", "report_word", '{"word":"ready"}'),))
TIMEOUT_S = 2.0


async def check(*steps: Step, api: str = "chat", url: str = "", model: str = "m") -> dict[str, Finding]:
    async with ModelServer(*steps, repeat=True) as server:
        settings = ModelSettings(model, base_url=url or server.base_url, api_key=KEY, api=api)  # type: ignore[arg-type]
        found = await asyncio.to_thread(lambda: list(ModelDoctor(settings).check(TIMEOUT_S)))
    assert KEY not in repr(found)
    return {each.check: each for each in found}


@pytest.mark.parametrize(("api", "said"), [("chat", "Chat Completions API"), ("responses", "Responses API")])
async def test_a_model_that_calls_the_function(api: str, said: str) -> None:
    found = await check(CALLED, api=api)
    assert {name: str(each.status) for name, each in found.items()} == {
        "endpoint": "ok",
        "streaming": "ok",
        "function calling": "ok",
    }
    assert said in found["endpoint"].said


@pytest.mark.parametrize(
    ("base_url", "own", "status"),
    [("", {}, "ok"), ("http://127.0.0.1:1/v1", {}, "warn"), ("http://127.0.0.1:1/v1", {"gpt-6-luna": 1}, "ok")],
)
def test_a_budget_of_money_needs_a_price(base_url: str, own: dict[str, int], status: str) -> None:
    prices = {name: Price(figure, figure, figure) for name, figure in own.items()}
    doctor = ModelDoctor(ModelSettings("gpt-6-luna", base_url), ("budget.day_usd",), prices)
    found = next(finding for finding in doctor.check(0.01) if finding.check == "price")
    assert str(found.status) == status
    assert ("budget.day_usd" in found.said and "model.prices" in found.remedy) == (status == "warn")


async def test_one_small_question_is_all_that_is_asked() -> None:
    async with ModelServer(CALLED) as server:
        settings = ModelSettings("m", base_url=server.base_url, api_key=KEY, api="chat")
        await asyncio.to_thread(lambda: list(ModelDoctor(settings).check(TIMEOUT_S)))
        (body,) = server.bodies
    assert [tool["function"]["name"] for tool in body["tools"]] == ["report_word"]
    assert len(json.dumps(body)) < 2000


async def test_a_model_without_function_calling() -> None:
    found = (await check("ready"))["function calling"]
    assert (found.status, "--jinja" in found.remedy) == (Status.FAIL, True)


@pytest.mark.parametrize(
    "call",
    [
        ("call_1", "report_word", "[]"),
        ("call_1", "report_word", '{"word":7}'),
        ("call_1", "report_word", "{}"),
        ("call_1", "other", '{"word":"ready"}'),
    ],
)
async def test_a_call_that_does_not_fit(call: tuple[str, str, str]) -> None:
    found = (await check(Turn(calls=(call,))))["function calling"]
    assert (found.status, "not that function" in found.said) == (Status.FAIL, True)


@pytest.mark.parametrize(
    ("status", "which", "remedy"),
    [
        (401, "key", "model.api_key"),
        (403, "key", "access to this model"),
        (404, "model", "model.name"),
        (400, "request", "model.api"),
    ],
)
async def test_a_refusal_says_which_setting_to_correct(status: int, which: str, remedy: str) -> None:
    body = '{"error":{"message":"no","type":"x","code":null,"param":null}}'
    found = await check(Answer(status, body))
    assert list(found) == [which]
    assert (found[which].status, remedy in found[which].remedy) == (Status.FAIL, True)


async def test_a_service_that_limits_us() -> None:
    found = await check(Answer(429, headers={"retry-after": "60"}))
    assert list(found) == ["limits"]


async def test_a_service_that_fails() -> None:
    found = (await check(Answer(503)))["endpoint"]
    assert (found.status, "failing" in found.remedy) == (Status.FAIL, True)


async def test_a_model_that_hangs_costs_the_deadline() -> None:
    started = time.monotonic()
    found = (await check(Hang()))["endpoint"]
    assert time.monotonic() - started < TIMEOUT_S + 1
    assert found.said == f"no answer within {TIMEOUT_S:g} s"


async def test_a_model_too_slow_for_the_deadline_is_a_warning() -> None:
    begun = b"".join(list(chat_events(Turn("a long story about servers")))[:3])
    found = (await check(Raw(begun, end="stall")))["answer"]
    assert (found.status, "--timeout" in found.remedy) == (Status.WARN, True)


async def test_an_endpoint_nobody_listens_at() -> None:
    with reserved_port() as number:
        found = await check("", url=f"http://127.0.0.1:{number}/v1")
    assert (found["endpoint"].status, "model.base_url" in found["endpoint"].remedy) == (Status.FAIL, True)


async def test_a_web_page_is_no_model() -> None:
    page = Answer(200, "<html>hello</html>", content_type="text/html")
    found = await check(page)
    assert [each.status for each in found.values()] == [Status.FAIL]


async def test_a_model_whose_end_was_announced() -> None:
    found = await check(CALLED, model="gpt-4o")
    assert found["end of life"].said == "it is switched off on 2027-01-14"
    subject = Subject(Area.MODEL, "x")
    assert switched_off(subject, "2026-10-23", date(2026, 11, 23)).status is Status.FAIL
    assert switched_off(subject, "2026-12-11", date(2026, 11, 23)).status is Status.WARN
