"""Ports that die, or freeze: at the k-th step between the core and the outside, before or after the effect."""

import asyncio
import inspect
from collections.abc import Callable
from dataclasses import dataclass, field


@dataclass
class Life:
    """Counts steps; at `dies_at` everything this process does stops for ever, as after SIGKILL."""

    dies_at: int = 0
    steps: int = 0
    last: str = ""
    buried: bool = False
    dead: asyncio.Event = field(default_factory=asyncio.Event)

    async def step(self, name: str) -> None:
        self.steps += 1
        if self.steps == self.dies_at:
            self.last = name
            self.dead.set()
        if self.buried:
            raise asyncio.CancelledError  # the test is dropping this process's tasks
        if self.dead.is_set():
            await asyncio.Event().wait()  # a dead process never comes back here; the test cancels it


@dataclass
class Frost(Life):
    """Counts steps; at `dies_at` this process freezes, as by SIGSTOP, until `thawed` is set."""

    thawed: asyncio.Event = field(default_factory=asyncio.Event)

    async def step(self, name: str) -> None:
        self.steps += 1
        if self.steps == self.dies_at:
            self.last = name
            self.dead.set()
        if self.dead.is_set():
            await self.thawed.wait()


_PARTS = frozenset(
    {"inbox", "conversations", "approvals", "operations", "outbox", "audit", "leases", "replicas", "reports"}
)


class Mortal:
    """Wraps a port: each of its coroutine methods is one step before its effect and one after."""

    def __init__(self, port: object, life: Life, name: str = "", check: Callable[[], None] = lambda: None) -> None:
        """`check` is what the adapter calls right before anything lasting leaves (chat only)."""
        self._port = port
        self._life = life
        self._name = name
        self._check = check

    def __getattr__(self, attribute: str):
        value = getattr(self._port, attribute)
        name = f"{self._name}.{attribute}"
        if attribute in _PARTS:
            return Mortal(value, self._life, name)
        if not inspect.iscoroutinefunction(value):
            return value

        async def mortal(*args, **kwargs):
            await self._life.step(f"before {name}")
            if attribute in ("post", "edit"):
                self._check()
            result = await value(*args, **kwargs)
            await self._life.step(f"after {name}")
            return result

        return mortal
