"""What the README says of the language model is played here, word for word, and has a place for every capability.

`python -m tests.docs.test_capabilities_docs` prints every block as it would be now.
"""

import asyncio
import os
import re
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import structlog
from prometheus_client import generate_latest

from opsbot import dialogue, logs
from opsbot.adapters.metrics import Metrics
from opsbot.adapters.openai_endpoint import ModelSettings
from opsbot.adapters.openai_model import OpenAIModel
from opsbot.adapters.runbook_folder import RunbookFolder
from opsbot.domain import Actor, IncomingMessage
from opsbot.passages import Kind
from opsbot.ports import ChatModel
from opsbot.redact import Redactor
from opsbot.shelving import LOOK_EVERY_S
from tests.docs.sessions import ROOT, check
from tests.fake_chat import lines
from tests.incident_threads import answer
from tests.model_servers import ModelServer, Status
from tests.scenario.house import ALICE, BOB, THREAD, House, World
from tests.scenario.test_reports import press
from tests.scenario.test_shown_pictures import FakeAttachments, FakeDarkroom, attachment
from tests.scripted_model import Reply, Say, ScriptedModel, call

README = (ROOT / "README.md").read_text(encoding="utf-8")
WHO = {ALICE: "Alice", BOB: "Bob"}
LOOK = call("server_status", hosts=["web-1"])
RESTART = call("restart_service", hosts=["web-1"], unit="nginx")
FINE = "web-1 is well: load 0.5 on 2 CPUs, 03:00 UTC (`uptime`)."
RUNBOOK = "# nginx\n\n## 502 Bad Gateway\nLook at the upstream, then restart it.\n"


@dataclass
class Play:
    """A house, and what people saw there, line by line."""

    house: House
    text: str = ""
    _shown: dict[str, str] = field(default_factory=dict)

    @classmethod
    async def begin(cls, model: ChatModel, **world: object) -> "Play":
        house = House(World(model=model, **world))  # type: ignore[arg-type]
        await house.start()
        return cls(house)

    async def says(self, actor: Actor, text: str) -> None:
        words = text.removeprefix("!")
        happens = self.house.says(actor, text) if words == text else self.house.types(actor, words, THREAD)
        await self.then(f"{WHO[actor]}: @opsbot {text}", happens)

    async def types(self, actor: Actor, text: str) -> None:
        await self.then(f"{WHO[actor]}: /ops {text}", self.house.types(actor, text))

    async def presses(self, actor: Actor, verb: str) -> None:
        await self.then(f"{WHO[actor]} presses {verb.capitalize()}.", self.house.clicks(actor, verb))

    async def then(self, what: str, happens: Awaitable[None]) -> None:
        self.text += f"{what}\n"
        whispers = len(self.house.world.chat.whispers)
        await happens
        for whispered in self.house.world.chat.whispers[whispers:]:
            self._add("opsbot, to one alone", lines(whispered.content))
        for message in self.house.world.chat.messages:
            now = "\n".join(lines(message.content))
            if self._shown.get(message.key) != now:
                self._add("opsbot", lines(message.content))
            self._shown[message.key] = now

    def _add(self, who: str, said: list[str]) -> None:
        self.text += f"{who}: {said[0]}\n" + "".join(f"    {line}\n" for line in said[1:])

    async def end(self) -> str:
        await self.house.stop()
        cards = [card.approval.id for message in self.house.cards() if (card := message.content)]  # type: ignore[union-attr]
        for number, approval_id in enumerate(dict.fromkeys(cards)):
            self.text = self.text.replace(approval_id, f"K7MQ2RT{number}")
        return re.sub(r"incident-\w{8}\.", "incident-3FA9XK2M.", self.text)


def model(*replies: Reply) -> ScriptedModel:
    return ScriptedModel(*replies, name="gpt-6-luna")


async def conversation() -> str:
    play = await Play.begin(model(LOOK, FINE, "It had 40 days of uptime, as I said above.", "I know of nothing."))
    await play.says(ALICE, "how is web-1?")
    await play.says(BOB, "and its uptime?")
    await play.says(ALICE, "!reset")
    await play.says(ALICE, "what did I ask?")
    requests = play.house.world.model.requests
    assert requests[2].messages[: len(requests[1].messages)] == requests[1].messages
    assert len(requests[3].messages) == 1
    assert len({request.system for request in requests}) == 1
    return await play.end()


async def streaming() -> str:
    rest = asyncio.Event()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dialogue, "_DRAFT_AFTER_S", 0)
        return await _streamed(rest)


async def _streamed(rest: asyncio.Event) -> str:
    play = await Play.begin(model(Say("web-1 is well: load 0.5 on 2 CPUs.", pieces=2, gate=rest)))
    asking = asyncio.create_task(play.says(ALICE, "how is web-1?"))
    async with asyncio.timeout(30):
        while not play.house.world.chat.drafts:
            await asyncio.sleep(0)
    rest.set()
    await asking
    drafts = "".join(f"opsbot, at work: {text}\n" for _, text in play.house.world.chat.drafts[:1])
    asked, answered = (await play.end()).split("\n", 1)
    return f"{asked}\n{drafts}{answered}"


async def several_tools() -> str:
    log = call("service_logs", hosts=["web-1"], unit="nginx")
    first = Say("I look at the host and the log at once.", (LOOK, log))
    asks = Say("nginx leaks. I ask for a restart.", (RESTART,))
    play = await Play.begin(model(first, asks, "Restarted; it answers again."))
    await play.says(ALICE, "web-1 is slow, please mend it")
    await play.presses(BOB, "approve")
    return await play.end()


