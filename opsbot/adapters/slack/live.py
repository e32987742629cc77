"""Answers that appear while they are written: a native stream in direct messages, an edited message in channels."""

import asyncio
from typing import Protocol

import structlog

from opsbot.adapters.slack import blocks
from opsbot.adapters.slack.mrkdwn import defanged
from opsbot.adapters.slack.pieces import Block
from opsbot.adapters.slack.web import Refused, Web, mark
from opsbot.domain import Actor, Content, MessageRef, Place, Text
from opsbot.errors import ChatError, MessageGone

_log = structlog.get_logger()

# A stream lives about 306 s whatever one appends (python-slack-sdk #1859, node-slack-sdk #2702, 2026).
_STREAM_MAX_S = 240.0
# chat.appendStream takes about 100 calls per minute.
_APPEND_EVERY_S = 0.7


class Drafts(Protocol):
    """What a live answer needs of the chat."""

    async def post(self, place: Place, content: Content, *, key: str) -> MessageRef: ...

    async def edit(self, place: Place, ref: MessageRef, content: Content) -> None: ...

    async def post_draft(self, place: Place, markdown: str, key: str) -> MessageRef: ...

    def edit_draft(self, place: Place, ref: MessageRef, markdown: str) -> None: ...


class EditLive:
    """One message, posted with the first words and edited as they grow; the queue paces and merges the edits."""

    def __init__(self, drafts: Drafts, place: Place, key: str) -> None:
        self.drafts = drafts
        self.place = place
        self.key = key
        self._posting: asyncio.Task[MessageRef] | None = None
        self._latest = ""

    async def show(self, markdown: str) -> None:
        """Show the text so far, as soon as the channel's pace allows; returns at once."""
        self._latest = markdown
        if self._posting is None:
            self._posting = asyncio.get_running_loop().create_task(self._begin(markdown))
        elif self._posting.done() and not self._posting.cancelled() and self._posting.exception() is None:
            self.drafts.edit_draft(self.place, self._posting.result(), markdown)

    async def finish(self, content: Content) -> MessageRef:
        """Put the final content in the draft's place, or post it if there is no draft."""
        ref = await self._draft()
        if ref is None:
            return await self.drafts.post(self.place, content, key=self.key)
        return await replaced(self.drafts, self.place, ref, content, key=self.key)

    async def _begin(self, markdown: str) -> MessageRef:
        ref = await self.drafts.post_draft(self.place, markdown, self.key)
        if self._latest != markdown:
            self.drafts.edit_draft(self.place, ref, self._latest)
        return ref

    async def _draft(self) -> MessageRef | None:
        if self._posting is None:
            return None
        try:
            return await self._posting
        except ChatError as error:
            _log.info("slack.draft_failed", error=str(error))
            return None


class StreamLive:
    """A native stream. What cannot be streamed (any more) becomes an edited message; no text is lost."""

    def __init__(self, edits: EditLive, web: Web, asker: Actor, links: frozenset[str] = frozenset()) -> None:
        self._edits = edits
        self._web = web
        self._asker = asker
        self._links = links
        self._wanted = ""
        self._sent = ""
        self._stream_ts = ""
        self._started_at = 0.0
        self._ended = False
        self._refused = False
        self._hurry = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None

    async def show(self, markdown: str) -> None:
        """Append what is new, soon; returns at once."""
        self._wanted = markdown
        if self._refused:
            await self._edits.show(markdown)
        elif not self._ended and (self._pump is None or self._pump.done()):
            self._pump = asyncio.get_running_loop().create_task(self._run())

    async def finish(self, content: Content) -> MessageRef:
        """End the stream with the final content, or replace the streamed text by it."""
        self._hurry.set()
        if self._pump is not None:
            await self._pump
        if not self._stream_ts:
            return await self._edits.finish(content)
        ref = MessageRef(self._edits.place.channel_id, self._stream_ts)
        rest = self._rest_of(content)
        if rest is not None and isinstance(content, Text) and await self._stop(rest, blocks.footer(content)):
            return ref
        await self._stop("", ())
        return await replaced(self._edits.drafts, self._edits.place, ref, content, key=self._edits.key)

    async def _run(self) -> None:
        try:
            while not self._ended and (piece := self._next_piece()):
                await self._push(piece)
                await self._pause()
        except ChatError as error:
            _log.info("slack.stream_ended", error=str(error))
            self._ended = True
            self._refused = not self._stream_ts

    def _next_piece(self) -> str:
        """Text not sent yet, up to its last blank: only there later words cannot change how earlier ones are shown."""
        whole = defanged(self._wanted, self._links)
        settled = whole[: max(whole.rfind(" "), whole.rfind("\n")) + 1]
        fits = settled.startswith(self._sent) and len(settled) <= blocks.MARKDOWN_MAX
        return settled[len(self._sent) :] if fits else ""

    async def _push(self, piece: str) -> None:
        where: dict[str, object] = {"channel": self._edits.place.channel_id, "chunks": _chunks(piece)}
        if not self._stream_ts:
            answer = await self._web.call("chat.startStream", where | self._recipient())
            self._stream_ts = str(answer["ts"])
            self._started_at = self._web.clock.monotonic()
        elif self._web.clock.monotonic() - self._started_at > _STREAM_MAX_S:
            # The rest is shown at the end, by an edit, which works on ended streams as well.
            await self._stop("", ())
            return
        else:
            await self._web.call("chat.appendStream", where | {"ts": self._stream_ts})
        self._sent += piece

    def _recipient(self) -> dict[str, object]:
        return {
            "thread_ts": self._edits.place.thread_id,
            "recipient_team_id": self._asker.team_id,
            "recipient_user_id": self._asker.user_id,
        }

    async def _pause(self) -> None:
        waits = [
            asyncio.ensure_future(self._web.clock.sleep(_APPEND_EVERY_S)),
            asyncio.ensure_future(self._hurry.wait()),
        ]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for wait in waits:
            wait.cancel()

    def _rest_of(self, content: Content) -> str | None:
        """What is missing of the final text, or None if the stream does not lead to it."""
        if not isinstance(content, Text):
            return None
        final = blocks.said(content, self._links)
        leads_there = final.startswith(self._sent) and len(final) <= blocks.MARKDOWN_MAX
        return final[len(self._sent) :] if leads_there else None

    async def _stop(self, rest: str, ending: tuple[Block, ...]) -> bool:
        """End the stream; False if it had ended already or Slack refused."""
        if self._ended:
            return False
        self._ended = True
        last: dict[str, object] = {"channel": self._edits.place.channel_id, "ts": self._stream_ts}
        last |= {"metadata": mark(self._edits.key)} | ({"chunks": _chunks(rest)} if rest else {})
        try:
            await self._web.call("chat.stopStream", last | ({"blocks": list(ending)} if ending else {}))
        except ChatError as error:
            _log.info("slack.stream_stop_failed", error=str(error))
            return False
        return True


async def replaced(drafts: Drafts, place: Place, ref: MessageRef, content: Content, *, key: str) -> MessageRef:
    """Put the final content where a draft stands; if the draft was deleted meanwhile, post it."""
    try:
        await drafts.edit(place, ref, content)
    except (MessageGone, Refused) as error:
        _log.info("slack.draft_gone", error=str(error))
        return await drafts.post(place, content, key=key)
    return ref


def _chunks(text: str) -> list[dict[str, str]]:
    return [{"type": "markdown_text", "text": text}]
