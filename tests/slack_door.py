"""The bot's HTTP door under test: events as Slack signs them, and where they arrive."""

import hashlib
import hmac
import json
import time
from dataclasses import dataclass

from tests.slack_bot import SECRET, RememberingHandler, Stage


@dataclass(frozen=True, slots=True)
class Door:
    """The bot's HTTP port and what came through it."""

    on: Stage

    @property
    def address(self) -> tuple[str, int]:
        return ("127.0.0.1", self.on.bot.http_port)

    @property
    def handler(self) -> RememberingHandler:
        return self.on.handler

    async def post(self, body: bytes, headers: dict[str, str]) -> int:
        url = f"http://127.0.0.1:{self.on.bot.http_port}/slack/events"
        async with self.on.bench.session.post(url, data=body, headers=headers) as response:
            await response.read()
            return response.status


def event_body(number: int = 1) -> bytes:
    event = {"type": "app_mention", "channel": "C0OPS", "user": "U0ALICE", "ts": f"1700.{number:06d}", "text": "hi"}
    body = {"type": "event_callback", "team_id": "T0WORKBENCH", "event_id": f"Ev{number}", "event": event}
    return json.dumps(body).encode()


def signed(
    body: bytes, *, at: float | None = None, secret: str = SECRET, kind: str = "application/json"
) -> dict[str, str]:
    timestamp = str(int(time.time() if at is None else at))
    digest = hmac.new(secret.encode(), b"v0:" + timestamp.encode() + b":" + body, hashlib.sha256).hexdigest()
    headers = {"X-Slack-Request-Timestamp": timestamp, "X-Slack-Signature": f"v0={digest}"}
    return {**headers, "Content-Type": kind}
