"""The bot under attack, with everything around it: what anybody can do to it, and the ledger that watches."""

import asyncio
import random
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import replace

from opsbot.caps import Caps
from opsbot.checkpoint import Brakes
from opsbot.domain import Actor, Approval, Card, HostVerb, Incoming, IncomingCommand, Membership, Place, UnitVerb
from opsbot.holds import Hold, HoldKind, Scope, Where
from opsbot.pace import Pace
from opsbot.policy import ApproverRule, PolicyRules, Tiers
from tests.fake_chat import FakeDirectory, Posted
from tests.fake_clock import FakeClock
from tests.fake_machines import FakeUnit
from tests.safety.hostile_calls import Calls, Liar
from tests.safety.invariant import Instant, Ledger, Rules
from tests.safety.watched_hosts import WatchedMachines
from tests.scenario.house import HOSTS, House, World

ALICE, BOB, CAROL, DAVE = (Actor("T1", name) for name in ("UALICE", "UBOB", "UCAROL", "UDAVE"))
STRANGER = Actor("T9", "UBOB")
PEOPLE = (ALICE, BOB, CAROL, DAVE, STRANGER, Actor("T1", "ubob"), Actor("T1", "UALICE "))
_CHANNEL = Place("T1", "C1")
_EVERYTHING = tuple(map(str, (*UnitVerb, *HostVerb)))


# --- the configurations ----------------------------------------------------------------------------------------------


def _keys(*people: Actor) -> frozenset[str]:
    return frozenset(person.key for person in people)


def _policy(*approvers: Actor, hosts_per_action: int = 10, standing_minutes: int = 0) -> PolicyRules:
    return PolicyRules(
        asker_users=frozenset({"UALICE", "UBOB"}),
        approvers=(ApproverRule(("production",), frozenset(person.user_id for person in approvers)),),
        tiers=Tiers(last_replica=1),
        hosts_per_action=hosts_per_action,
        standing_minutes=standing_minutes,
    )


# What the operator may configure, and the same in the words of the invariant.
CONFIGURATIONS: dict[str, tuple[PolicyRules, Rules]] = {
    "plain": (_policy(ALICE, BOB, CAROL), Rules("plain", _keys(ALICE, BOB), _keys(ALICE, BOB, CAROL))),
    "for a while": (
        _policy(ALICE, BOB, CAROL, standing_minutes=30),
        Rules("for a while", _keys(ALICE, BOB), _keys(ALICE, BOB, CAROL), standing_s=1800),
    ),
    "fewer approvers": (_policy(ALICE, BOB), Rules("fewer approvers", _keys(ALICE, BOB), _keys(ALICE, BOB))),
    "fewer hosts": (
        _policy(ALICE, BOB, CAROL, hosts_per_action=2),
        Rules("fewer hosts", _keys(ALICE, BOB), _keys(ALICE, BOB, CAROL)),
    ),
}


class Switch:
    """Implements `ports.StopSwitch`: a stop file of an administrator's."""

    def __init__(self, clock: FakeClock) -> None:
        self.on = False
        self._clock = clock

    def thrown(self) -> Hold | None:
        by = "file/opsbot.stop"
        return Hold("FILE", HoldKind.STOP, Scope(Where.ALL), by, self._clock.now()) if self.on else None

    def release(self) -> bool:
        was, self.on = self.on, False
        return was


