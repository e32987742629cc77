"""The HTTP door: who is heard, replays, health, and settings that do not fit."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from opsbot.adapters.slack import SlackConnection
from opsbot.adapters.slack.settings import SlackSettings, faults
from opsbot.errors import ChatError, ConfigError
from tests.slack_bot import RememberingHandler, settings_for, stage
from tests.slack_door import Door, event_body, signed


@pytest_asyncio.fixture
async def door() -> AsyncIterator[Door]:
    async with stage("http") as on:
        yield Door(on)


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


async def test_health(door: Door) -> None:
    async with door.on.bench.session.get(f"http://127.0.0.1:{door.on.bot.http_port}/healthz") as response:
        assert (response.status, await response.json()) == (200, {"ok": True})


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
