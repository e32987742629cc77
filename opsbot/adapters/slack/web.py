"""Calls to Slack's Web API: one place that translates its errors, honours Retry-After and repeats what is safe."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, TypeAlias

import aiohttp
import structlog
from slack_sdk.errors import SlackApiError, SlackClientError
from slack_sdk.web.async_client import AsyncWebClient
from tenacity import AsyncRetrying, retry_if_exception_type, stop_after_attempt, wait_exponential_jitter

from opsbot.errors import ChatError
from opsbot.ports import Clock

Answer: TypeAlias = Mapping[str, Any]

_log = structlog.get_logger()

# Nothing in a message of ours may fetch a URL or call people by itself.
INERT: Mapping[str, object] = {"unfurl_links": False, "unfurl_media": False, "parse": "none", "link_names": False}
# Streams know no `parse`: their text is Markdown, which links no names.
_UNFURLING = ("unfurl_links", "unfurl_media")

# The metadata type of every message the bot posts.
MARK = "opsbot"

# Slack asks to be called again after Retry-After; a longer wait than this is treated as an outage.
_RETRY_AFTER_MAX_S = 300.0
_ATTEMPTS = 5
# https://docs.slack.dev/apis/web-api (2026): errors that say "try again", not "you are wrong".
_PASSING_CODES = frozenset(
    {"internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org"}
)


class Refused(ChatError):
    """Slack answered and said no; `code` is its error word."""

    def __init__(self, method: str, code: str) -> None:
        super().__init__(f"Slack refused {method}: {code}.")
        self.code = code


class Unsettled(ChatError):
    """No usable answer came (connection, time-out, 5xx): the call may or may not have counted."""


class RateLimited(ChatError):
    """Slack wants to be asked later."""

    def __init__(self, method: str, retry_after_s: float) -> None:
        super().__init__(f"Slack limits {method}: again in {retry_after_s:.0f} s.")
        self.retry_after_s = retry_after_s


# What people see of these stays: a replica that was given up must not add or change any.
_LASTING = frozenset({"chat.postMessage", "chat.update", "chat.startStream"})


class Web:
    """A Web API client that waits while a method is rate limited and raises only our own errors.

    `check` is called right before anything lasting is sent, after all waiting, and may raise.
    """

    def __init__(self, client: AsyncWebClient, clock: Clock, check: Callable[[], None] = lambda: None) -> None:
        self._client = client
        self._check = check
        self.clock = clock
        self._not_before: dict[str, float] = {}

    async def call(self, method: str, arguments: Mapping[str, object], *, get: bool = False) -> Answer:
        """Call a method once, after any wait that Slack asked for.

        Raises:
            Refused, Unsettled, RateLimited, and what `check` raises.
        """
        await self._wait_for(method)
        if method in _LASTING:
            self._check()
        arguments = {**_inert(method), **arguments}
        try:
            response = await self._client.api_call(
                method, **({"http_verb": "GET", "params": _as_query(arguments)} if get else {"json": dict(arguments)})
            )
        except SlackApiError as error:
            raise self._translated(method, error) from error
        except (SlackClientError, aiohttp.ClientError, TimeoutError, OSError) as error:
            raise Unsettled(f"Slack could not be asked for {method}: {type(error).__name__}.") from error
        data = response.data
        return data if isinstance(data, dict) else {}

    async def again(self, method: str, arguments: Mapping[str, object], *, get: bool = False) -> Answer:
        """Call a method that may safely be repeated, until it is answered; rate limits do not count as attempts."""
        return await self.settled(lambda: self.call(method, arguments, get=get))

    async def settled(self, attempt: Callable[[], Awaitable[Answer]]) -> Answer:
        """Repeat `attempt` over passing faults (up to five times) and over rate limits (for as long as Slack says)."""
        retrying = AsyncRetrying(
            retry=retry_if_exception_type(Unsettled),
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_exponential_jitter(multiplier=0.5, max=8, jitter=0.5),
            sleep=self.clock.sleep,
            reraise=True,
        )
        return await retrying(self._past_limits, attempt)

    async def _past_limits(self, attempt: Callable[[], Awaitable[Answer]]) -> Answer:
        while True:
            try:
                return await attempt()
            except RateLimited as limited:
                # `call` does the waiting, for every caller of that method alike.
                _log.warning("slack.rate_limited", retry_after_s=limited.retry_after_s)

    async def _wait_for(self, method: str) -> None:
        while (pause_s := self._not_before.get(method, 0.0) - self.clock.monotonic()) > 0:
            await self.clock.sleep(pause_s)

    def _translated(self, method: str, error: SlackApiError) -> ChatError:
        status = getattr(error.response, "status_code", 200)
        if status == 429:
            return self._limited(method, error)
        answer = getattr(error.response, "data", None)
        code = str(answer.get("error", "")) if isinstance(answer, dict) else ""
        if status >= 500 or not code or code in _PASSING_CODES:
            return Unsettled(f"Slack is in trouble ({method}: HTTP {status} {code}).")
        if code == "ratelimited":
            return self._limited(method, error)
        _log.info("slack.refused", method=method, code=code)
        return Refused(method, code)

    def _limited(self, method: str, error: SlackApiError) -> RateLimited:
        retry_after_s = _retry_after_s(error.response.headers)
        self._not_before[method] = self.clock.monotonic() + retry_after_s
        return RateLimited(method, retry_after_s)


def _inert(method: str) -> Mapping[str, object]:
    """Return what keeps a message from doing anything by itself: for every call that shows text."""
    if not method.startswith("chat."):
        return {}
    return {name: INERT[name] for name in _UNFURLING} if method.endswith("Stream") else INERT


def _retry_after_s(headers: Mapping[str, str]) -> float:
    said = next((value for name, value in headers.items() if name.lower() == "retry-after"), "")
    return min(float(said), _RETRY_AFTER_MAX_S) if said.isascii() and said.isdigit() else 1.0


def _as_query(arguments: Mapping[str, object]) -> dict[str, object]:
    return {name: int(value) if isinstance(value, bool) else value for name, value in arguments.items()}


def mark(key: str) -> dict[str, object]:
    """The invisible metadata by which a message of ours is found again."""
    return {"event_type": MARK, "event_payload": {"key": key}}
