"""SlackChat: the Chat port over Slack's Web API."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from urllib.parse import urlsplit

import aiohttp
import structlog

from opsbot.adapters.charts import ChartPress
from opsbot.adapters.slack import blocks, report_form
from opsbot.adapters.slack.files import Files
from opsbot.adapters.slack.live import EditLive, StreamLive
from opsbot.adapters.slack.mrkdwn import escape
from opsbot.adapters.slack.outbound import Job, Outbound, Urgency
from opsbot.adapters.slack.pictures import Pictures, Uploaded, remedy
from opsbot.adapters.slack.pieces import Payload
from opsbot.adapters.slack.splitting import split
from opsbot.adapters.slack.status import Statuses
from opsbot.adapters.slack.thread_reader import ThreadReader
from opsbot.adapters.slack.web import INERT, MARK, Answer, Refused, Unsettled, Web, mark
from opsbot.domain import Actor, Card, Chart, Content, IncidentCard, MessageRef, Place, TextFile
from opsbot.errors import ChatError, MessageGone
from opsbot.ports import LiveText
from opsbot.readable import plain_line
from opsbot.threads import Thread

_log = structlog.get_logger()

_TOO_MUCH = frozenset({"invalid_blocks", "invalid_blocks_format", "msg_too_long", "msg_blocks_too_long"})
# chat.update's documented answers for a message that cannot be edited any more (docs.slack.dev, 2026-11).
_GONE = frozenset({"message_not_found", "cant_update_message", "edit_window_closed"})
_PLAIN_MAX = 3500
_FIND_PAGES = 10
_FIND_PER_PAGE = 200
_RESPONSE_URL_TIMEOUT = aiohttp.ClientTimeout(total=10)


class SlackChat:
    """Posts, edits, whispers and statuses in one workspace. One instance owns the outbound queue."""

    def __init__(
        self,
        web: Web,
        session: aiohttp.ClientSession,
        *,
        api_url: str,
        bot_user_id: str,
        press: ChartPress | None = None,
        links: frozenset[str] = frozenset(),
    ) -> None:
        self._web = web
        self._session = session
        self._api_host = urlsplit(api_url).hostname or ""
        self._bot_user_id = bot_user_id
        self._links = links
        self._outbound = Outbound(web.clock)
        self._statuses = Statuses(web)
        self._press = press or ChartPress()
        self._pictures = Pictures(web, session, self._press, self._is_slacks)
        self._files = Files(web, self._pictures, bot_user_id)

    # --- the port ----------------------------------------------------------------------------------------------------

    async def post(self, place: Place, content: Content, *, key: str) -> MessageRef:
        """Post a content, in as many messages as it needs; return the first."""
        first, *rest = blocks.render(content, self._links)
        ref = await self._queue(place, first, key, _urgency(content))
        for index, payload in enumerate(rest):
            await self._queue(place, payload, _rest_key(ref, index), _urgency(content))
        return ref

    async def edit(self, place: Place, ref: MessageRef, content: Content) -> None:
        """Replace a message; what does not fit any more follows as messages of its own, once."""
        first, *rest = blocks.render(content, self._links)
        await asyncio.shield(self._queue_edit(place, ref, first, _urgency(content)))
        for index, payload in enumerate(rest):
            if await self.find(place, _rest_key(ref, index)) is None:
                await self._queue(place, payload, _rest_key(ref, index), _urgency(content))

    async def whisper(self, place: Place, actor: Actor, content: Content, *, reply_to: str = "") -> None:
        """Answer one person: by the handle while it lives, else by an ephemeral message."""
        alive = bool(reply_to) and self._is_slacks(reply_to)
        for payload in blocks.render(content, self._links):
            alive = alive and await self._respond(place, payload, reply_to)
            if not alive:
                await self._whisper_ephemeral(place, actor, payload)

    async def status(self, place: Place, text: str) -> None:
        """Show that the bot is at work."""
        await self._statuses.show(place, text)

    async def live(self, place: Place, *, key: str, asker: Actor) -> LiveText:
        """Stream in direct messages; edit one message in channels, where a stream reaches one person only."""
        edits = EditLive(self, place, key)
        if place.direct and place.thread_id:
            return StreamLive(edits, self._web, asker, self._links)
        return edits

    async def pictures(self, place: Place, charts: Sequence[Chart], *, to: Actor | None = None) -> None:
        """Show charts as one message below the answer; for one person alone, in their direct messages."""
        uploaded, why = await self._pictures.upload(charts)
        try:
            if uploaded:
                where = await self._privately(place, to, charts) if to else place
                await self._submit_pictures(where, uploaded)
        except Refused as error:
            raise ChatError(remedy(error)) from error
        if why:
            raise ChatError(why)

    async def files(self, place: Place, files: Sequence[TextFile], *, look: bool = False) -> None:
        """Upload files and show them as one message; those that are there already are left out."""
        uploaded = await self._files.upload(place, files, look=look)
        if uploaded:
            try:
                await self._submit_pictures(place, uploaded)
            except Refused as error:
                raise ChatError(remedy(error)) from error

    async def form(self, trigger: str, place: Place, card: IncidentCard) -> None:
        """Open a report's form. What Slack gave to open it with lives for about three seconds."""
        try:
            await self._web.call("views.open", {"trigger_id": trigger, "view": report_form.view(place, card)})
        except ChatError as error:
            _log.warning("slack.form_refused", cause=str(error))
            raise ChatError("Slack did not open the form in time. Press Edit again.") from error

    async def find(self, place: Place, key: str) -> MessageRef | None:
        """Look through the thread, or the channel's newest messages, for our message with this key."""
        method = "conversations.replies" if place.thread_id else "conversations.history"
        where: dict[str, object] = {"channel": place.channel_id, "limit": _FIND_PER_PAGE, "include_all_metadata": True}
        where |= {"ts": place.thread_id} if place.thread_id else {}
        for _ in range(_FIND_PAGES if place.thread_id else 1):
            answer = await self._web.again(method, where, get=True)
            found = self._with_key(answer, key)
            if found:
                return MessageRef(place.channel_id, found)
            where["cursor"] = (answer.get("response_metadata") or {}).get("next_cursor") or ""
            if not where["cursor"]:
                break
        return None

    async def earlier(self, place: Place, *, before: str) -> Thread:
        """Read what was written in a thread before this message."""

        async def ask(where: Mapping[str, object]) -> Answer:
            return await self._web.call("conversations.replies", where, get=True)

        return await ThreadReader(ask, place, self._bot_user_id, before).read()

    # --- for drafts and the connection -------------------------------------------------------------------------------

    async def post_draft(self, place: Place, markdown: str, key: str) -> MessageRef:
        """Post the beginning of an answer."""
        return await self._queue(place, blocks.draft(markdown, self._links), key, Urgency.MESSAGE)

    def edit_draft(self, place: Place, ref: MessageRef, markdown: str) -> None:
        """Queue the newest state of a draft, in place of one that still waits."""
        self._queue_edit(place, ref, blocks.draft(markdown, self._links), Urgency.DRAFT)

    async def drain(self) -> None:
        """Wait until everything queued was sent."""
        await self._outbound.drain()

    async def close(self) -> None:
        """Stop all tasks; what still waits is dropped."""
        await self._statuses.close()
        await self._outbound.close()
        self._press.close()

    # --- sending -----------------------------------------------------------------------------------------------------

    async def _queue(self, place: Place, payload: Payload, key: str, urgency: Urgency) -> MessageRef:
        delivery = _Delivery(self, self._web, place, key)
        job = _job(place, urgency, lambda: delivery.send(payload))
        ref: MessageRef = await asyncio.shield(self._outbound.submit(place.channel_id, job))
        return ref

    def _queue_edit(self, place: Place, ref: MessageRef, payload: Payload, urgency: Urgency) -> "asyncio.Future[None]":
        job = _job(place, urgency, lambda: self._update(ref, payload), merge_key=ref.message_id)
        return self._outbound.submit(ref.channel_id, job)

    async def _update(self, ref: MessageRef, payload: Payload) -> None:
        where: dict[str, object] = {"channel": ref.channel_id, "ts": ref.message_id}
        try:
            await self._web.again("chat.update", where | {"text": payload.text, "blocks": list(payload.blocks)})
        except Refused as refused:
            if refused.code in _GONE:
                raise MessageGone("That message is not there any more.") from refused
            if refused.code not in _TOO_MUCH:
                raise
            _log.error("slack.blocks_refused", code=refused.code)
            plain = escape(split(payload.plain, _PLAIN_MAX)[0])
            await self._web.again("chat.update", where | {"text": plain, "blocks": []})

    async def _respond(self, place: Place, payload: Payload, url: str) -> bool:
        """Answer through a response URL; False when it is used up or gone."""
        body = {**INERT, **_in_thread(place), "response_type": "ephemeral", "replace_original": False}
        body |= {"text": payload.text, "blocks": list(payload.blocks)}
        try:
            async with self._session.post(url, json=body, timeout=_RESPONSE_URL_TIMEOUT) as response:
                said = (await response.content.read(1000)).decode("utf-8", "replace").strip()
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            _log.info("slack.response_url_failed", error=type(error).__name__)
            return False
        if response.status == 200 and '"ok":false' not in said.replace(" ", ""):
            return True
        _log.info("slack.response_url_refused", status=response.status)
        return False

    async def _whisper_ephemeral(self, place: Place, actor: Actor, payload: Payload) -> None:
        where: dict[str, object] = {**_in_thread(place), "channel": place.channel_id, "user": actor.user_id}
        try:
            # Repeating it is harmless: an ephemeral message seen twice is gone after a reload.
            await self._web.again("chat.postEphemeral", where | {"text": payload.text, "blocks": list(payload.blocks)})
        except Refused as refused:
            if refused.code not in _TOO_MUCH:
                raise
            plain = escape(split(payload.plain, _PLAIN_MAX)[0])
            await self._web.again("chat.postEphemeral", where | {"text": plain})

    async def _submit_pictures(self, place: Place, uploaded: Sequence[Uploaded]) -> None:
        async def send() -> None:
            if not job.done.cancelled():  # else people were told by now that there is no picture
                await self._pictures.show(place, uploaded)

        job = _job(place, Urgency.MESSAGE, send)
        await self._outbound.submit(place.channel_id, job)

    async def _privately(self, place: Place, actor: Actor, charts: Sequence[Chart]) -> Place:
        """Begin a thread with one person, and say where it is: files cannot be whispered in a channel."""
        if place.direct:
            return place
        titles = escape(", ".join(plain_line(chart.title, limit=80) for chart in charts))
        opening = {"channel": actor.user_id, "text": f"You asked in <#{place.channel_id}>: {titles}"}
        answer = await self._pictures.once("chat.postMessage", opening)
        note = Payload("The chart is in our direct messages.", (), "")
        await self._whisper_ephemeral(place, actor, note)
        return Place(place.team_id, str(answer["channel"]), str(answer["ts"]), direct=True)

    def _is_slacks(self, url: str) -> bool:
        """Whether a handle points where we talk to anyway: it came with an event, and must not lead elsewhere."""
        try:
            parts = urlsplit(url)
        except ValueError:
            return False
        host = parts.hostname or ""
        known = host == self._api_host or (parts.scheme == "https" and host.endswith(".slack.com"))
        return known and parts.scheme in ("https", "http")

    def _with_key(self, answer: Answer, key: str) -> str:
        messages = answer.get("messages")
        for message in messages if isinstance(messages, list) else []:
            metadata = message.get("metadata") or {}
            ours = message.get("user") == self._bot_user_id and metadata.get("event_type") == MARK
            if ours and (metadata.get("event_payload") or {}).get("key") == key:
                return str(message["ts"])
        return ""


