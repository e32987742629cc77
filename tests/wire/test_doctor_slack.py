"""`opsbot doctor` against the workbench: what Slack refuses is named with its remedy, and nothing is posted."""

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from aiohttp import web

from opsbot.adapters.doctor_slack import SlackDoctor, clock, connections, needed_scopes, port, scopes
from opsbot.diagnosis import Area, Finding, Status, Subject
from tests.ports import reserved_port
from tests.slack_bot import settings_for, stage
from tests.workbench_fixture import MANIFEST, RunningWorkbench, running_workbench

SLACK = Subject(Area.SLACK, "slack.com/api")
NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
TIMEOUT_S = 3.0


async def check(bench: RunningWorkbench, mode: str = "socket", **changes: object) -> dict[str, Finding]:
    settings = settings_for(bench.bench, mode, **changes)
    found = await asyncio.to_thread(lambda: list(SlackDoctor(settings, {}).check(TIMEOUT_S)))
    return {each.check: each for each in found}


def statuses(found: dict[str, Finding]) -> dict[str, str]:
    return {name: str(each.status) for name, each in found.items()}


async def test_a_workspace_that_is_well(workbench: RunningWorkbench) -> None:
    found = await check(workbench)
    assert statuses(found) == dict.fromkeys(("bot token", "scopes", "clock", "app-level token", "socket"), "ok")
    assert found["scopes"].said.startswith(f"all {len(needed_scopes())} needed ones")
    assert found["socket"].said == "Slack greets; 0 other connections open"
    called = {entry["name"] for entry in await workbench.log() if entry["kind"] == "api"}
    assert called == {"auth.test", "apps.connections.open"}


async def test_beside_a_running_bot_its_connection_is_seen_and_it_misses_nothing() -> None:
    async with stage() as on:
        found = await check(on.bench)
        assert found["socket"].said == "Slack greets; 1 other connection open"
        await on.bench.person("alice").says("D0ALICE", "still there?")
        await on.handler.until(lambda handler: handler.accepted)


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        ("invalid_auth", "Copy the Bot User OAuth Token (xoxb-)"),
        ("token_revoked", "Reinstall the app"),
        ("account_inactive", "Reinstall the app"),
        ("not_allowed_token_type", "a token of another kind"),
        ("something_new", "Reinstall the app"),
    ],
)
async def test_a_bot_token_slack_refuses(workbench: RunningWorkbench, code: str, remedy: str) -> None:
    await workbench.control("fault", kind="error", method="auth.test", error=code)
    found = await check(workbench)
    assert (found["bot token"].status, found["bot token"].said) == (Status.FAIL, f"refused: {code}")
    assert remedy in found["bot token"].remedy
    assert "scopes" not in found
    assert found["socket"].status is Status.OK


async def test_a_wrong_bot_token_is_never_shown(workbench: RunningWorkbench) -> None:
    found = await check(workbench, bot_token="xoxb-1-wrong-canary")
    assert found["bot token"].said == "refused: invalid_auth"
    assert "canary" not in repr(found)


async def test_a_missing_scope_is_named() -> None:
    manifest = json.loads(MANIFEST.read_text(encoding="utf-8"))
    manifest["oauth_config"]["scopes"]["bot"].remove("usergroups:read")
    async with running_workbench(manifest=manifest) as bench:
        found = await check(bench)
    assert (found["scopes"].status, found["scopes"].said) == (Status.FAIL, "missing: usergroups:read")
    assert found["scopes"].remedy.startswith("Add usergroups:read to the Bot Token Scopes")


async def test_an_app_token_slack_refuses(workbench: RunningWorkbench) -> None:
    found = await check(workbench, app_token="xapp-1-wrong")
    assert (found["app-level token"].status, found["bot token"].status) == (Status.FAIL, Status.OK)
    assert "App-Level Tokens" in found["app-level token"].remedy
    assert "socket" not in found


async def test_socket_mode_that_is_off() -> None:
    manifest = json.loads(MANIFEST.read_text(encoding="utf-8"))
    async with running_workbench(manifest=manifest, mode="http", events_url="http://127.0.0.1:9/x") as bench:
        found = await check(bench)
    assert (found["app-level token"].said, found["app-level token"].remedy) == (
        "refused: socket_mode_disabled",
        "Turn Socket Mode on, on the app's page of that name.",
    )


async def test_rate_limits_are_a_warning_that_says_for_how_long(workbench: RunningWorkbench) -> None:
    await workbench.control("fault", kind="ratelimited", method="apps.connections.open", count=1, retry_after=30)
    found = (await check(workbench))["app-level token"]
    assert (found.status, found.said) == (Status.WARN, "Slack limits our requests (429) for 30 s")


async def test_slack_in_trouble(workbench: RunningWorkbench) -> None:
    await workbench.control("fault", kind="server_error", method="auth.test", count=1, status=503)
    found = (await check(workbench))["bot token"]
    assert (found.status, found.said) == (Status.FAIL, "Slack answers with status 503")


async def test_slack_that_hangs_costs_the_deadline(workbench: RunningWorkbench) -> None:
    await workbench.control("fault", kind="slow", method="auth.test", seconds=60)
    started = time.monotonic()
    found = await check(workbench)
    assert time.monotonic() - started < TIMEOUT_S + 1
    assert found["bot token"].said == f"no answer within {TIMEOUT_S:g} s"


async def test_an_address_nobody_listens_at(workbench: RunningWorkbench) -> None:
    with reserved_port() as number:
        found = await check(workbench, api_url=f"http://127.0.0.1:{number}/api/")
    assert statuses(found) == {"bot token": "fail", "app-level token": "fail"}
    assert "curl -sS" in found["bot token"].remedy


