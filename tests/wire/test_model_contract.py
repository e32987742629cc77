"""The rules of model events, held by the fake, the keyless model and the real adapter alike."""

from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime

import pytest

from opsbot.adapters.keyless import KeylessModel
from opsbot.adapters.keyless_router import LexicalRouter
from opsbot.adapters.openai_model import ModelSettings, OpenAIModel
from opsbot.domain import Actor, Connection, Host, ToolCall, Usage, UserMessage
from opsbot.errors import ModelError, ModelMisbehaved, ModelUnavailable
from opsbot.ports import ChatModel, Done, ModelEvent, ModelRequest, TextDelta, ToolSpec
from tests.model_servers import Cut as ServerCut
from tests.model_servers import ModelServer, Status, Turn, stream
from tests.scripted_model import Cut, Say, ScriptedModel

NOW = datetime(2026, 11, 22, tzinfo=UTC)
HOSTS = {"type": "array", "items": {"type": "string"}}
TOOL = ToolSpec("server_status", "Look.", {"type": "object", "properties": {"hosts": HOSTS}})
CALL = ToolCall("call_1", "server_status", '{"hosts": ["box"]}')
Make = Callable[[str], Awaitable[ChatModel]]


def request(text: str) -> ModelRequest:
    return ModelRequest("", (UserMessage(text, Actor("T1", "U1"), NOW),), (TOOL,))


@pytest.fixture(params=["scripted", "chat", "responses"])
async def make(request: pytest.FixtureRequest) -> AsyncIterator[Make]:
    """Build a model that plays one scene: text, call, cut, refused."""
    opened: list[ModelServer | ChatModel] = []

    async def scripted(scene: str) -> ChatModel:
        refused = ModelUnavailable("The model's service refused the API key (401). The operator must check it.")
        scenes = {"text": Say("Hello."), "call": Say(calls=(CALL,)), "cut": Cut("Hel", (CALL,)), "refused": refused}
        return ScriptedModel(scenes[scene])

    async def real(scene: str) -> ChatModel:
        turn = Turn("Hello.", calls=() if scene == "text" else ((CALL.call_id, CALL.tool, CALL.arguments),))
        whole = stream(turn, f"/{request.param}")
        end = b'finish_reason":"' if request.param == "chat" else b"response.completed"
        steps = {
            "text": turn,
            "call": Turn(calls=turn.calls),
            "cut": ServerCut(turn, whole.index(end)),
            "refused": Status(401),
        }
        server = await ModelServer(steps[scene]).start()
        model = OpenAIModel(ModelSettings("m", server.base_url, api=request.param))
        opened.extend([server, model])
        return model

    yield scripted if request.param == "scripted" else real
    for one in reversed(opened):
        await (one.stop() if isinstance(one, ModelServer) else one.close())


async def play(model: ChatModel, text: str = "how is this machine?") -> tuple[list[ModelEvent], ModelError | None]:
    events: list[ModelEvent] = []
    try:
        async for event in model.reply(request(text)):
            events.append(event)
    except ModelError as error:
        return events, error
    return events, None


def assert_whole(events: list[ModelEvent]) -> None:
    """Text, then calls, then usage, then Done: each kind in its place, Done once and last."""
    order = {TextDelta: 0, ToolCall: 1, Usage: 2, Done: 3}
    places = [order[type(event)] for event in events]
    assert places == sorted(places)
    assert places.count(3) == 1
    assert places.count(2) <= 1
    assert all(event.text for event in events if isinstance(event, TextDelta))


async def test_a_text_ends_with_stop(make: Make):
    events, error = await play(await make("text"))
    assert error is None
    assert_whole(events)
    assert "".join(event.text for event in events if isinstance(event, TextDelta)) == "Hello."
    assert isinstance(events[-1], Done)
    assert events[-1].reason == "stop"


async def test_a_call_ends_with_tool_calls(make: Make):
    events, error = await play(await make("call"))
    assert error is None
    assert_whole(events)
    assert CALL in events
    assert isinstance(events[-1], Done)
    assert events[-1].reason == "tool_calls"


async def test_a_cut_reply_never_says_done(make: Make):
    events, error = await play(await make("cut"))
    assert isinstance(error, ModelMisbehaved | ModelUnavailable)
    assert not [event for event in events if isinstance(event, Done)]


async def test_a_refusal_comes_before_any_event(make: Make):
    events, error = await play(await make("refused"))
    assert events == []
    assert isinstance(error, ModelUnavailable)


@pytest.mark.parametrize("text", ["how is this machine?", "hello", "what is the meaning of life", ""])
async def test_the_keyless_model_keeps_the_same_rules(text: str):
    model = KeylessModel(lambda: [Host("box", Connection.LOCAL)], dict, router=LexicalRouter())
    events, error = await play(model, text)
    assert error is None
    assert_whole(events)


async def test_every_model_has_a_name_and_can_be_closed(make: Make):
    model = await make("text")
    assert model.name
    await model.close()
