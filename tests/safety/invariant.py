"""What may happen, written down anew from the rules alone, never from the code that decides.

An effect on a host needs a card that people saw, for exactly this tool, these arguments and this host, which still is
as it was when the card was made; as many different people as its tool needs, all of them approvers, never who asked,
who pressed on that card once they could have read it, before it ended by either clock, while nothing held it back, and
whom nobody contradicted; or an approval for a while of the very same request, which went well and was not ended.
Nothing happens while actions are stopped or frozen there, and each request counts once a host.
"""

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from opsbot.domain import ApprovalState, Card
from tests.fake_chat import Posted

# Of the documentation: how many people a tool needs, how long requests live here, how long a word to go on counts.
NEEDED = {"stop_service": 2, "reboot_host": 2, "kill_process": 2}
LIFETIME_S = 300.0
GO_ON_WITHIN = timedelta(minutes=15)
_NOT_TO_HAPPEN = (
    ApprovalState.DENIED,
    ApprovalState.WITHDRAWN,
    ApprovalState.EXPIRED,
    ApprovalState.STALE,
    ApprovalState.FAILED,
)
# A clock that was set back by so much is no slewing any more.
_SET_BACK_S = 10.0


@dataclass(frozen=True, slots=True)
class Instant:
    """When something was: in steps, by the wall clock, and in seconds that nobody can set."""

    step: int
    wall: datetime
    true_s: float

    def over(self, now: "Instant", seconds: float) -> bool:
        """Whether so many seconds are over by either clock, or a clock was set back so that nobody can tell."""
        by_wall_s, truly_s = (now.wall - self.wall).total_seconds(), now.true_s - self.true_s
        return max(by_wall_s, truly_s) >= seconds or by_wall_s < truly_s - _SET_BACK_S


@dataclass(frozen=True, slots=True)
class Effect:
    """What was really done to a host, and what state its target was in."""

    at: Instant
    host: str
    verb: str
    target: str
    state: object = None


@dataclass(frozen=True, slots=True)
class Rules:
    """A configuration as its operator would tell it. `hosts`: the version of every host's record in the inventory."""

    name: str
    askers: frozenset[str]
    approvers: frozenset[str]
    read_s: float = 0.0
    standing_s: float = 0.0
    hosts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Word:
    """One person's approval. `counts`: what kept it from counting, "": nothing."""

    person: str
    at: Instant
    for_a_while: bool
    against: str


@dataclass
class Request:
    """One card, as people saw it, and what they did with it. `states`: which its targets were in when it was made."""

    card: Card
    made: Instant
    shown: Instant
    rules: Rules
    states: Mapping[str, tuple[object, ...]]
    words: list[Word] = field(default_factory=list)
    narrowed_by: set[str] = field(default_factory=set)
    used: set[str] = field(default_factory=set)
    over: str = ""
    ended: str = ""
    stands_on: "Request | None" = None

    @property
    def needed(self) -> int:
        return NEEDED.get(self.card.approval.action.tool, 1)

    @property
    def counted(self) -> list[Word]:
        """The words that count: of different people, the first so many."""
        first = {word.person: word for word in reversed(self.words) if not word.against}
        return sorted(first.values(), key=lambda word: word.at.step)[: self.needed]

    @property
    def approved(self) -> bool:
        return len(self.counted) >= self.needed

    def the_very_same(self) -> tuple[object, ...]:
        """What has to be equal for an approval to count again."""
        approval = self.card.approval
        action = approval.action
        hosts = {name: self.rules.hosts.get(name) for name in action.hosts}
        who = (approval.requester.key, approval.place, approval.reason, bool(approval.tainted_by))
        return (action.tool, dict(action.arguments), action.hosts, hosts, self.rules.name, who)


@dataclass
class Frost:
    """A freeze: where, until when by the wall clock, and who made it."""

    hosts: frozenset[str]
    unit: str
    until: datetime | None
    by: str

    def covers(self, host: str, target: str, now: Instant) -> bool:
        same = not self.unit or not target or self.unit == target.removesuffix(".service")
        return host in self.hosts and same and (self.until is None or now.wall < self.until)


