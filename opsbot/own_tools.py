"""Calls that the turn loop answers itself: they show the model more tools, or more of an output."""

import json
from dataclasses import dataclass

from opsbot.actions import Catalogue
from opsbot.discovery import DESCRIBE_TOOLS
from opsbot.domain import AssistantMessage, Conversation, ToolCall, ToolResult
from opsbot.errors import BadArguments
from opsbot.intake import as_json
from opsbot.keeping import Keeper, readable_from
from opsbot.output_spec import READ_OUTPUT


@dataclass(frozen=True, slots=True)
class OwnTools:
    """Answers the calls of opsbot's own."""

    catalogue: Catalogue
    keeper: Keeper

    async def answer(self, conversation: Conversation, call: ToolCall) -> ToolResult | None:
        """Return the result of such a call; None: it is another one. Raises BadArguments."""
        if call.tool == DESCRIBE_TOOLS:
            return self.keeper.intake.result(call.call_id, self._described(call), untrusted=False)
        if call.tool == READ_OUTPUT:
            return await self.keeper.read(conversation, call)
        return None

    def _described(self, call: ToolCall) -> str:
        """Say in a line each what the tools do that were asked for; the next request holds their schemas."""
        names = names_in(call)
        if not names:
            raise BadArguments('Name the tools, as in {"names": ["disk_usage"]}.')
        tools = [self.catalogue.registry.get(name) for name in names]
        return as_json({tool.name: tool.description.splitlines()[0] for tool in tools})


def asked_for(conversation: Conversation) -> tuple[str, ...]:
    """Names of the deferred tools that the model asked to be shown, or has used, in the order of asking.

    `read_output` stands where the model was first shown a shortened result.
    """
    begins = readable_from(conversation)
    asked: list[str] = []
    for number, message in enumerate(conversation.messages):
        if number == begins:
            asked.append(READ_OUTPUT)
        if isinstance(message, AssistantMessage):
            for call in message.calls:
                asked += names_in(call) if call.tool == DESCRIBE_TOOLS else (call.tool,)
    if begins is not None and begins >= len(conversation.messages):
        asked.append(READ_OUTPUT)
    return tuple(asked)


def names_in(call: ToolCall) -> tuple[str, ...]:
    """Read the names of a `describe_tools` call; none of an unreadable one."""
    try:
        names = json.loads(call.arguments)["names"]
    except (ValueError, KeyError, TypeError):
        return ()
    return tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else ()
