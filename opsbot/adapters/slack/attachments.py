"""Files of people from Slack: asked for where an event does not tell of them, fetched from Slack's own hosts only."""

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import SplitResult, urlsplit

import aiohttp
import structlog

from opsbot.adapters.slack.shown_files import attachments_in
from opsbot.adapters.slack.web import Answer, Refused, Web
from opsbot.domain import Attachment, Place
from opsbot.errors import ChatError
from opsbot.pictures import MAX_BYTES, too_large

_log = structlog.get_logger()

_TIMEOUT = aiohttp.ClientTimeout(total=30, connect=10, sock_read=10)
_PIECE_BYTES = 64 * 1024
_THREAD_MESSAGES = 200
_NO_SCOPE = (
    "the Slack app may not read files. An admin adds the bot scope `files:read` to the app and installs it again"
)
_DEFAULT_PORTS = {"https": 443, "http": 80}


class SlackAttachments:
    """Implements `ports.Attachments`. The bot token goes with a download, so it goes to Slack and nowhere else."""

    def __init__(self, web: Web, session: aiohttp.ClientSession, *, api_url: str, token: str) -> None:
        self._web = web
        self._session = session
        self._api = urlsplit(api_url)
        self._token = token

    async def of_message(self, place: Place, message_id: str) -> tuple[Attachment, ...]:
        """Read the message once more: some events come without their files."""
        where: dict[str, object] = {"channel": place.channel_id, "inclusive": True}
        if place.thread_id and place.thread_id != message_id:
            answer = await self._ask("conversations.replies", where | {"ts": place.thread_id, "oldest": message_id})
        else:
            answer = await self._ask("conversations.history", where | {"latest": message_id, "limit": 1})
        found = next((message for message in _messages(answer) if message.get("ts") == message_id), {})
        return attachments_in(found)

    async def of_thread(self, place: Place, *, before: str) -> tuple[Attachment, ...]:
        """Read the thread; what the bot itself or another app posted is not what people show."""
        where = {"channel": place.channel_id, "ts": place.thread_id, "limit": _THREAD_MESSAGES}
        answer = await self._ask("conversations.replies", where)
        earlier = [message for message in _messages(answer) if str(message.get("ts", "")) < before]
        people = [message for message in earlier if not message.get("bot_id") and message.get("user")]
        return tuple(attachment for message in people for attachment in attachments_in(message))

    async def download(self, attachment: Attachment) -> bytes:
        """Fetch a file's bytes. Raises ChatError."""
        url = attachment.url or await self._url_of(attachment)
        if not self._is_slacks(url):
            _log.warning("slack.foreign_file", file_id=attachment.file_id)
            raise ChatError("its address is not one of Slack's own, so I do not go there")
        headers = {"Authorization": f"Bearer {self._token}"}
        try:
            async with self._session.get(
                url, headers=headers, timeout=_TIMEOUT, allow_redirects=False, auto_decompress=False
            ) as response:
                _check_answer(response)
                return await _body(response)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise ChatError(f"it could not be fetched from Slack ({type(error).__name__}); send it again") from error

    async def _url_of(self, attachment: Attachment) -> str:
        """Ask for a file that is only named. Raises ChatError."""
        answer = await self._ask("files.info", {"file": attachment.file_id})
        file = answer.get("file")
        return str(file.get("url_private") or "") if isinstance(file, Mapping) else ""

    async def _ask(self, method: str, arguments: Mapping[str, object]) -> Answer:
        try:
            return await self._web.again(method, arguments, get=True)
        except Refused as refused:
            if refused.code == "missing_scope":
                raise ChatError(_NO_SCOPE) from refused
            raise

    def _is_slacks(self, url: str) -> bool:
        """Whether an address is where we talk to anyway, or Slack's host for files beside it."""
        try:
            parts = urlsplit(url)
            port = _port_of(parts)
        except ValueError:
            return False
        if parts.username is not None or parts.password is not None:
            return False
        if (parts.scheme, parts.hostname, port) == (self._api.scheme, self._api.hostname, _port_of(self._api)):
            return True
        return (parts.scheme, parts.hostname, port) == ("https", f"files.{self._api.hostname}", 443)


def _port_of(parts: SplitResult) -> int | None:
    """Return the port of an address. Raises ValueError for one that is none."""
    return parts.port or _DEFAULT_PORTS.get(parts.scheme)


def _messages(answer: Answer) -> Iterator[Mapping[str, Any]]:
    listed = answer.get("messages")
    return (message for message in listed if isinstance(message, Mapping)) if isinstance(listed, list) else iter(())


def _check_answer(response: aiohttp.ClientResponse) -> None:
    """Judge what came back by its head. Raises ChatError."""
    if 300 <= response.status < 400:
        raise ChatError(f"Slack sends me elsewhere for it ({response.status}), where I do not go; {_NO_SCOPE}")
    if response.status in (401, 403):
        raise ChatError(f"Slack does not give it to me ({response.status}); {_NO_SCOPE}")
    if response.status == 404:
        raise ChatError("it is not there any more")
    if response.status != 200:
        raise ChatError(f"Slack did not give it to me ({response.status}); send it again")
    # Slack answers with its log-in page, and 200, where the scope is missing.
    if response.content_type == "text/html":
        raise ChatError(f"Slack answered with a web page instead of it; {_NO_SCOPE}")
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise ChatError("it came compressed, which I do not take")
    if (response.content_length or 0) > MAX_BYTES:
        raise ChatError(too_large(response.content_length or 0))


async def _body(response: aiohttp.ClientResponse) -> bytes:
    """Read it, and no more than is taken, whatever was announced. Raises ChatError."""
    taken: list[bytes] = []
    size_bytes = 0
    async for piece in response.content.iter_chunked(_PIECE_BYTES):
        taken.append(piece)
        size_bytes += len(piece)
        if size_bytes > MAX_BYTES:
            raise ChatError(too_large(size_bytes))
    return b"".join(taken)
