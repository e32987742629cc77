"""Expectations of a policy: read from a file, asked as the bot would ask, compared with what it decides."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, ValidationError

from opsbot.actions import Catalogue
from opsbot.config import Config
from opsbot.config_faults import Place, fault_of
from opsbot.config_policy import Approver, ChannelId
from opsbot.config_rules import approvers_of
from opsbot.config_types import GroupId, Name, Section, Text
from opsbot.config_yaml import Document, read_file, read_yaml
from opsbot.domain import Actor, Decision, Json, Verdict
from opsbot.domain import Place as Where
from opsbot.errors import ConfigError, ToolError
from opsbot.policy import TERMINAL_TEAM, PolicyRules, decide
from opsbot.policy_rules import DIRECT, TERMINAL, Question

# Everybody asked about is of one workspace; which one it is makes no difference to a policy.
_TEAM = "T0"
_WORDS = {Verdict.ALLOW: "allow", Verdict.NEED_APPROVAL: "approve", Verdict.DENY: "deny"}
# What decides before any rule: the inventory or the tool does not know what was asked for.
_BEFORE_RULES = "inventory"


class Expectation(Section):
    """One entry of the file: who asks for what, where and when, and what the policy is to say."""

    who: Annotated[str, Field(pattern=r"^([UW][A-Z0-9]{2,}|terminal)$")]
    groups: tuple[GroupId, ...] = ()
    tool: Name
    hosts: tuple[Text, ...] = ()
    arguments: dict[Name, str | int | bool] = Field(default_factory=dict)
    channel: ChannelId | None = None
    at: Annotated[str, Field(max_length=40)] | None = None
    expect: Literal["allow", "approve", "deny"]
    rule: Text | None = None
    needed: Annotated[int, Field(ge=1, le=5)] | None = None
    by: tuple[Approver, ...] | None = None
    tier: Name | None = None


class _File(Section):
    expectations: Annotated[tuple[Expectation, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Ask:
    """One question in words; `at` is aware."""

    who: str
    tool: str
    hosts: tuple[str, ...]
    arguments: Mapping[str, Json]
    at: datetime
    groups: frozenset[str] = frozenset()
    channel: str = ""

    @property
    def actor(self) -> Actor:
        return Actor(TERMINAL_TEAM if self.who == TERMINAL else _TEAM, self.who, self.groups)

    @property
    def place(self) -> Where:
        if self.who == TERMINAL or self.channel == TERMINAL:
            return Where(TERMINAL_TEAM, TERMINAL, direct=True)
        direct = self.channel == DIRECT or self.channel.startswith("D")
        return Where(_TEAM, "" if self.channel == DIRECT else self.channel, direct=direct)


@dataclass(frozen=True, slots=True)
class Trial:
    """An expectation beside what was decided; `faults`: in what they differ, none if they agree."""

    expectation: Expectation
    decision: Decision
    faults: tuple[str, ...]


def question_of(catalogue: Catalogue, ask: Ask) -> Question:
    """Return what policy would be asked. Raises ToolError: the tool or the inventory refuses it before that."""
    prepared = catalogue.from_words(ask.tool, ask.hosts, ask.arguments)
    return prepared.question(ask.actor, ask.place, ask.at)


def answer(rules: PolicyRules, catalogue: Catalogue, ask: Ask) -> Decision:
    """Return what the bot would decide, whatever refuses it."""
    try:
        question = question_of(catalogue, ask)
    except ToolError as error:
        return Decision(Verdict.DENY, _BEFORE_RULES, str(error))
    return replace(decide(rules, question), reach=question.reach)


def said(decision: Decision) -> str:
    """Say a decision in the words of the file: `approve (2 of user:U1, group:S1)`."""
    if decision.verdict is not Verdict.NEED_APPROVAL:
        return _WORDS[decision.verdict]
    return f"approve ({decision.needed} of {', '.join(sorted(_people(decision)))})"


def tried(config: Config, catalogue: Catalogue, expectations: Sequence[tuple[Expectation, Ask]]) -> Iterator[Trial]:
    """Yield each expectation with what the policy says."""
    rules = config.rules()
    for expectation, ask in expectations:
        decision = answer(rules, catalogue, ask)
        yield Trial(expectation, decision, tuple(_differences(config, expectation, ask, decision)))


def _differences(config: Config, expected: Expectation, ask: Ask, decision: Decision) -> Iterator[str]:
    if expected.expect != _WORDS[decision.verdict]:
        why = f": {decision.reason}" if decision.reason else ""
        yield f"it says {said(decision)}{why}"
    if expected.rule is not None and expected.rule != decision.rule:
        yield f"the rule is {decision.rule}"
    if expected.needed is not None and expected.needed != decision.needed:
        yield f"{decision.needed} must approve"
    if expected.by is not None:
        named = approvers_of(config.policy, expected.by)
        wanted = {f"user:{user}" for user in named.users_at(ask.at)} | {f"group:{group}" for group in named.groups}
        if wanted != _people(decision):
            yield f"approvers are {', '.join(sorted(_people(decision))) or 'nobody'}"
    tier = str(decision.reach.tier) if decision.reach else ""
    if expected.tier is not None and expected.tier != tier:
        yield f"the tier is {tier or 'not known'}"


def _people(decision: Decision) -> set[str]:
    users = {f"user:{user}" for user in decision.approver_users}
    return users | {f"group:{group}" for group in decision.approver_groups}


# --- the file --------------------------------------------------------------------------------------------------------


def read_expectations(path: Path, config: Config, now: datetime) -> tuple[tuple[Expectation, Ask], ...]:
    """Read the file.

    Raises:
        ConfigError: every fault, with line and remedy.
    """
    try:
        document = read_yaml(read_file(path))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); name a YAML file of expectations.") from error
    if document.faults:
        raise ConfigError(*(f"{path}:{line}: {fault}" for line, fault in document.faults))
    try:
        found = TypeAdapter(_File).validate_python(_tuples(document.data)).expectations
    except ValidationError as error:
        faults = [fault_of(_File, detail) for detail in error.errors(include_url=False)]
        raise ConfigError(*(f"{path}:{document.line_of(place)}: {fault}" for place, fault in faults)) from error
    return _with_times(path, document, found, config, now)


def _with_times(
    path: Path, document: Document, found: Sequence[Expectation], config: Config, now: datetime
) -> tuple[tuple[Expectation, Ask], ...]:
    timed = bool(config.policy.rotas) or any(rule.timed for rule in config.policy.rules)
    asks, faults = [], []
    for index, each in enumerate(found):
        place: Place = ("expectations", index)
        try:
            at = moment(each.at) if each.at else now
        except ValueError:
            faults.append((place, 'at: write a time with its zone in quotes, like "2026-11-02T10:00:00+01:00".'))
            continue
        if timed and not each.at:
            faults.append((place, "has no `at`; the policy has hours or rotas, so say when it is asked."))
        asks.append((each, _ask(each, at)))
    if faults:
        raise ConfigError(*(f"{path}:{document.line_of(place)}: expectations[{place[1]}]: {f}" for place, f in faults))
    return tuple(asks)


def _ask(each: Expectation, at: datetime) -> Ask:
    arguments: dict[str, Json] = {**each.arguments}
    return Ask(each.who, each.tool, each.hosts, arguments, at, frozenset(each.groups), each.channel or "")


def moment(text: str) -> datetime:
    """Read a time that says its zone. Raises ValueError."""
    at = datetime.fromisoformat(text)
    if at.tzinfo is None:
        raise ValueError("no zone")
    return at


def _tuples(value: Json) -> Any:
    """Return the data with tuples for lists, as strict models want them."""
    if isinstance(value, list):
        return tuple(_tuples(item) for item in value)
    return {name: _tuples(item) for name, item in value.items()} if isinstance(value, dict) else value
