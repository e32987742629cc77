"""The whole core put together on fakes: a scripted model, machines and chat in memory, a clock told the time."""

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import count
from pathlib import Path

import opsbot_tools

from opsbot.actions import Catalogue
from opsbot.assembly import NoPrices, Ports, Settings, assemble
from opsbot.caps import Caps
from opsbot.checkpoint import Brakes
from opsbot.condensing import Window
from opsbot.discovery import Registry, load_tools
from opsbot.domain import (
    Actor,
    Approval,
    Card,
    Host,
    Incoming,
    IncomingCommand,
    IncomingDecision,
    IncomingMessage,
    Place,
)
from opsbot.incident_report import ReportRules
from opsbot.inventory import Inventory
from opsbot.pace import Pace
from opsbot.passage_ports import Embedder, Folder
from opsbot.picture_ports import Attachments, Darkroom
from opsbot.policy import ApproverRule, PolicyRules, Tiers
from opsbot.ports import Prices, Store
from opsbot.redact import Redactor
from opsbot.replica import Replica
from opsbot.service import Service
from opsbot.spending import Spending
from opsbot.throttle import Rates
from opsbot.turn_limits import Limits
from tests.fake_chat import FakeChat, FakeDirectory, Posted, lines
from tests.fake_clock import FakeClock
from tests.fake_machines import FakeMachines, FakeUnit
from tests.fake_store import TEST_KEY, MemoryStore
from tests.scripted_model import ScriptedModel

ALICE = Actor("T1", "UALICE")
BOB = Actor("T1", "UBOB")
CAROL = Actor("T1", "UCAROL")
THREAD = Place("T1", "C1", "1700.1")
CHANNEL = Place("T1", "C1")

HOSTS = {
    "web-1": Host("web-1", address="192.0.2.1", environment="production", units=("nginx", "brittle"), host_key="k1"),
    "web-2": Host("web-2", address="192.0.2.2", environment="production", units=("nginx",), host_key="k2"),
    "db-1": Host("db-1", address="192.0.2.3", environment="production", units=("redis-server",), host_key="k3"),
    "lab-1": Host("lab-1", address="192.0.2.4", environment="lab", units=("nginx",), host_key="k4"),
}
GROUPS = {"web": ("web-1", "web-2")}
RULES = PolicyRules(
    asker_users=frozenset({"UALICE", "UBOB"}),
    approvers=(ApproverRule(("production",), users=frozenset({"UBOB", "UALICE"})),),
    tiers=Tiers(last_replica=1),
)
SHIPPED = Path(opsbot_tools.__file__).parent


def machines() -> FakeMachines:
    """Three hosts with nginx, a unit that does not come back, and redis."""
    return FakeMachines(
        {
            "web-1": ["nginx", FakeUnit("brittle", on_restart="fails")],
            "web-2": ["nginx"],
            "db-1": ["redis-server"],
            "lab-1": ["nginx"],
        }
    )


@lru_cache(maxsize=1)
def _shipped() -> Registry:
    """Load the shipped tools once: a test may start hundreds of processes."""
    return load_tools([SHIPPED])


@dataclass
class World:
    """What outlives the bot's process: database, hosts, Slack, time, and the rules of the house."""

    store: Store = field(default_factory=MemoryStore)
    machines: FakeMachines = field(default_factory=machines)
    chat: FakeChat = field(default_factory=FakeChat)
    clock: FakeClock = field(default_factory=FakeClock)
    directory: FakeDirectory = field(default_factory=FakeDirectory)
    model: ScriptedModel = field(default_factory=ScriptedModel)
    rules: PolicyRules = RULES
    limits: Limits = field(default_factory=Limits)
    hosts: dict[str, Host] = field(default_factory=lambda: dict(HOSTS))
    lifetime_s: float = 300
    secrets: tuple[str, ...] = ()
    # Clicks of these people count at once; where time to read matters, a test says so.
    pace: Pace = field(default_factory=lambda: Pace(read_s=0, open_requests=100, requests=1000))
    # Brakes and rates are in nobody's way; where they matter, a test says so.
    brakes: Brakes = field(default_factory=lambda: Brakes(Caps(an_hour=100_000, an_hour_per_person=100_000)))
    rates: Rates = field(
        default_factory=lambda: Rates(messages=1_000_000, messages_per_person=1_000_000, waiting=10_000)
    )
    spending: Spending = field(default_factory=Spending)
    reports: ReportRules = field(default_factory=ReportRules)
    window: Window = field(default_factory=Window)
    prices: Prices = field(default_factory=NoPrices)
    sample_every_s: float = 0.0
    runbooks: Folder | None = None
    embedder: Embedder | None = None
    attachments: Attachments | None = None
    darkroom: Darkroom | None = None
    unable_to_look: str = ""
    threads: int = 8
    sleep: Callable[[float], None] = lambda seconds: time.sleep(seconds / 100)
    ids: "count[int]" = field(default_factory=count)
    # Completes the chat service by what only the process knows.
    chat_of: "Callable[[Replica], FakeChat] | None" = None


