"""A running workbench for tests, and people who act in it."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import aiohttp
import pytest_asyncio

from opsbot.workbench import Limits, Workbench

MANIFEST = Path(__file__).parents[1] / "manifest.json"
_PATIENCE_S = 20.0
# Slack's three seconds are real time, and a busy machine may need more; what depends on the exact figure says so.
PATIENT = Limits(ack_timeout_s=15.0, trigger_life_s=15.0, retry_delays_s=(15.0, 60.0, 300.0))

Json = dict[str, Any]


class Watcher:
    """Keeps up with a workbench over its WebSocket: `messages` by (channel, ts), and every frame seen."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.messages: dict[tuple[str, str], Json] = {}
        self.frames: list[Json] = []
        self.views: dict[str, list[Json]] = {}
        self.homes: dict[str, Json] = {}
        self.online = False
        self._changed = asyncio.Condition()
        self._task: asyncio.Task[None] | None = None
        self._session: aiohttp.ClientSession | None = None

    async def start(self) -> None:
        """Connect and take in the present state."""
        self._session = aiohttp.ClientSession(trust_env=False)
        socket = await self._session.ws_connect(f"{self._url}/_control/ws")
        self._take((await socket.receive_json(timeout=_PATIENCE_S))["state"])
        self._task = asyncio.create_task(self._follow(socket))

    async def stop(self) -> None:
        """Disconnect."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        if self._session is not None:
            await self._session.close()

    async def until(self, predicate: Callable[["Watcher"], Any], timeout_s: float = _PATIENCE_S) -> Any:
        """Return the first true value of `predicate`, asked after every change. Raises AssertionError when late."""
        found: Any = None

        def holds() -> bool:
            nonlocal found
            found = predicate(self)
            return bool(found)

        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait_for(holds), timeout_s)
            except TimeoutError:
                seen = [_brief(message) for message in self.messages.values()]
                raise AssertionError(f"nothing matched in {timeout_s} s; messages: {seen}") from None
        return found

    async def message(self, predicate: Callable[[Json], Any], timeout_s: float = _PATIENCE_S) -> Json:
        """Return the first message (ephemeral ones included) for which `predicate` holds."""
        wanted: Json = await self.until(
            lambda w: next((m for m in w.messages.values() if predicate(m)), None), timeout_s
        )
        return wanted

    async def frame(self, predicate: Callable[[Json], Any], timeout_s: float = _PATIENCE_S) -> Json:
        """Return the first frame received since the start for which `predicate` holds."""
        wanted: Json = await self.until(lambda w: next((f for f in w.frames if predicate(f)), None), timeout_s)
        return wanted

    async def _follow(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for packet in socket:
            frame = json.loads(packet.data)
            async with self._changed:
                self._apply(frame)
                self._changed.notify_all()

    def _take(self, state: Json) -> None:
        self.online = state["bot"]["online"]
        self.views, self.homes = state["views"], state["homes"]
        self.messages = {(c, m["ts"]): m for c, listed in state["messages"].items() for m in listed}

    def _apply(self, frame: Json) -> None:
        self.frames.append(frame)
        match frame["type"]:
            case "state":
                self._take(frame["state"])
            case "message":
                self.messages[frame["channel"], frame["message"]["ts"]] = frame["message"]
            case "message_deleted":
                self.messages.pop((frame["channel"], frame["ts"]), None)
            case "view":
                self.views[frame["user"]] = frame["views"]
            case "home":
                self.homes[frame["user"]] = frame["view"]
            case "bot":
                self.online = frame["online"]


class RunningWorkbench:
    """A started workbench with a watcher and a client for `/_control`; `url` is its own, whatever the app is told."""

    def __init__(self, bench: Workbench) -> None:
        self.bench = bench
        self.url = bench.url
        self.watcher = Watcher(bench.url)
        self.session = aiohttp.ClientSession(trust_env=False)

    async def control(self, operation: str, **body: Any) -> Json:
        """Call `/_control/{operation}`; raises AssertionError with the reason when it is refused."""
        async with self.session.post(f"{self.url}/_control/{operation}", json=body) as response:
            answer: Json = await response.json()
        assert answer["ok"], answer["error"]
        return answer

    async def log(self) -> list[Json]:
        """Return the traffic log."""
        async with self.session.get(f"{self.url}/_control/log") as response:
            entries: list[Json] = (await response.json())["log"]
        return entries

    async def wait_for(self, predicate: Callable[[Json], Any], timeout_s: float = _PATIENCE_S) -> Json:
        """Return the first message for which `predicate` holds, waiting for it if need be."""
        return await self.watcher.message(predicate, timeout_s)

    async def wait_online(self) -> None:
        """Wait until the app listens."""
        await self.watcher.until(lambda watcher: watcher.online)

    def person(self, user: str) -> "Person":
        """Return somebody to act as: a user id, or a name such as `alice`."""
        return Person(self, user)


class Person:
    """One person acting in the workbench."""

    def __init__(self, workbench: RunningWorkbench, user: str) -> None:
        self._workbench = workbench
        self.id = user if user.startswith("U0") else f"U0{user.upper()}"
        self.dm = "D" + self.id[1:]

    async def says(
        self, channel: str, text: str, thread_ts: str | None = None, files: list[Json] | None = None
    ) -> Json:
        """Post a message; return `{channel, ts}`."""
        return await self._workbench.control(
            "message", user=self.id, channel=channel, text=text, thread_ts=thread_ts, files=files or []
        )

    async def command(self, channel: str, text: str) -> Json:
        """Run a slash command, for example `/ops status web-1`."""
        command, _, rest = text.partition(" ")
        return await self._workbench.control("command", user=self.id, channel=channel, command=command, text=rest)

    async def clicks(self, message: Json, action_id: str, **given: Any) -> Json:
        """Use the control `action_id` of a message; `given` holds value, selected_option and the like."""
        block_id = _block_of(message.get("blocks", []), action_id)
        place = {"channel": message["channel"], "message_ts": message["ts"]}
        return await self._workbench.control(
            "action", user=self.id, block_id=block_id, action_id=action_id, **place, **given
        )

    async def clicks_in_view(self, view: Json, action_id: str, **given: Any) -> Json:
        """Use the control `action_id` of a modal or the App Home."""
        block_id = _block_of(view["blocks"], action_id)
        return await self._workbench.control(
            "action", user=self.id, view_id=view["id"], block_id=block_id, action_id=action_id, **given
        )

    async def submits(self, view: Json, values: Json) -> Json:
        """Submit a modal with `values` by block_id and action_id."""
        return await self._workbench.control("view_submit", user=self.id, view_id=view["id"], state={"values": values})

    async def sees(self, predicate: Callable[[Json], Any], timeout_s: float = _PATIENCE_S) -> Json:
        """Return the first message this person can see for which `predicate` holds."""
        return await self._workbench.wait_for(
            lambda m: m.get("ephemeral_for", self.id) == self.id and predicate(m), timeout_s
        )


@contextlib.asynccontextmanager
async def running_workbench(**arguments: Any) -> AsyncIterator[RunningWorkbench]:
    """Start a workbench on a free port; the keyword arguments are those of `Workbench`, limits being PATIENT."""
    bench = Workbench(**{"limits": PATIENT, **arguments})
    await bench.start()
    running = RunningWorkbench(bench)
    await running.watcher.start()
    try:
        yield running
    finally:
        await running.watcher.stop()
        await running.session.close()
        await bench.stop()


@pytest_asyncio.fixture
async def workbench() -> AsyncIterator[RunningWorkbench]:
    """A workbench in Socket Mode with the project's own manifest."""
    manifest = json.loads(MANIFEST.read_text(encoding="utf-8")) if MANIFEST.exists() else None
    async with running_workbench(manifest=manifest) as running:
        yield running


def _block_of(blocks: list[Json], action_id: str) -> str:
    for block in blocks:
        inner = [*block.get("elements", []), *block.get("actions", [])]
        inner += [block.get("accessory") or {}, block.get("element") or {}]
        if any(isinstance(element, dict) and element.get("action_id") == action_id for element in inner):
            return str(block["block_id"])
        nested = [b for b in (*block.get("child_blocks", []), *inner) if isinstance(b, dict) and "block_id" in b]
        if nested:
            try:
                return _block_of(nested, action_id)
            except AssertionError:
                continue
    raise AssertionError(f"no control {action_id!r} in {blocks}")


def _brief(message: Json) -> str:
    return f"{message.get('user', '?')}: {message.get('text', '')[:80]}"
