"""T23: no secret of the bot's own leaves, by any way in and out, in six encodings; ordinary logs stay as they are."""

import asyncio
import io
import json
import logging
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
import structlog
from rich.console import Console
from slack_bolt.middleware.request_verification.async_request_verification import AsyncRequestVerification
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse

from opsbot import logs
from opsbot.actions import Catalogue
from opsbot.adapters.machines import HostMachines
from opsbot.adapters.openai_history import Answer, Asked, Item, Replied, ordered
from opsbot.adapters.slack import blocks
from opsbot.adapters.terminal import render
from opsbot.discovery import SHIPPED_TOOLS, Registry, load_tools
from opsbot.domain import CommandResult, Content, Host, Json, Risk, Text
from opsbot.errors import OpsbotError
from opsbot.executor import Executor
from opsbot.intake import Intake, as_json
from opsbot.inventory import Inventory
from opsbot.ports import ModelEvent, ModelRequest
from opsbot.redact import HIDDEN, Redactor
from opsbot.vocabulary import Vocabulary
from opsbot.workshop import Surroundings
from tests.fake_clock import FakeClock
from tests.fake_machines import FakeMachines, FakeUnit
from tests.fake_store import MemoryStore
from tests.recordings import FOLDER, ReplayShell
from tests.safety.canaries import CANARIES, ENCODINGS, leaks
from tests.scenario.house import ALICE, BOB, RULES, THREAD, House, World
from tests.scripted_model import Say, ScriptedModel, call
from tests.tools.test_every_tool_recorded import HOST, ROWS, Row, arguments_of
from tests.unit.debian_log_lines import log_lines

pytestmark = pytest.mark.timeout(600)
REDACTOR = Redactor(CANARIES)

# What a tool of somebody's own may do with a text: return it in any form, raise it, log it, hide it in a chart.
TOOL = '''
"""Tools that tell a secret in every way there is."""

import logging
from datetime import UTC, datetime, timedelta

from opsbot import Chart, CommandResult, Context, Host, HostOutcome, Impact, Result, Series, Table, ToolError, tool


def told(ctx, host):
    """Fetch the text as any tool would: from the host."""
    return ctx.run(host, "tell").stdout


def _charts(results):
    TOLD = next(iter(results.values()))["text"]
    points = tuple((datetime(2026, 11, 1, tzinfo=UTC) + timedelta(minutes=n), 1.0) for n in range(3))
    return [Chart(TOLD, "", (Series(TOLD, points),))]


def _table(results):
    TOLD = str(next(iter(results.values())))
    return Table((TOLD, "b"), ((TOLD, TOLD),), TOLD)


@tool(risk="read", table=_table, charts=_charts)
def tell_value(ctx: Context, host: Host) -> dict[str, object]:
    """Tell it as values."""
    TOLD = told(ctx, host)
    half = len(TOLD) // 2
    halves = [TOLD[:half], TOLD[half:]]
    return {"text": TOLD, "lines": TOLD.split("\\n"), "halves": halves, TOLD: {"password": TOLD}}


@tool(risk="read", table=_table)
def tell_lines(ctx: Context, host: Host) -> dict[str, object]:
    """Tell it as lines of a log."""
    TOLD = told(ctx, host)
    return {"lines": [f"2026-11-02 09:00:00 UTC app: {line}" for line in TOLD.split("\\n")]}


@tool(risk="read")
def tell_error(ctx: Context, host: Host) -> dict[str, object]:
    """Tell it as an error."""
    TOLD = told(ctx, host)
    logging.getLogger("tool").error("failed with %s", TOLD)
    raise ToolError(f"could not read it: {TOLD}")


@tool(risk="read")
def tell_crash(ctx: Context, host: Host) -> dict[str, object]:
    """Tell it as a bug, with a traceback."""
    TOLD = told(ctx, host)
    raise RuntimeError(TOLD)


@tool(risk="read")
def tell_stderr(ctx: Context, host: Host) -> dict[str, object]:
    """Tell it as what a command said."""
    TOLD = told(ctx, host)
    CommandResult(("cat",), 1, "", TOLD).check()
    return {}


def _impact(ctx, host):
    TOLD = told(ctx, host)
    return Impact(((TOLD, TOLD),), {"state": "a"})


def _verify(ctx, host, before):
    TOLD = told(ctx, host)
    return HostOutcome(host.name, Result.FAILED, TOLD, TOLD, ((TOLD, TOLD),))


@tool(risk="change", impact=_impact, verify=_verify)
def tell_change(ctx: Context, host: Host) -> None:
    """Tell it on a card, and as an outcome."""
    TOLD = told(ctx, host)
    raise ToolError(TOLD)


def _bad_impact(ctx, host):
    TOLD = told(ctx, host)
    raise ToolError(TOLD)


@tool(risk="change", impact=_bad_impact, verify=_verify)
def tell_impact(ctx: Context, host: Host) -> None:
    """Tell it while a card is made."""
    TOLD = told(ctx, host)
'''