class Ledger:
    """What people saw and did, and what follows from it. `broken` tells of the first thing that must not be."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.requests: dict[str, Request] = {}
        self.stopped = False
        self.stop_file = False
        self.frosts: dict[str, Frost] = {}
        self.gone: set[str] = set()
        # While many act at once, nobody can tell whose word was first.
        self.storm = False
        self.broken = ""
        self._go_on: dict[str, Instant] = {}
        self._approvals: deque[tuple[Request, Word]] = deque(maxlen=100)
        self._shown: dict[str, int] = {}
        self._changed: set[str] = set()

    # --- what people see ---------------------------------------------------------------------------------------------

    def see(self, posted: Posted, now: Instant, states: Mapping[str, tuple[object, ...]]) -> None:
        """Look at a message. What is approved is what stands on the card."""
        for content in posted.history[self._shown.get(posted.key, 0) :]:
            if isinstance(content, Card):
                self._see(content, now, states)
        self._shown[posted.key] = len(posted.history)

    def _see(self, card: Card, now: Instant, states: Mapping[str, tuple[object, ...]]) -> None:
        self._changed.add(card.approval.id)
        known = self.requests.get(card.approval.id)
        if known is None:
            self.requests[card.approval.id] = Request(card, now, now, self.rules, states)
            return
        before, after = known.card.approval, card.approval
        known.card = card
        same = before.action.tool == after.action.tool and before.action.arguments == after.action.arguments
        if not same or before.requester.key != after.requester.key or after.expires_at > before.expires_at:
            self.broken = self.broken or f"card {after.id} became one about something else"
        if before.action.hosts != after.action.hosts:
            if not set(after.action.hosts) < set(before.action.hosts) or not known.narrowed_by:
                self.broken = self.broken or f"hosts of card {after.id} changed, and no approver left any out"
            known.words.clear()
            known.shown = now

    def settle(self) -> None:
        """Take people at what they were told by now: what is said to be over does not happen any more."""
        for request in (self.requests[approval_id] for approval_id in self._changed):
            state = request.card.approval.state
            if state in _NOT_TO_HAPPEN:
                request.over = request.over or f"people were told that it is {state}"
                if request.stands_on:
                    request.stands_on.ended = request.stands_on.ended or "it did not go well when it counted again"
        self._changed.clear()

    def starts_anew(self) -> None:
        """The bot's machine starts anew: nothing tells how long it was away."""
        for request in self.requests.values():
            request.over = request.over or "the machine was started anew since"
            request.ended = request.ended or request.over

    def may_ask(self, person: str) -> bool:
        return person in self.rules.askers and person not in self.gone

    def _may_approve(self, person: str) -> bool:
        return person in self.rules.approvers and person not in self.gone

    # --- what people do ----------------------------------------------------------------------------------------------

    def approves(self, approval_id: str, person: str, now: Instant, *, for_a_while: bool) -> None:
        """Somebody presses on the card as it stands."""
        request = self.requests[approval_id]
        if request.approved or request.over or any(w.person == person and not w.against for w in request.words):
            return
        why_not = self._against(request, person, now)
        if for_a_while and not self._offered(request):
            why_not = why_not or "not offered for a while"
        word = Word(person, now, for_a_while, why_not)
        request.words.append(word)
        if not why_not and not self.storm:
            self._approvals.append((request, word))

    def _against(self, request: Request, person: str, now: Instant) -> str:
        approval = request.card.approval
        if not self._may_approve(person) or person == approval.requester.key:
            return "no approver of this"
        if request.made.over(now, LIFETIME_S):
            return "too late"
        if any(self.held(host, target, now) for host in approval.action.hosts for target in (_target(request.card),)):
            return "while it was held back"
        # Also across restarts. What a narrowing voided is forgotten, as the click is on the card.
        last = [word.at for other, word in self._approvals if word.person == person and word in other.words]
        for earlier in (request.shown, *last):
            if earlier is not None and 0 <= (now.wall - earlier.wall).total_seconds() < self.rules.read_s:
                return "before it could be read"
        return ""

    def _offered(self, request: Request) -> bool:
        approval = request.card.approval
        return self.rules.standing_s > 0 and approval.action.tool not in NEEDED and not approval.tainted_by

    def denies(self, approval_id: str, person: str) -> None:
        """An approver, or who asked, says no: before it is approved that ends it."""
        request = self.requests[approval_id]
        may = self._may_approve(person) or (person not in self.gone and person == request.card.approval.requester.key)
        if may and not request.approved and not request.over:
            request.over = f"denied by {person}"

    def withdraws(self, approval_id: str, person: str) -> None:
        """Who asked takes it back, also once it is approved; that, or an approver's word, ends what counts again."""
        request = self.requests.get(approval_id)
        if request is None:
            return
        own = person == request.card.approval.requester.key
        if person in self.gone:
            return
        if own and not request.over:
            request.over = "withdrawn"
        if request.approved and (own or self._may_approve(person)):
            request.ended = request.ended or f"ended by {person}"

    def leaves_out(self, approval_id: str, person: str) -> None:
        """An approver may leave hosts out; that it was done is seen on the card."""
        request = self.requests.get(approval_id)
        if request and self._may_approve(person) and person != request.card.approval.requester.key:
            request.narrowed_by.add(person)

    def stops(self, person: str) -> None:
        if self.may_ask(person):
            self._stop_begins()
            self.stopped = True

    def throws_file(self) -> None:
        self._stop_begins()
        self.stop_file = True

    def _stop_begins(self) -> None:
        if not self.stopped and not self.stop_file:
            self._go_on.clear()
        self._end_what_counts_again(None)

    def goes_on(self, person: str, now: Instant) -> None:
        """Somebody says that actions may go on: it takes two approvers within a quarter of an hour."""
        if not self.may_ask(person) or not self._may_approve(person):
            return
        self._go_on[person] = now
        fresh = [who for who, at in self._go_on.items() if abs(now.wall - at.wall) <= GO_ON_WITHIN]
        if len(fresh) >= 2:
            self.stopped = self.stop_file = False
            self._go_on.clear()

    def freezes(self, hold_id: str, frost: Frost) -> None:
        self.frosts[hold_id] = frost
        self._end_what_counts_again(frost)

    def unfreezes(self, hold_id: str, person: str) -> None:
        frost = self.frosts.get(hold_id)
        if frost is not None and self.may_ask(person) and (person == frost.by or self._may_approve(person)):
            del self.frosts[hold_id]

    def _end_what_counts_again(self, frost: Frost | None) -> None:
        for request in self.requests.values():
            concerned = frost is None or bool(frost.hosts & set(request.card.approval.action.hosts))
            if request.approved and concerned:
                request.ended = request.ended or "ended by a stop or a freeze"

    def held(self, host: str, target: str, now: Instant) -> str:
        """Say what holds an action back there."""
        if self.stopped or self.stop_file:
            return "stopped"
        return next((f"frozen ({name})" for name, frost in self.frosts.items() if frost.covers(host, target, now)), "")

    # --- what happens ------------------------------------------------------------------------------------------------

    def happens(self, effect: Effect) -> None:
        """Hold an effect against all of it: the request it belongs to is used up on that host."""
        if held := self.held(effect.host, effect.target, effect.at):
            self.broken = self.broken or f"{effect}: {held}"
        candidates = [request for request in self.requests.values() if _is_of(request.card, effect)]
        reasons = []
        for request in candidates:
            missing = self._missing(request, effect)
            if not missing:
                request.used.add(effect.host)
                return
            reasons.append(f"{request.card.approval.id}: {missing}")
        self.broken = self.broken or f"{effect}: {'; '.join(reasons) or 'nobody was ever shown a card for it'}"

    def _missing(self, request: Request, effect: Effect) -> str:
        if request.over:
            return request.over
        if effect.host in request.used:
            return "used already"
        if request.made.over(effect.at, LIFETIME_S):
            return "its time was over"
        if request.rules.name != self.rules.name or request.rules.hosts != self.rules.hosts:
            changed = [name for name in request.card.approval.action.hosts if self._moved(request, name)]
            if changed or request.rules.name != self.rules.name:
                return "rules or hosts changed since"
        if effect.state not in request.states.get(_state_key(effect), (effect.state,)):
            return "its target changed since"
        people = {request.card.approval.requester.key, *(word.person for word in request.counted)}
        if people & self.gone:
            return "somebody of it may no longer"
        if request.approved:
            return ""
        parents = [parent for parent in self.requests.values() if parent is not request]
        whys = [self._no_parent(parent, request, effect) for parent in parents]
        if "" in whys:
            request.stands_on = request.stands_on or parents[whys.index("")]
            return ""
        return f"words: {[(w.person, w.against or 'counts') for w in request.words]}; {set(whys) - {'another'}}"

    def _moved(self, request: Request, name: str) -> bool:
        return request.rules.hosts.get(name) != self.rules.hosts.get(name)

    def _no_parent(self, parent: Request, request: Request, effect: Effect) -> str:
        """Say why this approval for a while does not count for that request, "" if it does."""
        if parent.the_very_same() != request.the_very_same():
            return "another"
        action, counted = parent.card.approval.action, parent.counted
        if not parent.approved or not all(word.for_a_while for word in counted) or self.rules.standing_s <= 0:
            return "not approved for a while"
        if action.tool in NEEDED or parent.card.approval.tainted_by:
            return "never for a while"
        if parent.used != set(action.hosts) or parent.card.approval.state is not ApprovalState.DONE:
            return "its own run did not go well"
        if counted[-1].at.over(effect.at, self.rules.standing_s):
            return "its while is over"
        return parent.ended or parent.over


def _target(card: Card) -> str:
    arguments = card.approval.action.arguments
    return str(arguments.get("unit") or arguments.get("container") or "").removesuffix(".service")


def _state_key(effect: Effect) -> str:
    return f"{effect.host}/{effect.target}"


# What each tool does to a host, and the argument that names its target; "": the host itself.
ACTS = {
    "restart_service": ("restart", "unit"),
    "start_service": ("start", "unit"),
    "stop_service": ("stop", "unit"),
    "reload_service": ("reload", "unit"),
    "reset_failed": ("reset-failed", "unit"),
    "restart_container": ("restart-container", "container"),
    "kill_process": ("kill", "pid"),
    "reboot_host": ("reboot", ""),
}


def _is_of(card: Card, effect: Effect) -> bool:
    action = card.approval.action
    verb, argument = ACTS.get(action.tool, ("", ""))
    target = str(action.arguments.get(argument, "")) if argument else ""
    return verb == effect.verb and target == effect.target and effect.host in action.hosts
