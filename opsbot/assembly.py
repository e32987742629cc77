"""The core put together on ports: what bootstrap does with the real adapters, and tests with fakes."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from opsbot import taint
from opsbot.actions import Catalogue, Prepared
from opsbot.alarms import Alarms
from opsbot.checkpoint import Brakes
from opsbot.condensing import Condenser, Window
from opsbot.delivery import Delivery
from opsbot.desk import ApprovalDesk
from opsbot.dialogue import Dialogue
from opsbot.domain import Actor, Approval, Card, Conversation, Place, Text, ToolCall, Usage
from opsbot.escalation import Escalation
from opsbot.executor import Executor
from opsbot.exits import RedactedChat
from opsbot.identity import Identity
from opsbot.incident_report import ReportRules
from opsbot.intake import Intake
from opsbot.keeping import Keeper
from opsbot.looking import Looks
from opsbot.metering import Meter
from opsbot.overhearing import Overhearing
from opsbot.own_tools import OwnTools
from opsbot.pace import Pace
from opsbot.parts import Parts
from opsbot.passage_ports import Embedder, Folder
from opsbot.picture_ports import Attachments, Darkroom
from opsbot.policy import PolicyRules
from opsbot.ports import Chat, ChatModel, Clock, Directory, Machines, Prices, Store
from opsbot.prompts import system_prompt
from opsbot.recorder import Recorder, RecordingMachines
from opsbot.redact import Redactor
from opsbot.register import Register
from opsbot.replica import Replica
from opsbot.reporting import Reporting
from opsbot.sampling import Sampling
from opsbot.seals import ButtonSeals
from opsbot.service import Service
from opsbot.shelves import Shelves
from opsbot.shelving import Shelving
from opsbot.sights import Sights
from opsbot.spending import Spending
from opsbot.stopping import Stopping
from opsbot.strangers import Strangers
from opsbot.summarising import Summariser
from opsbot.throttle import Rates, Throttle, TurnPlaces
from opsbot.turn import TurnLoop, spoken_reason
from opsbot.turn_limits import Limits
from opsbot.typed_answers import Asking
from opsbot.usage import UsageReports
from opsbot.vocabulary import Vocabulary
from opsbot.workshop import Surroundings


class NoPrices:
    """Implements `ports.Prices` where none are known."""

    def cost_nano_usd(self, model: str, usage: Usage, at: datetime) -> int | None:
        return None


@dataclass(frozen=True, slots=True)
class Ports:
    """The outside world. `replica`: where the chat service asks it already; else it is made here.

    `runbooks`: where they are, None: there are none. `embedder` None: what was written is found by words alone.
    `attachments` and `darkroom`: where files of people come from, and what makes pictures of them; None: nowhere.
    """

    store: Store
    chat: Chat
    directory: Directory
    model: ChatModel
    machines: Machines
    clock: Clock
    replica: Replica | None = None
    prices: Prices = field(default_factory=NoPrices)
    runbooks: Folder | None = None
    embedder: Embedder | None = None
    attachments: Attachments | None = None
    darkroom: Darkroom | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """How the core behaves. `button_key` seals buttons; `lifetime_s`: seconds until an undecided request expires.

    `sample_every_s`: how often every host is looked at by itself, 0: never. `unable_to_look`: as `Sights.unable`.
    """

    rules: PolicyRules
    button_key: bytes
    pace: Pace = field(default_factory=Pace)
    limits: Limits = field(default_factory=Limits)
    lifetime_s: float = 300.0
    threads: int = 32
    sleep: Callable[[float], None] = time.sleep
    rates: Rates = field(default_factory=Rates)
    bot_name: str = "opsbot"
    sample_every_s: float = 0.0
    brakes: Brakes = field(default_factory=Brakes)
    spending: Spending = field(default_factory=Spending)
    reports: ReportRules = field(default_factory=ReportRules)
    window: Window = field(default_factory=Window)
    unable_to_look: str = ""


class _KnownWords:
    """The vocabulary of the present inventory, made once for each."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._made: tuple[str, Vocabulary] = ("", Vocabulary())

    def __call__(self) -> Vocabulary:
        inventory = self._catalogue.inventory
        if self._made[0] != inventory.revision:
            self._made = (inventory.revision, Vocabulary(inventory.hosts.values(), inventory.groups))
        return self._made[1]


