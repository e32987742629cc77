"""HTTP mode: signed requests to the app's one URL, as Slack sends them."""

import asyncio
import hashlib
import hmac
import json
import time
from urllib.parse import urlencode

import aiohttp

from opsbot.workbench.clock import Clock
from opsbot.workbench.delivery import Answer, Attempt, Parcel
from opsbot.workbench.feed import Feed
from opsbot.workbench.ids import Ids
from opsbot.workbench.limits import Limits
from opsbot.workbench.wire import Json

_VERIFY_EVERY_S = 1.0


def sign(secret: str, timestamp: str, body: bytes) -> str:
    """Return the value of `X-Slack-Signature` for exactly these bytes."""
    base = b"v0:" + timestamp.encode() + b":" + body
    return "v0=" + hmac.new(secret.encode(), base, hashlib.sha256).hexdigest()


class HttpMode:
    """The client end of Slack's Events API and interactivity; a Transport."""

    def __init__(
        self, *, events_url: str, signing_secret: str, clock: Clock, feed: Feed, ids: Ids, limits: Limits
    ) -> None:
        self._url, self._secret = events_url, signing_secret
        self._clock, self._feed, self._ids, self._limits = clock, feed, ids, limits
        self._session = aiohttp.ClientSession()
        self._is_verified = False
        self._verifying = asyncio.create_task(self._verify_until_online())

    @property
    def is_online(self) -> bool:
        """Whether the app's URL has answered the verification challenge."""
        return self._is_verified

    async def deliver(self, parcel: Parcel, attempt: Attempt) -> Answer:
        """POST once and read the acknowledgement."""
        retry = {"X-Slack-Retry-Num": str(attempt.number), "X-Slack-Retry-Reason": attempt.reason}
        content_type, body = encode(parcel)
        return await self._post(content_type, body, retry if attempt.number else {})

    async def verify(self) -> bool:
        """Ask the URL to prove itself with `url_verification`; return whether it did."""
        challenge = self._ids.next("challenge")
        request = {"type": "url_verification", "challenge": challenge, "token": "workbench"}
        answer = await self._post("application/json", json.dumps(request).encode(), {})
        proved = isinstance(answer.payload, dict) and answer.payload.get("challenge") == challenge
        if proved != self._is_verified:
            self._is_verified = proved
            self._feed.publish("bot", online=proved, connections=int(proved))
        return proved

    async def close(self) -> None:
        """End the verification and close the HTTP session."""
        self._verifying.cancel()
        await asyncio.gather(self._verifying, return_exceptions=True)
        await self._session.close()

    async def _verify_until_online(self) -> None:
        # The app starts when it starts: only asking again can tell.
        while not await self.verify():  # noqa: ASYNC110
            await asyncio.sleep(_VERIFY_EVERY_S)

    async def _post(self, content_type: str, body: bytes, extra_headers: dict[str, str]) -> Answer:
        # The app compares with its own clock, so real time signs, not the virtual one.
        timestamp = str(int(time.time()))
        headers = {
            "Content-Type": content_type,
            "X-Slack-Request-Timestamp": timestamp,
            "X-Slack-Signature": sign(self._secret, timestamp, body),
            **extra_headers,
        }
        sending = asyncio.create_task(self._exchange(body, headers))
        timer = self._clock.call_later(self._limits.ack_timeout_s, lambda: _cancel(sending))
        try:
            return await sending
        except asyncio.CancelledError:
            if sending.cancelled() and not _is_cancelling():
                return Answer("http_timeout")
            sending.cancel()
            raise
        finally:
            timer.cancel()

    async def _exchange(self, body: bytes, headers: dict[str, str]) -> Answer:
        try:
            async with self._session.post(self._url, data=body, headers=headers) as response:
                text = await response.text()
                no_retry = response.headers.get("X-Slack-No-Retry") == "1"
                if response.status != 200:
                    return Answer("http_error", wants_no_retry=no_retry)
                return Answer(payload=_decode(text))
        except aiohttp.ClientError:
            return Answer("connection_failed")


def encode(parcel: Parcel) -> tuple[str, bytes]:
    """Return content type and body: events as JSON, interactions and commands as forms."""
    if parcel.kind == "events_api":
        return "application/json", json.dumps(parcel.payload).encode()
    fields: Json = parcel.payload if parcel.kind == "slash_commands" else {"payload": json.dumps(parcel.payload)}
    return "application/x-www-form-urlencoded", urlencode(fields).encode()


def _decode(text: str) -> object:
    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError:
        return {"text": text}


def _is_cancelling() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _cancel(sending: "asyncio.Task[Answer]") -> None:
    sending.cancel()
