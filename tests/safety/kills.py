"""People who ask for restarts and approve them without end, whatever happens to the bot; and what became of each."""

import asyncio
import json
import time
from collections import Counter
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from typing import Protocol

from opsbot.workbench import Channel, World
from tests.ledger import FINAL, Entry, Ledger
from tests.workbench_fixture import MANIFEST, Limits, RunningWorkbench, running_workbench

# A channel for each host: Slack takes one message a second in a channel, so in one alone all would wait for that.
_CHANNELS = tuple(f"C0OPS{number}" for number in range(8))
_MEMBERS = World().channels[0].members
_WORKSPACE = replace(World(), channels=tuple(Channel(channel, channel.lower(), _MEMBERS) for channel in _CHANNELS))
# Slack waits three seconds for an acknowledgement, then shows an error to whoever clicked.
_LIMITS = Limits(ack_timeout_s=3.0)
# People may ask and approve as often as they like here.
UNLIMITED = """
limits:
  open_requests: 100
  requests: 1000
  requests_window_s: 10
  actions_per_hour: 100000
  actions_per_hour_per_person: 100000
  messages_per_minute: 100000
  messages_per_minute_per_person: 100000
"""
_PATIENCE_S = 60.0
# An event is tried five times, and each time a dead replica has to be silent for six seconds before.
_LONG_PATIENCE_S = 300.0


def busy_workbench() -> AbstractAsyncContextManager[RunningWorkbench]:
    """A Slack with many channels that waits as long as the real one."""
    return running_workbench(manifest=json.loads(MANIFEST.read_text()), limits=_LIMITS, world=_WORKSPACE)


class Services(Protocol):
    """Real services, one on each host, whose starts are counted."""

    @property
    def numbers(self) -> range: ...

    def host(self, number: int) -> str: ...

    def unit(self, number: int) -> str: ...

    def starts(self, number: int) -> int: ...


@dataclass
class Book:
    """What happened to all requests: `happened` counts the real restarts for each, by its id."""

    happened: dict[str, int] = field(default_factory=dict)
    ends: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    vanished: list[str] = field(default_factory=list)
    abandoned: int = 0
    slowest_s: float = 0.0

    def add(self, other: "Book") -> None:
        """Add what happened to the requests of another bot."""
        self.happened |= other.happened
        self.ends += other.ends
        self.wrong += other.wrong
        self.vanished += other.vanished
        self.abandoned += other.abandoned
        self.slowest_s = max(self.slowest_s, other.slowest_s)

    def faults(self) -> list[str]:
        """Everything that must not have happened."""
        doubled = [f"{approval_id} was carried out {self.happened[approval_id]} times" for approval_id in self.doubled]
        return [*doubled, *self.vanished, *self.wrong]

    @property
    def doubled(self) -> list[str]:
        """Requests that were carried out more than once."""
        return [approval_id for approval_id, times in self.happened.items() if times > 1]

    def close(self, entries: list[Entry]) -> None:
        """Compare what was told of each request in the end with what happened."""
        for entry in entries:
            self.ends[entry.state] += 1
            told = {"done": {1}, "unknown": {0, 1}}.get(entry.state, {0})
            if self.happened.get(entry.id, 0) not in told:
                self.wrong.append(f"{entry.id}: {entry.state}, {self.happened.get(entry.id, 0)} restarts")
            if entry.state not in FINAL:
                self.vanished.append(f"{entry.id} is {entry.state} for ever")

    @property
    def unknown_percent(self) -> float:
        return 100 * self.ends["unknown"] / max(1, self.ends.total())