class House:
    """One process of the bot, and people around it. `await house.start()` before use, `await house.stop()` after."""

    def __init__(self, world: World, *, tools: Sequence[Path] = (), registry: Registry | None = None) -> None:
        self.world = world
        self.replica = Replica(world.store.replicas, world.store.leases, world.clock)
        chat = world.chat_of(self.replica) if world.chat_of else world.chat
        around = (world.store, chat, world.directory, world.model, world.machines, world.clock, self.replica)
        written = {"runbooks": world.runbooks, "embedder": world.embedder}
        written |= {"attachments": world.attachments, "darkroom": world.darkroom}
        ports = Ports(*around, prices=world.prices, **written)  # type: ignore[arg-type]
        registry = registry or (load_tools([SHIPPED, *tools]) if tools else _shipped())
        self.catalogue = Catalogue(registry, Inventory(world.hosts, GROUPS))
        settings = Settings(
            rules=world.rules,
            button_key=TEST_KEY,
            pace=world.pace,
            limits=world.limits,
            lifetime_s=world.lifetime_s,
            threads=world.threads,
            sleep=world.sleep,
            sample_every_s=world.sample_every_s,
            brakes=world.brakes,
            rates=world.rates,
            spending=world.spending,
            reports=world.reports,
            window=world.window,
            unable_to_look=world.unable_to_look,
        )
        self.service: Service = assemble(ports, self.catalogue, Redactor(world.secrets), settings)

    async def start(self) -> None:
        await self.service.start()

    async def stop(self) -> None:
        await self.service.stop()

    def die(self) -> None:
        """End as by SIGKILL: every task is dropped where it stands and nothing is tidied up."""
        for task in asyncio.all_tasks():
            if task is not asyncio.current_task():
                task.cancel()

    # --- people ------------------------------------------------------------------------------------------------------

    async def says(self, actor: Actor, text: str, place: Place = THREAD) -> None:
        """Write to the bot, and wait until it has nothing more to do."""
        await self.send(IncomingMessage(place, actor, text, f"17.{next(self.world.ids)}"))
        await self.quiet()

    async def types(self, actor: Actor, text: str, place: Place = CHANNEL) -> None:
        """Type `/ops text`."""
        await self.send(IncomingCommand(place, actor, text, reply_to="" if place.thread_id else "https://reply"))
        await self.quiet()

    async def clicks(self, actor: Actor, verb: str, number: int = -1) -> None:
        """Press a button on a card (the newest by default)."""
        posted = self.cards()[number]
        await self.send(self.click(actor, verb, posted))
        await self.quiet()

    def click(self, actor: Actor, verb: str, posted: Posted) -> IncomingDecision:
        card = posted.content
        assert isinstance(card, Card)
        return IncomingDecision(posted.place, actor, card.approval.id, verb, posted.ref.message_id, seal=card.seal)

    async def send(self, event: Incoming, key: str = "") -> bool:
        """Deliver one event, as Slack would."""
        return await self.service.accept((key or f"event:{next(self.world.ids)}",), event)

    async def quiet(self, timeout_s: float = 20) -> None:
        """Wait until no event, turn or action is under way."""
        async with asyncio.timeout(timeout_s):
            await self.service.idle()

    async def passes(self, seconds: float) -> None:
        """Let time pass, then the sweep run."""
        self.world.clock.advance(seconds)
        for _ in range(20):
            await asyncio.sleep(0)
        await self.quiet()

    # --- what people see ---------------------------------------------------------------------------------------------

    def cards(self) -> list[Posted]:
        return [message for message in self.world.chat.messages if isinstance(message.content, Card)]

    @property
    def approval(self) -> Approval:
        """The newest card's approval as shown."""
        card = self.cards()[-1].content
        assert isinstance(card, Card)
        return card.approval

    @property
    def seen(self) -> list[str]:
        """Every message as it stands now, line by line."""
        return [line for message in self.world.chat.messages for line in lines(message.content)]

    @property
    def whispered(self) -> str:
        """The newest private answer."""
        return "\n".join(lines(self.world.chat.whispers[-1].content)) if self.world.chat.whispers else ""
