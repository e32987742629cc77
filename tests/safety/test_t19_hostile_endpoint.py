"""T19: a model endpoint that lies, floods, stalls or redirects gets nothing, holds nobody up, and learns no secret."""

import base64
import json
import resource
import ssl
import subprocess
import time
import urllib.parse
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web

from opsbot.adapters.openai_model import ModelSettings, OpenAIModel
from opsbot.domain import Actor, ToolCall, UserMessage
from opsbot.errors import ModelError
from opsbot.ports import ModelRequest, ToolSpec
from tests.fake_clock import FakeClock
from tests.fake_machines import FakeMachines, FakeUnit
from tests.model_servers import Cut, Hang, ModelServer, Raw, Slow, Status, Step, Turn, chat_events
from tests.ports import reserved_port
from tests.safety.conftest import Figures
from tests.scenario.house import ALICE, House, World

KEY = "sk-canary-0123456789abcdef"
SECRETS = ("xoxb-canary-4242424242-abcdefghij", "canary-Pa55word!&<>", "AKIACANARY0123456789/+=")
TOOL = ToolSpec("look", "Look.", {"type": "object", "properties": {}})
HELLO = ModelRequest("Be brief.", (UserMessage("hello", ALICE, FakeClock().now()),), (TOOL,))
CALL = Turn("I look.", calls=(("call_1", "look", "{}"),))
READ_TIMEOUT_S, TOTAL_S = 1.0, 3.0


def sse(*payloads: object) -> bytes:
    return b"".join(b"data: " + json.dumps(payload).encode() + b"\n\n" for payload in payloads)


def many_calls(count: int) -> Turn:
    return Turn(calls=tuple((f"c{n}", "look", "{}") for n in range(count)), pieces=1)


MODES: dict[str, Step] = {
    "never answers": Hang(),
    "stalls": Cut(CALL, 150, "stall"),
    "cut": Cut(CALL, 150),
    "drips pings for ever": Raw(b": ping\n\n" * 4_000, delay_s=0.05),
    "drips text for ever": Slow(Turn("x" * 4_000, pieces=2_000), delay_s=0.05),
    "nine megabytes of text": Raw(b"".join(chat_events(Turn("x" * 9_000_000, pieces=100)))),
    "a line without end": Raw(b"data: " + b"x" * 9_000_000),
    "an error without end": Status(500, "x" * 9_000_000),
    "depth without end": Raw(b'data: {"choices":' + b"[" * 200_000 + b"\n\n"),
    "not JSON": Raw(b"data: {not json}\n\n" * 3),
    "JSON of other kinds": Raw(sse(1, "x", None, [], {"choices": 7}, {"choices": [{"delta": 3}]})),
    "arguments of a megabyte": Turn(calls=(("c", "look", '{"a":"' + "x" * 1_200_000 + '"}'),), pieces=10),
    "ten thousand calls": many_calls(10_000),
    "a reason that is no word": Raw(sse({"choices": [{"index": 0, "delta": {}, "finish_reason": {"$ne": 1}}]})),
}


def model_at(url: str) -> OpenAIModel:
    settings = ModelSettings("m", url, KEY, api="chat", read_timeout_s=READ_TIMEOUT_S, total_timeout_s=TOTAL_S)
    return OpenAIModel(settings)


@pytest.fixture
async def server() -> AsyncIterator[ModelServer]:
    async with ModelServer() as running:
        yield running


async def outcome(model: OpenAIModel) -> tuple[ModelError | None, int]:
    """Ask once; return the error, if there was one, and how many calls came through."""
    calls = 0
    try:
        async for event in model.reply(HELLO):
            calls += isinstance(event, ToolCall)
    except ModelError as error:
        return error, calls
    finally:
        await model.close()
    return None, calls


