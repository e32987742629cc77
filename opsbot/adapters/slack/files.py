"""Text files to Slack, below a thread's messages; after a crash it is first looked which of them are there."""

from collections.abc import Sequence

from opsbot.adapters.slack.pictures import Pictures, Uploaded, remedy
from opsbot.adapters.slack.web import Web
from opsbot.domain import Place, TextFile
from opsbot.errors import ChatError

_PAGES, _PER_PAGE = 10, 200


class Files:
    """Uploads files that nobody sees yet."""

    def __init__(self, web: Web, pictures: Pictures, bot_user_id: str) -> None:
        self._web = web
        self._pictures = pictures
        self._bot_user_id = bot_user_id

    async def upload(self, place: Place, files: Sequence[TextFile], *, look: bool) -> list[Uploaded]:
        """Return what was uploaded and has to be shown. Raises ChatError, with what to do."""
        try:
            known = await self._names_in(place) if look else set()
            missing = [file for file in files if file.title not in known]
            return [
                await self._pictures.sent({"filename": file.name}, file.text.encode(), title=file.title)
                for file in missing
            ]
        except ChatError as error:
            raise ChatError(remedy(error)) from error

    async def _names_in(self, place: Place) -> set[str]:
        """Return the titles of the files that we have shown in this thread."""
        where: dict[str, object] = {"channel": place.channel_id, "ts": place.thread_id, "limit": _PER_PAGE}
        titles: set[str] = set()
        for _ in range(_PAGES):
            answer = await self._web.again("conversations.replies", where, get=True)
            messages = answer.get("messages")
            for message in messages if isinstance(messages, list) else []:
                ours = message.get("user") == self._bot_user_id
                titles |= {str(file.get("title")) for file in message.get("files") or () if ours}
            where["cursor"] = (answer.get("response_metadata") or {}).get("next_cursor") or ""
            if not where["cursor"]:
                break
        return titles
