"""Slack as a fire hose: signed requests at a steady rate, many of them again, through the bot's real door and store."""

import asyncio
import contextlib
import json
import random
import time
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass, field, replace
from urllib.parse import urlencode

import aiohttp
from aiohttp import web
from slack_sdk.web.async_client import AsyncWebClient

from opsbot.adapters.clock import SystemClock
from opsbot.adapters.slack.entrance import HttpEntrance
from opsbot.adapters.slack.incoming import Home
from opsbot.adapters.slack.listeners import Acceptance, build_app
from opsbot.domain import Card, Host, IncomingCommand, Usage, UserMessage
from opsbot.pace import Pace
from opsbot.ports import Done, Store, TextDelta
from tests.fake_machines import FakeMachines
from tests.scenario.house import ALICE, CHANNEL, House, World
from tests.slack_bot import SECRET
from tests.slack_door import signed

HOME = Home("T1", "U0BOT")
# The tasks of this name are Slack's: they live on when the bot's process ends.
SLACK = "slack"
FORM = "application/x-www-form-urlencoded"


class Parrot:
    """A model that answers at once."""

    name = "parrot"

    async def reply(self, request):
        heard = next(m for m in reversed(request.messages) if isinstance(m, UserMessage))
        yield TextDelta(f"You said: {heard.text}")
        yield Usage(1, 1)
        yield Done("stop")

    async def close(self) -> None:
        return


class _Nobody:
    """A directory nobody asks."""

    def forget(self, group_id: str) -> None:
        return


@dataclass(frozen=True, slots=True)
class Parcel:
    """One request of Slack's: sent again it is the same to the letter, but for its signature."""

    name: str
    body: bytes
    kind: str = "application/json"


def thread_of(number: int) -> str:
    """Return the thread of a mention."""
    return f"17{number:08d}.000100"


def mention(number: int) -> Parcel:
    """Somebody asks something, in a thread of its own."""
    event = {"type": "app_mention", "channel": "C0OPS", "user": "UALICE", "text": f"<@U0BOT> say {number}"}
    event |= {"ts": thread_of(number)}
    body = {"type": "event_callback", "team_id": "T1", "event_id": f"Ev{number}", "event": event}
    return Parcel(f"mention {number}", json.dumps(body).encode())


def slash(number: int) -> Parcel:
    """Somebody types a command."""
    fields = {"command": "/ops", "team_id": "T1", "channel_id": "C0OPS", "user_id": "UALICE", "text": "help"}
    fields |= {"trigger_id": f"tr{number}", "response_url": f"https://hooks.slack.com/{number}"}
    return Parcel(f"slash {number}", urlencode(fields).encode(), FORM)


def press(card: Card, message_id: str, number: int) -> Parcel:
    """Bob presses Approve; each press has a number."""
    container = {"type": "message", "message_ts": message_id, "channel_id": CHANNEL.channel_id}
    value = f"{card.approval.id}.{card.seal}"
    action = {
        "type": "button",
        "action_id": "opsbot.approve",
        "block_id": "b",
        "value": value,
        "action_ts": f"18.{number}",
    }
    body = {"type": "block_actions", "team": {"id": "T1"}, "user": {"id": "UBOB", "team_id": "T1"}}
    body |= {"trigger_id": f"press{number}", "response_url": "https://hooks.slack.com/x", "container": container}
    body |= {"actions": [action]}
    return Parcel(f"press {card.approval.id}", urlencode({"payload": json.dumps(body)}).encode(), FORM)


def flood_world(store: Store, hosts: int) -> World:
    """A world with many hosts, time as it is, and a model that answers at once."""
    names = [f"app-{n}" for n in range(hosts)]
    made = {
        name: Host(name, address="192.0.2.9", environment="production", units=("nginx",), host_key=f"k{name}")
        for name in names
    }
    field_of_hosts = FakeMachines({name: ["nginx"] for name in names})
    pace = Pace(read_s=0, open_requests=10_000, requests=100_000)
    world = World(store=store, machines=field_of_hosts, hosts=made, model=Parrot(), pace=pace, lifetime_s=1800)
    return replace(world, clock=SystemClock())


@dataclass
class Front:
    """The bot's HTTP door. `latencies_s` and `taken` of everything it acknowledged; `refused`: what it did not."""

    house: House
    latencies_s: list[float] = field(default_factory=list)
    taken: list[tuple[Parcel, dict[str, str]]] = field(default_factory=list)
    refused: list[Parcel] = field(default_factory=list)
    url: str = ""
    session: aiohttp.ClientSession | None = None
    runner: web.AppRunner | None = None

    @contextlib.asynccontextmanager
    async def open(self) -> AsyncIterator["Front"]:
        """Listen on a free port."""
        acceptance = Acceptance(self.house.service, _Nobody(), HOME)
        app = build_app(acceptance, HOME, AsyncWebClient("xoxb-none"), signing_secret=SECRET)
        self.runner = web.AppRunner(HttpEntrance(app, SECRET).application(), access_log=None, shutdown_timeout=1)
        await self.runner.setup()
        await web.TCPSite(self.runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}/slack/events"
        connector = aiohttp.TCPConnector(limit=0)
        async with aiohttp.ClientSession(connector=connector, trust_env=False) as self.session:
            try:
                yield self
            finally:
                await self.shut()

    async def shut(self) -> None:
        """Listen no more. Harmless to repeat."""
        if self.runner is not None:
            await self.runner.cleanup()
            self.runner = None

    async def take(self, parcel: Parcel, headers: dict[str, str] | None = None) -> bool:
        """Deliver one request, freshly signed unless `headers` are those of an earlier one."""
        assert self.session is not None
        began = time.perf_counter()
        headers = headers or signed(parcel.body, kind=parcel.kind)
        try:
            async with self.session.post(self.url, data=parcel.body, headers=headers) as response:
                await response.read()
                taken = response.status == 200
        except aiohttp.ClientError:
            taken = False
        if taken:
            self.latencies_s.append(time.perf_counter() - began)
            self.taken.append((parcel, headers))
        else:
            self.refused.append(parcel)
        return taken

    async def flow(self, parcels: Iterable[Parcel], rate: float, *, at_once: int = 1_000_000) -> None:
        """Deliver them at `rate` a second, whether or not earlier ones were answered; no more than `at_once` wait."""
        began, free = time.perf_counter(), asyncio.Semaphore(at_once)
        async with asyncio.TaskGroup() as group:
            for number, parcel in enumerate(parcels):
                wait_s = began + number / rate - time.perf_counter()
                if wait_s > 0:
                    await asyncio.sleep(wait_s)
                await free.acquire()
                group.create_task(self.take(parcel), name=SLACK).add_done_callback(lambda _: free.release())

    def ack_ms(self, quantile: float) -> float:
        """How long it took until acknowledgement."""
        ordered = sorted(self.latencies_s)
        return 1000 * ordered[min(len(ordered) - 1, int(len(ordered) * quantile))]


async def cards(house: House, count: int) -> list[tuple[Card, str]]:
    """Have so many restarts asked for; return their cards and where they stand."""
    for number in range(count):
        event = IncomingCommand(CHANNEL, ALICE, f"restart nginx app-{number} because of the flood", "https://reply")
        await house.send(event)
    await house.quiet(120)
    return [(posted.content, posted.ref.message_id) for posted in house.cards()]


def shuffled(unique: Sequence[Parcel], again: float, seed: str) -> list[Parcel]:
    """All of them, and a share of them once more, in any order."""
    chance = random.Random(seed)
    parcels = [*unique, *chance.sample(list(unique), int(len(unique) * again))]
    chance.shuffle(parcels)
    return parcels
