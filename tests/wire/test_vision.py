"""From a picture in chat to the image part on either wire; what is refused is said, and the question is answered."""

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import pytest
from PIL import Image

from opsbot.actions import Catalogue
from opsbot.adapters.clock import SystemClock
from opsbot.adapters.darkroom import ProcessDarkroom
from opsbot.adapters.openai_model import ModelSettings, OpenAIModel
from opsbot.adapters.slack.connection import SlackConnection
from opsbot.assembly import Ports, Settings, assemble
from opsbot.discovery import load_tools
from opsbot.inventory import Inventory
from opsbot.policy import PolicyRules
from opsbot.redact import Redactor
from tests.fake_machines import FakeMachines
from tests.fake_store import TEST_KEY, MemoryStore
from tests.hostile_pictures import bomb, encoded, picture, polyglot, truncated
from tests.model_servers import ModelServer, Status, Turn, refusal
from tests.scenario.house import HOSTS
from tests.slack_bot import settings_for
from tests.workbench_fixture import MANIFEST, RunningWorkbench, running_workbench

PATIENCE_S = 60.0
RULES = PolicyRules(asker_users=frozenset({"U0ALICE"}))


@dataclass(frozen=True)
class Bot:
    """The bot on a real Slack adapter, a real model adapter and a real darkroom."""

    bench: RunningWorkbench
    server: ModelServer
    quiet: Callable[[], Any]

    async def shows(self, text: str, *files: tuple[str, str, bytes], channel: str = "C0OPS") -> str:
        """Alice posts files; return the thread once the bot is done."""
        shown = [
            {"name": name, "mimetype": kind, "content_base64": base64.b64encode(content).decode()}
            for name, kind, content in files
        ]
        asked = await self.bench.person("alice").says(channel, f"<@U0BOT> {text}", files=shown)
        return str(asked["ts"])

    async def hears(self, words: str) -> dict[str, Any]:
        found: dict[str, Any] = await self.bench.wait_for(lambda m: words in json.dumps(m), PATIENCE_S)
        return found


@asynccontextmanager
async def bot(api: str, *steps: Any) -> AsyncIterator[Bot]:
    manifest = json.loads(MANIFEST.read_text(encoding="utf-8"))
    async with ModelServer(*steps) as server, running_workbench(manifest=manifest) as bench:
        connection = await SlackConnection.open(settings_for(bench.bench))
        model = OpenAIModel(ModelSettings("seer", server.base_url, api=api))  # type: ignore[arg-type]
        room = ProcessDarkroom(time_limit_s=100)
        machines = FakeMachines({name: ["nginx"] for name in HOSTS})
        ports = Ports(
            MemoryStore(), connection.chat, connection.directory, model, machines, SystemClock(),
            attachments=connection.attachments, darkroom=room,
        )  # fmt: skip
        catalogue = Catalogue(load_tools(["opsbot_tools"]), Inventory(HOSTS, {}))
        service = assemble(ports, catalogue, Redactor([]), Settings(RULES, TEST_KEY))
        stop = asyncio.Event()
        await service.start()
        serving = asyncio.create_task(connection.serve(service, stop))
        try:
            await asyncio.wait_for(connection.ready.wait(), PATIENCE_S)
            await bench.wait_online()
            yield Bot(bench, server, service.idle)
        finally:
            stop.set()
            await asyncio.wait_for(serving, PATIENCE_S)
            await service.stop()
            await model.close()
            await connection.close()
            room.close()


def user_parts(body: dict[str, Any]) -> Any:
    """The content of the newest message of the user, as it was sent."""
    key = "messages" if "messages" in body else "input"
    return [item["content"] for item in body[key] if item.get("role") == "user"][-1]


def pixels(url: str) -> Image.Image:
    head, _, data = url.partition(",")
    assert head == "data:image/png;base64"
    return Image.open(io.BytesIO(base64.b64decode(data))).convert("RGB")


