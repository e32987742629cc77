"""The whole bot behind the real Slack adapter on a workbench, with hosts and a model that count who reaches them."""

import asyncio
import contextlib
import json
import threading
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import opsbot_tools

from opsbot.actions import Catalogue
from opsbot.adapters.clock import SystemClock
from opsbot.adapters.slack import SlackConnection, card_buttons
from opsbot.assembly import Ports, Settings, assemble
from opsbot.caps import Caps
from opsbot.checkpoint import Brakes
from opsbot.discovery import load_tools
from opsbot.domain import Approval, AuditEntry, Host, HostVerb, UnitVerb
from opsbot.inventory import Inventory
from opsbot.pace import Pace
from opsbot.policy import ApproverRule, PolicyRules, Tiers
from opsbot.redact import Redactor
from opsbot.service import Service
from opsbot.throttle import Rates
from opsbot.workbench import World
from tests.fake_clock import HastyClock
from tests.fake_machines import FakeMachines
from tests.fake_store import TEST_KEY, MemoryStore
from tests.ports import reserved_port
from tests.scripted_model import ScriptedModel
from tests.slack_bot import SECRET, settings_for
from tests.slack_door import signed
from tests.workbench_fixture import MANIFEST, RunningWorkbench, running_workbench

OPS, TEAM = "C0OPS", "T0WORKBENCH"
_EVERYTHING = tuple(map(str, (*UnitVerb, *HostVerb)))
HOSTS = {
    name: Host(
        name,
        address=f"192.0.2.{number}",
        environment="production",
        units=("nginx",),
        containers=("cache",),
        actions=_EVERYTHING,
        host_key=f"k{number}",
    )
    for number, name in enumerate(("web-1", "web-2"), 1)
}
RULES = PolicyRules(
    asker_users=frozenset({"U0ALICE"}),
    approvers=(ApproverRule(("*",), frozenset({"U0BOB", "U0DAVE"}), frozenset({"S0SRE"})),),
    tiers=Tiers(last_replica=1),
)
_PATIENCE_S = 30.0


class CountedMachines:
    """ports.Machines that notes every use; each is at least one connection to a host."""

    def __init__(self, machines: FakeMachines) -> None:
        self.inner = machines
        self.uses: list[str] = []
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.inner, name)
        if not callable(found):
            return found
        with self._lock:
            self.uses.append(name)
        return found


