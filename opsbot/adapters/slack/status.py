"""The "is working" line under a thread, and the session status of agent conversations."""

import asyncio

import structlog

from opsbot.adapters.slack.visible import cut, stripped
from opsbot.adapters.slack.web import Refused, Web
from opsbot.domain import Place
from opsbot.errors import ChatError

_log = structlog.get_logger()

# Slack clears a status after two minutes without a message (documented, 2026).
_REFRESH_S = 90.0
# A turn that shows nothing for this long has been forgotten by whoever began it.
_REFRESHES_MAX = 20
_TEXT_MAX = 100


class Statuses:
    """Sets statuses and keeps them alive; never raises, since a missing status harms nobody."""

    def __init__(self, web: Web) -> None:
        self._web = web
        self._alive: dict[str, asyncio.Task[None]] = {}
        self._sessions = True

    async def show(self, place: Place, text: str) -> None:
        """Show `text` in the thread until it is replaced; "" ends it."""
        if not place.thread_id:
            return
        self._forget(place)
        await self._say(place, text)
        if text:
            self._alive[place.key] = asyncio.get_running_loop().create_task(self._keep(place, text))

    async def close(self) -> None:
        """Stop refreshing."""
        tasks = list(self._alive.values())
        self._alive.clear()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _forget(self, place: Place) -> None:
        task = self._alive.pop(place.key, None)
        if task is not None:
            task.cancel()

    async def _keep(self, place: Place, text: str) -> None:
        for _ in range(_REFRESHES_MAX):
            await self._web.clock.sleep(_REFRESH_S)
            await self._say(place, text)
        self._alive.pop(place.key, None)

    async def _say(self, place: Place, text: str) -> None:
        where: dict[str, object] = {"channel_id": place.channel_id, "thread_ts": place.thread_id}
        shown = cut(stripped(text).replace("\n", " "), _TEXT_MAX)
        try:
            await self._web.call("assistant.threads.setStatus", {**where, "status": shown})
        except ChatError as error:
            _log.info("slack.status_failed", error=str(error))
        if place.direct and self._sessions:
            await self._say_session({**where, "status": "processing" if text else "active"})

    async def _say_session(self, arguments: dict[str, object]) -> None:
        try:
            await self._web.call("agents.sessions.setStatus", arguments)
        except Refused as error:
            # Workspaces and apps without agent sessions answer so every time.
            self._sessions = False
            _log.info("slack.sessions_off", code=error.code)
        except ChatError as error:
            _log.info("slack.session_status_failed", error=str(error))