class _Delivery:
    """One message on its way: remembers whether an attempt may have counted, so that a repeat never doubles it."""

    def __init__(self, chat: SlackChat, web: Web, place: Place, key: str) -> None:
        self._chat = chat
        self._web = web
        self._place = place
        self._key = key
        self._doubtful = False

    async def send(self, payload: Payload) -> MessageRef:
        try:
            return await self._sent(payload.text, payload.blocks)
        except Refused as refused:
            if refused.code not in _TOO_MUCH:
                raise
            _log.error("slack.blocks_refused", code=refused.code)
        first, *rest = split(payload.plain, _PLAIN_MAX)
        ref = await self._sent(escape(first), ())
        for index, part in enumerate(rest):
            delivery = _Delivery(self._chat, self._web, self._place, f"{_rest_key(ref, index)}:plain")
            await delivery.send(Payload(escape(part), (), part))
        return ref

    async def _sent(self, text: str, sent_blocks: Sequence[Mapping[str, object]]) -> MessageRef:
        answer = await self._web.settled(lambda: self._attempt(text, sent_blocks))
        return MessageRef(self._place.channel_id, str(answer["ts"]))

    async def _attempt(self, text: str, sent_blocks: Sequence[Mapping[str, object]]) -> Answer:
        if self._doubtful:
            found = await self._chat.find(self._place, self._key)
            if found is not None:
                return {"ts": found.message_id}
        message = {**_in_thread(self._place), "channel": self._place.channel_id, "text": text}
        message |= {"metadata": mark(self._key)} | ({"blocks": list(sent_blocks)} if sent_blocks else {})
        try:
            return await self._web.call("chat.postMessage", message)
        except Unsettled:
            self._doubtful = True
            raise


def _in_thread(place: Place) -> dict[str, object]:
    return {"thread_ts": place.thread_id} if place.thread_id else {}


def _job(place: Place, urgency: Urgency, send: Callable[[], Awaitable[object]], *, merge_key: str = "") -> Job:
    return Job(place.thread_id, urgency, send, asyncio.get_running_loop().create_future(), merge_key)


def _rest_key(first: MessageRef, index: int) -> str:
    """The key of a continuing message: known from the first one, so that an edit finds what a post has sent."""
    return f"after:{first.message_id}:{index}"


def _urgency(content: Content) -> Urgency:
    return Urgency.CARD if isinstance(content, Card) else Urgency.MESSAGE
