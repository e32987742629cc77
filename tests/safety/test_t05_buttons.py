"""T05: whatever anybody does with the buttons of cards, an approval is carried out at most once, as approved."""

import asyncio
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from opsbot.domain import Actor, ApprovalState, Card, IncomingDecision
from opsbot.policy import ApproverRule
from opsbot.seals import ButtonSeals
from tests.fake_chat import Posted
from tests.safety.conftest import Figures, Scale
from tests.safety.invariant import Effect
from tests.safety.watched_hosts import WatchedMachines
from tests.scenario.house import ALICE, BOB, CAROL, CHANNEL, RULES, House, World

DAVE, ERIN = Actor("T1", "UDAVE"), Actor("T1", "UERIN")
PEOPLE = (ALICE, BOB, CAROL, DAVE, ERIN)
APPROVERS = {ALICE.key, BOB.key, DAVE.key}
LIFETIME_S = 300


# --- one click, in every way it can be wrong -------------------------------------------------------------------------

Wrong = Callable[[House, IncomingDecision], IncomingDecision]
FORGERIES: dict[str, Wrong] = {
    "the id of another request": lambda _, click: replace(click, approval_id="ABCD2345"),
    "no id": lambda _, click: replace(click, approval_id=""),
    "the beginning of the id": lambda _, click: replace(click, approval_id=click.approval_id[:6]),
    "no seal": lambda _, click: replace(click, seal=""),
    "a seal cut short": lambda _, click: replace(click, seal=click.seal[:-1]),
    "a seal in capitals": lambda _, click: replace(click, seal=click.seal.upper() + "A"),
    "a seal by another key": lambda house, click: replace(
        click, seal=ButtonSeals(b"another key" * 3).of(house.approval)
    ),
    "a seal over another content": lambda house, click: replace(
        click, seal=ButtonSeals(bytes(range(32))).of(replace(house.approval, digest="0" * 64))
    ),
    "a copy of the message": lambda _, click: replace(click, message_id="1700000000.999999"),
    "the message in another channel": lambda _, click: replace(click, place=replace(click.place, channel_id="C9")),
}
VERBS = ("approve", "approve_while", "deny", "withdraw", "narrow", "pause", "halt")


@pytest.mark.parametrize("forgery", FORGERIES.values(), ids=FORGERIES.keys())
async def test_a_button_that_is_not_of_the_card_as_it_stands_does_nothing(forgery: Wrong, figures: Figures) -> None:
    """The table: every way to be wrong, for every verb (70 cases). Each is answered, and written down."""
    house = House(World(rules=replace(RULES, standing_minutes=10)))
    await house.start()
    await house.types(ALICE, "restart nginx web")
    before = house.approval
    for verb in VERBS:
        actor = ALICE if verb == "withdraw" else BOB
        click = replace(house.click(actor, verb, house.cards()[-1]), chosen=(0,))
        await house.send(forgery(house, click))
        await house.quiet()
        assert any(words in house.whispered for words in ("no such request", "as it stands now", "not the card"))
        after = (await house.world.store.approvals.in_state(ApprovalState.PENDING))[0]
        assert (after.digest, after.reviews, after.action) == (before.digest, (), before.action)
    assert not house.world.machines.restarts
    figures.note(forged_clicks_refused=f"{len(FORGERIES) * len(VERBS)} of {len(FORGERIES) * len(VERBS)}")
    await house.stop()


@pytest.mark.parametrize("actor", [ALICE, CAROL, Actor("T2", "UBOB")], ids=["requester", "nobody", "another team"])
async def test_genuine_buttons_count_only_for_whom_they_are(actor: Actor) -> None:
    house = House(World())
    await house.start()
    await house.types(ALICE, "restart nginx web")
    for verb in ("approve", "narrow", *(("deny", "withdraw") if actor != ALICE else ())):
        await house.send(replace(house.click(actor, verb, house.cards()[-1]), chosen=(0,)))
        await house.quiet()
        assert house.approval.state is ApprovalState.PENDING
        assert house.whispered
    assert not house.world.machines.restarts
    await house.stop()


@pytest.mark.parametrize("state", list(ApprovalState))
async def test_a_click_in_any_other_state_than_waiting_is_answered_and_changes_nothing(state: ApprovalState) -> None:
    house = House(World())
    await house.start()
    await house.types(ALICE, "restart nginx web")
    (pending,) = await house.world.store.approvals.in_state(ApprovalState.PENDING)
    if state is ApprovalState.PENDING:
        await house.stop()
        return
    stored = house.world.store.approvals.stored
    stored[pending.id] = replace(pending, state=state, decided_at=pending.created_at)
    for verb in ("approve", "deny", "narrow"):
        heard = len(house.world.chat.whispers)
        await house.send(replace(house.click(BOB, verb, house.cards()[-1]), chosen=(0,)))
        await house.quiet()
        assert len(house.world.chat.whispers) > heard
        assert stored[pending.id].state is state
    assert not house.world.machines.restarts
    await house.stop()


