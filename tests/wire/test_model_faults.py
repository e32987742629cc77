"""Every way an endpoint of the OpenAI kind can fail, and what the asker gets instead: llm.md section 2, R04, T19."""

import asyncio
import json
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx2
import pytest
from structlog.testing import capture_logs

from opsbot.adapters.openai_breaker import MAX_FAILURES, PAUSE_S
from opsbot.adapters.openai_errors import retry_after_s
from opsbot.adapters.openai_model import ModelSettings, OpenAIModel
from opsbot.domain import Actor, ToolCall, Usage, UserMessage
from opsbot.errors import ContextTooLong, ModelError, ModelMisbehaved, ModelUnavailable
from opsbot.ports import Done, ModelEvent, ModelRequest, TextDelta, ToolSpec
from tests.model_servers import Cut, Hang, ModelServer, Raw, Slow, Status, Step, Turn, chat_events, stream

NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
KEY = "sk-canary-0123456789abcdef"
TOOL = ToolSpec("look", "Look.", {"type": "object", "properties": {"host": {"type": "string"}}})
NOW = datetime(2026, 11, 22, tzinfo=UTC)
HELLO = ModelRequest("Be brief.", (UserMessage("hello", Actor("T1", "U1"), NOW),), (TOOL,))
EARLY_LATE = Turn("early late", pieces=2)
CALL = Turn("I look.", calls=(("call_1", "look", '{"host":"web-1"}'),))


class Sleeper:
    """A sleep that takes no time and remembers how long it should have been."""

    def __init__(self) -> None:
        self.slept_s: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept_s.append(seconds)
        await asyncio.sleep(0)


