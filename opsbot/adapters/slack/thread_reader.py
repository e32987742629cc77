"""Reads a thread that people began: its first message always, then the newest, in a bounded number of calls."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from opsbot.adapters.slack.incoming import ID, TS, matching
from opsbot.adapters.slack.web import Answer
from opsbot.adapters.slack.wording import words_of
from opsbot.domain import Place
from opsbot.errors import ChatError
from opsbot.threads import Said, Thread

# https://docs.slack.dev/reference/methods/conversations.replies (2026-11): at most 200 are recommended.
_PER_PAGE = 200
_CALLS = 5
# Slack may ask to wait; nobody waits longer for what was said before.
_PATIENCE_S = 10.0


@dataclass(slots=True)
class ThreadReader:
    """One reading. `ask` calls conversations.replies; `bot_user_id`: whose own words are left out."""

    ask: Callable[[Mapping[str, object]], Awaitable[Answer]]
    place: Place
    bot_user_id: str
    before: str
    _found: dict[str, Said | None] = field(default_factory=dict)
    _calls: int = 0
    _replies: int = 0

    async def read(self) -> Thread:
        """Read as much as the calls allow. Raises ChatError if nothing could be read."""
        failure = ""
        try:
            async with asyncio.timeout(_PATIENCE_S):
                await self._pages()
        except (ChatError, TimeoutError) as error:
            failure = str(error) or f"no answer within {_PATIENCE_S:.0f} s"
            if not self._found:
                raise ChatError(f"The thread could not be read: {failure}") from error
        said = [self._found[ts] for ts in sorted(self._found, key=Decimal)]
        missing = max(0, self._replies + 1 - len(self._found)) if self._replies else 0
        return Thread(tuple(message for message in said if message is not None), missing, failure)

    async def _pages(self) -> None:
        answer = await self._page({})
        if self._replies <= _PER_PAGE * (_CALLS - 1):
            while cursor := _cursor(answer):
                if self._calls >= _CALLS:
                    return
                answer = await self._page({"cursor": cursor})
            return
        # Too long to read from its beginning: from the end, where the messages that matter are.
        await self._newest()

    async def _newest(self) -> None:
        """Read windows before the question: about a page wide, if people wrote evenly; wider where that is few."""
        begin, end = max(map(Decimal, self._found)), Decimal(self.before)
        span = (end - begin) * _PER_PAGE * 3 // (4 * max(1, self._replies - len(self._found)))
        while self._calls < _CALLS:
            oldest = max(begin, end - span)
            known = len(self._found)
            answer = await self._page({"oldest": f"{oldest:.6f}"})
            while (cursor := _cursor(answer)) and self._calls < _CALLS:
                answer = await self._page({"oldest": f"{oldest:.6f}", "cursor": cursor})
            if oldest == begin or len(self._found) - known >= _PER_PAGE // 2:
                return
            span *= 4

    async def _page(self, more: Mapping[str, object]) -> Answer:
        self._calls += 1
        where = {"channel": self.place.channel_id, "ts": self.place.thread_id, "latest": self.before}
        answer = await self.ask({**where, "limit": _PER_PAGE, **more})
        messages = answer.get("messages")
        for message in messages if isinstance(messages, list) else []:
            self._take(message)
        return answer

    def _take(self, message: object) -> None:
        """Take a message in; what is not readable or our own counts as read and is told nobody."""
        ts = matching(TS, message.get("ts")) if isinstance(message, dict) else None
        if ts is None or not isinstance(message, dict) or Decimal(ts) >= Decimal(self.before):
            return
        replies = message.get("reply_count")
        if ts == self.place.thread_id and isinstance(replies, int) and not isinstance(replies, bool):
            # The question itself is among them, and whatever came while it was on its way.
            self._replies = max(0, min(replies - 1, 1_000_000))
        self._found[ts] = _said(message, ts, self.bot_user_id)


def _said(message: Mapping[str, Any], ts: str, bot_user_id: str) -> Said | None:
    user = matching(ID, message.get("user"))
    text = words_of(message, bot_user_id)
    if user == bot_user_id or not text:
        return None
    app = user is None or bool(message.get("bot_id"))
    return Said(user or "", text, datetime.fromtimestamp(float(ts), UTC), app)


def _cursor(answer: Answer) -> str:
    found = (answer.get("response_metadata") or {}).get("next_cursor")
    return found if isinstance(found, str) else ""