# --- many clicks, by many, over crashes ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Clicked:
    """A genuine click of a person on a card, with what stood on the card."""

    actor: Actor
    verb: str
    at: datetime
    hosts: tuple[str, ...]
    counted: bool


@dataclass
class Story:
    """What people did, by request: from it alone follows what may happen (the rules, not the code)."""

    clicks: dict[str, list[Clicked]] = field(default_factory=dict)
    cards: dict[str, Card] = field(default_factory=dict)
    used: Counter[tuple[str, str]] = field(default_factory=Counter)

    def why_not(self, effect: Effect, needed: int) -> str:
        """Return "" if a request allows this effect, and use it up."""
        reasons = []
        for request, card in self.cards.items():
            reason = self._why_not(request, card, effect, needed)
            if not reason:
                self.used[request, effect.host] += 1
                return ""
            reasons.append(f"{request}: {reason}")
        return "; ".join(reasons) or "nobody asked for it"

    def _why_not(self, request: str, card: Card, effect: Effect, needed: int) -> str:
        approval = card.approval
        if effect.host not in approval.action.hosts:
            return "not one of its hosts"
        if self.used[request, effect.host]:
            return "used already"
        if effect.at >= approval.expires_at:
            return "expired"
        people: set[str] = set()
        for click in self.clicks.get(request, []):
            if click.at > effect.at or click.at >= approval.expires_at:
                continue
            if click.verb == "narrow" and click.counted:
                people = set()
            elif click.verb in ("deny", "withdraw") and click.counted:
                return "somebody ended it"
            elif click.verb == "approve" and click.actor.key in APPROVERS - {approval.requester.key}:
                people |= {click.actor.key} if effect.host in click.hosts else set()
        return "" if len(people) >= needed else f"approved by {sorted(people)} only"


HAPPENED: Counter[str] = Counter()


