"""The HTTP door: forged, replayed and broken requests are refused without an error of ours (T03, T04)."""

import asyncio
import hashlib
import hmac
import json
import logging
import random
import socket
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import pytest
import pytest_asyncio

from opsbot.adapters.slack import SlackConnection
from opsbot.adapters.slack.settings import SlackSettings, faults
from opsbot.errors import ChatError, ConfigError
from tests.slack_bot import SECRET, RememberingHandler, Stage, settings_for, stage

MUTATIONS = 2500


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


@pytest_asyncio.fixture
async def door() -> AsyncIterator[Door]:
    async with stage("http") as on:
        yield Door(on)


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


async def test_signed_event_is_accepted_and_its_replay_changes_nothing(door: Door) -> None:
    body = event_body()
    headers = signed(body)
    assert [await door.post(body, headers) for _ in range(5)] == [200] * 5
    assert (len(door.handler.accepted), door.handler.duplicates) == (1, 4)


async def test_failed_write_is_a_503(door: Door) -> None:
    door.handler.failures = 1
    body = event_body()
    assert await door.post(body, signed(body)) == 503
    assert await door.post(body, signed(body)) == 200
    assert len(door.handler.accepted) == 1


REFUSED: dict[str, dict[str, str]] = {
    "no headers": {"X-Slack-Request-Timestamp": "", "X-Slack-Signature": ""},
    "a word for a time": {"X-Slack-Request-Timestamp": "yesterday"},
    "a time with a sign": {"X-Slack-Request-Timestamp": "-1"},
    "arabic digits": {"X-Slack-Request-Timestamp": "١٢٣"},
    "a huge time": {"X-Slack-Request-Timestamp": "9" * 400},
    "no version": {"X-Slack-Signature": "ab" * 32},
    "not ascii": {"X-Slack-Signature": "v0=" + "é" * 64},
    "upper case": {"X-Slack-Signature": "v0=" + "AB" * 32},
    "too short": {"X-Slack-Signature": "v0=ab"},
    "wrong": {"X-Slack-Signature": "v0=" + "ab" * 32},
}


@pytest.mark.parametrize("headers", REFUSED.values(), ids=REFUSED.keys())
async def test_bad_headers_are_401(door: Door, headers: dict[str, str]) -> None:
    body = event_body()
    assert await door.post(body, signed(body) | headers) == 401
    assert door.handler.calls == 0


@pytest.mark.parametrize("age_s", [301, -302, 10**6])
async def test_old_and_future_signatures_are_401(door: Door, age_s: int) -> None:
    body = event_body()
    assert await door.post(body, signed(body, at=time.time() - age_s)) == 401


async def test_wrong_secret_and_changed_body_are_401(door: Door) -> None:
    body = event_body()
    assert await door.post(body, signed(body, secret="other")) == 401
    assert await door.post(body + b" ", signed(body)) == 401
    assert (
        await door.post(b"ssl_check=1&token=x&payload=%7B%7D", {"Content-Type": "application/x-www-form-urlencoded"})
        == 401
    )
    assert door.handler.calls == 0


FOREIGN: dict[str, dict[str, Any]] = {
    "another workspace": {"team_id": "T0OTHER"},
    "a guest from a shared channel": {"event": {"user_team": "T0OTHER"}},
    "a shared channel, origin unsaid": {"is_ext_shared_channel": True},
    "another app's bot": {"event": {"bot_id": "B0OTHER"}},
    "slackbot": {"event": {"user": "USLACKBOT"}},
    "the bot itself": {"event": {"user": "U0BOT"}},
    "nobody": {"event": {"user": None}},
}


@pytest.mark.parametrize("changes", FOREIGN.values(), ids=FOREIGN.keys())
async def test_bots_and_strangers_are_acknowledged_and_not_heard(door: Door, changes: dict[str, Any]) -> None:
    body = json.loads(event_body())
    event = body["event"] | changes.get("event", {})
    sent = json.dumps(body | changes | {"event": event}).encode()
    assert await door.post(sent, signed(sent)) == 200
    assert door.handler.calls == 0


BROKEN = {
    "not json": b"{",
    "a list": b"[]",
    "a number": b"7",
    "not utf-8": b'{"type": "\xff"}',
    "event is a list": b'{"type":"event_callback","event":[]}',
    "event is null": b'{"type":"event_callback","event":null}',
    "deep": b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "authorizations of numbers": b'{"type":"event_callback","authorizations":[1],"event":{}}',
    "team is a number": b'{"type":"event_callback","team":1,"team_id":2,"user":3,"event":{"user":{}}}',
    "empty": b"",
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN.keys())
async def test_signed_but_broken_bodies_are_never_a_500(door: Door, body: bytes) -> None:
    assert await door.post(body, signed(body)) in (200, 400, 404)
    form = b"payload=" + body
    assert await door.post(form, signed(form, kind="application/x-www-form-urlencoded")) in (200, 400, 404)
    assert door.handler.calls == 0


async def test_another_content_type_is_refused(door: Door) -> None:
    body = event_body()
    assert await door.post(body, signed(body, kind="text/plain")) == 400


async def test_huge_body_is_413(door: Door) -> None:
    body = b"x" * (1024 * 1024 + 1)
    assert await door.post(body, signed(body)) == 413


async def test_health(door: Door) -> None:
    async with door.on.bench.session.get(f"http://127.0.0.1:{door.on.bot.http_port}/healthz") as response:
        assert (response.status, await response.json()) == (200, {"ok": True})


def raw_request(body: bytes, headers: list[tuple[str, str]]) -> bytes:
    lines = ["POST /slack/events HTTP/1.1", "Host: 127.0.0.1", "Connection: close", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, *(f"{name}: {value}" for name, value in headers), "", ""]).encode("latin-1") + body


