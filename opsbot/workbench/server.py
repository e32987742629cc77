"""The workbench as one aiohttp server on 127.0.0.1: Web API, Socket Mode, response URLs, files, control, page."""

import json
from pathlib import Path
from typing import Literal

from aiohttp import web

from opsbot.workbench.answers import Answers
from opsbot.workbench.control import Control
from opsbot.workbench.delivery import Courier
from opsbot.workbench.events import Events
from opsbot.workbench.guard import guard
from opsbot.workbench.http_mode import HttpMode
from opsbot.workbench.limits import Limits
from opsbot.workbench.manifest import read_manifest
from opsbot.workbench.people import People
from opsbot.workbench.posting import Posting
from opsbot.workbench.socket_mode import SocketMode
from opsbot.workbench.web_api.call import Desk
from opsbot.workbench.web_api.server import WebApi
from opsbot.workbench.wire import Json, SlackError
from opsbot.workbench.workspace import Tokens, Workspace
from opsbot.workbench.world import World

_STATIC = Path(__file__).with_name("static")
_MAX_BODY_BYTES = 64 * 1024 * 1024
_HOST = "127.0.0.1"


class Workbench:
    """A local Slack. `await start()` returns its URL; point the app's base URL at `api_url`.

    `manifest` is the parsed manifest.json; None allows every event, command, shortcut and scope. In mode "http"
    events go to `events_url`, signed with `signing_secret`.
    """

    def __init__(  # noqa: PLR0913 - independent settings, all with defaults
        self,
        manifest: Json | None = None,
        port: int = 0,
        mode: Literal["socket", "http"] = "socket",
        events_url: str = "",
        signing_secret: str = "",
        *,
        world: World | None = None,
        limits: Limits | None = None,
        strict_scopes: bool = True,
    ) -> None:
        if mode == "http" and not events_url:
            raise ValueError("mode http needs events_url, for example http://127.0.0.1:3000/slack/events")
        declared = read_manifest(manifest)
        tokens = Tokens(signing_secret=signing_secret) if signing_secret else Tokens()
        world = world or World().named(declared.name)
        self.workspace = Workspace(world=world, manifest=declared, limits=limits or Limits(), tokens=tokens)
        self._port, self._mode, self.events_url = port, mode, events_url
        self._strict_scopes = strict_scopes
        self._runner: web.AppRunner | None = None
        self._courier: Courier | None = None
        self._transport: SocketMode | HttpMode | None = None

    @property
    def url(self) -> str:
        """The page's address; empty before the start."""
        return self.workspace.base_url

    @property
    def api_url(self) -> str:
        """What the app takes as Slack's API address."""
        return f"{self.workspace.base_url}/api/"

    @property
    def bot_token(self) -> str:
        """The `xoxb-` token."""
        return self.workspace.tokens.bot

    @property
    def app_token(self) -> str:
        """The `xapp-` token for Socket Mode."""
        return self.workspace.tokens.app

    @property
    def signing_secret(self) -> str:
        """What HTTP requests to the app are signed with."""
        return self.workspace.tokens.signing_secret

    @property
    def bot_user_id(self) -> str:
        """The bot's user id, as in a mention."""
        return self.workspace.world.bot_user.id

    @property
    def environment(self) -> dict[str, str]:
        """The variables to start the app with."""
        variables = {"SLACK_API_URL": self.api_url, "SLACK_BOT_TOKEN": self.bot_token}
        if self._mode == "socket":
            return {**variables, "SLACK_APP_TOKEN": self.app_token}
        return {**variables, "SLACK_SIGNING_SECRET": self.signing_secret}

    async def start(self) -> str:
        """Listen on 127.0.0.1 and return the URL. Raises OSError when the port is taken."""
        workspace = self.workspace
        self._transport = self._make_transport()
        self._courier = Courier(
            transport=self._transport,
            clock=workspace.clock,
            feed=workspace.feed,
            faults=workspace.faults,
            limits=workspace.limits,
        )
        app = self._application(self._transport, self._courier)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
        await self._runner.setup()
        site = web.TCPSite(self._runner, _HOST, self._port)
        await site.start()
        port = self._runner.addresses[0][1]
        workspace.base_url = f"http://{_HOST}:{port}"
        return workspace.base_url

    async def stop(self) -> None:
        """Close every connection and end every timer."""
        self.workspace.clock.stop()
        if self._courier is not None:
            await self._courier.stop()
        if self._transport is not None:
            await self._transport.close()
        if self._runner is not None:
            await self._runner.cleanup()

    def _make_transport(self) -> SocketMode | HttpMode:
        workspace = self.workspace
        clock, feed, limits = workspace.clock, workspace.feed, workspace.limits
        if self._mode == "socket":
            app_id = workspace.world.app_id
            return SocketMode(app_id=app_id, clock=clock, feed=feed, faults=workspace.faults, limits=limits)
        secret = workspace.tokens.signing_secret
        return HttpMode(
            events_url=self.events_url,
            signing_secret=secret,
            clock=clock,
            feed=feed,
            ids=workspace.ids,
            limits=limits,
        )

    def _application(self, transport: SocketMode | HttpMode, courier: Courier) -> web.Application:
        workspace = self.workspace
        events = Events(workspace, courier)
        posting = Posting(workspace, events)
        desk = Desk(workspace, posting, events)
        answers = Answers(workspace, posting)
        sockets = transport if isinstance(transport, SocketMode) else None
        api = WebApi(desk, sockets, strict_scopes=self._strict_scopes)
        control = Control(desk, People(desk, courier, answers), transport)
        app = web.Application(middlewares=[guard], client_max_size=_MAX_BODY_BYTES)
        app.router.add_route("*", "/api/{method}", api.serve)
        if sockets is not None:
            app.router.add_get("/link/", sockets.serve)
        doors = Doors(workspace, answers)
        app.router.add_post("/response/{id}", doors.respond)
        app.router.add_route("*", "/upload/{id}", doors.upload)
        app.router.add_get("/files/{id}", doors.download)
        app.router.add_get("/_control/state", control.state)
        app.router.add_get("/_control/log", control.log)
        app.router.add_get("/_control/ws", control.watch)
        app.router.add_post("/_control/{operation}", control.operate)
        app.router.add_get("/", _page)
        app.router.add_get("/archives/{path:.*}", _page)
        app.router.add_static("/static/", _STATIC)
        return app