class Buttons(RuleBasedStateMachine):
    """Proposals, clicks of all kinds, forged and old ones, time, and processes that end."""

    @initialize(needed=st.integers(1, 2))
    def begin(self, needed: int) -> None:
        self.runner = asyncio.Runner()
        self.needed = needed
        approvers = ApproverRule(
            ("production",), users=frozenset(key.split("/")[1] for key in APPROVERS), needed=needed
        )
        rules = replace(RULES, asker_users=frozenset(each.user_id for each in PEOPLE), approvers=(approvers,))
        self.world = World(rules=rules, lifetime_s=LIFETIME_S)
        self.machines = WatchedMachines(self.world.clock.now, {"web-1": ["nginx"], "web-2": ["nginx"]})
        self.world.machines = self.machines
        self.story = Story()
        self.old: list[IncomingDecision] = []
        self.seen = 0
        self.house = House(self.world)
        self.run(self.house.start())

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        self.runner.run(work)

    def teardown(self) -> None:
        if hasattr(self, "runner"):
            self.run(self._end())
            self.runner.close()

    async def _end(self) -> None:
        await self.house.stop()

    # --- what happens ------------------------------------------------------------------------------------------------

    @rule(where=st.sampled_from(["web-1", "web-2", "web"]), who=st.sampled_from((ALICE, BOB)))
    def propose(self, where: str, who: Actor) -> None:
        self.run(self.house.types(who, f"restart nginx {where}", CHANNEL))

    @precondition(lambda self: self.house.cards())
    @rule(
        who=st.sampled_from(PEOPLE),
        verb=st.sampled_from(("approve", "approve", "approve", "approve", "deny", "withdraw", "narrow")),
        number=st.integers(-3, -1),
        chosen=st.sampled_from(((0,), (1,), (0, 1), (), (5,))),
    )
    def click(self, who: Actor, verb: str, number: int, chosen: tuple[int, ...]) -> None:
        self.run(self._click([(who, verb, chosen)], number))

    @precondition(lambda self: self.house.cards())
    @rule(first=st.sampled_from(PEOPLE), second=st.sampled_from(PEOPLE), verbs=st.sampled_from(
        (("approve", "approve"), ("approve", "deny"), ("narrow", "approve"), ("withdraw", "approve"))
    ), number=st.integers(-3, -1))  # fmt: skip
    def two_clicks_at_once(self, first: Actor, second: Actor, verbs: tuple[str, str], number: int) -> None:
        self.run(self._click([(first, verbs[0], (0,)), (second, verbs[1], (0,))], number))

    @precondition(lambda self: self.house.cards())
    @rule(who=st.sampled_from((BOB, DAVE)), forgery=st.sampled_from(sorted(FORGERIES)))
    def forge(self, who: Actor, forgery: str) -> None:
        click = self.house.click(who, "approve", self.house.cards()[-1])
        self.run(self._send(FORGERIES[forgery](self.house, click)))

    @precondition(lambda self: self.old)
    @rule(data=st.data())
    def press_what_stood_there_before(self, data: st.DataObject) -> None:
        self.run(self._press_old(data.draw(st.sampled_from(self.old))))

    @rule(seconds=st.sampled_from([1, 30, 150, LIFETIME_S]))
    def time_passes(self, seconds: int) -> None:
        self.run(self.house.passes(seconds))

    @rule(seconds=st.sampled_from([-3600, 3600]))
    def the_clock_jumps(self, seconds: int) -> None:
        self.world.clock.jump(seconds)

    @rule()
    def crash(self) -> None:
        self.run(self._crash())

    async def _crash(self) -> None:
        self.house.die()
        await asyncio.sleep(0)
        self.house = House(self.world)
        await self.house.start()
        await self.house.quiet()

    async def _click(self, clicks: list[tuple[Actor, str, tuple[int, ...]]], number: int) -> None:
        cards = self.house.cards()
        posted = cards[max(number, -len(cards))]
        before = len(self.world.store.audit.records)
        at = self.world.clock.now()
        sent = [replace(self.house.click(who, verb, posted), chosen=chosen) for who, verb, chosen in clicks]
        shown = self._card(posted).approval
        self.old += sent
        for event in sent:
            await self.house.send(event)
        await self.house.quiet()
        # Whether narrowing, denying and withdrawing counted is taken from the audit; approvals are judged by the rules.
        kinds = {"deny": "approval.denied", "withdraw": "approval.withdrawn", "narrow": "approval.narrowed"}
        for who, verb, _ in clicks:
            entries = [r.entry for r in self.world.store.audit.records[before:]]
            counted = any(e.kind == kinds.get(verb) and e.actor == who.key for e in entries)
            made = Clicked(who, verb, at, shown.action.hosts, counted)
            self.story.clicks.setdefault(shown.id, []).append(made)

    async def _press_old(self, event: IncomingDecision) -> None:
        """A payload of earlier, sent anew: on an unchanged card it is a click like any other."""
        posted = next(p for p in self.house.cards() if p.ref.message_id == event.message_id)
        card = self._card(posted)
        if card.seal == event.seal:
            await self._click(
                [(event.actor, event.verb, event.chosen)], self.house.cards().index(posted) - len(self.house.cards())
            )
        else:
            await self._send(event)

    async def _send(self, event: IncomingDecision) -> None:
        await self.house.send(event)
        await self.house.quiet()

    @staticmethod
    def _card(posted: Posted) -> Card:
        assert isinstance(posted.content, Card)
        return posted.content

    # --- what has to hold --------------------------------------------------------------------------------------------

    @invariant()
    def nothing_happened_that_nobody_allowed(self) -> None:
        if not hasattr(self, "house"):
            return
        for posted in self.house.cards():
            card = self._card(posted)
            self.story.cards[card.approval.id] = card
        for effect in self.machines.effects[self.seen :]:
            self.seen += 1
            HAPPENED["effects"] += 1
            why = self.story.why_not(effect, self.needed)
            assert not why, f"{effect}: {why}"

    @invariant()
    def nothing_is_carried_out_twice(self) -> None:
        if hasattr(self, "house"):
            assert all(times == 1 for times in self.story.used.values())


def test_no_story_of_clicks_crashes_and_clocks_doubles_or_invents_an_execution(figures: Figures, scale: Scale) -> None:
    search = settings(
        max_examples=scale(12, 400),
        stateful_step_count=scale(25, 40),
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    HAPPENED.clear()
    run_state_machine_as_test(Buttons, settings=search)
    # A search in which nothing happens shows nothing; a small one may be unlucky.
    assert HAPPENED["effects"] > 20 or not scale.full
    figures.note(
        random_stories=search.max_examples,
        steps_in_each=search.stateful_step_count,
        executions_in_them=HAPPENED["effects"],
        doubled_executions=0,
    )