@dataclass
class People:
    """Alice asks, Bob approves, for each host one request after the other: `rounds` times, or until `enough` is set."""

    workbench: RunningWorkbench
    services: Services
    ledger: Ledger
    book: Book = field(default_factory=Book)
    enough: asyncio.Event = field(default_factory=asyncio.Event)
    rounds: int = 0

    async def work(self) -> Book:
        """Go on until it is enough, and see every request to its end."""
        async with asyncio.TaskGroup() as group:
            for number in self.services.numbers:
                group.create_task(self._one_host(number))
        await self._settled()
        self.book.close(await self._look(self.ledger.entries))
        return self.book

    async def first_round_s(self) -> float:
        """Wait until a request has ended on every host; return how long that took."""
        began = time.monotonic()
        while len(self.book.happened) < len(self.services.numbers):
            await asyncio.sleep(0.05)
        return time.monotonic() - began

    async def _turn_down_repeats(self) -> None:
        """Deny what is left: somebody asked again after an error, and the first words arrived all the same."""
        for entry in await self._look(self.ledger.entries):
            if entry.state == "pending":
                await self._press(entry, "opsbot.deny")

    async def _settled(self) -> None:
        """Wait until the bot has nothing to do any more, and has looked again where the outcome was unknown."""
        deadline = time.monotonic() + _PATIENCE_S
        while time.monotonic() < deadline and await self._look(self._unsettled):
            # What a dead process left is taken over only after a while.
            await self._turn_down_repeats()
            await asyncio.sleep(0.1)

    def _unsettled(self) -> bool:
        unknown = any(entry.state == "unknown" or entry.state not in FINAL for entry in self.ledger.entries())
        return unknown or bool(self.ledger.open_events() or self.ledger.leases())

    async def _one_host(self, number: int) -> None:
        asked = 0
        while not self.enough.is_set() and (asked < self.rounds or not self.rounds):
            asked += 1
            before = self.services.starts(number)
            entry = await self._ask(number)
            if entry is None:
                continue
            await self._press(entry, "opsbot.approve")
            await self._see_it_end(entry)
            self.book.happened[entry.id] = await self._restarts(number, before, entry)

    async def _restarts(self, number: int, before: int, entry: Entry) -> int:
        """Count what happened. On a busy machine a service that was started takes its time to write that down."""
        await asyncio.sleep(0.2)
        done = (await self._entry(entry.id)).state == "done"
        deadline = time.monotonic() + _PATIENCE_S / 4
        while done and self.services.starts(number) == before and time.monotonic() < deadline:
            await asyncio.sleep(0.1)
        return self.services.starts(number) - before

    async def _ask(self, number: int) -> Entry | None:
        """Ask until there is a request: who gets an error in Slack asks again."""
        host = self.services.host(number)
        known = len(await self._entries(host))
        while True:
            # Asked again after an error, and the first words arrived all the same, late: it waits for a decision.
            late = [entry for entry in await self._entries(host) if entry.state == "pending"]
            if late:
                return late[-1]
            text = f"/ops restart {self.services.unit(number)} {host} because of the kills"
            if not await self._does(self.workbench.person("alice").command(_CHANNELS[number % len(_CHANNELS)], text)):
                continue
            found = await self._appears(host, known)
            if found is not None:
                return found
            if await self._look(lambda: self.ledger.gave_up_on(f"{host} ")):
                self.book.abandoned += 1
            else:
                told = [
                    m.get("text", "")[:200] for m in self.workbench.watcher.messages.values() if "ephemeral_for" in m
                ]
                self.book.vanished.append(f"a request for {host} that was acknowledged; told last: {told[-3:]}")
            if self.enough.is_set():
                return None

    async def _appears(self, host: str, known: int) -> Entry | None:
        deadline = time.monotonic() + _LONG_PATIENCE_S
        while time.monotonic() < deadline:
            entries = await self._entries(host)
            if len(entries) > known:
                return entries[-1]
            if not await self._look(self.ledger.open_events) and len(await self._entries(host)) == known:
                return None
            await asyncio.sleep(0.05)
        return None

    async def _press(self, entry: Entry, button: str) -> None:
        """Have Bob press until it is decided: a click that died with the process shows an error in Slack."""
        deadline = time.monotonic() + _LONG_PATIENCE_S
        while time.monotonic() < deadline:
            if (await self._entry(entry.id)).state != "pending":
                return
            card = next((m for m in self.workbench.watcher.messages.values() if is_open_card(m, entry.id)), None)
            if card is not None:
                await self._does(self.workbench.person("bob").clicks(card, button))
            await asyncio.sleep(0.1)

    async def _see_it_end(self, entry: Entry) -> None:
        began = time.monotonic()
        while (await self._entry(entry.id)).state not in FINAL and time.monotonic() - began < _LONG_PATIENCE_S:
            await asyncio.sleep(0.05)
        self.book.slowest_s = max(self.book.slowest_s, time.monotonic() - began)

    async def _does(self, act) -> bool:
        """Do something in Slack; False if Slack says that the bot did not answer."""
        try:
            acknowledged = bool((await act)["acknowledged"])
        except AssertionError:  # the card changed just now, so the button is not there any more
            acknowledged = False
        if not acknowledged:
            await asyncio.sleep(0.1)
        return acknowledged

    async def _entries(self, host: str) -> list[Entry]:
        return await self._look(lambda: self.ledger.entries(host))

    async def _entry(self, approval_id: str) -> Entry:
        return await self._look(lambda: self.ledger.get(approval_id))

    async def _look(self, read):
        return await asyncio.to_thread(read)


def is_open_card(message, approval_id: str) -> bool:
    """Whether a message is the card of this request, with a button to approve it."""
    text = json.dumps(message.get("blocks", []))
    return approval_id in text and "opsbot.approve" in text
