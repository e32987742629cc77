"""Who may talk to the workbench at all."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from aiohttp import WSServerHandshakeError

from tests.wire.workbench_apps import MANIFEST
from tests.workbench_fixture import RunningWorkbench, running_workbench


@pytest_asyncio.fixture
async def running() -> AsyncIterator[RunningWorkbench]:
    async with running_workbench(manifest=MANIFEST) as bench:
        yield bench


@pytest.mark.parametrize(
    "path", ["/", "/api/auth.test", "/_control/state", "/_control/log", "/static/index.html", "/link/", "/files/F1"]
)
@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "127.0.0.1:1"])
async def test_foreign_host_names_are_refused(running: RunningWorkbench, path: str, host: str) -> None:
    async with running.session.get(running.url + path, headers={"Host": host}) as response:
        assert response.status == 403


@pytest.mark.parametrize("name", ["127.0.0.1", "localhost"])
async def test_own_names_are_welcome_with_and_without_port(running: RunningWorkbench, name: str) -> None:
    port = running.url.rsplit(":", 1)[1]
    for host in (name, f"{name}:{port}"):
        async with running.session.get(f"{running.url}/_control/state", headers={"Host": host}) as response:
            assert response.status == 200


@pytest.mark.parametrize("origin", ["http://evil.example", "null", "http://127.0.0.1:1", "https://127.0.0.1"])
async def test_foreign_origins_are_refused(running: RunningWorkbench, origin: str) -> None:
    headers = {"Origin": origin}
    async with running.session.post(f"{running.url}/_control/reset", json={}, headers=headers) as response:
        assert response.status == 403
    with pytest.raises(WSServerHandshakeError) as refused:
        await running.session.ws_connect(f"{running.url}/_control/ws", headers=headers)
    assert refused.value.status == 403


async def test_own_origin_is_welcome(running: RunningWorkbench) -> None:
    headers = {"Origin": running.url}
    async with running.session.post(f"{running.url}/_control/reset", json={}, headers=headers) as response:
        assert response.status == 200


async def test_control_takes_json_only(running: RunningWorkbench) -> None:
    async with running.session.post(f"{running.url}/_control/reset", data={"a": "b"}) as response:
        assert (response.status, (await response.json())["ok"]) == (400, False)


async def test_page_has_a_strict_policy(running: RunningWorkbench) -> None:
    async with running.session.get(running.url) as response:
        assert response.status == 200
        assert response.headers["Content-Security-Policy"].startswith("default-src 'self';")
        assert response.headers["X-Content-Type-Options"] == "nosniff"


async def test_only_loopback_is_listened_on(running: RunningWorkbench) -> None:
    assert running.url.startswith("http://127.0.0.1:")


@pytest.mark.parametrize(
    ("operation", "body", "reason"),
    [
        ("message", {}, "missing key: user"),
        ("message", {"user": "U0NOBODY", "channel": "C0OPS"}, "no person 'U0NOBODY'"),
        ("message", {"user": "U0ALICE", "channel": "C0NONE"}, "channel_not_found"),
        ("message", {"user": "U0ALICE", "channel": "D0BOB"}, "U0ALICE is not in D0BOB"),
        ("message", {"user": "U0ALICE", "channel": "C0OPS", "text": "x", "thread_ts": "1.1"}, "no message 1.1"),
        ("fault", {"kind": "nonsense"}, "unknown fault 'nonsense'"),
        ("fault", {"kind": "slow", "count": 0}, "count must be at least 1"),
        ("clock", {"advance_s": -1}, "the clock cannot go back"),
        ("clock", {"advance_s": "soon"}, "unusable body"),
        ("group", {"id": "S0NONE", "users": []}, "no user group 'S0NONE'"),
        ("home", {"user": "U0ALICE", "tab": "about"}, "tab must be home or messages"),
        ("view_submit", {"user": "U0ALICE", "view_id": "V1"}, "U0ALICE has no open view V1"),
        ("shortcut", {"user": "U0ALICE", "callback_id": "none"}, "not declared"),
        ("verify", {}, "belongs to HTTP mode"),
    ],
)
async def test_impossible_acts_are_refused_with_the_reason(
    running: RunningWorkbench, operation: str, body: dict[str, object], reason: str
) -> None:
    async with running.session.post(f"{running.url}/_control/{operation}", json=body) as response:
        answer = await response.json()
    assert response.status == 400
    assert reason in answer["error"]


async def test_unknown_operation_names_the_known_ones(running: RunningWorkbench) -> None:
    async with running.session.post(f"{running.url}/_control/nonsense", json={}) as response:
        assert response.status == 404
        assert "view_submit" in (await response.json())["error"]