class Ticker:
    """A monotonic clock that only moves when told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer() as running:
        yield running


@pytest.fixture(params=["chat", "responses"])
def wire(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
async def make(server: ModelServer, wire: str) -> AsyncIterator[Callable[..., OpenAIModel]]:
    models = []

    def build(base_url: str = "", **rest: object) -> OpenAIModel:
        fakes = {key: rest.pop(key) for key in ("sleep", "monotonic", "transport") if key in rest}
        settings = ModelSettings("m", base_url or server.base_url, KEY, api=wire, **rest)
        # Certificates take 30 ms of CPU to load, and no test here needs them.
        fakes.setdefault("transport", httpx2.AsyncHTTPTransport(verify=NO_CERTIFICATES))
        models.append(OpenAIModel(settings, **{"sleep": Sleeper(), **fakes}))
        return models[-1]

    yield build
    for model in models:
        await model.close()


async def collect(model: OpenAIModel, request: ModelRequest = HELLO) -> list[ModelEvent]:
    return [event async for event in model.reply(request)]


async def failure(model: OpenAIModel) -> tuple[ModelError, list[ModelEvent]]:
    """The error of a reply, with what came before it. Safe to show: no key, no path, no markup, short."""
    events = []
    error: ModelError | None = None
    try:
        async for event in model.reply(HELLO):
            events.append(event)
    except ModelError as raised:
        error = raised
    assert error is not None, events
    text = str(error)
    assert KEY not in text
    assert "/v1" not in text
    assert "<" not in text
    assert 20 < len(text) < 300
    assert text.endswith(".")
    return error, events


def said(turn: Turn, wire: str) -> bytes:
    return stream(turn, f"/{wire}")


def text_of(events: list[ModelEvent]) -> str:
    return "".join(event.text for event in events if isinstance(event, TextDelta))


# --- what is whole ---------------------------------------------------------------------------------------------------


async def test_a_whole_answer_arrives_as_text_calls_usage_and_done_in_this_order(server, make):
    server.add(Turn("I look.", calls=CALL.calls, usage=(120, 30, 64)))
    events = await collect(make())
    assert text_of(events) == "I look."
    kinds = [type(event) for event in events if not isinstance(event, TextDelta)]
    assert kinds == [ToolCall, Usage, Done]
    assert events[-3] == ToolCall("call_1", "look", '{"host":"web-1"}')
    assert events[-2] == Usage(120, 30, 64)
    assert events[-1].reason == "tool_calls"


async def test_tokens_of_tries_that_came_to_nothing_are_counted_too(server, make):
    server.add(Turn("", reason="stop"), Turn("Fine.", usage=(200, 10, 150)))
    events = await collect(make())
    assert [event for event in events if isinstance(event, Usage)] == [Usage(320, 40, 214)]
    assert text_of(events) == "Fine."


async def test_the_asker_is_told_what_is_waited_for(server, make):
    told = []

    async def notice(what: str) -> None:
        told.append(what)

    server.add(Status(429, headers={"retry-after": "7"}), Status(503, headers={"retry-after": "2"}), Turn("Fine."))
    assert text_of(await collect(make(), replace(HELLO, notice=notice))) == "Fine."
    assert told == [
        "waiting 7 s for the model's service, which limits our requests (429)",
        "asking the model once more (try 2 of 3)",
        "waiting 2 s for the model's service, which fails (503)",
        "asking the model once more (try 3 of 3)",
    ]


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_a_cut_text_is_complete_with_its_reason(server, make, reason):
    server.add(Turn("Half a sen", reason=reason))
    events = await collect(make())
    assert (text_of(events), events[-1].reason) == ("Half a sen", reason)


@pytest.mark.parametrize("reason", ["length", "content_filter"])
async def test_calls_of_a_cut_answer_are_dropped_and_not_asked_for_again(server, make, reason):
    server.add(Turn("", calls=CALL.calls, reason=reason))
    error, events = await failure(make())
    assert isinstance(error, ModelMisbehaved)
    assert events == [Usage(120, 30, 64)], "what it took is counted all the same"
    assert len(server.requests) == 1


async def test_malformed_arguments_come_through_unchanged(server, make):
    server.add(Turn(calls=(("c", "look", '{"host": "web-1", '),)))
    events = await collect(make())
    assert events[0] == ToolCall("c", "look", '{"host": "web-1", ')


async def test_slow_tokens_are_no_fault(server, make):
    server.add(Slow(Turn("one two three", pieces=6), 0.01))
    assert text_of(await collect(make())) == "one two three"


async def test_text_is_passed_on_while_the_rest_is_still_to_come(server, make, wire):
    data = said(EARLY_LATE, wire)
    server.add(Raw(data[: data.index(b"late")], "stall"))
    events = make(read_timeout_s=60).reply(HELLO)
    assert isinstance(await anext(events), TextDelta)
    await events.aclose()


# --- what may be tried again -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [408, 409, 429, 500, 502, 503, 504])
async def test_a_passing_fault_is_tried_again(server, make, status):
    server.add(Status(status), Status(status), Turn("well"))
    assert text_of(await collect(make())) == "well"
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_three_tries_are_all_there_are(server, make, status):
    server.add(*[Status(status)] * 5)
    error, _ = await failure(make())
    assert isinstance(error, ModelUnavailable)
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_a_refusal_is_not_tried_again(server, make, status):
    server.add(Status(status), Turn("never asked"))
    error, _ = await failure(make())
    assert isinstance(error, ModelUnavailable)
    assert str(status) in str(error)
    assert len(server.requests) == 1


async def test_without_a_hint_the_waits_are_jittered_and_grow(server, make):
    sleeper = Sleeper()
    server.add(Status(500), Status(500), Turn("well"))
    await collect(make(sleep=sleeper))
    first, second = sleeper.slept_s
    assert 0.3 < first < 0.7
    assert 0.7 < second < 1.3


@pytest.mark.parametrize(
    ("headers", "wait_s"),
    [
        ({"retry-after": "3"}, 3.0),
        ({"retry-after": "0.5"}, 0.5),
        ({"retry-after-ms": "250", "retry-after": "9"}, 0.25),
        ({"retry-after": "20"}, 20.0),
    ],
)
async def test_the_service_says_how_long_to_wait(server, make, headers, wait_s):
    sleeper = Sleeper()
    server.add(Status(429, headers=headers), Turn("well"))
    assert text_of(await collect(make(sleep=sleeper))) == "well"
    assert sleeper.slept_s == [wait_s]


@pytest.mark.parametrize("seconds", [21, 121])
async def test_a_long_wait_is_left_to_the_asker(server, make, seconds):
    server.add(Status(429, headers={"retry-after": str(seconds)}), Turn("never asked"))
    error, _ = await failure(make())
    assert isinstance(error, ModelUnavailable)
    assert error.retry_after_s == seconds
    assert f"{seconds} s" in str(error)
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("text", "wait_s"),
    [
        ("5", 5.0),
        (format_datetime(NOW + timedelta(seconds=7), usegmt=True), 7.0),
        (format_datetime(NOW - timedelta(seconds=7), usegmt=True), 0.0),
        ("-3", 0.0),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("", None),
    ],
)
def test_retry_after_is_seconds_or_a_date(text, wait_s):
    assert retry_after_s({"retry-after": text}, NOW) == wait_s


async def test_should_retry_says_the_service_itself(server, make):
    server.add(Status(500, headers={"x-should-retry": "false"}), Turn("never asked"))
    await failure(make())
    assert len(server.requests) == 1
    server.add(Status(400, headers={"x-should-retry": "true"}), Turn("well"))
    server._steps.pop(0)
    assert text_of(await collect(make())) == "well"


async def test_an_empty_account_is_never_asked_twice(server, make):
    body = {"error": {"message": "You exceeded your current quota", "type": "insufficient_quota"}}
    body["error"]["code"] = "insufficient_quota"
    server.add(Status(429, json.dumps(body), {"retry-after": "1"}), Turn("never asked"))
    error, _ = await failure(make())
    assert "credit" in str(error)
    assert len(server.requests) == 1


# --- what is no answer -----------------------------------------------------------------------------------------------

UNFINISHED = {
    "no finish reason": lambda wire: Raw(_unfinished(wire)),
    "connection reset": lambda wire: Raw(_unfinished(wire), "reset"),
    "empty stream": lambda wire: Raw(b""),
    "only DONE": lambda wire: Raw(b"data: [DONE]\n\n"),
    "only comments": lambda wire: Raw(b": ping\n\n: ping\n\n"),
    "chunk that is not JSON": lambda wire: Raw(_unfinished(wire) + b'data: {"choices": [\n\n'),
    "chunk that is no object": lambda wire: Raw(b"data: [1, 2]\n\n"),
    "not UTF-8": lambda wire: Raw(b'data: {"a": "\xff\xfe"}\n\n'),
    "plain JSON": lambda wire: Status(200, '{"id":"x","object":"chat.completion","choices":[]}'),
    "pretty JSON": lambda wire: Status(200, '{\n  "id": "x"\n}\n'),
    "error event": lambda wire: Raw(b'data: {"error":{"message":"overloaded","code":"server_error"}}\n\n'),
    "error text": lambda wire: Raw(b'data: {"error":"overloaded"}\n\n'),
    "unknown reason": lambda wire: Raw(_with_reason(wire)),
    "empty answer": lambda wire: Turn(""),
}


def _unfinished(wire: str) -> bytes:
    """A call, complete but for the end that the wire must say."""
    data = said(Turn(calls=CALL.calls), wire)
    if wire == "responses":
        return data[: data.index(b"event: response.completed")]
    events = [event for event in chat_events(Turn(calls=CALL.calls)) if b'"finish_reason":"tool_calls"' not in event]
    return b"".join(events[:-2])


def _with_reason(wire: str) -> bytes:
    data = said(Turn("x"), wire)
    if wire == "chat":
        return data.replace(b'"finish_reason":"stop"', b'"finish_reason":"gave_up"')
    incomplete = b'"status":"incomplete","incomplete_details":{"reason":"gave_up"}'
    data = data.replace(b"response.completed", b"response.incomplete")
    return data.replace(b'"id":"resp_1","status":"completed"', b'"id":"resp_1",' + incomplete)


@pytest.mark.parametrize("name", UNFINISHED)
async def test_an_unfinished_answer_yields_no_call_and_is_tried_again(server, make, wire, name):
    step = UNFINISHED[name](wire)
    server.add(step, Turn("well", reason="stop"))
    events = []
    try:
        async for event in make().reply(HELLO):
            events.append(event)
    except ModelMisbehaved:
        assert text_of(events)  # something was shown, so it was not said twice
    else:
        assert text_of(events) == "well"
        assert len(server.requests) == 2
    assert not [event for event in events if isinstance(event, ToolCall)]


@pytest.mark.parametrize("name", UNFINISHED)
async def test_an_endpoint_that_never_finishes_is_an_error_after_three_tries(server, make, wire, name):
    server.add(*[UNFINISHED[name](wire)] * 3)
    error, events = await failure(make())
    assert isinstance(error, ModelMisbehaved | ModelUnavailable)
    assert not [event for event in events if isinstance(event, ToolCall | Done)]


async def test_after_the_first_word_nothing_is_tried_again(server, make, wire):
    data = said(CALL, wire)
    server.add(Cut(CALL, data.index(b"ook") + 12), Turn("never asked"))
    error, events = await failure(make())
    assert text_of(events)
    assert isinstance(error, ModelMisbehaved | ModelUnavailable)
    assert len(server.requests) == 1


async def test_a_web_page_is_not_an_api(server, make):
    server.add(Status(200, "<!DOCTYPE html><html>Sign in</html>", content_type="text/html"))
    error, _ = await failure(make())
    assert "web page" in str(error)
    assert len(server.requests) == 1


async def test_a_bad_gateway_with_a_page_shows_no_markup(server, make):
    server.add(*[Status(502, "<html><h1>502 Bad Gateway</h1></html>", content_type="text/html")] * 3)
    error, _ = await failure(make())
    assert "502" in str(error)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_not_followed(server, make, status):
    server.add(Status(status, "", {"location": "http://127.0.0.1:9/steal"}))
    error, _ = await failure(make())
    assert str(status) in str(error)
    assert len(server.requests) == 1


async def test_an_error_event_after_text_ends_the_answer(server, make, wire):
    data = said(EARLY_LATE, wire)
    server.add(Raw(data[: data.index(b"late")].rpartition(b"\n\n")[0] + b'\n\ndata: {"error":{"message":"x"}}\n\n'))
    error, events = await failure(make())
    assert isinstance(error, ModelMisbehaved)
    assert text_of(events) == "early"


@pytest.mark.parametrize(
    ("status", "code", "message"),
    [
        (400, "context_length_exceeded", "This model's maximum context length is 8192 tokens."),
        (400, "exceed_context_size_error", "the request exceeds the available context size"),
        (400, None, "'max_tokens' is too large: 2000. This model's maximum context length is 1024 tokens"),
        (413, None, "prompt is too long"),
    ],
)
async def test_a_conversation_that_does_not_fit_has_its_own_error(server, make, status, code, message):
    error_body = {"error": {"message": message, "type": "invalid_request_error", "code": code, "param": "messages"}}
    server.add(Status(status, json.dumps(error_body)), Turn("never asked"))
    error, _ = await failure(make())
    assert isinstance(error, ContextTooLong)
    assert len(server.requests) == 1


# --- time and size ---------------------------------------------------------------------------------------------------


async def test_silence_before_the_headers_ends_in_time(server, make):
    server.add(*[Hang()] * 3)
    error, _ = await failure(make(read_timeout_s=0.2))
    assert isinstance(error, ModelUnavailable)
    assert "in time" in str(error)
    assert len(server.requests) == 3


async def test_silence_in_the_middle_ends_in_time(server, make, wire):
    data = said(EARLY_LATE, wire)
    server.add(Raw(data[: data.index(b"late")], "stall"))
    error, events = await failure(make(read_timeout_s=0.2))
    assert isinstance(error, ModelUnavailable)
    assert text_of(events) == "early"
    assert len(server.requests) == 1


async def test_drops_that_never_end_meet_the_total_deadline(server, make):
    server.add(Raw(b": ping\n\n" * 4000, delay_s=0.05))
    started = asyncio.get_running_loop().time()
    error, _ = await failure(make(read_timeout_s=30, total_timeout_s=0.5))
    assert isinstance(error, ModelUnavailable)
    assert asyncio.get_running_loop().time() - started < 15


async def test_a_server_that_stays_silent_after_the_end_is_not_waited_for(server, make, wire, monkeypatch):
    monkeypatch.setattr("opsbot.adapters.openai_model.TRAILER_S", 0.2)
    data = said(CALL, wire)
    end = data.index(b"data: [DONE]") if wire == "chat" else len(data)
    server.add(Raw(data[:end], "stall"))
    events = await collect(make())
    assert events[-1].reason == "tool_calls"


async def test_more_than_a_mebibyte_of_answer_is_refused(server, make):
    server.add(Turn("x" * (1024 * 1024 + 10), pieces=40))
    error, events = await failure(make())
    assert isinstance(error, ModelMisbehaved)
    assert "larger" in str(error)
    assert not [event for event in events if isinstance(event, Done)]
    assert len(server.requests) == 1


@pytest.mark.parametrize("head", [b"", b"data: "])
async def test_a_body_without_end_is_refused(server, make, head):
    server.add(Raw(head + b": " * (5 * 1024 * 1024)))
    error, _ = await failure(make())
    assert isinstance(error, ModelMisbehaved)


async def test_an_error_body_without_end_is_refused(server, make):
    server.add(Status(500, "x" * (9 * 1024 * 1024)), Turn("never asked"))
    error, _ = await failure(make())
    assert "larger" in str(error)


async def test_a_compressed_answer_is_refused(server, make):
    server.add(*[Status(200, "", {"content-encoding": "gzip"})] * 3)
    error, _ = await failure(make())
    assert isinstance(error, ModelMisbehaved)
    assert server.requests[0].headers["Accept-Encoding"] == "identity"


async def test_nobody_there_is_said_plainly(make):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    error, _ = await failure(make(f"http://127.0.0.1:{port}/v1"))
    assert isinstance(error, ModelUnavailable)
    assert "connection" in str(error)


@pytest.mark.parametrize(
    "raised",
    [
        httpx2.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED]"),
        httpx2.ConnectError("Name or service not known"),
        httpx2.ConnectTimeout("slow"),
        httpx2.RemoteProtocolError("peer closed connection"),
        httpx2.ReadError("reset"),
        OSError("no route"),
    ],
)
async def test_tls_name_and_connection_faults_are_tried_three_times(make, raised):
    asked = []

    def answer(request: httpx2.Request) -> httpx2.Response:
        asked.append(request)
        raise raised

    error, _ = await failure(make(transport=httpx2.MockTransport(answer)))
    assert isinstance(error, ModelUnavailable)
    assert len(asked) == 3


# --- the circuit breaker ---------------------------------------------------------------------------------------------


async def test_after_five_failures_in_a_row_the_service_is_left_alone_until_a_probe_succeeds(server, make):
    clock = Ticker()
    model = make(monotonic=clock)
    server.add(*[Status(500)] * MAX_FAILURES)
    await failure(model)
    error, _ = await failure(model)
    assert len(server.requests) == MAX_FAILURES
    assert "in a row" in str(error)
    error, _ = await failure(model)
    assert error.retry_after_s == pytest.approx(PAUSE_S)
    assert len(server.requests) == MAX_FAILURES

    clock.now_s += PAUSE_S + 1
    server.add(Turn("back"))
    assert text_of(await collect(model)) == "back"
    server.add(Status(500), Turn("well"))
    assert text_of(await collect(model)) == "well"


async def test_a_failed_probe_opens_the_circuit_again(server, make):
    clock = Ticker()
    model = make(monotonic=clock)
    server.add(*[Status(500)] * (MAX_FAILURES + 1), Turn("never asked"))
    await failure(model)
    await failure(model)
    clock.now_s += PAUSE_S + 1
    await failure(model)
    assert len(server.requests) == MAX_FAILURES + 1


async def test_only_one_probe_goes_at_a_time(server, make, wire):
    clock = Ticker()
    model = make(monotonic=clock)
    server.add(*[Status(500)] * MAX_FAILURES)
    await failure(model)
    await failure(model)
    clock.now_s += PAUSE_S + 1
    data = said(EARLY_LATE, wire)
    server.add(Raw(data[: data.index(b"late")], "stall"), Turn("never asked"))
    probe = model.reply(HELLO)
    await anext(probe)
    await failure(model)
    assert len(server.requests) == MAX_FAILURES + 1
    await probe.aclose()
    assert text_of(await collect(model)) == "never asked"


@pytest.mark.parametrize("status", [400, 401, 404, 429])
async def test_an_answer_that_refuses_is_no_outage(server, make, status):
    model = make()
    server.add(*[Status(status, headers={"x-should-retry": "false"})] * 8, Turn("well"))
    for _ in range(8):
        await failure(model)
    assert text_of(await collect(model)) == "well"


# --- what is logged --------------------------------------------------------------------------------------------------


async def test_the_log_has_the_details_and_never_the_key(server, make):
    body = {"error": {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key", "param": None}}
    server.add(Status(401, json.dumps(body), {"x-request-id": "req_42"}))
    with capture_logs() as logs:
        error, _ = await failure(make())
    assert "key" in str(error)
    (record,) = [entry for entry in logs if entry["event"] == "model.failed"]
    assert (record["status"], record["request_id"], record["code"]) == (401, "req_42", "invalid_api_key")
    assert KEY not in repr(logs)
    assert "uthorization" not in repr(logs)


def test_settings_do_not_show_the_key():
    assert KEY not in repr(ModelSettings("m", api_key=KEY))


STEPS: list[Step] = [Status(429, headers={"retry-after": "0"}), Status(500), Status(502, "<html>"), Cut(CALL, 200)]


@pytest.mark.parametrize("step", STEPS)
async def test_fifty_askers_at_once_each_hear_something(server, make, step):
    server.add(*[step] * 400)
    answers = await asyncio.gather(*(collect(model) for model in [make()] * 50), return_exceptions=True)
    assert all(isinstance(answer, ModelError) for answer in answers)
    assert len(server.requests) <= 150