async def incident_report() -> str:
    play = await Play.begin(model(LOOK, FINE, answer()))
    await play.says(ALICE, "web-1 was slow, how is it now?")
    await play.says(ALICE, "!report")
    await play.then("Alice presses Publish.", press(play.house, "publish"))
    play.text += "".join(f"    with {file.name}\n" for _, file in play.house.world.chat.uploads)
    return await play.end()


async def screenshot() -> str:
    restart = Say("The page shows 502, which nginx says of a dead upstream. I ask for a restart.", (RESTART,))
    play = await Play.begin(model(restart), attachments=FakeAttachments(), darkroom=FakeDarkroom())
    shown = IncomingMessage(THREAD, ALICE, "what is this?", "18.1", files=(attachment(),), files_told=True)
    sent = play.house.send(shown, "shown:1")
    await play.then("Alice: @opsbot what is this? [shot-1.png]", _then_quiet(play.house, sent))
    (request,) = play.house.world.model.requests  # type: ignore[attr-defined]
    assert [*request.pictures] == ["T1/F1"]
    tainted = ", ".join(play.house.approval.tainted_by)
    return f"{await play.end()}    proposed after reading: {tainted}\n"


async def _then_quiet(house: House, sent: Awaitable[bool]) -> None:
    await sent
    await house.quiet()


async def runbooks() -> str:
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "nginx.md").write_text(RUNBOOK)
        found = call("search_runbooks", query="502 bad gateway")
        answer = "Look at the upstream, then restart it: nginx.md › 502 Bad Gateway."
        play = await Play.begin(model(found, answer), runbooks=RunbookFolder(Path(folder)))
        async with asyncio.timeout(30):
            while not await play.house.world.store.passages.documents(Kind.RUNBOOK):
                play.house.world.clock.advance(LOOK_EVERY_S)
                await asyncio.sleep(0.01)
        await play.says(ALICE, "web-1 shows 502, what now?")
        await play.types(ALICE, "runbook bad gateway")
        return await play.end()


async def rate_limited() -> str:
    async with ModelServer() as server:
        server.add(Status(429, headers={"retry-after": "90"}))
        real = OpenAIModel(ModelSettings("gpt-6-luna", server.base_url, "sk-x", api="responses"))
        play = await Play.begin(real)
        await play.says(ALICE, "how is web-1?")
        await play.types(ALICE, "status web-1")
        assert len(server.bodies) == 1
        text = await play.end()
        await real.close()
    return text


async def figures() -> str:
    metrics, before = Metrics(), structlog.get_config()
    with open(os.devnull, "w", encoding="utf-8") as nowhere:
        logs.configure("json", "error", Redactor(()), stream=nowhere, counting=metrics)
        try:
            play = await Play.begin(model(LOOK, FINE))
            await play.says(ALICE, "how is web-1?")
            await play.end()
        finally:
            structlog.configure(**before)
    counted = generate_latest(metrics.registry).decode()
    return "".join(f"{line}\n" for line in re.findall(r"^opsbot_(?:tool_hosts|turns)_total.*$", counted, re.MULTILINE))


PLAYS: dict[str, Callable[[], Awaitable[str]]] = {
    "It remembers the thread": conversation,
    "Answers appear while they are written": streaming,
    "Several tools, several rounds": several_tools,
    "An incident report from a thread": incident_report,
    "Screenshots": screenshot,
    "Runbooks by meaning": runbooks,
    "When the model is not there": rate_limited,
    "Figures": figures,
}


# What an operations bot can use of the API, and the part of the README that shows it.
CAPABILITIES = {
    "key from the environment or the configuration": "A key, or a clear word",
    "completions with usage": "What the model costs",
    "history of a conversation, reset": "It remembers the thread",
    "streaming": "Answers appear while they are written",
    "function calling": "Several tools, several rounds",
    "structured output": "An incident report from a thread",
    "vision": "Screenshots",
    "embeddings": "Runbooks by meaning",
    "retries, rate limits, timeouts": "When the model is not there",
    "logs, latency, statistics": "Figures",
}


def section(heading: str) -> str:
    found = re.search(rf"^### {re.escape(heading)}\n(.*?)(?=^##|\Z)", README, re.MULTILINE | re.DOTALL)
    assert found, f"README.md has no part {heading!r}"
    return found[1]


@pytest.mark.parametrize("heading", CAPABILITIES.values())
def test_every_capability_has_its_part(heading: str) -> None:
    assert re.search(rf"^###? {re.escape(heading)}$", README, re.MULTILINE)


@pytest.mark.parametrize("heading", PLAYS)
async def test_what_the_readme_shows_is_what_happens(heading: str) -> None:
    (shown,) = re.findall(r"```text\n(.*?)```", section(heading), re.DOTALL)
    assert await PLAYS[heading]() == shown


def test_without_a_key_the_readme_shows_what_is_said(tmp_path, monkeypatch, capsys) -> None:
    (config,) = re.findall(r"```yaml\n# config.yaml\n(.*?)```", section("A key, or a clear word"), re.DOTALL)
    (session,) = re.findall(r"```console\n(.*?)```", section("A key, or a clear word"), re.DOTALL)
    (tmp_path / "config.yaml").write_text(config)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    check(session, capsys)


async def _print() -> None:
    for heading, play in PLAYS.items():
        print(f"### {heading}\n\n```text\n{await play()}```\n")


if __name__ == "__main__":
    asyncio.run(_print())
