"""The tools a configuration means, and that its policy names no others."""

from collections.abc import Iterator
from pathlib import Path

from opsbot.adapters.environment import forget
from opsbot.config import Config
from opsbot.discovery import SHIPPED_TOOLS, Registry, load_tools
from opsbot.errors import ConfigError
from opsbot.inventory import near_misses
from opsbot.pins import read_pins
from opsbot.policy_rules import ANYONE


def tools_of(config: Config) -> Registry:
    """Load the shipped tools and the operator's own, once no secret is left in the environment for them to find.

    Whoever needs the secrets fetches them before.

    Raises:
        ToolDefinitionError: every fault of the tools.
        ConfigError: every rule that names a tool which is not there.
    """
    forget(config.secret_variables())
    pins = read_pins(config.pins_file(), config.folder) if config.tools.pinned else None
    registry = load_tools(tool_places(config), risks=config.risks(), pins=pins)
    if faults := tuple(_unknown(config, registry)):
        raise ConfigError(*faults)
    return registry


def tool_places(config: Config) -> tuple[Path | str, ...]:
    """Return where tools are: the shipped package, and the operator's folders."""
    return (SHIPPED_TOOLS, *config.tool_folders())


def _unknown(config: Config, registry: Registry) -> Iterator[str]:
    for number, rule in enumerate(config.policy.rules):
        for index, name in enumerate(rule.tools):
            if name != ANYONE and name not in registry.names:
                near = near_misses(name, registry.names)
                hint = f"did you mean {near[0]}?" if near else "`opsbot tools` lists them."
                where = config.where(("policy", "rules", number, "tools", index))
                yield f"{where}: policy.rules[{number}].tools[{index}]: there is no tool {name[:60]!a}; {hint}"
