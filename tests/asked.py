"""A request as tests of the core make it: its people, its host, its tool, and the record of it."""

from datetime import UTC, datetime

from opsbot.actions import Prepared
from opsbot.approvals import Click, Proposal, open_approval, review
from opsbot.domain import Action, Actor, Approval, Decision, Host, Impact, Moment, Place, Risk, Verdict
from opsbot.policy import TERMINAL_TEAM, ApproverRule, PolicyRules
from opsbot.tooling import Tool
from tests.records import moment

NOW = datetime(2026, 11, 22, 3, 0, tzinfo=UTC)
ALICE = Actor("T1", "UALICE")
BOB = Actor("T1", "UBOB")
DAVE = Actor("T1", "UDAVE", frozenset({"SSRE"}))
CAROL = Actor("T1", "UCAROL")
TERMINAL = Actor(TERMINAL_TEAM, "root")
HOST = Host(
    "web-1", address="192.0.2.1", host_key="ssh-ed25519 AAAA", environment="production", units=("nginx.service",)
)
TOOL = Tool("restart_service", "Restart.", Risk.CHANGE, 90, lambda: None, (), True, sha256="f" * 64)
ACTION = Action("restart_service", {"unit": "nginx.service"}, ("web-1",))
RULES = PolicyRules(approvers=(ApproverRule(("*",), frozenset({"UBOB"}), frozenset({"SSRE"})),))
PLACE = Place("T1", "C1", "1.0")


def decision(**parts: object) -> Decision:
    """What policy says of it: Bob and the SRE group approve, one of them is enough."""
    usual = {"needed": 1, "approver_users": frozenset({"UBOB"}), "approver_groups": frozenset({"SSRE"})}
    return Decision(Verdict.NEED_APPROVAL, "approvers:production", **{**usual, **parts})  # type: ignore[arg-type]


def make(
    *,
    needed: int = 1,
    requester: Actor = ALICE,
    rules: PolicyRules = RULES,
    users: frozenset[str] = frozenset({"UBOB"}),
    groups: frozenset[str] = frozenset({"SSRE"}),
    hosts: tuple[str, ...] = ("web-1",),
) -> Approval:
    """The record of Alice's request, asked at `at(0)` and good for 300 s."""
    impacts = {name: Impact((("state", "active"),), {"invocation_id": "a1"}) for name in hosts}
    prepared = Prepared(TOOL, Action(ACTION.tool, ACTION.arguments, hosts), (HOST,))
    judged = decision(needed=needed, approver_users=users, approver_groups=groups)
    proposal = Proposal(PLACE, requester, prepared, judged, impacts, call_id="c1")
    return open_approval(proposal, rules, now=at(0), lifetime_s=300)


def at(after_s: float) -> Moment:
    """So long after it was asked, by both clocks."""
    return moment(after_s, start=NOW)


def click(
    approval: Approval, actor: Actor, *, approve: bool = True, after_s: float = 10, rules: PolicyRules = RULES
) -> Approval:
    """Return the record after this person's click."""
    return review(approval, actor, Click(approve), now=at(after_s), rules=rules)