class Doors:
    """Where apps post and fetch outside the Web API: response URLs, uploads, downloads."""

    def __init__(self, workspace: Workspace, answers: Answers) -> None:
        self._workspace, self._answers = workspace, answers

    async def respond(self, request: web.Request) -> web.Response:
        """Take a POST to a response URL: 200 `ok`, else 4xx with Slack's error code."""
        body = await request.read()
        status, outcome = 200, "ok"
        try:
            answer = json.loads(body)
            fault = self._workspace.faults.take("response_url_error")
            if fault is not None:
                return web.Response(status=int(fault.options.get("status", 500)), text="injected error")
            self._answers.respond(self._workspace.response_urls.use(request.match_info["id"]), answer)
        except SlackError as error:
            status, outcome = 404 if error.code.endswith("_url") else 400, error.code
            answer = {**error.details, "given": body.decode("utf-8", "replace")}
        except ValueError:
            status, outcome, answer = 400, "invalid_payload", {}
        self._workspace.feed.record(
            direction="in", kind="response_url", name=request.match_info["id"], summary=outcome, body=answer
        )
        if status == 200:
            return web.Response(text="ok")
        return web.json_response({"ok": False, "error": outcome, **answer}, status=status)

    async def upload(self, request: web.Request) -> web.Response:
        """Take the announced bytes of an upload, once, raw or as multipart."""
        fault = self._workspace.faults.take("upload_error")
        if fault is not None:
            return web.Response(status=int(fault.options.get("status", 500)), text="injected error")
        try:
            file = self._workspace.files.get(request.match_info["id"])
        except SlackError:
            return web.Response(status=404, text="unknown upload")
        if file.is_uploaded or not file.announced_bytes:
            return web.Response(status=410, text="this upload is over")
        content = await _uploaded_bytes(request)
        if len(content) != file.announced_bytes:
            return web.Response(status=400, text=f"{file.announced_bytes} bytes were announced, not {len(content)}")
        file.content, file.is_uploaded = content, True
        return web.Response(text=f"OK - {len(content)}")

    async def download(self, request: web.Request) -> web.Response:
        """Give the bytes of a file to the app, with its token, or to the page, which shares our origin."""
        is_app = request.headers.get("Authorization") == f"Bearer {self._workspace.tokens.bot}"
        is_page = request.headers.get("Sec-Fetch-Site") == "same-origin"
        if not is_app and not is_page:
            return web.Response(status=403, text="the bot token is required")
        if is_app and (refusal := self._download_refused()):
            return refusal
        try:
            file = self._workspace.files.get(request.match_info["id"])
        except SlackError:
            return web.Response(status=404, text="no such file")
        disposition = "attachment" if not file.mimetype.startswith("image/") else "inline"
        headers = {"Content-Disposition": disposition, "Content-Security-Policy": "default-src 'none'; sandbox"}
        return web.Response(body=file.content, content_type=file.mimetype.split(";")[0], headers=headers)

    def _download_refused(self) -> web.Response | None:
        """Return what the app gets instead of a file: an injected fault, or without the scope Slack's log-in page."""
        if (fault := self._workspace.faults.take("download_error")) is not None:
            location = str(fault.options.get("location", ""))
            status = int(fault.options.get("status", 302 if location else 500))
            return web.Response(
                status=status, text="injected error", headers={"Location": location} if location else {}
            )
        scopes = self._workspace.manifest.scopes
        if scopes is not None and "files:read" not in scopes:
            return web.Response(text="<!DOCTYPE html><title>Sign in</title>", content_type="text/html")
        return None


async def _uploaded_bytes(request: web.Request) -> bytes:
    if request.content_type != "multipart/form-data":
        return await request.read()
    form = await request.post()
    return b"".join(part.file.read() for part in form.values() if isinstance(part, web.FileField))


async def _page(request: web.Request) -> web.StreamResponse:
    return web.FileResponse(_STATIC / "index.html")