class Captured:
    """Everything that left one house, by exit."""

    def __init__(self, house: House, log: io.StringIO) -> None:
        self._house = house
        self._log = log

    def contents(self) -> list[Content]:
        chat = self._house.world.chat
        said = [content for message in chat.messages for content in message.history]
        said += [whisper.content for whisper in chat.whispers]
        return said + [Text(words) for _, words in (*chat.drafts, *chat.statuses)]

    async def by_exit(self) -> dict[str, str]:
        """What left, as text; each exit as its reader gets it."""
        world = self._house.world
        requests = world.model.requests
        payloads = [payload for content in self.contents() for payload in blocks.render(content)]
        terminal = io.StringIO()
        console = Console(file=terminal, width=10_000)
        for content in self.contents():
            console.print(render(content))
        history = (await world.store.conversations.load(THREAD)).messages
        approvals = [card.content.approval for card in self._house.cards()]  # type: ignore[union-attr]
        records = [record for approval in approvals for record in await world.store.audit.about(approval.id)]
        return {
            "model": "\n".join(_words(item) for request in requests for item in ordered(request.messages)),
            "slack": "\n".join(
                [*(json.dumps(p.blocks, ensure_ascii=False) for p in payloads), *(p.text + p.plain for p in payloads)]
            ),
            "pictures": "\n".join(repr(pictured.charts) for pictured in world.chat.pictured),
            "terminal": terminal.getvalue(),
            "log": self._log.getvalue(),
            "store": "\n".join(map(repr, history)),
            "audit": "\n".join(map(repr, records)),
        }


def _words(item: Item) -> str:
    """What an item says, as it goes over the wire."""
    match item:
        case Asked(text):
            return text
        case Answer(call_id, content):
            return f"{call_id} {content}"
        case Replied(message):
            return "\n".join([message.text, *(f"{call.tool} {call.arguments}" for call in message.calls)])


async def _tool(house: House, name: str, told: str) -> None:
    house.world.model.add(call(name, hosts=["web-1"]), "I looked.")
    await house.says(ALICE, "look")
    if house.cards():
        await house.passes(3)
        await house.clicks(BOB, "approve")
        await house.types(ALICE, f"explain {house.approval.id}")


async def _command(house: House, name: str, told: str) -> None:
    await house.types(ALICE, f"do {name} web-1")


async def _typed(house: House, name: str, told: str) -> None:
    house.world.model.add("I see.")
    await house.says(ALICE, f"my token is {told}, is that bad?")


async def _reason(house: House, name: str, told: str) -> None:
    await house.types(ALICE, f"restart nginx web-1 because {told}")
    await house.types(ALICE, f"do {told} web-1")
    await house.types(ALICE, f"explain {told}")


async def _spoken(house: House, name: str, told: str) -> None:
    house.world.model.add(Say(f"The token is {told}, keep it.", pieces=7))
    await house.says(ALICE, "tell me")


async def _arguments(house: House, name: str, told: str) -> None:
    arguments: dict[str, Json] = {"hosts": ["web-1", told], "unit": told, told: told}
    house.world.model.add(call("restart_service", "c1", **arguments), call(told, "c2", x=1), "No.")
    await house.says(ALICE, "restart it")


async def _logs_of_a_service(house: House, name: str, told: str) -> None:
    house.world.machines.unit("web-1", "nginx").log = ["started", *told.split("\n"), "ok"]
    house.world.model.add(call("service_logs", hosts=["web-1"], unit="nginx"), "Hm.")
    await house.says(ALICE, "logs?")
    await house.types(ALICE, "logs nginx web-1")


TOLD_BY = (
    "tell_value", "tell_lines", "tell_error", "tell_crash", "tell_stderr", "tell_change", "tell_impact",
)  # fmt: skip
Entrance = Callable[[House, str, str], Any]
ENTRANCES: dict[str, tuple[Entrance, str]] = {
    **{f"tool: {name}": (_tool, name) for name in TOLD_BY},
    **{f"command: {name}": (_command, name) for name in TOLD_BY[:4]},
    "typed": (_typed, ""),
    "reason": (_reason, ""),
    "spoken by the model": (_spoken, ""),
    "arguments of the model": (_arguments, ""),
    "logs of a service": (_logs_of_a_service, ""),
}  # fmt: skip


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    stream = io.StringIO()
    logs.configure("json", "debug", REDACTOR, stream=stream)
    yield stream
    logs.configure("console", "warning", Redactor())


