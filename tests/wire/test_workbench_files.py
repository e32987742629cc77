"""Uploads to the workbench: three steps in order, sizes and texts checked, shared in one message or not at all."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from slack_sdk.errors import SlackApiError

from tests.wire.workbench_apps import MANIFEST, client_of
from tests.workbench_fixture import RunningWorkbench, running_workbench

OPS = "C0OPS"


@pytest_asyncio.fixture
async def running() -> AsyncIterator[RunningWorkbench]:
    async with running_workbench(manifest=MANIFEST) as bench:
        yield bench


async def began(running: RunningWorkbench, length: int = 3, **more: Any) -> dict[str, Any]:
    answer = await client_of(running).files_getUploadURLExternal(filename="chart.png", length=length, **more)
    return {"url": answer["upload_url"], "id": answer["file_id"]}


async def put(running: RunningWorkbench, url: str, content: bytes) -> int:
    async with running.session.post(url, data=content) as response:
        return response.status


async def test_pictures_shared_together_are_one_message_in_the_thread(running: RunningWorkbench) -> None:
    client = client_of(running)
    root = (await running.person("alice").says(OPS, "since when?"))["ts"]
    steps = [await began(running, alt_txt=f"picture {n}") for n in range(2)]
    for step in steps:
        assert await put(running, step["url"], b"abc") == 200
    files = [{"id": step["id"], "title": f"t{n}"} for n, step in enumerate(steps)]
    await client.files_completeUploadExternal(files=files, channel_id=OPS, thread_ts=root)
    shared = await running.wait_for(lambda m: m.get("files"))
    assert (shared["thread_ts"], [f["title"] for f in shared["files"]]) == (root, ["t0", "t1"])
    assert [f["alt_txt"] for f in shared["files"]] == ["picture 0", "picture 1"]
    assert shared["files"][0]["mimetype"] == "image/png"


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        ({"filename": "x.png", "length": 2_000_000_000}, "file_upload_size_restricted"),
        ({"filename": "x.png", "length": 3, "alt_txt": "x" * 1001}, "alt_txt_too_large"),
        ({"filename": "", "length": 3}, "invalid_arguments"),
        ({"filename": "x.png", "length": "many"}, "invalid_arguments"),
    ],
)
async def test_what_is_announced_is_checked(running: RunningWorkbench, arguments: dict[str, Any], code: str) -> None:
    with pytest.raises(SlackApiError, match=code):
        await client_of(running).api_call("files.getUploadURLExternal", params=arguments)


async def test_an_upload_url_takes_the_announced_bytes_once(running: RunningWorkbench) -> None:
    step = await began(running)
    assert await put(running, step["url"], b"abcd") == 400
    assert await put(running, step["url"], b"abc") == 200
    assert await put(running, step["url"], b"xyz") == 410


async def test_nobody_writes_over_a_persons_file(running: RunningWorkbench) -> None:
    await running.person("alice").says(OPS, "look", files=[{"name": "a.png", "content_base64": "iVBORw0KGgo="}])
    shared = await running.wait_for(lambda m: m.get("files"))
    assert await put(running, f"{running.url}/upload/{shared['files'][0]['id']}", b"abc") == 410


@pytest.mark.parametrize(
    ("where", "code"),
    [
        ({"channel_id": "C0RANDOM"}, "not_in_channel"),
        ({"channel_id": "C0NONE"}, "channel_not_found"),
        ({"channel_id": OPS, "thread_ts": "1.2"}, "thread_not_found"),
    ],
)
async def test_a_share_that_is_refused_changes_nothing(
    running: RunningWorkbench, where: dict[str, str], code: str
) -> None:
    client, step = client_of(running), await began(running)
    files = [{"id": step["id"], "title": "t"}]
    with pytest.raises(SlackApiError, match="file_not_found"):
        await client.files_completeUploadExternal(files=files, channel_id=OPS)
    await put(running, step["url"], b"abc")
    with pytest.raises(SlackApiError, match=code):
        await client.files_completeUploadExternal(files=files, **where)
    found = (await client.files_info(file=step["id"]))["file"]
    assert (found["channels"], found["title"]) == ([], "chart.png")
    await client.files_completeUploadExternal(files=files, channel_id=OPS)
    assert (await client.files_info(file=step["id"]))["file"]["channels"] == [OPS]


async def test_files_need_their_scope_and_a_token(running: RunningWorkbench) -> None:
    poor = {**MANIFEST, "oauth_config": {"scopes": {"bot": ["chat:write"]}}}
    async with running_workbench(manifest=poor) as bench:
        for method in ("files.getUploadURLExternal", "files.completeUploadExternal"):
            with pytest.raises(SlackApiError) as caught:
                await client_of(bench).api_call(method, params={"filename": "a", "length": 1})
            assert (caught.value.response["error"], caught.value.response["needed"]) == ("missing_scope", "files:write")
    client = client_of(running)
    client.token = "xoxb-wrong"
    with pytest.raises(SlackApiError, match="invalid_auth"):
        await client.files_getUploadURLExternal(filename="a", length=1)


async def test_a_fault_refuses_the_bytes(running: RunningWorkbench) -> None:
    step = await began(running)
    await running.control("fault", kind="upload_error", status=503)
    assert await put(running, step["url"], b"abc") == 503
    assert await put(running, step["url"], b"abc") == 200


async def test_a_file_is_served_as_what_it_claims_to_be_and_runs_nothing(running: RunningWorkbench) -> None:
    step = await began(running, length=26)
    await put(running, step["url"], b"<script>alert(1)</script>\n")
    url = f"{running.url}/files/{step['id']}"
    async with running.session.get(url, headers={"Sec-Fetch-Site": "same-origin"}) as response:
        assert response.headers["Content-Type"] == "image/png"
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "sandbox" in response.headers["Content-Security-Policy"]
