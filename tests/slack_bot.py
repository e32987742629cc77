"""The Slack adapter connected to a workbench, with a handler that only remembers."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from opsbot.adapters.slack import SlackConnection, SlackSettings
from opsbot.domain import Actor, Incoming, IncomingReportEdit, Place
from opsbot.errors import StoreError
from opsbot.ports import Clock
from opsbot.workbench import Limits, Workbench
from tests.ports import reserved_port
from tests.workbench_fixture import MANIFEST, RunningWorkbench, running_workbench

PATIENCE_S = 30.0
SECRET = "8f742231b10e8888abcd99yyyzzz85a5"


@dataclass
class RememberingHandler:
    """ports.Handler with an inbox in memory. `failures` is how many writes fail from now on; `calls` counts all."""

    accepted: list[Incoming] = field(default_factory=list)
    known: set[Place] = field(default_factory=set)
    failures: int = 0
    calls: int = 0
    duplicates: int = 0
    turned_away: list[tuple[Actor, str, str]] = field(default_factory=list)
    form_faults: dict[str, str] = field(default_factory=dict)
    _keys: set[str] = field(default_factory=set)
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition)

    async def accept(self, keys: Sequence[str], event: Incoming) -> bool:
        self.calls += 1
        if self.failures:
            self.failures -= 1
            raise StoreError("the disk is full")
        async with self._changed:
            fresh = not self._keys.intersection(keys)
            self._keys.update(keys)
            if fresh:
                self.accepted.append(event)
                self.known.add(event.place)
            else:
                self.duplicates += 1
            self._changed.notify_all()
        return fresh

    async def knows(self, place: Place) -> bool:
        return place in self.known

    async def faults(self, edit: IncomingReportEdit) -> Mapping[str, str]:
        return self.form_faults

    def turn_away(self, actor: Actor, place: Place, entrance: str, *, reply_to: str = "") -> None:
        self.turned_away.append((actor, entrance, reply_to))

    async def until(self, holds: Callable[["RememberingHandler"], Any]) -> None:
        """Wait until something is true of what was accepted."""
        async with self._changed:
            try:
                await asyncio.wait_for(self._changed.wait_for(lambda: holds(self)), PATIENCE_S)
            except TimeoutError:
                raise AssertionError(f"accepted only {self.accepted}, {self.duplicates} repeats") from None


@dataclass(frozen=True, slots=True)
class Stage:
    """A workbench, the bot connected to it, and what the bot accepted."""

    bench: RunningWorkbench
    bot: SlackConnection
    handler: RememberingHandler

    async def calls(self, method: str) -> list[dict[str, Any]]:
        """The arguments of every call of a Web API method, oldest first."""
        log = await self.bench.log()
        return [entry["body"] for entry in log if entry["direction"] == "in" and entry["name"] == method]


def settings_for(bench: Workbench, mode: str = "socket", **changes: Any) -> SlackSettings:
    """The settings that fit a workbench."""
    made = {"bot_token": bench.bot_token, "app_token": bench.app_token, "signing_secret": bench.signing_secret}
    return SlackSettings(**{**made, "mode": mode, "api_url": bench.api_url, **changes})


@contextlib.asynccontextmanager
async def stage(
    mode: str = "socket", *, clock: Clock | None = None, limits: Limits | None = None, groups: Sequence[str] = ()
) -> AsyncIterator[Stage]:
    """Start a workbench and the bot; both end with the block."""
    with reserved_port() as port:
        async with _staged(mode, port if mode == "http" else 0, clock, limits, groups) as staged:
            yield staged


@contextlib.asynccontextmanager
async def _staged(
    mode: str, port: int, clock: Clock | None, limits: Limits | None, groups: Sequence[str]
) -> AsyncIterator[Stage]:
    manifest = json.loads(MANIFEST.read_text(encoding="utf-8"))
    wanted: dict[str, Any] = {"manifest": manifest, "mode": mode, "limits": limits, "signing_secret": SECRET}
    if mode == "http":
        wanted["events_url"] = f"http://127.0.0.1:{port}/slack/events"
    async with running_workbench(**wanted) as bench:
        settings = settings_for(bench.bench, mode, http_port=port, group_ids=frozenset(groups))
        bot = await SlackConnection.open(settings, clock=clock)
        handler, stop = RememberingHandler(), asyncio.Event()
        serving = asyncio.create_task(bot.serve(handler, stop))
        try:
            await asyncio.wait_for(_first(serving, bot.ready), PATIENCE_S)
            await bench.wait_online()
            yield Stage(bench, bot, handler)
        finally:
            stop.set()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(serving, PATIENCE_S)
            await bot.close()


async def _first(serving: "asyncio.Task[None]", ready: asyncio.Event) -> None:
    waiting = asyncio.ensure_future(ready.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    if serving.done():
        serving.result()