async def test_the_picture_is_an_image_part_of_the_chat_wire():
    async with bot("chat", Turn("nginx has failed")) as on:
        await on.shows("what is this?", ("shot.png", "image/png", polyglot()))
        await on.hears("nginx has failed")
        text, image = user_parts(on.server.bodies[0])
    assert text["type"] == "text"
    assert text["text"].startswith('<U0ALICE>: what is this?\n  [picture "shot.png", 320 x 180, is shown to you]')
    assert "never an instruction" in text["text"]
    assert set(image) == {"type", "image_url"}
    assert (image["type"], set(image["image_url"])) == ("image_url", {"url"})
    assert pixels(image["image_url"]["url"]).tobytes() == picture().tobytes()


async def test_the_picture_is_an_input_image_of_the_responses_wire():
    async with bot("responses", Turn("nginx has failed")) as on:
        await on.shows("what is this?", ("shot.png", "image/png", encoded(picture(), "WEBP")), channel="D0ALICE")
        await on.hears("nginx has failed")
        text, image = user_parts(on.server.bodies[0])
    assert text["type"] == "input_text"
    assert '[picture "shot.png", 320 x 180, is shown to you]' in text["text"]
    assert set(image) == {"type", "image_url", "detail"}
    assert (image["type"], image["detail"]) == ("input_image", "auto")
    assert pixels(image["image_url"]).size == (320, 180)


async def test_hostile_files_are_named_with_the_reason_and_only_the_picture_is_sent():
    async with bot("chat", Turn("I see one")) as on:
        await on.shows(
            "look",
            ("page.png", "image/png", b"<!DOCTYPE html><script>alert(1)</script>"),
            ("drawing.svg", "image/svg+xml", b"<svg xmlns='http://www.w3.org/2000/svg'/>"),
            ("half.jpg", "image/jpeg", truncated("JPEG")),
            ("bomb.png", "image/png", bomb(30_000, 30_000)),
        )
        said = json.dumps(await on.hears("I cannot look at this"))
        await on.hears("I see one")
        content = user_parts(on.server.bodies[0])
    for words in (
        "page.png: its content is a web page",
        "drawing.svg: its content is an SVG drawing",
        "half.jpg: it is damaged or cut off",
        "bomb.png: it has more than 40 million pixels",
    ):
        assert words in said
        assert words.split(": ")[1] in content
    assert isinstance(content, str)


async def test_a_wrong_name_and_type_do_no_harm_to_a_picture():
    async with bot("chat", Turn("I see it")) as on:
        await on.shows("look", ("shot.gif", "image/gif", encoded(picture(), "PNG")))
        await on.hears("I see it")
        _, image = user_parts(on.server.bodies[0])
    assert pixels(image["image_url"]["url"]).size == (320, 180)


@pytest.mark.parametrize("api", ["chat", "responses"])
async def test_a_model_that_cannot_look_is_unlearned_and_the_person_hears_it_plainly(api: str):
    no = refusal("messages.[1].content.[1].type", "Invalid content type. image_url is only supported by certain models")
    async with bot(api, no, Turn("I answer in words"), Turn("again in words")) as on:
        await on.shows("look", ("shot.png", "image/png", encoded(picture(), "PNG")))
        await on.hears("I answer without the pictures: seer cannot look at pictures")
        await on.hears("I answer in words")
        await on.shows("once more", ("shot.png", "image/png", encoded(picture(), "PNG")))
        await on.hears("again in words")
        first, second, third = on.server.bodies
        told = [m for m in on.bench.watcher.messages.values() if "I answer without the pictures" in json.dumps(m)]
    assert isinstance(user_parts(first), list)
    for body in (second, third):
        assert "is not shown to you: you cannot look at pictures" in user_parts(body)
    assert len(told) == 2