async def left_by(
    registry: Registry, told: str, entrance: str, log: io.StringIO, secrets: Sequence[str]
) -> dict[str, str]:
    """Put a text in by one entrance, and return what comes out by each exit."""
    act, name = ENTRANCES[entrance]
    world = World(secrets=tuple(secrets), machines=FakeMachines({"web-1": ["nginx", FakeUnit("brittle")]}))
    world.machines.answer("web-1", "tell", stdout=told)
    house = House(world, registry=registry)
    await house.start()
    try:
        await act(house, name, told)
        return await Captured(house, log).by_exit()
    finally:
        await house.stop()


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    folder = tmp_path_factory.mktemp("tools")
    (folder / "tell.py").write_text(TOOL, encoding="utf-8")
    return load_tools([SHIPPED_TOOLS, folder])


async def test_no_own_secret_leaves(registry: Registry, logged: io.StringIO, figures: Any, scale: Any) -> None:
    planted, looked_at, found = 0, 0, []
    for number, value in enumerate(CANARIES[:: -scale(5, 1)]):
        for encoding, encode in ENCODINGS.items():
            told = f"it is {encode(value)} there"
            for entrance in ENTRANCES:
                planted += 1
                for exit_, text in (await left_by(registry, told, entrance, logged, CANARIES)).items():
                    looked_at += 1
                    found += [(number, encoding, entrance, exit_, leak) for leak in leaks(text)]
                logged.seek(0)
                logged.truncate(0)
    assert found == []
    figures.note(secrets_planted=planted, exits_looked_at=f"{looked_at:,}", leaks=0)


async def test_the_search_finds_what_leaks(registry: Registry, logged: io.StringIO) -> None:
    """Without its secrets known the bot tells them, by every entrance: otherwise the rule above proves nothing."""
    logs.configure("json", "debug", Redactor(), stream=logged)
    value = CANARIES[2]
    for encoding, encode in ENCODINGS.items():
        told = f"it is {encode(value)} there"
        silent = []
        for entrance in ENTRANCES:
            left = await left_by(registry, told, entrance, logged, ())
            if not any(leaks(text) for text in left.values()):
                silent.append(entrance)
        # A command's words are refused without a repetition; how a tool crashed stands in the log.
        assert set(silent) <= {"reason"}, (encoding, silent)


# --- every shipped tool ----------------------------------------------------------------------------------------------


class Poisoned(ReplayShell):
    """A recorded host whose words have secrets and escape sequences among them."""

    def __init__(self, name: str, seed: int) -> None:
        super().__init__(name)
        self._rng = random.Random(seed)
        self.planted = 0

    def run(
        self, host: Host, argv: Sequence[str], *, timeout_s: float, max_bytes: int = 65536, stdin: str = ""
    ) -> CommandResult:
        result = super().run(host, argv, timeout_s=timeout_s, max_bytes=max_bytes, stdin=stdin)
        return replace(result, stdout=self._spoiled(result.stdout), stderr=self._spoiled(result.stderr))

    def _spoiled(self, text: str) -> str:
        words = text.split(" ")
        for place, word in enumerate(words):
            if len(word) > 3 and "@@opsbot" not in word and self._rng.random() < 0.05:
                value = self._rng.choice(CANARIES[:4])
                told = ENCODINGS[self._rng.choice(("raw", "base64", "hex", "url"))](value)
                words[place] = f"{word}\x1b[8m{told}\x1b[0m\u202e"
                self.planted += 1
        return " ".join(words)


CASES = [(name, recording) for name, row in ROWS.items() for recording in row.recordings]


def reads() -> Iterator[tuple[str, str, Row]]:
    registry = load_tools([SHIPPED_TOOLS])
    for name, recording in CASES:
        if registry.get(name).risk is Risk.READ:
            yield name, recording, ROWS[name]


async def test_every_shipped_tool_is_taken_in(figures: Any, scale: Any, logged: io.StringIO) -> None:
    """There is no way from a host to the model but by the intake: what each tool makes of spoiled outputs is clean."""
    registry = load_tools([SHIPPED_TOOLS])
    catalogue = Catalogue(registry, Inventory({HOST.name: HOST}, {}))
    tried, spoiled, told = 0, 0, 0
    for name, recording, row in reads():
        for seed in range(scale(2, 25)):
            shell = Poisoned(recording, seed)
            tool = registry.get(name)
            names = [parameter.name for parameter in tool.parameters]
            words = {key: value for key, value in zip(names, arguments_of(row, shell), strict=False)}
            executor = Executor(
                catalogue=catalogue,
                machines=HostMachines(shell, shell),
                store=MemoryStore(),
                rules=RULES,
                clock=FakeClock(),
                surroundings=Surroundings(Intake(REDACTOR, lambda: Vocabulary([HOST])), threads=2),
            )
            with suppress(OpsbotError):
                prepared = catalogue.from_words(name, [HOST.name], {k: v for k, v in words.items()})
                fan_out = await executor.read(prepared)
                text = fan_out.as_json()
                assert leaks(text) == [], name
                assert not any(char in text for char in "\x1b\u202e"), name
                if HIDDEN in text:
                    told += 1
                    assert fan_out.untrusted, name
                tried += 1
            spoiled += shell.planted
            executor.close()
    assert leaks(logged.getvalue()) == []
    assert told
    figures.note(answers_of_shipped_tools=tried, secrets_in_their_hosts_words=spoiled)


