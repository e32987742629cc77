"""The workbench: a local stand-in for Slack with a browser page. Imports nothing of opsbot."""

from opsbot.workbench.limits import Limits
from opsbot.workbench.server import Workbench
from opsbot.workbench.world import Channel, Group, User, World

__all__ = ["Channel", "Group", "Limits", "User", "Workbench", "World"]