async def test_settings_that_cannot_work_are_found_without_asking(workbench: RunningWorkbench) -> None:
    found = await check(workbench, bot_token="xoxp-a-persons", app_token="nothing")
    assert list(found) == ["settings"]
    assert [entry for entry in await workbench.log() if entry["kind"] == "api"] == []


# --- a Slack that answers as told ------------------------------------------------------------------------------------


@pytest.fixture
async def odd() -> AsyncIterator[tuple[str, dict[str, object]]]:
    """An address in Slack's place, and what it answers by path; a callable is the handler itself."""
    answers: dict[str, object] = {}

    async def answer(request: web.Request) -> web.StreamResponse:
        said = answers[request.path.rpartition("/")[2]]
        return await said(request) if callable(said) else web.json_response(said)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"127.0.0.1:{runner.addresses[0][1]}", answers
    await runner.cleanup()


WHO = {"ok": True, "bot_id": "B1", "user": "opsbot", "user_id": "U1", "team": "Ops", "team_id": "T1"}


async def at(workbench: RunningWorkbench, place: str) -> dict[str, Finding]:
    return await check(workbench, api_url=f"http://{place}/api/")


@pytest.mark.parametrize("how", ["silent", "closes", "refuses", "babbles"])
async def test_a_socket_that_does_not_greet(workbench: RunningWorkbench, odd: tuple[str, dict], how: str) -> None:
    place, answers = odd
    answers["auth.test"] = WHO
    answers["apps.connections.open"] = {"ok": True, "url": f"ws://{place}/link"}

    async def link(request: web.Request) -> web.StreamResponse:
        if how == "refuses":
            return web.Response(status=403)
        channel = web.WebSocketResponse()
        await channel.prepare(request)
        if how == "babbles":
            for number in range(30):
                await channel.send_str(["[]", "{", '{"type": "events_api", "envelope_id": "1"}'][number % 3])
        if how == "closes":
            await channel.close()
        async for frame in channel:
            raise AssertionError(f"the doctor acknowledged {frame}")
        return channel

    answers["link"] = link
    started = time.monotonic()
    found = (await at(workbench, place))["socket"]
    assert time.monotonic() - started < TIMEOUT_S + 1
    assert (found.status, "wss" in found.remedy) == (Status.FAIL, True)


async def test_an_address_that_is_not_slack(workbench: RunningWorkbench, odd: tuple[str, dict]) -> None:
    place, answers = odd

    async def page(request: web.Request) -> web.StreamResponse:
        return web.Response(text="<html>welcome</html>", content_type="text/html")

    async def elsewhere(request: web.Request) -> web.StreamResponse:
        raise web.HTTPFound("http://127.0.0.1:9/")

    answers |= {"auth.test": page, "apps.connections.open": elsewhere}
    found = await at(workbench, place)
    assert found["bot token"].said == "that is not Slack's API (status 200)"
    assert found["app-level token"].said == "that is not Slack's API (status 302)"


async def test_a_person_s_token(workbench: RunningWorkbench, odd: tuple[str, dict]) -> None:
    place, answers = odd
    answers |= {"auth.test": {**WHO, "bot_id": None}, "apps.connections.open": {"ok": False, "error": "x\x1b[2J"}}
    found = await at(workbench, place)
    assert found["bot token"].said == "it is a person's token, not a bot's"
    assert found["scopes"].status is Status.WARN
    assert found["app-level token"].said == "refused: x"


# --- HTTP mode, clocks, counts ---------------------------------------------------------------------------------------


async def test_http_mode_looks_at_the_port_and_the_secret() -> None:
    manifest = json.loads(MANIFEST.read_text(encoding="utf-8"))
    async with running_workbench(manifest=manifest, mode="http", events_url="http://127.0.0.1:9/x") as bench:
        with reserved_port() as number:
            pass
        found = await check(bench, "http", http_port=number)
        assert statuses(found) == dict.fromkeys(("bot token", "scopes", "clock", "signing secret", "port"), "ok")
        unset = await check(bench, "http", signing_secret="")
        assert {each.check for each in unset.values()} == {"settings"}


def test_a_port_in_use_and_one_that_cannot_be_had() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        number = listener.getsockname()[1]
        taken = port(SLACK, "127.0.0.1", number)
    assert (taken.status, f"sport = :{number}" in taken.remedy) == (Status.WARN, True)
    assert port(SLACK, "192.0.2.1", 3000).status is Status.FAIL


@pytest.mark.parametrize(
    ("ahead_s", "status", "said"),
    [
        (0, "ok", "agrees"),
        (5.9, "ok", "agrees"),
        (30, "warn", "30s ahead of Slack's"),
        (-30, "warn", "30s behind Slack's"),
        (-900, "fail", "15m 0s behind"),
    ],
)
def test_the_bot_s_clock_is_compared_with_slack_s(ahead_s: float, status: str, said: str) -> None:
    found = clock(SLACK, {"date": format_datetime(NOW, usegmt=True)}, NOW + timedelta(seconds=ahead_s))
    assert (found.status, said in found.said) == (status, True)


@pytest.mark.parametrize("headers", [{}, {"date": "yesterday"}])
def test_no_time_is_no_skew(headers: dict[str, str]) -> None:
    assert clock(SLACK, headers, NOW).status is Status.SKIPPED


def test_the_most_connections_slack_allows() -> None:
    assert connections(SLACK, {"num_connections": 10}, 0.1).status is Status.WARN
    assert connections(SLACK, {}, 0.1).said == "Slack greets"


def test_more_scopes_than_needed_are_named() -> None:
    has = ",".join([*needed_scopes(), "admin"])
    assert scopes(SLACK, {"x-oauth-scopes": has}, needed_scopes()).said.endswith("; not needed: admin")
