"""The route `/api/{method}`: decode, authenticate, misbehave when asked to, call, answer as Slack does."""

import asyncio
import time

from aiohttp import web

from opsbot.workbench.socket_mode import SocketMode
from opsbot.workbench.web_api.call import Call, Desk, read_arguments
from opsbot.workbench.web_api.methods import METHODS, needed_scopes
from opsbot.workbench.web_api.rates import Rates, rate_limited
from opsbot.workbench.wire import Json, SlackError

_WITHOUT_TOKEN = frozenset({"blocks.validate"})
_OPEN_SOCKET = "apps.connections.open"


class WebApi:
    """Answers Web API calls. `socket_mode` is None when the app is reached over HTTP."""

    def __init__(self, desk: Desk, socket_mode: SocketMode | None, *, strict_scopes: bool) -> None:
        self._desk, self._socket_mode, self._strict_scopes = desk, socket_mode, strict_scopes
        self._rates = Rates(desk.workspace.clock, desk.workspace.faults)

    async def serve(self, request: web.Request) -> web.Response:
        """Answer one call: HTTP 200 with ok true or false, except rate limits and injected server errors."""
        method = request.match_info["method"]
        started = time.perf_counter()
        arguments: Json = {}
        try:
            arguments = await read_arguments(request)
            refused = await self._misbehave(method) or self._rates.refuse(method, arguments)
            if refused is not None:
                self._log(method, arguments, {"status": refused.status}, started)
                return refused
            token = _token(request, arguments)
            answer: Json = {"ok": True, **self._call(method, arguments, token)}
        except SlackError as error:
            answer = {"ok": False, "error": error.code, **error.details}
        self._log(method, arguments, answer, started)
        return web.json_response(answer, headers=self._headers())

    def _call(self, method: str, arguments: Json, token: str) -> Json:
        if method != _OPEN_SOCKET and method not in METHODS:
            raise SlackError("unknown_method", req_method=method)
        if method not in _WITHOUT_TOKEN:
            self._authenticate(method, token)
        if method == _OPEN_SOCKET:
            return self._open_socket()
        fault = self._desk.workspace.faults.take("error", method)
        if fault is not None:
            raise SlackError(str(fault.options.get("error", "internal_error")), **fault.options.get("details", {}))
        call = Call(self._desk, method, arguments)
        self._require_scope(call)
        return METHODS[method](call)

    def _authenticate(self, method: str, token: str) -> None:
        tokens = self._desk.workspace.tokens
        if not token:
            raise SlackError("not_authed")
        if token not in (tokens.bot, tokens.app):
            raise SlackError("invalid_auth")
        if self._desk.workspace.faults.take("revoked_token", method):
            raise SlackError("token_revoked")
        wanted = tokens.app if method == _OPEN_SOCKET else tokens.bot
        if token != wanted:
            raise SlackError("not_allowed_token_type")

    def _open_socket(self) -> Json:
        if self._socket_mode is None:
            raise SlackError("socket_mode_disabled")
        workspace = self._desk.workspace
        ticket = self._socket_mode.issue_ticket()
        base = workspace.base_url.replace("http://", "ws://", 1)
        return {"url": f"{base}/link/?ticket={ticket}&app_id={workspace.world.app_id}"}

    def _require_scope(self, call: Call) -> None:
        declared = self._desk.workspace.manifest.scopes
        if declared is None or not self._strict_scopes:
            return
        needed = needed_scopes(call)
        if needed and not declared.intersection(needed):
            raise SlackError("missing_scope", needed=needed[0], provided=",".join(sorted(declared)))

    async def _misbehave(self, method: str) -> web.Response | None:
        faults = self._desk.workspace.faults
        slow = faults.take("slow", method)
        if slow is not None:
            await asyncio.sleep(float(slow.options.get("seconds", 1.0)))
        limited = faults.take("ratelimited", method)
        if limited is not None:
            return rate_limited(float(limited.options.get("retry_after", 1)))
        broken = faults.take("server_error", method)
        if broken is not None:
            return web.Response(status=int(broken.options.get("status", 500)), text="injected server error")
        return None

    def _headers(self) -> dict[str, str]:
        scopes = self._desk.workspace.manifest.scopes
        return {"x-oauth-scopes": ",".join(sorted(scopes or {"chat:write"}))}

    def _log(self, method: str, arguments: Json, answer: Json, started: float) -> None:
        body = {key: value for key, value in arguments.items() if key != "token"}
        elapsed_ms = round((time.perf_counter() - started) * 1000, 1)
        summary = "ok" if answer.get("ok") else str(answer.get("error", answer.get("status")))
        self._desk.workspace.feed.record(
            direction="in", kind="api", name=method, summary=summary, body=body, response=answer, ms=elapsed_ms
        )


def _token(request: web.Request, arguments: Json) -> str:
    header = request.headers.get("Authorization", "")
    return header.removeprefix("Bearer ").strip() if header.startswith("Bearer ") else str(arguments.get("token", ""))
