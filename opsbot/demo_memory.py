"""What the demo's page shows, kept over a restart as Slack keeps it: an open card has to be there to be pressed."""

import asyncio
import json
from pathlib import Path

from opsbot.workbench.conversations import Message
from opsbot.workbench.workspace import Workspace

_EVERY_S = 1.0
_MOST = 500


class PageMemory:
    """Writes the workbench's messages to a file, and reads them at the next start."""

    def __init__(self, workspace: Workspace, path: Path) -> None:
        self._workspace = workspace
        self._path = path
        self._written = -1

    def restore(self) -> None:
        """Put the messages of the last start back; a file that cannot be read counts as none."""
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
            messages = [Message(one["channel"], one["body"], one["ephemeral_for"], one["metadata"]) for one in kept]
        except (OSError, ValueError, KeyError, TypeError):
            return
        for message in messages:
            self._workspace.conversations.add(message)

    async def keep(self) -> None:
        """Write whenever something changed, until cancelled."""
        while True:
            await asyncio.sleep(_EVERY_S)
            self.write()

    def write(self) -> None:
        """Write the messages if there was any change since the last time."""
        version = self._workspace.feed.version
        if version == self._written:
            return
        conversations = self._workspace.conversations
        kept = [
            {"channel": one.channel, "body": one.body, "ephemeral_for": one.ephemeral_for, "metadata": one.metadata}
            for channel in conversations.channels()
            for one in conversations.messages(channel.id)[-_MOST:]
        ]
        draft = self._path.with_suffix(".new")
        draft.write_text(json.dumps(kept), encoding="utf-8")
        draft.replace(self._path)
        self._written = version