# --- the log ---------------------------------------------------------------------------------------------------------


async def test_bolt_logs_no_body_of_a_request_with_a_bad_signature(logged: io.StringIO) -> None:
    """The real middleware, at the level where it tells the whole body (seen with 1.30)."""
    for name in ("slack_bolt", "slack_bolt.AsyncRequestVerification"):
        logging.getLogger(name).setLevel(logging.DEBUG)
    verification = AsyncRequestVerification("8f742231b10e8888abcd99yyyzzz85a5")
    verification.logger.setLevel(logging.DEBUG)
    headers = {"x-slack-signature": ["v0=0"], "x-slack-request-timestamp": ["1"]}
    request = AsyncBoltRequest(body=f"token={CANARIES[0]}&text=private+words", headers=headers)

    async def never() -> BoltResponse:
        raise AssertionError("a bad signature went through")

    answer = await verification.async_process(req=request, resp=BoltResponse(status=200), next=never)
    assert answer is not None
    assert answer.status == 401
    assert "private" not in logged.getvalue()
    assert leaks(logged.getvalue()) == []


def test_the_log_hides_secrets_wherever_they_stand(logged: io.StringIO, figures: Any) -> None:
    lines = 0
    for value in CANARIES:
        for encode in ENCODINGS.values():
            told = encode(value)
            structlog.get_logger().info(
                "an.event", fact=told, nested={"a": [told, {"b": told}]}, lines=told.split("\n")
            )
            structlog.get_logger().error(told)
            logging.getLogger("aiohttp.access").warning("GET /%s", told)
            logging.getLogger("some.library").error("failed", extra={"x": told}, stack_info=False)
            with structlog.contextvars.bound_contextvars(bound=told):
                try:
                    raise ValueError(told)
                except ValueError:
                    structlog.get_logger().exception("crashed")
            lines += 5
    assert leaks(logged.getvalue()) == []
    figures.note(log_lines_with_secrets=lines, of_them_readable=0)


# --- what is not a secret --------------------------------------------------------------------------------------------


def recorded_lines() -> list[str]:
    """Every line a real host printed into the recordings of the tools."""
    found = []
    for path in sorted(FOLDER.glob("*.json")):
        for entry in json.loads(path.read_text(encoding="utf-8")).get("commands", ()):
            found += [line for line in f"{entry['stdout']}\n{entry['stderr']}".splitlines() if line.strip()]
    return found


def test_ordinary_lines_stay_as_they_are(figures: Any) -> None:
    real = [*log_lines(5000, random.Random(23)), *recorded_lines()]
    assert len(real) >= 3_000
    alone = [line for line in real if HIDDEN in REDACTOR.text(line)]
    together = [line for line in REDACTOR.texts(real) if HIDDEN in line]
    assert len(alone) <= len(real) * 0.001, alone[:20]
    assert len(together) <= len(real) * 0.001, together[:20]
    figures.note(ordinary_lines=f"{len(real):,}", hidden_by_mistake=f"{len(alone)} alone, {len(together)} in a row")


# --- drafts ----------------------------------------------------------------------------------------------------------


class Dripping(ScriptedModel):
    """Says one text, character by character."""

    async def reply(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        async for event in super().reply(request):
            yield event
            await asyncio.sleep(0)


async def test_a_growing_answer_never_shows_a_piece_of_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("opsbot.dialogue._DRAFT_AFTER_S", 0)
    for value in CANARIES:
        text = f"The value is {value}, and in two lines {value[:9]}\n{value[9:]} end."
        world = World(secrets=CANARIES, model=Dripping(Say(text, pieces=len(text))))
        house = House(world)
        await house.start()
        await house.says(ALICE, "tell me")
        assert world.chat.drafts
        for _, draft in world.chat.drafts:
            assert value[:12] not in draft
            assert value[:9] not in draft.replace(HIDDEN, "")
        assert leaks(as_json([words for _, words in world.chat.drafts])) == []
        await house.stop()