async def exchange(address: tuple[str, int], request: bytes) -> int:
    """Send bytes and return the status of the answer, 0 if none came (the server waits for the rest, or hung up)."""
    reader, writer = await asyncio.open_connection(*address)
    try:
        writer.write(request)
        answer = await asyncio.wait_for(reader.read(65536), 3)
    except (ConnectionError, TimeoutError):
        return 0
    finally:
        writer.close()
    return int(answer.split(b" ", 2)[1]) if answer.startswith(b"HTTP/") else 0


def mutated(rng: random.Random, number: int) -> bytes:
    """A signed event with something wrong: a header dropped, doubled or bent, or bits flipped anywhere signed."""
    body = event_body(number)
    headers = list(signed(body).items())
    how = rng.randrange(6)
    if how == 0:
        headers.pop(rng.randrange(2))
    elif how == 1:
        headers.append(headers[rng.randrange(2)])
    elif how == 2:
        at = rng.randrange(2)
        name, value = headers[at]
        position = rng.randrange(len(value))
        bent = rng.choice(["\x7f", "é", " ", "0x", "-", "\t", "g", ""])
        headers[at] = (name, value[:position] + bent + value[position + 1 :] + ("" if bent else "z"))
    elif how == 3:
        flipped = bytearray(body)
        flipped[rng.randrange(len(body))] ^= 1 << rng.randrange(8)
        body = bytes(flipped)
    elif how == 4:
        body = body[: rng.randrange(len(body))]
    else:
        request = bytearray(raw_request(body, headers))
        start, end = request.index(b"X-Slack-Signature"), len(request) - 1
        request[rng.randrange(start, end)] ^= 1 << rng.randrange(8)
        return bytes(request)
    return raw_request(body, headers)


async def test_thousands_of_mutated_requests_reach_nobody_and_break_nothing(
    door: Door, caplog: pytest.LogCaptureFixture
) -> None:
    rng = random.Random(20261122)
    seen: dict[int, int] = {}
    with caplog.at_level(logging.INFO):
        for number in range(MUTATIONS):
            status = await exchange(door.address, mutated(rng, number))
            seen[status] = seen.get(status, 0) + 1
    # A bit may be flipped in something unsigned (content type, letter case of a header's name) and change nothing.
    assert door.handler.calls <= seen.get(200, 0)
    assert set(seen) <= {0, 200, 400, 401}, seen
    assert seen[401] > MUTATIONS * 0.8, seen
    assert not any("app_mention" in record.getMessage() for record in caplog.records)


async def test_raw_garbage_is_no_500(door: Door) -> None:
    rng = random.Random(7)
    for _ in range(100):
        status = await exchange(
            door.address, bytes(rng.randrange(256) for _ in range(rng.randrange(1, 200))) + b"\r\n\r\n"
        )
        assert status in (0, 400)


# --- settings --------------------------------------------------------------------------------------------------------


def test_every_fault_of_the_settings_is_named_at_once() -> None:
    found = faults(SlackSettings("xoxp-1", mode="carrier-pigeon", api_url="slack.com", http_port=70_000), {})
    assert len(found) == 4
    assert all(fault.startswith("slack: ") for fault in found)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"app_token": ""}, "app-level token"),
        ({"mode": "http"}, "signing secret"),
        ({"api_url": "http://slack.example/api/"}, "unencrypted"),
    ],
)
def test_missing_secrets_are_named(changes: dict[str, Any], word: str) -> None:
    settings = SlackSettings(**{"bot_token": "xoxb-1", "app_token": "xapp-1", **changes})
    [fault] = faults(settings, {})
    assert word in fault


def test_oauth_variables_stop_the_start() -> None:
    settings = SlackSettings("xoxb-1", "xapp-1")
    [fault] = faults(settings, {"SLACK_CLIENT_ID": "1", "SLACK_CLIENT_SECRET": "2"})
    assert "unset them" in fault
    assert faults(settings, {"SLACK_CLIENT_ID": "1"}) == ()


def test_secrets_are_not_in_the_settings_repr() -> None:
    assert "secret" not in repr(SlackSettings("xoxb-secret", "xapp-secret", "secret"))


async def test_taken_port_is_a_clear_error(door: Door) -> None:

    settings = settings_for(door.on.bench.bench, "http", http_port=door.on.bot.http_port)
    second = await SlackConnection.open(settings)
    with pytest.raises(ConfigError, match="cannot listen"):
        await second.serve(RememberingHandler(), asyncio.Event())
    await second.close()


@pytest.mark.parametrize(
    ("token", "word"), [("bot_token", "bot token was refused"), ("app_token", "app token was refused")]
)
async def test_refused_tokens_are_clear_errors(token: str, word: str) -> None:

    prefix = "xoxb-" if token == "bot_token" else "xapp-"
    async with stage() as on:
        settings = settings_for(on.bench.bench, **{token: f"{prefix}nonsense"})
        with pytest.raises(ConfigError, match=word):
            await open_and_serve(settings)


async def open_and_serve(settings: SlackSettings) -> None:
    bot = await SlackConnection.open(settings)
    try:
        await bot.serve(RememberingHandler(), asyncio.Event())
    finally:
        await bot.close()


async def test_proxy_of_the_environment_is_not_used_for_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    async with stage() as on:
        await on.bench.person("alice").says("D0ALICE", "hello")
        await on.handler.until(lambda h: h.accepted)


async def test_unreachable_slack_is_a_clear_error() -> None:

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{probe.getsockname()[1]}/api/"
    with pytest.raises(ChatError, match="cannot be reached"):
        await SlackConnection.open(SlackSettings("xoxb-1", "xapp-1", api_url=url))
