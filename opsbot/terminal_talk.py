"""A conversation with the person at the terminal: lines in, decisions asked for."""

import asyncio
import getpass
import uuid
from contextlib import suppress

from opsbot.adapters.terminal import TerminalChat
from opsbot.domain import (
    Actor,
    Approval,
    ApprovalState,
    Incoming,
    IncomingCommand,
    IncomingDecision,
    IncomingMessage,
    Place,
)
from opsbot.ground import Ground
from opsbot.policy import TERMINAL_TEAM
from opsbot.service import Service


class TerminalTalk:
    """One conversation with the person at the terminal."""

    def __init__(self, ground: Ground, service: Service, chat: TerminalChat) -> None:
        self._ground = ground
        self._service = service
        self._chat = chat
        self._actor = Actor(TERMINAL_TEAM, getpass.getuser())
        self._place = Place(TERMINAL_TEAM, "terminal", uuid.uuid4().hex, direct=True)

    async def say(self, line: str) -> None:
        """Send one line, wait for everything it sets off, and ask for the decisions it calls for."""
        text = line.strip()
        command = text.removeprefix("/ops ").removeprefix("!") if text.startswith(("!", "/ops ")) else ""
        await self._send(
            IncomingCommand(self._place, self._actor, command)
            if command
            else IncomingMessage(self._place, self._actor, text, uuid.uuid4().hex)
        )
        await self._decide()

    async def _decide(self) -> None:
        for approval in await self._ground.store.approvals.of_conversation(self._place.key):
            if approval.state is not ApprovalState.PENDING:
                continue
            # A key that was pressed before the card can have been read must not count.
            await asyncio.sleep(self._ground.config.policy.read_s)
            await self._decide_one(approval)

    async def _decide_one(self, approval: Approval) -> None:
        """Ask for a decision, and again after each host that is left out."""
        while (answer := await self._chat.ask_decision(approval)) != "later":
            if answer in ("approve", "deny"):
                await self._send(IncomingDecision(self._place, self._actor, approval.id, answer, ""))
            else:
                await self._send(IncomingCommand(self._place, self._actor, answer))
            if not answer.startswith("leave-out"):
                return
            await asyncio.sleep(self._ground.config.policy.read_s)

    async def _send(self, event: Incoming) -> None:
        await self._service.accept((f"terminal:{uuid.uuid4().hex}",), event)
        with suppress(asyncio.CancelledError):
            await self._service.idle()