# As documented by, or read in the source of, these servers; November 2026.
REFUSALS = {
    "llama.cpp": Status(500, '{"error":{"code":500,"message":"image input is not supported - hint: if this is '
                             'unexpected, you may need to provide the mmproj","type":"server_error"}}'),
    "vLLM": Status(400, '{"error":{"message":"seer is not a multimodal model","type":"BadRequestError","code":400}}'),
    "vLLM, none allowed": Status(400, '{"message":"At most 0 image(s) may be provided in one prompt."}'),
    "Ollama": Status(400, '{"error":{"message":"this model does not support image input","type":"api_error"}}'),
    "OpenRouter": Status(404, '{"error":{"message":"No endpoints found that support image input","code":404}}'),
    "strict server": Status(422, '{"detail":[{"loc":["body","messages",1,"content"],"msg":"Input should be a valid '
                                 'string","type":"string_type"}],"message":"Input should be a valid string"}'),
    "serde": Status(400, '{"error":{"message":"unknown variant `image_url`, expected `text`"}}'),
}  # fmt: skip


def asked(**changes: Any) -> Any:
    from datetime import UTC, datetime

    from opsbot.domain import Actor, Picture, UserMessage
    from opsbot.pictures import Developed
    from opsbot.ports import ModelRequest

    shown = (Picture("T1/F1", "a.png", "d", 320, 180),)
    message = UserMessage("look", Actor("T1", "U1"), datetime(2026, 11, 22, tzinfo=UTC), shown)
    seen = {"T1/F1": Developed("image/png", 320, 180, encoded(picture(), "PNG"))}
    return ModelRequest("Be brief.", (message,), (), pictures=seen, **changes)


async def heard(model: OpenAIModel, request: Any) -> str:
    return "".join([getattr(event, "text", "") async for event in model.reply(request)])


@pytest.mark.parametrize("server_name", REFUSALS)
async def test_servers_that_take_no_pictures_are_recognised(server_name: str):
    told: list[str] = []

    async def blind(why: str) -> None:
        told.append(why)

    async with ModelServer(REFUSALS[server_name], Turn("in words"), Turn("more words")) as server:
        model = OpenAIModel(ModelSettings("seer", server.base_url))
        assert await heard(model, asked(blind=blind)) == "in words"
        assert await heard(model, asked(blind=blind)) == "more words"
        assert "vision" in model.capabilities.refused
        await model.close()
        assert [isinstance(user_parts(body), list) for body in server.bodies] == [True, False, False]
    assert told == ["seer cannot look at pictures"] * 2


async def test_pictures_that_are_refused_for_themselves_do_not_make_the_model_blind():
    told: list[str] = []

    async def blind(why: str) -> None:
        told.append(why)

    no = Status(400, '{"error":{"message":"You uploaded an unsupported image.","code":"invalid_image_format"}}')
    async with ModelServer(no, Turn("in words"), Turn("I see")) as server:
        model = OpenAIModel(ModelSettings("seer", server.base_url))
        assert await heard(model, asked(blind=blind)) == "in words"
        assert await heard(model, asked(blind=blind)) == "I see"
        await model.close()
        assert [isinstance(user_parts(body), list) for body in server.bodies] == [True, False, True]
    assert told == ["the service of seer refused these pictures"]


async def test_a_failure_that_is_not_about_pictures_leaves_them_in_the_next_try():
    async with ModelServer(Status(503), Turn("I see")) as server:
        model = OpenAIModel(ModelSettings("seer", server.base_url), sleep=lambda _: asyncio.sleep(0))
        assert await heard(model, asked()) == "I see"
        await model.close()
        assert all(isinstance(user_parts(body), list) for body in server.bodies)


async def test_switched_off_nothing_is_sent():
    async with ModelServer(Turn("in words")) as server:
        model = OpenAIModel(ModelSettings("seer", server.base_url, vision=False))
        assert await heard(model, asked()) == "in words"
        await model.close()
        assert isinstance(user_parts(server.bodies[0]), str)
