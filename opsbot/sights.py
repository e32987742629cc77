"""What people show: the pictures on a message are fetched, made anew, kept, and told of to the model."""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from opsbot.domain import Attachment, IncomingMessage, Picture, Place
from opsbot.errors import BadArguments, ChatError, OpsbotError
from opsbot.intake import Intake
from opsbot.picture_ports import Attachments, Darkroom, Pictures
from opsbot.pictures import MAX_BYTES, MAX_ON_MESSAGE, Developed, looks_like_picture, too_large
from opsbot.ports import Chat, Clock

NO_MODEL = "no language model is configured, and only a model can look at pictures"
SWITCHED_OFF = "looking at pictures is switched off (`model.vision`)"

_NAME_CHARS = 80
_TIME_LIMIT_S = 40.0
# For asking which files there are, which most messages have none of.
_ASK_LIMIT_S = 5.0

log = structlog.get_logger(__name__)


@dataclass(slots=True)
class Sights:
    """Takes in what people show. `unable`: why nothing can be looked at here, "" where it can."""

    pictures: Pictures
    intake: Intake
    chat: Chat
    clock: Clock
    attachments: Attachments | None = None
    darkroom: Darkroom | None = None
    unable: str = ""
    # One at a time: what arrives may be large, and a flood of it must not fill the memory.
    _one_at_a_time: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def of(self, event: IncomingMessage, *, first: bool) -> tuple[Picture, ...]:
        """Take in the pictures on a message; with `first`, also those shown earlier in its thread. Never raises."""
        if self.attachments is None or (self.unable and not event.files):
            return ()
        found = await self._found(event, first=first)
        if not found:
            return ()
        return tuple([await self._taken_in(event.place, attachment, number) for number, attachment in enumerate(found)])

    async def _found(self, event: IncomingMessage, *, first: bool) -> Sequence[Attachment]:
        """Name the files, each once: those of the message first, then the newest of the thread."""
        if self.attachments is None:
            return ()
        here, earlier = event.files, tuple[Attachment, ...]()
        try:
            async with asyncio.timeout(_ASK_LIMIT_S):
                if not event.files_told and not self.unable:
                    here = _merged(here, await self.attachments.of_message(event.place, event.message_id))
                if first and not self.unable and event.place.thread_id != event.message_id:
                    earlier = await self.attachments.of_thread(event.place, before=event.message_id)
        except (ChatError, TimeoutError) as error:
            log.warning("pictures.not_asked", error=str(error))
        known = {attachment.file_id for attachment in here}
        others = [each for each in earlier if looks_like_picture(each) and each.file_id not in known]
        newest = others[::-1][: max(0, MAX_ON_MESSAGE - len(here))]
        return (*here, *newest[::-1])

    async def _taken_in(self, place: Place, attachment: Attachment, number: int) -> Picture:
        key = f"{place.team_id}/{attachment.file_id}"
        name = self.intake.line(attachment.name or "picture", limit=_NAME_CHARS)
        try:
            self._check(attachment, number)
            async with self._one_at_a_time, asyncio.timeout(_TIME_LIMIT_S):
                developed = await self._developed(place, key, attachment)
        except TimeoutError:
            return self._left_out(key, name, f"it was not there within {_TIME_LIMIT_S:.0f} s")
        except OpsbotError as error:
            return self._left_out(key, name, str(error))
        digest = hashlib.sha256(developed.content).hexdigest()
        return Picture(key, name, digest, developed.width, developed.height)

    def _check(self, attachment: Attachment, number: int) -> None:
        """Refuse what need not be fetched. Raises BadArguments."""
        if self.unable:
            raise BadArguments(self.unable)
        if not looks_like_picture(attachment):
            raise BadArguments("it is no picture; I look at PNG, JPEG, WebP and GIF. Paste the lines that matter")
        if number >= MAX_ON_MESSAGE:
            raise BadArguments(f"I look at {MAX_ON_MESSAGE} pictures of one message")
        if attachment.size_bytes > MAX_BYTES:
            raise BadArguments(too_large(attachment.size_bytes))

    async def _developed(self, place: Place, key: str, attachment: Attachment) -> Developed:
        kept = await self.pictures.get([key])
        if key in kept:
            return kept[key]
        if self.attachments is None or self.darkroom is None:
            raise BadArguments("pictures cannot be fetched here")
        await self.chat.status(place, "is fetching a picture…")
        developed = await self.darkroom.develop(await self.attachments.download(attachment))
        await self.pictures.put(key, developed, self.clock.now())
        return developed

    def _left_out(self, key: str, name: str, why: str) -> Picture:
        log.info("picture.left_out", key=key, why=why)
        return Picture(key, name, trouble=self.intake.line(why))


def _merged(told: Sequence[Attachment], asked: Sequence[Attachment]) -> tuple[Attachment, ...]:
    """Join what an event told of files with what was asked: by id, the fuller word counts."""
    known = {attachment.file_id: attachment for attachment in told}
    return tuple((known | {each.file_id: each for each in asked if each.url or each.file_id not in known}).values())
