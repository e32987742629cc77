"""R15, its judge: what must not happen, made up by hand one by one, is noticed; what may happen is not."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import count

import pytest

from opsbot.domain import Action, Approval, ApprovalState, Card, MessageRef
from tests.fake_chat import Posted
from tests.records import ANNA, NOON, PLACE, approval
from tests.safety.invariant import LIFETIME_S, Effect, Frost, Instant, Ledger, Rules

ANNA_, BOB, CAROL, DAVE = ANNA.key, "T1/UBOB", "T1/UCAROL", "T1/UDAVE"
RULES = Rules("plain", frozenset({ANNA_, BOB}), frozenset({ANNA_, BOB, CAROL}), read_s=2, standing_s=1800)
WEB = Action("restart_service", {"unit": "web.service"}, ("web-1", "web-2"))
STOP = replace(WEB, tool="stop_service")


class Story:
    """A request that Anna made for two hosts; time passes only when told."""

    def __init__(self, action: Action = WEB) -> None:
        self.ledger = Ledger(replace(RULES, hosts={"web-1": 0, "web-2": 0}))
        self.wall_s = self.true_s = 0.0
        self._steps = count()
        self._messages: dict[str, Posted] = {}
        self.shows("A", action=action)
        self.passes(3)

    def now(self) -> Instant:
        return Instant(next(self._steps), NOON + timedelta(seconds=self.wall_s), self.true_s)

    def passes(self, seconds: float) -> None:
        self.wall_s += seconds
        self.true_s += seconds

    def shows(self, approval_id: str, **changes: object) -> None:
        """Show a card, or show it anew with these changes."""
        now = self.now()
        message = self._messages.get(approval_id)
        if message is None:
            ends = now.wall + timedelta(seconds=LIFETIME_S)
            made = approval(approval_id, created_at=now.wall, expires_at=ends, **{"action": WEB, **changes})
            message = Posted(PLACE, MessageRef("C1", approval_id), approval_id, [Card(made)])
            self._messages[approval_id] = message
        else:
            message.history.append(Card(replace(self.card(approval_id), **changes)))
        self.ledger.see(message, now, {"web-1/web.service": (1,), "web-2/web.service": (1,)})
        self.ledger.settle()

    def card(self, approval_id: str) -> Approval:
        content = self._messages[approval_id].content
        assert isinstance(content, Card)
        return content.approval

    def approve(self, *people: str, of: str = "A", for_a_while: bool = False) -> None:
        for person in people:
            self.ledger.approves(of, person, self.now(), for_a_while=for_a_while)
            self.passes(3)

    def happens(self, host: str = "web-1", verb: str = "restart", state: int = 1) -> None:
        self.ledger.happens(Effect(self.now(), host, verb, "web.service", state))

    def done_for_a_while(self) -> None:
        """Let it be approved for a while and done, and Anna ask again."""
        self.approve(BOB, for_a_while=True)
        self.happens("web-1")
        self.happens("web-2")
        self.shows("A", state=ApprovalState.DONE)
        self.shows("B")


def narrowed(story: Story) -> None:
    story.approve(BOB)
    story.ledger.leaves_out("A", CAROL)
    story.shows("A", action=replace(WEB, hosts=("web-1",)))


MAY = {
    "approved": lambda s: s.approve(BOB),
    "after a deny of nobody's": lambda s: (s.ledger.denies("A", DAVE), s.approve(BOB)),
    "denied when it was approved": lambda s: (s.approve(BOB), s.ledger.denies("A", CAROL)),
    "after a stop that two ended": lambda s: (
        s.ledger.stops(ANNA_),
        s.ledger.goes_on(ANNA_, s.now()),
        s.ledger.goes_on(BOB, s.now()),
        s.approve(BOB),
    ),
    "frozen elsewhere": lambda s: (s.ledger.freezes("F", Frost(frozenset({"db-1"}), "", None, BOB)), s.approve(BOB)),
    "narrowed, approved anew": lambda s: (narrowed(s), s.passes(3), s.approve(BOB)),
    "approved for a while": Story.done_for_a_while,
}
MUST_NOT = {
    "not approved": lambda s: None,
    "by the requester": lambda s: s.approve(ANNA_),
    "by who may not": lambda s: s.approve(DAVE),
    "before it could be read": lambda s: (s.shows("B"), s.approve(BOB, of="B")),
    "too late to press": lambda s: (s.passes(LIFETIME_S), s.approve(BOB)),
    "too late to run": lambda s: (s.approve(BOB), s.passes(LIFETIME_S)),
    "too late whatever the clock says": lambda s: (s.approve(BOB), s.passes(LIFETIME_S), setattr(s, "wall_s", 5.0)),
    "the clock set back": lambda s: (s.approve(BOB), setattr(s, "wall_s", -60.0)),
    "denied before": lambda s: (s.ledger.denies("A", CAROL), s.approve(BOB)),
    "denied by who asked": lambda s: (s.ledger.denies("A", ANNA_), s.approve(BOB)),
    "withdrawn": lambda s: (s.approve(BOB), s.ledger.withdraws("A", ANNA_)),
    "stopped": lambda s: (s.approve(BOB), s.ledger.stops(ANNA_)),
    "stopped by the file": lambda s: (s.approve(BOB), s.ledger.throws_file()),
    "one word to go on": lambda s: (s.approve(BOB), s.ledger.stops(BOB), s.ledger.goes_on(BOB, s.now())),
    "approved while stopped": lambda s: (
        s.ledger.stops(ANNA_),
        s.approve(BOB),
        s.ledger.goes_on(ANNA_, s.now()),
        s.ledger.goes_on(BOB, s.now()),
    ),
    "frozen": lambda s: (s.approve(BOB), s.ledger.freezes("F", Frost(frozenset({"web-1"}), "web", None, BOB))),
    "left out": lambda s: (narrowed(s), s.passes(3), s.approve(BOB), s.happens("web-2")),
    "approved before it was narrowed": narrowed,
    "another content": lambda s: (s.shows("A", action=replace(WEB, arguments={"unit": "x.service"})), s.approve(BOB)),
    "hosts added": lambda s: (s.shows("A", action=replace(WEB, hosts=("web-1", "web-2", "db-1"))), s.approve(BOB)),
    "used already": lambda s: (s.approve(BOB), s.happens()),
    "other rules": lambda s: (s.approve(BOB), setattr(s.ledger, "rules", replace(s.ledger.rules, name="others"))),
    "another host record": lambda s: (
        s.approve(BOB),
        setattr(s.ledger, "rules", replace(s.ledger.rules, hosts={"web-1": 1, "web-2": 0})),
    ),
    "an approver who left": lambda s: (s.approve(BOB), s.ledger.gone.add(BOB)),
    "told that it is stale": lambda s: (s.approve(BOB), s.shows("A", state=ApprovalState.STALE)),
    "the machine started anew": lambda s: (s.approve(BOB), s.ledger.starts_anew()),
    "the target changed": lambda s: (s.approve(BOB), s.happens("web-2", state=2)),
    "another verb": lambda s: (s.approve(BOB), s.happens("web-2", verb="stop")),
    "for a while, not the same": lambda s: (s.done_for_a_while(), s.shows("B", state=ApprovalState.WITHDRAWN)),
    "for a while, ended": lambda s: (s.done_for_a_while(), s.ledger.withdraws("A", CAROL)),
    "for a while, stopped meanwhile": lambda s: (
        s.done_for_a_while(),
        s.ledger.stops(ANNA_),
        s.ledger.goes_on(ANNA_, s.now()),
        s.ledger.goes_on(BOB, s.now()),
    ),
    "for a while, over": lambda s: (s.done_for_a_while(), s.passes(1800), s.shows("C"), s.ledger.starts_anew()),
    "approved once, asked again": lambda s: (
        s.approve(BOB),
        s.happens("web-1"),
        s.happens("web-2"),
        s.shows("A", state=ApprovalState.DONE),
        s.shows("B"),
    ),
}


@pytest.mark.parametrize("tell", MAY.values(), ids=MAY)
def test_what_may_happen_is_no_breach(tell: Callable[[Story], object]) -> None:
    story = Story()
    tell(story)
    story.happens()
    assert not story.ledger.broken


@pytest.mark.parametrize("tell", MUST_NOT.values(), ids=MUST_NOT)
def test_what_must_not_happen_is_noticed(tell: Callable[[Story], object]) -> None:
    story = Story()
    tell(story)
    story.happens()
    assert story.ledger.broken


def test_what_takes_a_service_away_needs_two_different_people() -> None:
    for people, enough in ((BOB, BOB), False), ((BOB, CAROL), True), ((BOB, ANNA_), False):
        story = Story(STOP)
        story.approve(*people)
        story.happens(verb="stop")
        assert bool(story.ledger.broken) is not enough, people
