"""A workbench with a scripted state: the real page's files over HTTP, the tests decide what the page is told."""

import asyncio
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from aiohttp import WSMsgType, web

import opsbot.workbench

Json = dict[str, Any]
Result = TypeVar("Result")
STATIC = Path(opsbot.workbench.__file__).with_name("static")
# The same policy the real server sends.
POLICY = "default-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'"


class Background:
    """An event loop in its own thread, so that servers live while a test drives the browser."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run a coroutine there and return its result."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(timeout=60)

    def close(self) -> None:
        """End the loop and its thread."""
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(timeout=10)
        self.loop.close()


def user(user_id: str, name: str, real_name: str, *, is_bot: bool = False) -> Json:
    """One entry of `users`."""
    return {"id": user_id, "name": name, "real_name": real_name, "is_bot": is_bot}


def workspace(**changes: Any) -> Json:
    """A small workspace: two people, the bot, one channel, direct messages."""
    people = [user("U0ALICE", "alice", "Alice Anders"), user("U0BOB", "bob", "Bob Brandt")]
    direct = [
        {"id": f"D{p['id'][1:]}", "name": "", "is_im": True, "user": p["id"], "members": [p["id"], "U0BOT"]}
        for p in people
    ]
    channel = {"id": "C0OPS", "name": "ops", "is_im": False, "members": ["U0ALICE", "U0BOB", "U0BOT"]}
    state: Json = {
        "team": {"id": "T0", "name": "Workbench", "domain": "workbench"},
        "bot": {"id": "U0BOT", "name": "opsbot", "online": True},
        "users": [*people, user("U0BOT", "opsbot", "opsbot", is_bot=True)],
        "groups": [{"id": "S0SRE", "handle": "sre", "name": "Site reliability", "users": ["U0BOB"]}],
        "channels": [channel, *direct],
        "messages": {},
        "statuses": [],
        "sessions": [],
        "views": {},
        "homes": {},
        "commands": [{"command": "/ops", "description": "Look and propose", "usage_hint": "status HOST | help"}],
        "shortcuts": [],
        "prompts": [],
        "suggested_prompts": [],
        "version": 1,
    }
    return state | changes


def said(ts: str, text: str, user_id: str = "U0ALICE", **more: Any) -> Json:
    """A person's message."""
    return {"type": "message", "ts": ts, "user": user_id, "text": text, "streaming": False, **more}


def posted(ts: str, *, text: str = "", blocks: list[Json] | None = None, **more: Any) -> Json:
    """The bot's message."""
    message = {"type": "message", "ts": ts, "user": "U0BOT", "bot_id": "B0", "text": text, "streaming": False, **more}
    return message | ({"blocks": blocks} if blocks is not None else {})


class ScriptedWorkbench:
    """Serves the page, sends it what the test says, and keeps every control call in `calls`."""

    def __init__(self, background: Background, *, port: int = 0) -> None:
        self._background = background
        self._port = port
        self._sockets: set[web.WebSocketResponse] = set()
        self.state = workspace()
        self.log: list[Json] = []
        self.calls: list[tuple[str, Json]] = []
        self.answers: dict[str, Json] = {}
        self.url = background.run(self._start())

    def show(self, **changes: Any) -> None:
        """Replace the workspace by the small one with these changes, and forget the calls."""
        self.calls.clear()
        self.answers.clear()
        self.state = workspace(**changes)
        self.push({"type": "state", "state": self.state})

    def push(self, frame: Json) -> None:
        """Send one frame to every open page."""
        self._background.run(self._push(frame))

    def called(self, operation: str) -> list[Json]:
        """The bodies of all calls of one operation."""
        return [body for name, body in self.calls if name == operation]

    def stop(self) -> None:
        """Close the server and every page's connection."""
        self._background.run(self._runner.cleanup())

    async def _start(self) -> str:
        app = web.Application(middlewares=[_policed])
        app.router.add_get("/", self._index)
        app.router.add_get("/_control/ws", self._watch)
        app.router.add_get("/_control/log", self._log)
        app.router.add_post("/_control/{operation}", self._operate)
        app.router.add_static("/static/", STATIC)
        self._runner = web.AppRunner(app, shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", self._port).start()
        self._port = self._runner.addresses[0][1]
        return f"http://127.0.0.1:{self._port}"

    @property
    def port(self) -> int:
        """The TCP port, to come back at the same address."""
        return self._port

    async def _index(self, request: web.Request) -> web.StreamResponse:
        return web.FileResponse(STATIC / "index.html")

    async def _log(self, request: web.Request) -> web.Response:
        return web.json_response({"log": self.log})

    async def _operate(self, request: web.Request) -> web.Response:
        operation = request.match_info["operation"]
        self.calls.append((operation, await request.json()))
        return web.json_response({"ok": True, **self.answers.get(operation, {})})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._sockets.add(socket)
        await socket.send_json({"type": "state", "state": self.state})
        async for frame in socket:
            if frame.type == WSMsgType.ERROR:
                break
        self._sockets.discard(socket)
        return socket

    async def _push(self, frame: Json) -> None:
        for socket in list(self._sockets):
            await socket.send_json(frame)


@web.middleware
async def _policed(request: web.Request, handler: Any) -> web.StreamResponse:
    response: web.StreamResponse = await handler(request)
    if not response.prepared:
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Cache-Control"] = "no-store"
    return response