class Stage:
    """A life of the bot: one database, some processes after each other, and everybody around them."""

    def __init__(self, seed: int, number: int, calls: Calls, trace: deque[str]) -> None:
        self._seed = f"{seed}/{number}"
        self._calls = calls
        self._trace = trace
        self._rng = random.Random(self._seed)
        self.counts: Counter[str] = Counter()
        self._step = 0
        self._ids = 0
        self._true_s = 0.0
        self._counted = 0
        self._usual = self._rng.choice(("plain", "for a while", "for a while"))
        self._read_s = self._rng.choice((0.0, 0.0, 2.0))
        self._moved = 0
        policy, rules = CONFIGURATIONS[self._usual]
        self._model = Liar()
        self._world = World(model=self._model, rules=policy, sleep=lambda seconds: None)
        self._switch = Switch(self._world.clock)
        # As Slack says of who is of another workspace.
        self._away = {STRANGER.key: Membership.FOREIGN}
        self._world.directory = FakeDirectory(memberships=self._away)
        self._world.pace = Pace(read_s=self._read_s, open_requests=100, requests=1000)
        self._world.brakes = Brakes(Caps(100_000, 100_000), switch=self._switch)
        units: dict[str, Sequence[str | FakeUnit]] = {
            "web-1": ["nginx", FakeUnit("brittle", on_restart="fails")],
            "web-2": ["nginx"],
            "db-1": ["redis-server"],
            "lab-1": ["nginx"],
        }
        self._machines = self._world.machines = WatchedMachines(self._now, units)
        self._before = self._machines.states()
        self.ledger = Ledger(rules)
        self._configure(self._usual, moved=0)
        self._places = [Place("T1", "C1", f"1700.{self._rng.randrange(10**6)}") for _ in range(60)]
        self._house = House(self._world)

    async def begin(self) -> None:
        await self._house.start()

    async def end(self) -> None:
        self._house.die()
        await self._house.stop()

    async def _look(self) -> None:
        """See what people see, and hold what happened against it."""
        await self._house.quiet()
        now, states = self._now(), self._states()
        for posted in self._house.cards():
            self.ledger.see(posted, now, states)
        for effect in self._machines.effects[self._counted :]:
            self._counted += 1
            self.counts["effects"] += 1
            self.counts[f"effects: {effect.verb}"] += 1
            self.ledger.happens(effect)
        self.ledger.settle()

    def _states(self) -> dict[str, tuple[object, ...]]:
        """The runs that a card of this step can have been made of."""
        return {target: (self._before.get(target), run) for target, run in self._machines.states().items()}

    def _now(self) -> Instant:
        return Instant(self._step, self._world.clock.now(), self._true_s)

    def _card(self) -> Posted | None:
        """One of the cards, mostly a new one."""
        cards = self._house.cards()
        if not cards:
            return None
        return self._rng.choice((cards[-1:], cards[-6:], cards)[self._rng.choice((0, 0, 0, 1, 1, 2))])

    async def _presses(self, actor: Actor, verb: str, posted: Posted, chosen: tuple[int, ...] = ()) -> None:
        """Press on a card as it stands."""
        self._note(f"{actor.user_id!r} presses {verb} {chosen or ''} on {id_of(posted)}")
        if verb in ("approve", "approve_while"):
            self.ledger.approves(id_of(posted), actor.key, self._now(), for_a_while=verb == "approve_while")
        if verb == "narrow":
            self.ledger.leaves_out(id_of(posted), actor.key)
        await self._send(replace(self._house.click(actor, verb, posted), chosen=chosen))

    async def _types(self, actor: Actor, text: str, place: Place = _CHANNEL) -> None:
        self._note(f"{actor.user_id!r} types {text}")
        await self._send(IncomingCommand(place, actor, text, reply_to="" if place.thread_id else "https://reply"))

    async def _pass(self, seconds: float) -> None:
        self._note(f"{seconds} s pass")
        self._true_s += seconds
        await self._house.passes(seconds)

    async def _dies(self) -> None:
        """The process ends as by SIGKILL and another one begins."""
        self._note("the process dies")
        self.counts["processes killed"] += 1
        self._house.die()
        await asyncio.sleep(0)
        await self._house.stop()  # only to let its threads go: nothing of it runs any more
        self._house = House(self._world)
        await self._house.start()

    async def _dies_soon(self) -> None:
        for _ in range(self._rng.randrange(80)):
            await asyncio.sleep(0)
        await self._dies()

    def _configure(self, name: str, *, moved: int) -> None:
        policy, rules = CONFIGURATIONS[name]
        hosts = {key: replace(host, actions=_EVERYTHING, containers=("cache",)) for key, host in HOSTS.items()}
        if moved:
            hosts["web-1"] = replace(hosts["web-1"], units=("nginx",), address="192.0.2.9")
        self._moved, self._world.rules, self._world.hosts = moved, policy, hosts
        versions = {key: moved if key == "web-1" else 0 for key in hosts}
        self.ledger.rules = replace(rules, read_s=self._read_s, hosts=versions)

    async def _send(self, event: Incoming) -> None:
        await self._house.send(event)

    def _note(self, text: str) -> None:
        self._trace.append(f"{self._step} {self._world.clock.now():%H:%M:%S} {text}"[:300])

    def _id(self) -> str:
        self._ids += 1
        return f"x{self._step}.{self._ids}"


def approval_of(posted: Posted) -> Approval:
    assert isinstance(posted.content, Card)
    return posted.content.approval


def id_of(posted: Posted) -> str:
    return approval_of(posted).id
