"""The tools a configuration means."""

from opsbot.config import Config
from opsbot.discovery import SHIPPED_TOOLS, Registry, load_tools


def tools_of(config: Config) -> Registry:
    """Load the shipped tools and the operator's own. Raises ToolDefinitionError with every fault."""
    return load_tools([SHIPPED_TOOLS, *config.tool_folders()], risks=config.risks())
