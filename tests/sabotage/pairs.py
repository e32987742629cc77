"""Defences that stand behind one another, taken out together: the second must not be what alone was tested."""

from tests.sabotage.copy import Change, Sabotage

CHECKS, ACTS = "tests/unit/test_executor_checks.py", "tests/unit/test_executor_acts.py"
REFUSALS, T07 = "tests/unit/test_refusals.py", "tests/safety/test_t07_changes.py"
EXECUTOR, SCRUTINY, APPROVALS = "opsbot/executor.py", "opsbot/scrutiny.py", "opsbot/approvals.py"

_BRAKES_BEFORE = Change(
    SCRUTINY,
    "            await self.checkpoint.check(hosts, prepared.targets)\n",
    "            await self.checkpoint.in_force()\n",
)
_BRAKES_IN_THE_LAST_MOMENT = Change(EXECUTOR, "            self.checkpoint.check_now([host], prepared.targets)\n", "")
_REVIEWS_ANEW = Change(SCRUTINY, "        approvals.check_reviews(approval, reviewers, self.rules)\n", "")
_POLICY_ANEW = Change(
    SCRUTINY,
    "        if decision.verdict is not Verdict.NEED_APPROVAL:\n            raise Stale(",
    "        if False:\n            raise Stale(",
)
_OWN_REQUEST = Change(
    APPROVALS, '        raise NotAllowed("You asked for this, so somebody else has to approve it.")', "        return"
)
_COUNTED_TWICE = Change(
    APPROVALS,
    "    if any(rules.person(done.actor) == rules.person(actor) for done in approval.reviews):",
    "    if False:",
)

PAIRS: tuple[Sabotage, ...] = (
    Sabotage(
        "pair: brakes are looked at neither before an action nor in its last moment",
        (_BRAKES_BEFORE, _BRAKES_IN_THE_LAST_MOMENT),
        (CHECKS, ACTS),
    ),
    Sabotage(
        "pair: neither who approved nor what policy says is looked at again", (_REVIEWS_ANEW, _POLICY_ANEW), (CHECKS,)
    ),
    Sabotage("pair: whoever asked approves, and counts twice", (_OWN_REQUEST, _COUNTED_TWICE), (REFUSALS,)),
    Sabotage(
        "pair: neither the fields of an approval nor its digest are compared",
        (
            Change("opsbot/bindings.py", "        if expected.get(name) != found.get(name):", "        if False:"),
            Change("opsbot/bindings.py", "    if digest(approval.bindings) != approval.digest:", "    if False:"),
        ),
        (T07,),
    ),
    Sabotage(
        "pair: an empty selection is every host, and no cap is in its way",
        (
            Change(
                "opsbot/inventory.py",
                "        if not found:\n",
                "        found = found or {*self.hosts}\n        if not found:\n",
            ),
            Change("opsbot/policy.py", "    if len(question.hosts) > rules.hosts_per_action:", "    if False:"),
        ),
        ("tests/unit/test_inventory.py", "tests/unit/test_policy_answers.py"),
    ),
    Sabotage(
        "pair: an approval that counts again is neither the one named nor in its time",
        (
            Change(
                SCRUTINY,
                "        if parent is None or parent.id != approval.stands_on:",
                "        if parent is None:",
            ),
            Change(
                SCRUTINY,
                "        if why := standing.why_not(parent, approval.bindings, self.clock.moment()):",
                '        if why := "":',
            ),
        ),
        (CHECKS,),
    ),
    Sabotage(
        "pair: neither the card nor the seal of a button is compared",
        (
            Change(
                "opsbot/register.py",
                "        if await self._posted(approval) != pressed.card:",
                "        if await self._posted(approval) is None:",
            ),
            Change("opsbot/register.py", "        self.seals.check(approval, pressed.seal)", "        pass"),
        ),
        ("tests/scenario/test_second_thoughts.py", "tests/safety/test_t05_buttons.py"),
    ),
    Sabotage(
        "pair: what took long to write down begins, and so does what is over",
        (
            Change(EXECUTOR, "        if took_s > _INTENT_MAX_S:", "        if False:"),
            Change(
                EXECUTOR,
                "        self._check_may_begin(approval)\n        await self.judged(approval, approval.action)",
                "        await self.judged(approval, approval.action)",
            ),
        ),
        (ACTS,),
    ),
)
