"""Block validation of the workbench: refuses what Slack would refuse, with a JSON pointer to each fault."""

from opsbot.workbench.validation.ids import assign_ids, controls, nested_blocks
from opsbot.workbench.validation.surfaces import check_chunks, check_message, check_view

__all__ = ["assign_ids", "check_chunks", "check_message", "check_view", "controls", "nested_blocks"]
