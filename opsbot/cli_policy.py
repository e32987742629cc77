"""`opsbot policy`: what the policy says about one question, and whether it says what a file expects."""

import argparse
import sys
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from opsbot.actions import Catalogue
from opsbot.cli_config import config_path
from opsbot.config import Config, load
from opsbot.domain import Decision, Json
from opsbot.errors import ConfigError, ToolError
from opsbot.policy import PolicyRules, looked_at, permits, tier_text
from opsbot.policy_rules import Approvers, Effect, Question
from opsbot.policy_trial import Ask, Expectation, Trial, answer, moment, question_of, read_expectations, said, tried
from opsbot.schema import typed_words
from opsbot.toolbox import tools_of


def test(options: argparse.Namespace) -> int:
    """Compare the policy with a file of expectations; 1 if one of them does not hold."""
    config, catalogue = _offline(options)
    expectations = read_expectations(Path(options.file), config, datetime.now(UTC))
    trials = list(tried(config, catalogue, expectations))
    _print_table(("", "who", "asks for", "expected", "decided", "rule"), [_row(trial) for trial in trials])
    failed = [trial for trial in trials if trial.faults]
    for trial in failed:
        sys.stderr.write(f"opsbot: {trial.expectation.who} {_asked(trial.expectation)}: {'; '.join(trial.faults)}.\n")
    sys.stdout.write(f"{len(trials) - len(failed)} of {len(trials)} expectations hold.\n")
    return 1 if failed else 0


def explain(options: argparse.Namespace) -> int:
    """Say what the policy decides about one question, and how each rule fared with it."""
    config, catalogue = _offline(options)
    ask = _ask(options, catalogue)
    rules = config.rules()
    decision = answer(rules, catalogue, ask)
    for line in _decided(decision):
        sys.stdout.write(line + "\n")
    try:
        question = question_of(catalogue, ask)
    except ToolError:
        return 0
    sys.stdout.write("\n")
    _print_table(("rule", "effect", "host", "", "why"), list(_fared(rules, question)))
    return 0


def _offline(options: argparse.Namespace) -> tuple[Config, Catalogue]:
    """Read the configuration without its secrets and keys, which a CI does not have."""
    config = load(config_path(options), keys=False)
    return config, Catalogue(tools_of(config), config.inventory())


# --- test ------------------------------------------------------------------------------------------------------------


def _row(trial: Trial) -> tuple[str, ...]:
    expected = trial.expectation
    wanted = expected.expect + (f" ({expected.needed})" if expected.needed else "")
    mark = "FAIL" if trial.faults else "ok"
    return mark, expected.who, _asked(expected), wanted, said(trial.decision), trial.decision.rule


def _asked(expected: Expectation) -> str:
    arguments = "".join(f" {name}={value}" for name, value in expected.arguments.items())
    return f"{expected.tool}{arguments}" + (f" on {', '.join(expected.hosts)}" if expected.hosts else "")


# --- explain ---------------------------------------------------------------------------------------------------------


def _ask(options: argparse.Namespace, catalogue: Catalogue) -> Ask:
    hosts = tuple(word for word in options.words if "=" not in word)
    words = dict(word.split("=", 1) for word in options.words if "=" in word)
    arguments: dict[str, Json] = typed_words(catalogue.registry.get(options.tool), words)
    try:
        at = moment(options.at) if options.at else datetime.now(UTC)
    except ValueError as error:
        raise ConfigError("--at: write a time with its zone, like 2026-11-02T10:00:00+01:00.") from error
    groups = frozenset(options.groups.split(",")) if options.groups else frozenset[str]()
    return Ask(options.who, options.tool, hosts, arguments, at, groups, options.channel or "")


def _decided(decision: Decision) -> Iterator[str]:
    yield f"{said(decision)}, by the rule {decision.rule}"
    if decision.reach:
        yield f"tier {tier_text(decision.reach)}"
    if decision.reason_required:
        yield "a reason in a person's own words is needed"
    if decision.reason:
        yield decision.reason


def _fared(rules: PolicyRules, question: Question) -> Iterator[tuple[str, ...]]:
    decided: set[str] = set()
    for look in looked_at(rules, question):
        rule = look.rule
        mark, why = ("no", look.misses) if look.misses else ("yes", _by(rule.approvers, rule.effect))
        if not look.misses and rule.effect is not Effect.DENY:
            if not permits(rule.effect, question.risk):
                mark, why = "no", f"it is about {'reads' if rule.effect is Effect.ALLOW else 'changes'}"
            elif look.host in decided:
                mark, why = "later", "an earlier rule fits this host already"
            decided.add(look.host)
        yield rule.name, str(rule.effect), look.host, mark, why


def _by(approvers: Approvers, effect: Effect) -> str:
    if effect is not Effect.APPROVE:
        return "it denies, whatever other rules say" if effect is Effect.DENY else ""
    rotas = [f"oncall:{rota.name}" for rota in approvers.rotas]
    named = [*(f"user:{user}" for user in sorted(approvers.users)), *(f"group:{g}" for g in sorted(approvers.groups))]
    return f"approvers: {', '.join([*named, *rotas])}"


def _print_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
