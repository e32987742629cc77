"""Pictures to Slack: drawn, uploaded in the three steps of its present API, and shown once, or not at all."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import aiohttp
import structlog

from opsbot.adapters.charts import ChartPress, NotDrawn, alt_text
from opsbot.adapters.slack.web import Answer, Refused, Unsettled, Web
from opsbot.domain import Chart, Place
from opsbot.errors import ChatError
from opsbot.readable import plain_line

_log = structlog.get_logger()

_UPLOAD_TIMEOUT = aiohttp.ClientTimeout(total=20)
_NO_SCOPE = (
    "the Slack app may not upload files. An admin adds the bot scope `files:write` to the app and installs it again."
)
# Slack's words for what people can do something about (docs.slack.dev, files.*, 2026-11).
_REMEDIES = {
    "missing_scope": _NO_SCOPE,
    "no_permission": _NO_SCOPE,
    "not_allowed_token_type": _NO_SCOPE,
    "not_in_channel": "I am not a member of this channel; `/invite` me.",
    "storage_limit_reached": "the workspace's file storage is full.",
    "file_uploads_disabled": "the workspace does not allow files to be uploaded.",
    "file_uploads_except_images_disabled": "the workspace does not allow files to be uploaded.",
}


@dataclass(frozen=True, slots=True)
class Uploaded:
    """A picture at Slack that nobody can see yet."""

    file_id: str
    title: str


class Pictures:
    """Uploads may be repeated, since they show nothing; the step that shows them is tried once.

    `trusted` says whether an address is Slack's own: figures are sent nowhere else.
    """

    def __init__(
        self, web: Web, session: aiohttp.ClientSession, press: ChartPress, trusted: Callable[[str], bool]
    ) -> None:
        self._web = web
        self._session = session
        self._press = press
        self._trusted = trusted

    async def upload(self, charts: Sequence[Chart]) -> tuple[list[Uploaded], str]:
        """Draw and upload; return what was uploaded, and why not all were ("" if they were)."""
        uploaded, why = [], ""
        for chart in charts:
            try:
                uploaded.append(await self._one(chart))
            except NotDrawn as error:
                why = why or f"{plain_line(chart.title, limit=80)}: {error}."
            except ChatError as error:
                return uploaded, remedy(error)
        return uploaded, why

    async def show(self, place: Place, uploaded: Sequence[Uploaded]) -> None:
        """Make the pictures one message. Raises ChatError; then they may or may not be seen, and are not repeated."""
        files = [{"id": one.file_id, "title": one.title} for one in uploaded]
        where: dict[str, object] = {"channel_id": place.channel_id, "files": files}
        where |= {"thread_ts": place.thread_id} if place.thread_id else {}
        await self.once("files.completeUploadExternal", where)

    async def once(self, method: str, arguments: Mapping[str, object]) -> Answer:
        """Call a method that shows something: again when Slack said to come later, never when it may have counted."""

        async def attempt() -> Answer:
            try:
                return await self._web.call(method, arguments)
            except Unsettled as error:
                raise ChatError("Slack did not say whether it took it.") from error

        return await self._web.settled(attempt)

    async def _one(self, chart: Chart) -> Uploaded:
        png = await self._press.png(chart)
        title = plain_line(chart.title, limit=200) or "chart"
        return await self.sent({"filename": "chart.png", "alt_txt": alt_text(chart)}, png, title=title)

    async def sent(self, about: Mapping[str, object], data: bytes, *, title: str) -> Uploaded:
        """Upload a file that nobody sees yet; `about` is what Slack is told of it. Raises ChatError."""
        ask = {**about, "length": len(data)}

        async def attempt() -> Answer:
            answer = await self._web.call("files.getUploadURLExternal", ask, get=True)
            await self._send(str(answer.get("upload_url") or ""), data)
            return answer

        return Uploaded(str((await self._web.settled(attempt))["file_id"]), title)

    async def _send(self, url: str, png: bytes) -> None:
        if not self._trusted(url):
            raise ChatError("Slack named an upload address that is not its own.")
        headers = {"Content-Type": "application/octet-stream"}
        try:
            async with self._session.post(
                url, data=png, headers=headers, timeout=_UPLOAD_TIMEOUT, allow_redirects=False
            ) as response:
                status = response.status
                with suppress(aiohttp.ClientError):
                    await response.content.read(1000)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unsettled(f"the upload to Slack failed ({type(error).__name__}).") from error
        if status >= 500 or status == 429:
            raise Unsettled(f"Slack's upload server is in trouble (HTTP {status}).")
        if status != 200:
            _log.warning("slack.upload_refused", status=status)
            raise ChatError(f"Slack's upload server refused it (HTTP {status}).")


def remedy(error: ChatError) -> str:
    """Say what to do about an error, where somebody can do something."""
    return _REMEDIES.get(error.code, str(error)) if isinstance(error, Refused) else str(error)
