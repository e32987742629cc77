"""Defences about approvals and execution, to be taken out one by one, and in pairs where one stands behind another."""

from tests.sabotage.copy import Change, Sabotage

T05, T07, T08 = (
    "tests/safety/test_t05_buttons.py",
    "tests/safety/test_t07_changes.py",
    "tests/safety/test_t08_late.py",
)
T29, T31, R12 = (
    "tests/safety/test_t29_edited_rows.py",
    "tests/safety/test_t31_fatigue.py",
    "tests/safety/test_r12_clock.py",
)
R15, T06 = "tests/safety/test_r15_hostile_model.py", "tests/safety/test_t06_own_request.py"
APPROVALS, EXECUTOR = "tests/unit/test_approvals.py", "tests/unit/test_executor.py"


def _one(name: str, file: str, before: str, after: str, *tests: str) -> Sabotage:
    return Sabotage(name, (Change(f"opsbot/{file}", before, after),), tests)


_EXPIRY_AT_THE_CLICK = Change(
    "opsbot/approvals.py",
    "    check_in_time(approval, now)\n    check_may_decide(approval, actor, approve=click.approve, rules=rules)",
    "    check_may_decide(approval, actor, approve=click.approve, rules=rules)",
)
_EXPIRY_AT_THE_START = Change(
    "opsbot/executor.py",
    "            approvals.check_in_time(approval, self._clock.moment())\n\n    async def _act",
    "            pass\n\n    async def _act",
)

ACTIONS: tuple[Sabotage, ...] = (
    _one(
        "approvals: whoever asked may approve",
        "approvals.py",
        '        raise NotAllowed("You asked for this, so somebody else has to approve it.")',
        "        return",
        T06,
    ),
    _one(
        "approvals: anybody may approve",
        "approvals.py",
        "    if not is_approver(approval, actor):",
        "    if False:",
        R15,
        APPROVALS,
    ),
    Sabotage(
        "approvals: people of another workspace may approve",
        (
            Change(
                "opsbot/approvals.py",
                "    if actor.team_id != approval.requester.team_id:\n        raise NotAllowed(",
                "    if False:\n        raise NotAllowed(",
            ),
            Change(
                "opsbot/approvals.py",
                "    ours = actor.team_id == approval.requester.team_id and actor.membership is Membership.MEMBER",
                "    ours = True",
            ),
        ),
        (APPROVALS,),
    ),
    _one(
        "approvals: one person counts twice",
        "approvals.py",
        "    if any(rules.person(done.actor) == rules.person(actor) for done in approval.reviews):",
        "    if False:",
        APPROVALS,
        T05,
    ),
    _one(
        "approvals: fewer people than needed are enough",
        "approvals.py",
        "    if len(reviews) < approval.needed:",
        "    if len(reviews) < 1:",
        APPROVALS,
        R15,
    ),
    _one(
        "approvals: what is decided can be decided again",
        "approvals.py",
        "    if approval.state is not ApprovalState.PENDING:\n        raise AlreadyDecided(decided_text(approval))\n"
        "    check_in_time(approval, now)\n    check_may_decide(approval, actor, approve=click.approve",
        "    check_in_time(approval, now)\n    check_may_decide(approval, actor, approve=click.approve",
        APPROVALS,
    ),
    Sabotage(
        "approvals: nothing ever expires", (_EXPIRY_AT_THE_CLICK, _EXPIRY_AT_THE_START), (APPROVALS, T08, EXECUTOR)
    ),
    _one(
        "approvals: hosts can be added",
        "approvals.py",
        "    strangers = sorted(set(out) - set(approval.action.hosts))",
        "    strangers = ()",
        "tests/unit/test_refusals.py",
        "tests/scenario/test_second_thoughts.py",
    ),
    _one(
        "bindings: changes are not looked at",
        "bindings.py",
        "        if expected.get(name) != found.get(name):",
        "        if False:",
        T07,
    ),
    _one(
        "bindings: the digest is not compared",
        "bindings.py",
        "    if digest(approval.bindings) != approval.digest:",
        "    if False:",
        T07,
        T29,
        APPROVALS,
    ),
    _one(
        "executor: what another request did since is taken for one's own",
        "executor.py",
        "        if overtaking is not None:\n",
        "        if False:\n",
        "tests/unit/test_executor_reconcile.py",
    ),
    _one(
        "executor: a target that changed is acted on",
        "scrutiny.py",
        "            if changed:\n",
        "            if False:\n",
        T07,
        EXECUTOR,
    ),
    _one(
        "executor: the policy is not asked again",
        "scrutiny.py",
        "        if decision.verdict is not Verdict.NEED_APPROVAL:",
        "        if False:",
        T07,
        EXECUTOR,
    ),
    _one(
        "executor: what was begun before is done again",
        "executor.py",
        "        if not claimed:\n            return await self._verify(prepared, host, approval)",
        "        if False:\n            return await self._verify(prepared, host, approval)",
        "tests/scenario/test_crash_everywhere.py",
        EXECUTOR,
    ),
    _one(
        "executor: what failed goes on to the next host",
        "campaign.py",
        "        all_done = all(outcome.result is Result.DONE for outcome in self.approval.outcomes)",
        "        all_done = True",
        "tests/unit/test_campaign.py",
    ),
    _one(
        "turn: what changes something is run as a look",
        "reads.py",
        "        if tool.risk is not Risk.READ:\n            raise BadArguments(",
        "        if False:\n            raise BadArguments(",
        EXECUTOR,
    ),
    _one(
        "redaction: own secrets are shown",
        "redact.py",
        "def text(self, ",
        "def text(self, said: str) -> str:\n        return said\n\n    def _text(self, ",
        "tests/unit/test_redact.py",
    ),
)
