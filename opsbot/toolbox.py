"""The tools a configuration means, and that its policy names no others."""

from collections.abc import Iterator

from opsbot.config import Config
from opsbot.discovery import SHIPPED_TOOLS, Registry, load_tools
from opsbot.errors import ConfigError
from opsbot.inventory import near_misses
from opsbot.policy_rules import ANYONE


def tools_of(config: Config) -> Registry:
    """Load the shipped tools and the operator's own.

    Raises:
        ToolDefinitionError: every fault of the tools.
        ConfigError: every rule that names a tool which is not there.
    """
    registry = load_tools([SHIPPED_TOOLS, *config.tool_folders()], risks=config.risks())
    if faults := tuple(_unknown(config, registry)):
        raise ConfigError(*faults)
    return registry


def _unknown(config: Config, registry: Registry) -> Iterator[str]:
    for number, rule in enumerate(config.policy.rules):
        for index, name in enumerate(rule.tools or ()):
            if name != ANYONE and name not in registry.names:
                near = near_misses(name, registry.names)
                hint = f"did you mean {near[0]}?" if near else "`opsbot tools` lists them."
                where = config.where(("policy", "rules", number, "tools", index))
                yield f"{where}: policy.rules[{number}].tools[{index}]: there is no tool {name[:60]!a}; {hint}"
