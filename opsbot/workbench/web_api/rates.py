"""Slack's standing rate limits, enforced while the faults `channel_rate` or `tiers` are on."""

import math
from collections import defaultdict, deque
from collections.abc import Mapping

from aiohttp import web

from opsbot.workbench.clock import Clock
from opsbot.workbench.faults import Faults
from opsbot.workbench.wire import Json

_POSTS = frozenset({"chat.postMessage", "chat.postEphemeral", "chat.startStream"})
# Calls per minute. Slack's method pages, 2026-11; usergroups.*, streams and sessions from third-party tables.
_PER_MINUTE: Mapping[str, int] = {
    "chat.update": 50,
    "chat.delete": 50,
    "chat.startStream": 20,
    "chat.appendStream": 100,
    "chat.stopStream": 20,
    "views.open": 100,
    "views.push": 100,
    "views.update": 100,
    "views.publish": 100,
    "usergroups.list": 20,
    "usergroups.users.list": 20,
    "conversations.history": 50,
    "conversations.replies": 50,
    "conversations.list": 20,
    "users.list": 20,
    "users.info": 100,
    "reactions.add": 50,
    "agents.sessions.setStatus": 50,
    "agents.sessions.rename": 50,
}


class Rates:
    """Counts calls on the virtual clock."""

    def __init__(self, clock: Clock, faults: Faults) -> None:
        self._clock, self._faults = clock, faults
        self._calls: defaultdict[str, deque[float]] = defaultdict(deque)

    def refuse(self, method: str, arguments: Json) -> web.Response | None:
        """Return a 429 answer when the call comes too early, else None (and count it)."""
        if method in _POSTS and self._faults.peek("channel_rate", method):
            wait_s = self._wait_s(f"channel {arguments.get('channel')}", allowed=1, window_s=1.0)
            if wait_s:
                return rate_limited(wait_s)
        if method in _PER_MINUTE and self._faults.peek("tiers", method):
            wait_s = self._wait_s(method, allowed=_PER_MINUTE[method], window_s=60.0)
            if wait_s:
                return rate_limited(wait_s)
        return None

    def _wait_s(self, bucket: str, *, allowed: int, window_s: float) -> float:
        now = self._clock.now()
        calls = self._calls[bucket]
        while calls and calls[0] <= now - window_s:
            calls.popleft()
        if len(calls) >= allowed:
            return calls[0] + window_s - now
        calls.append(now)
        return 0.0


def rate_limited(wait_s: float) -> web.Response:
    """Return Slack's answer to a client that calls too often."""
    headers = {"Retry-After": str(max(1, math.ceil(wait_s)))}
    return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers=headers)
