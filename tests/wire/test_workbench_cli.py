"""`python -m opsbot.workbench`, as a person starts it."""

import asyncio
import json
import sys
from pathlib import Path

import aiohttp

from tests.wire.workbench_apps import MANIFEST


async def test_started_alone_it_prints_what_the_bot_needs(tmp_path: Path) -> None:
    manifest = tmp_path / "manifest.json"
    manifest.write_text(json.dumps(MANIFEST), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "opsbot.workbench", "--port", "0", "--manifest", str(manifest)),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        lines = [(await asyncio.wait_for(process.stdout.readline(), 60)).decode().strip() for _ in range(4)]
        url = lines[0].removeprefix("workbench: ")
        exported = dict(line.removeprefix("export ").split("=", 1) for line in lines[1:])
        headers = {"Authorization": f"Bearer {exported['SLACK_BOT_TOKEN']}"}
        async with (
            aiohttp.ClientSession(trust_env=False) as session,
            session.post(f"{exported['SLACK_API_URL']}auth.test", headers=headers) as response,
        ):
            assert (await response.json())["user_id"] == "U0BOT"
    finally:
        process.terminate()
        await process.wait()
    assert exported["SLACK_API_URL"] == f"{url}/api/"
    assert exported["SLACK_APP_TOKEN"].startswith("xapp-")
