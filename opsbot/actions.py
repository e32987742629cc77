"""From a call (the model's or a command's) to a validated Action on exact hosts, or a readable refusal."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from opsbot.discovery import Registry
from opsbot.domain import Action, Actor, AuditEntry, Decision, Host, Json, Place, Reach, Risk, Tier, ToolCall
from opsbot.errors import BadArguments
from opsbot.inventory import Inventory
from opsbot.policy_rules import Question
from opsbot.reach import Target, reach_of
from opsbot.schema import parse_arguments, parse_words
from opsbot.tooling import Tool
from opsbot.units import canonical_unit

# RestrictedNameChars of docker's daemon/names (moby 27): what `docker run --name` takes.
_CONTAINER = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}", re.ASCII)


# What is not computed counts as the worst.
_WORST = Reach(Tier.DATA_STORE, "not known")


@dataclass(frozen=True, slots=True)
class Prepared:
    """A call that passed every check but policy.

    `reach`: what it can break on these hosts. `via`: the hosts through which its hosts are reached.
    """

    tool: Tool
    action: Action
    hosts: tuple[Host, ...]
    via: tuple[Host, ...] = ()
    reach: Reach = _WORST

    @property
    def targets(self) -> tuple[str, ...]:
        """Units and containers it touches on its hosts; none: the whole hosts."""
        named = (parameter.name for parameter in self.tool.parameters if parameter.is_unit or parameter.is_container)
        values = (self.action.arguments.get(name) for name in named)
        return tuple(value for value in values if isinstance(value, str))

    def question(self, actor: Actor, place: Place, at: datetime) -> Question:
        """What policy is to decide about this."""
        return Question(actor, self.tool.name, self.tool.risk, self.hosts, place, at, self.reach)

    def denial(self, decision: Decision, actor: Actor, conversation_id: str, at: datetime) -> AuditEntry:
        """An audit entry that policy refused this."""
        facts: dict[str, Json] = {
            "tool": self.tool.name,
            "hosts": [*self.action.hosts],
            "rule": decision.rule,
            "tier": str(self.reach.tier),
        }
        return AuditEntry("call.denied", at, actor.key, conversation_id, facts=facts)


@dataclass(slots=True)
class Catalogue:
    """The tools and the hosts a call is checked against. A new `inventory` takes the old one's place whole."""

    registry: Registry
    inventory: Inventory

    def from_call(self, call: ToolCall) -> Prepared:
        """Validate a model's call. Raises BadArguments (UnknownHost included)."""
        tool = self.registry.get(call.tool)
        names, arguments = parse_arguments(tool, call.arguments)
        return self._prepare(tool, names, arguments)

    def from_words(self, tool_name: str, hosts: Sequence[str], arguments: Mapping[str, Json]) -> Prepared:
        """Validate a command's call, by the same rules. Raises BadArguments (UnknownHost included)."""
        tool = self.registry.get(tool_name)
        words = dict(arguments) | ({"hosts": list(hosts)} if tool.takes_host else {})
        names, checked = parse_words(tool, words)
        return self._prepare(tool, names, checked)

    def current_hosts(self, action: Action) -> tuple[Host, ...]:
        """Return the inventory's present records of an action's hosts. Raises UnknownHost."""
        return self.inventory.resolve(action.hosts) if action.hosts else ()

    def _prepare(self, tool: Tool, names: Sequence[str], arguments: Mapping[str, Json]) -> Prepared:
        hosts = self.inventory.resolve(names) if tool.takes_host else ()
        _check_actions(tool, hosts)
        checked = dict(arguments)
        targets = []
        for parameter in tool.parameters:
            value = checked.get(parameter.name)
            if parameter.is_unit and isinstance(value, str):
                checked[parameter.name] = _unit(tool, value, hosts)
                targets.append(Target(str(checked[parameter.name])))
            elif parameter.is_container and isinstance(value, str):
                _check_container(tool, value, hosts)
                targets.append(Target(value, container=True))
        action = Action(tool.name, checked, tuple(host.name for host in hosts))
        return Prepared(tool, action, hosts, self._jumps(hosts), reach_of(self.inventory, tool.risk, hosts, targets))

    def _jumps(self, hosts: Sequence[Host]) -> tuple[Host, ...]:
        """Return every host on the way to these, each once; a way that leads nowhere ends where it does."""
        found: dict[str, Host] = {}
        for host in hosts:
            known = self.inventory.hosts.get(host.jump)
            while known is not None and known.name not in found:
                found[known.name] = known
                known = self.inventory.hosts.get(known.jump)
        return tuple(found.values())


def _check_actions(tool: Tool, hosts: Sequence[Host]) -> None:
    """Refuse what a host's inventory entry does not list among its actions."""
    refusing = [host for host in hosts if tool.needs and tool.needs not in host.actions]
    if refusing:
        listed = "; ".join(f"{host.name} allows {', '.join(host.actions) or 'nothing'}" for host in refusing[:5])
        raise BadArguments(f"{tool.needs} may not be done there: {listed}. `actions` in the inventory lists what may.")


def _check_container(tool: Tool, name: str, hosts: Sequence[Host]) -> None:
    """Check a container's name by docker's grammar; for a writing tool, also the hosts' allow-lists."""
    if not _CONTAINER.fullmatch(name):
        raise BadArguments(f"{name[:80]!a} is not a container's name: letters, digits, and _ . - after the first.")
    refusing = [host for host in hosts if tool.risk is not Risk.READ and name not in host.containers]
    if refusing:
        listed = "; ".join(f"{host.name} allows {', '.join(host.containers) or 'none'}" for host in refusing[:5])
        raise BadArguments(f"{name} may not be touched there: {listed}. `containers` in the inventory lists what may.")


def _unit(tool: Tool, name: str, hosts: Sequence[Host]) -> str:
    """Return the one canonical name all hosts agree on; for a writing tool, check their allow-lists."""
    names = {canonical_unit(name, host.service_manager) for host in hosts}
    if len(names) != 1:
        raise BadArguments("These hosts use different service managers; ask for them one manager at a time.")
    (unit,) = names
    if tool.risk is Risk.READ:
        return unit
    refusing = [host for host in hosts if unit not in _allowed(host)]
    if refusing:
        listed = "; ".join(f"{host.name} allows {', '.join(_allowed(host)) or 'none'}" for host in refusing[:5])
        raise BadArguments(f"{unit} may not be touched there: {listed}. The inventory lists what may.")
    return unit


def _allowed(host: Host) -> tuple[str, ...]:
    return tuple(canonical_unit(unit, host.service_manager) for unit in host.units)