def assemble(ports: Ports, catalogue: Catalogue, redactor: Redactor, settings: Settings) -> Service:
    """Build the service; nothing runs before its `start`."""
    replica = ports.replica or Replica(ports.store.replicas, ports.store.leases, ports.clock)
    recorder = Recorder(ports.store.samples, ports.clock, every_s=settings.sample_every_s)
    machines = RecordingMachines(ports.machines, recorder)
    sampling = Sampling(
        machines,
        recorder,
        hosts=lambda: tuple(catalogue.inventory.hosts.values()),
        clock=ports.clock,
        every_s=settings.sample_every_s,
        leads=replica.leads,
    )
    shelves = Shelves(ports.store.passages, ports.store.incidents, ports.embedder)
    shelving = Shelving(
        ports.store.passages,
        shelves,
        ports.clock,
        folder=ports.runbooks,
        embedder=ports.embedder,
        leads=replica.leads,
    )
    identity = Identity(ports.directory, settings.rules)
    intake = Intake(redactor, _KnownWords(catalogue))
    executor = Executor(
        catalogue=catalogue,
        machines=machines,
        store=ports.store,
        rules=settings.rules,
        clock=ports.clock,
        surroundings=Surroundings(
            intake,
            settings.threads,
            settings.sleep,
            recorder,
            identify=identity.now,
            check=replica.check_sure,
            brakes=settings.brakes,
            library=shelves,
        ),
    )
    seals = ButtonSeals(settings.button_key)

    def dress(card: Card) -> Card:
        minutes = executor.scrutiny.standing_minutes(card.approval)
        held = "" if card.approval.state.final else executor.scrutiny.held(card.approval)
        return replace(card, seal=seals.of(card.approval), while_minutes=minutes, held=held)

    chat = RedactedChat(ports.chat, redactor, intake)
    delivery = Delivery(chat, ports.store, dress)

    async def settled(approval: Approval) -> None:
        await service.settled(approval)

    async def propose(conversation: Conversation, call: ToolCall, prepared: Prepared, asker: Actor) -> Approval:
        read, reason = taint.sources(conversation), spoken_reason(conversation)
        return await desk.propose(
            conversation.place, asker, prepared, call_id=call.call_id, reason=reason, tainted_by=read
        )

    desk = ApprovalDesk(
        register=Register(ports.store, delivery, ports.clock, seals),
        executor=executor,
        rules=settings.rules,
        lifetime_s=settings.lifetime_s,
        settled=settled,
        replica=replica,
        pace=settings.pace,
    )

    async def tell_once(key: str, place: Place, text: str) -> None:
        if await ports.store.outbox.get(key) is None:
            await delivery.send(key, place, Text(text, trusted=True))

    meter = Meter(ports.store.usage, ports.prices, ports.clock, ports.model.name, settings.spending, tell_once)
    asking = None if settings.spending.endpoint == "none" else Asking(ports.model, meter)
    summariser = Summariser(ports.model, meter, intake)
    condenser = Condenser(ports.store, summariser, intake, ports.clock, settings.window)
    loop = TurnLoop(
        model=ports.model,
        store=ports.store,
        catalogue=catalogue,
        executor=executor,
        rules=settings.rules,
        intake=intake,
        clock=ports.clock,
        system_prompt=lambda: system_prompt(catalogue.inventory),
        limits=settings.limits,
        propose=propose,
        meter=meter,
        identify=identity.now,
        own=OwnTools(catalogue, Keeper(ports.store.outputs, intake, ports.clock)),
        condenser=condenser,
    )
    dialogue = Dialogue(
        loop=loop,
        store=ports.store,
        chat=chat,
        delivery=delivery,
        clock=ports.clock,
        places=TurnPlaces(settings.rates),
        replica=replica,
    )
    service = Service(
        Parts(
            store=ports.store,
            replica=replica,
            identify=identity.now,
            catalogue=catalogue,
            executor=executor,
            rules=settings.rules,
            intake=intake,
            clock=ports.clock,
            delivery=delivery,
            desk=desk,
            escalation=Escalation(ports.store, delivery, settings.rules, ports.clock),
            dialogue=dialogue,
            recorder=recorder,
            sampling=sampling,
            shelving=shelving,
            throttle=Throttle(ports.clock, settings.rates),
            stopping=Stopping(ports.store, catalogue, executor, desk, settings.rules, ports.clock),
            meter=meter,
            usage=UsageReports(ports.store.usage, settings.rules, settings.spending.budgets, ports.clock),
            looks=Looks(catalogue, executor, intake, ports.store.audit, delivery, ports.clock),
            overhearing=Overhearing(chat, delivery, summariser, intake, settings.rules),
            alarms=Alarms(asking, catalogue, settings.rules, intake, ports.clock),
            reporting=Reporting(
                store=ports.store,
                chat=chat,
                delivery=delivery,
                asking=asking,
                catalogue=catalogue,
                rules=settings.rules,
                intake=intake,
                clock=ports.clock,
                seals=seals,
                reports=settings.reports,
            ),
            strangers=Strangers(ports.store.audit, delivery, ports.clock),
            sights=Sights(
                ports.store.pictures,
                intake,
                chat,
                ports.clock,
                attachments=ports.attachments,
                darkroom=ports.darkroom,
                unable=settings.unable_to_look,
            ),
            bot_name=settings.bot_name,
        )
    )
    return service