@pytest.mark.parametrize("mode", MODES)
async def test_every_hostile_answer_ends_in_time_and_bounds(mode: str, server: ModelServer, figures: Figures) -> None:
    server.add(*[MODES[mode]] * 3)
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began_s = time.monotonic()
    error, calls = await outcome(model_at(server.base_url))
    took_s = time.monotonic() - began_s
    # Up to three tries, each within its total, and the waits between them.
    assert took_s < 3 * TOTAL_S + 8
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 100_000
    if error is not None:
        said = str(error)
        assert KEY not in said
        assert len(said) < 300
        assert calls == 0, "calls of an unfinished answer count for nothing, but none may even arrive"
    figures.add(hostile_modes=1, calls_from_refused_answers=calls if error else 0)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_lead_nowhere(status: int, server: ModelServer, figures: Figures) -> None:
    async with ModelServer("stolen", repeat=True) as thief:
        server.add(*[Status(status, "", {"location": f"{thief.base_url}/chat/completions"})] * 3)
        error, _ = await outcome(model_at(server.base_url))
        figures.add(redirects_followed=len(thief.requests))
        assert error is not None
        assert thief.requests == []


async def test_a_certificate_nobody_vouches_for_is_refused(tmp_path: Path) -> None:
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    named = ["-keyout", str(key), "-out", str(certificate), "-subj", "/CN=127.0.0.1", "-days", "1"]
    subprocess.run([*made, *named], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    asked: list[str] = []

    async def answer(request: web.Request) -> web.Response:
        asked.append(await request.text())
        return web.json_response({})

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    with reserved_port() as port:
        await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
        error, _ = await outcome(model_at(f"https://127.0.0.1:{port}/v1"))
    await runner.cleanup()
    assert error is not None
    assert asked == []


def disguises(secret: str) -> list[str]:
    """A secret as it turns up in logs: as it is, and in the encodings machines put it in."""
    raw = secret.encode()
    return [
        secret,
        base64.b64encode(raw).decode(),
        raw.hex(),
        urllib.parse.quote(secret, safe=""),
        json.dumps(secret)[1:-1],
        f"{secret[:9]}\n{secret[9:]}",
    ]


async def test_no_request_holds_a_secret(server: ModelServer, figures: Figures) -> None:
    """Secrets stand in log lines, in what people write and in errors; what the endpoint is sent holds none of them."""
    planted = [form for secret in SECRETS for form in disguises(secret)]
    unit = FakeUnit("nginx", log=[f"line with {form} in it" for form in planted])
    world = World(machines=FakeMachines({"web-1": [unit], "web-2": ["nginx"]}), secrets=SECRETS)
    server.add(Turn(calls=(("c1", "service_logs", json.dumps({"hosts": ["web-1"], "unit": "nginx"})),)), "Seen.")
    world.model = OpenAIModel(ModelSettings("m", server.base_url, KEY, api="chat"))  # type: ignore[assignment]
    house = House(world)
    await house.start()
    await house.says(Actor("T1", "UALICE"), "what does nginx on web-1 say?")
    await house.stop()
    await world.model.close()
    assert len(server.requests) == 2
    sent = json.dumps(server.bodies, ensure_ascii=False)
    assert "line with" in sent
    leaked = [form for form in planted if form in sent or json.dumps(form)[1:-1] in sent]
    figures.note(secrets_planted=len(planted), secrets_sent=len(leaked))
    assert leaked == []


@pytest.mark.parametrize("wire", ["chat", "responses"])
async def test_arguments_of_endless_depth_do_not_poison_the_conversation(wire: str, server: ModelServer) -> None:
    """A refused call stays in the history, so what is sent next time has to carry it."""
    server.add(Turn(calls=(("c1", "server_status", '{"hosts":' + "[" * 20_000),)), "I could not.", "All is well.")
    world = World(model=OpenAIModel(ModelSettings("m", server.base_url, KEY, api=wire)))  # type: ignore[arg-type]
    house = House(world)
    await house.start()
    await house.says(ALICE, "look")
    await house.says(ALICE, "and now?")
    await house.stop()
    await world.model.close()
    assert "All is well." in "\n".join(house.seen)