@dataclass
class Workplace:
    """The bot and its workspace. `counted` tells what was reached since `begin`."""

    bench: RunningWorkbench
    service: Service
    store: MemoryStore
    machines: CountedMachines
    model: ScriptedModel
    catalogue: Catalogue
    port: int
    # A pending card and a thread with a conversation, where a test has made them.
    card: Mapping[str, Any] = field(default_factory=dict)
    thread: str = ""
    _audited: int = 0
    _asked: int = 0
    _raw: int = 0

    def begin(self) -> None:
        """Count from here on."""
        self.machines.uses.clear()
        self._audited, self._asked = len(self.store.audit.records), len(self.model.requests)

    @property
    def reached(self) -> tuple[int, int]:
        """How often hosts and the model were reached since `begin`."""
        return len(self.machines.uses), len(self.model.requests) - self._asked

    @property
    def audited(self) -> list[AuditEntry]:
        """What was audited since `begin`."""
        return [record.entry for record in self.store.audit.records[self._audited :]]

    async def quiet(self, *, audited: int = 0) -> None:
        """Wait until so many lines are audited, and the bot has nothing more to do: events arrive by themselves."""
        async with asyncio.timeout(_PATIENCE_S):
            while len(self.audited) < audited:
                await asyncio.sleep(0.005)
            await self.service.idle()

    async def approval(self) -> Approval:
        """The only approval there is."""
        (found,) = self.store.approvals.stored.values()
        return found

    async def prepare(self) -> None:
        """Let Alice begin a conversation and ask for a restart; then count from here on."""
        self.model.add("Here I am.")
        alice = self.bench.person("alice")
        self.thread = (await alice.says(OPS, "<@U0BOT> hello"))["ts"]
        await self.bench.wait_for(lambda m: "Here I am." in str(m))
        await alice.command(OPS, "/ops restart nginx web-1 because it leaks")
        await self.quiet()
        approval_id = (await self.approval()).id
        self.card = await self.bench.wait_for(lambda m: approval_id in json.dumps(m.get("blocks", [])))
        self.begin()

    def click(self, action_id: str, user_id: str, *, value: str = "", message_ts: str = "") -> dict[str, Any]:
        """Write a click on a button, as Slack sends it; by default with the value and the message of the card."""
        number = self.number()
        elements = [each for block in self.card["blocks"] for each in block.get("elements", [])]
        values = {each["action_id"]: each["value"] for each in elements if "value" in each}
        used = value or values.get(action_id) or next(iter(values.values()))
        action = {"type": "button", "action_id": action_id, "action_ts": f"1700.{number:06d}", "value": used}
        if action_id == card_buttons.LEAVE_OUT:
            action |= {"type": "multi_static_select", "block_id": f"leave_out.{used}"}
            action["selected_options"] = [{"value": "0"}]
        return {
            "type": "block_actions",
            "team": {"id": TEAM, "domain": "workbench"},
            "user": {"id": user_id, "username": "somebody", "name": "somebody", "team_id": TEAM},
            "trigger_id": f"trigger.{number}",
            "container": {"type": "message", "message_ts": message_ts or self.card["ts"], "channel_id": OPS},
            "actions": [action],
        }

    # --- what no client of Slack's sends -----------------------------------------------------------------------------

    async def sends(self, body: Mapping[str, Any]) -> int:
        """Send an Events API payload with Slack's signature, and wait until it was dealt with; return the status."""
        raw = json.dumps(body).encode()
        return await self._post(raw, "application/json")

    async def sends_form(self, fields: Mapping[str, str]) -> int:
        """Send a slash command."""
        return await self._post(urlencode(fields).encode(), "application/x-www-form-urlencoded")

    async def clicks(self, payload: Mapping[str, Any]) -> int:
        """Send an interaction."""
        return await self.sends_form({"payload": json.dumps(payload)})

    def number(self) -> int:
        """A number that no payload had before."""
        self._raw += 1
        return self._raw

    async def _post(self, raw: bytes, kind: str) -> int:
        url = f"http://127.0.0.1:{self.port}/slack/events"
        async with self.bench.session.post(url, data=raw, headers=signed(raw, kind=kind)) as response:
            await response.read()
            status = response.status
        await self.quiet()
        return status


@contextlib.asynccontextmanager
async def workplace(rules: PolicyRules = RULES, *, world: World | None = None) -> AsyncIterator[Workplace]:
    """Start everything, in HTTP mode; all of it ends with the block."""
    with reserved_port() as port:
        wanted: dict[str, Any] = {"manifest": json.loads(MANIFEST.read_text(encoding="utf-8")), "mode": "http"}
        wanted |= {"signing_secret": SECRET, "events_url": f"http://127.0.0.1:{port}/slack/events", "world": world}
        async with running_workbench(**wanted) as bench:
            settings = settings_for(bench.bench, "http", http_port=port, group_ids=rules.group_ids)
            bot = await SlackConnection.open(settings, clock=HastyClock())
            try:
                async with _running(bench, bot, rules, port) as place:
                    yield place
            finally:
                await bot.close()


@contextlib.asynccontextmanager
async def _running(
    bench: RunningWorkbench, bot: SlackConnection, rules: PolicyRules, port: int
) -> AsyncIterator[Workplace]:
    store, model = MemoryStore(), ScriptedModel()
    machines = CountedMachines(FakeMachines({name: ["nginx"] for name in HOSTS}))
    catalogue = Catalogue(load_tools([opsbot_tools.__name__]), Inventory(HOSTS, {"web": tuple(HOSTS)}))
    ports = Ports(store, bot.chat, bot.directory, model, machines, SystemClock())
    settings = Settings(
        rules=rules,
        button_key=TEST_KEY,
        pace=Pace(read_s=0, requests=1000),
        threads=4,
        sleep=lambda seconds: None,
        rates=Rates(messages=1_000_000, messages_per_person=1_000_000),
        brakes=Brakes(Caps(an_hour=100_000, an_hour_per_person=100_000)),
    )
    service = assemble(ports, catalogue, Redactor([]), settings)
    stop = asyncio.Event()
    await service.start()
    serving = asyncio.create_task(bot.serve(service, stop))
    try:
        await asyncio.wait_for(bot.ready.wait(), _PATIENCE_S)
        await bench.wait_online()
        yield Workplace(bench, service, store, machines, model, catalogue, port)
    finally:
        stop.set()
        await asyncio.wait_for(serving, _PATIENCE_S)
        await service.stop()
