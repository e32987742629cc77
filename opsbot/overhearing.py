"""A late mention: the bot is asked in a thread that people began without it, and reads what they wrote, in bounds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

import structlog

from opsbot import threads
from opsbot.delivery import Delivery
from opsbot.domain import IncomingMessage, Text, ToolResult
from opsbot.errors import ChatError
from opsbot.intake import Intake
from opsbot.metering import Account
from opsbot.notes import THREAD
from opsbot.policy import PolicyRules
from opsbot.ports import Chat
from opsbot.recollection import clipped, sampled
from opsbot.spending import turn_id
from opsbot.summarising import READ_BYTES, Summariser
from opsbot.threads import Said, Thread

# In a transcript: the least that is worth reading of one message, and what stands before its words.
_SHARE_LEAST = 120
_HEAD_CHARS = 50

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Overhearing:
    """Reads threads. Everything in them is others' words: taken in, fenced off, and a mark on what is proposed."""

    chat: Chat
    delivery: Delivery
    summariser: Summariser
    intake: Intake
    rules: PolicyRules

    async def before(self, event: IncomingMessage, asked_at: datetime) -> tuple[ToolResult, ...]:
        """Return what to tell the model before the first question in a thread, and tell the asker what is left out."""
        late = event.addressed and event.place.thread_id not in ("", event.message_id)
        if not late or self.summariser.meter.spending.endpoint == "none":
            return ()
        thread = await self._read(event)
        if not thread.messages and not thread.failure:
            return ()
        parts = threads.split(thread)
        prose = await self._prose(parts.between, event, asked_at)
        if said := threads.report(thread, parts):
            await self._tell(event, said)
        log.info("thread.read", whole=parts.whole, in_short=len(parts.between), missing=thread.missing)
        return (self.intake.note(THREAD, threads.told(thread, parts, prose)),)

    async def _read(self, event: IncomingMessage) -> Thread:
        try:
            thread = await self.chat.earlier(event.place, before=event.message_id)
        except ChatError as error:
            return Thread(failure=self.intake.line(str(error)))
        taken = tuple(replace(said, text=self.intake.text(said.text)) for said in thread.messages)
        return replace(thread, messages=taken)

    async def _prose(self, between: Sequence[Said], event: IncomingMessage, asked_at: datetime) -> str:
        if not between:
            return ""
        place = event.place
        # The question comes second in the history, after what is told here.
        account = Account(place, turn_id(place.key, asked_at, 1), self.rules.person(event.actor))
        some = sampled(between, READ_BYTES // _SHARE_LEAST)
        share = READ_BYTES // len(some) - _HEAD_CHARS
        lines = (threads.line_of(replace(said, text=said.text[:share])) for said in some)
        transcript = clipped("\n".join(lines), READ_BYTES)
        return await self.summariser.prose(transcript, account, asker=event.actor.key)

    async def _tell(self, event: IncomingMessage, said: str) -> None:
        await self.delivery.whisper(event.place, event.actor, Text(said, trusted=True))
