"""The whole core on real hosts: chat and store in memory, everything else as in production, with short time limits."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

from opsbot.actions import Catalogue
from opsbot.adapters.clock import SystemClock
from opsbot.adapters.local import LocalShell
from opsbot.adapters.machines import HostMachines
from opsbot.adapters.ssh import ParamikoShell, PoolLimits
from opsbot.answers import read_report
from opsbot.assembly import Ports, Settings, assemble
from opsbot.discovery import SHIPPED_TOOLS, Registry, load_tools
from opsbot.domain import Actor, Approval, ApprovalState, Card, Host, IncomingCommand, IncomingDecision, Place, Risk
from opsbot.executor import Executor
from opsbot.intake import Intake
from opsbot.inventory import Inventory
from opsbot.pace import Pace
from opsbot.policy import ApproverRule, PolicyRules, Tiers
from opsbot.ports import ChatModel
from opsbot.redact import Redactor
from opsbot.workshop import Surroundings
from tests.fake_chat import FakeChat, FakeDirectory, Posted, lines
from tests.fake_store import TEST_KEY, MemoryStore
from tests.scripted_model import ScriptedModel

ALICE, BOB, CAROL = (Actor("T1", f"U{name}") for name in ("ALICE", "BOB", "CAROL"))
CHANNEL = Place("T1", "C1")
RULES = PolicyRules(
    asker_users=frozenset({"UALICE"}),
    approvers=(ApproverRule(("*",), users=frozenset({"UBOB", "UCAROL"})),),
    tiers=Tiers(last_replica=1),
)
# `nothing waits past its deadline by more than a second`
LATE_S = 1.0
_DECIDED_WITHIN_S = 10.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What one question brought: for the model, for people, and after how many seconds."""

    results: Mapping[str, Any]
    errors: Mapping[str, str]
    shown: str
    took_s: float
    timeout_s: float

    @property
    def in_time(self) -> bool:
        return self.took_s <= self.timeout_s + LATE_S


class LiveBot:
    """One bot that works for these hosts. `timeout_s`: the most any reading tool may take, besides its own limit.

    `suspect_s` 0: hosts that did not answer are tried anew each time, else as in production.
    """

    def __init__(self, hosts: Mapping[str, Host], *, timeout_s: float = 600.0, suspect_s: float = 5.0) -> None:
        shipped = load_tools([SHIPPED_TOOLS])
        shortened = (
            replace(tool, timeout_s=min(tool.timeout_s, timeout_s)) if tool.risk is Risk.READ else tool
            for tool in shipped.tools
        )
        self.registry = Registry(tuple(shortened))
        self.catalogue = Catalogue(self.registry, Inventory(dict(hosts), {"all-of-them": tuple(hosts)}))
        self.shell = ParamikoShell(PoolLimits(suspect_s=suspect_s), find=hosts.get)
        self.machines = HostMachines(self.shell, LocalShell())
        self.chat = FakeChat()
        self._redactor = Redactor(())
        self._ids = count(1)
        store, clock, model = MemoryStore(), SystemClock(), ScriptedModel()
        self._executor = Executor(
            catalogue=self.catalogue,
            machines=self.machines,
            store=store,
            rules=RULES,
            clock=clock,
            surroundings=Surroundings(Intake(self._redactor)),
        )
        settings = Settings(rules=RULES, button_key=TEST_KEY, pace=Pace(read_s=0, open_requests=100, requests=1000))
        ports = _ports(store, self.chat, model, self.machines, clock)
        self._service = assemble(ports, self.catalogue, self._redactor, settings)

    async def __aenter__(self) -> "LiveBot":
        await self._service.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._service.stop()
        self._executor.close()
        await asyncio.to_thread(self.machines.close)

    # --- reads -------------------------------------------------------------------------------------------------------

    async def ask(self, tool: str, names: Sequence[str], **arguments: Any) -> Answer:
        """Run a reading tool on these hosts, as a command or a call of the model does."""
        prepared = self.catalogue.from_words(tool, names, arguments)
        began = time.monotonic()
        outcome = await self._executor.read(prepared)
        took_s = time.monotonic() - began
        shown = "\n".join(lines(read_report(prepared, outcome, Intake(self._redactor))))
        assert json.loads(outcome.as_json())
        return Answer(outcome.results, outcome.errors, shown, took_s, prepared.tool.timeout_s)

    # --- actions -----------------------------------------------------------------------------------------------------

    async def types(self, text: str) -> str:
        """Have Alice type `/ops text`; return the private answer, once there is nothing more to do."""
        await self._send(IncomingCommand(CHANNEL, ALICE, text, reply_to="https://reply"))
        await self._service.idle()
        return "\n".join(lines(self.chat.whispers[-1].content)) if self.chat.whispers else ""

    async def approve(self, *people: Actor) -> None:
        """Have these people (Bob) approve the newest card; its action begins and is not waited for."""
        for person in people or (BOB,):
            posted = self._card()
            card = posted.content
            assert isinstance(card, Card)
            where = (posted.place, person, card.approval.id, "approve", posted.ref.message_id)
            await self._send(IncomingDecision(*where, seal=card.seal))
        async with asyncio.timeout(_DECIDED_WITHIN_S):
            while self.approval.state is ApprovalState.PENDING:
                await asyncio.sleep(0.01)

    async def ended(self) -> Approval:
        """Wait until nothing is under way, and return the newest request as its card shows it."""
        await self._service.idle()
        return self.approval

    async def carried_out(self, text: str, *people: Actor) -> Approval:
        """Ask, approve, and wait for the end."""
        said = await self.types(text)
        assert self.chat.cards(), said
        await self.approve(*people)
        return await self.ended()

    @property
    def approval(self) -> Approval:
        """The newest request as its card shows it."""
        return self.chat.last_card().approval

    @property
    def running(self) -> bool:
        return self.approval.state is ApprovalState.EXECUTING

    def _card(self) -> Posted:
        return [message for message in self.chat.messages if isinstance(message.content, Card)][-1]

    async def _send(self, event: IncomingCommand | IncomingDecision) -> None:
        await self._service.accept((f"event:{next(self._ids)}",), event)


def _ports(store: MemoryStore, chat: FakeChat, model: ChatModel, machines: HostMachines, clock: SystemClock) -> Ports:
    return Ports(store, chat, FakeDirectory(), model, machines, clock)
