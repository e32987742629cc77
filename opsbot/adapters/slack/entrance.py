"""The doors Slack comes in by: HTTP with our own checks before Bolt's, and Socket Mode; malformed input stops here."""

import hashlib
import hmac
import re
import time
from collections.abc import Mapping
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from slack_bolt.adapter.aiohttp import to_aiohttp_response
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.adapter.socket_mode.async_internals import send_async_response
from slack_bolt.adapter.socket_mode.internals import build_headers
from slack_bolt.async_app import AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest
from slack_sdk.socket_mode.response import SocketModeResponse

_log = structlog.get_logger()

EVENTS_PATH = "/slack/events"
HEALTH_PATH = "/healthz"
# Slack's largest documented payload is a view of 250 kB.
BODY_MAX_BYTES = 1024 * 1024
# https://docs.slack.dev/authentication/verifying-requests-from-slack (2026): five minutes either way.
_CLOCK_SKEW_MAX_S = 300

_TIMESTAMP = re.compile(r"[0-9]{1,11}", re.ASCII)
_SIGNATURE = re.compile(r"v0=[0-9a-f]{64}", re.ASCII)
_CONTENT_TYPES = frozenset({"application/json", "application/x-www-form-urlencoded"})
# What parsing hostile bodies was seen to raise in Bolt and in json.
_MALFORMED = (ValueError, TypeError, AttributeError, KeyError, IndexError, RecursionError)


class HttpEntrance:
    """The HTTP server's routes: events and a health check."""

    def __init__(self, app: AsyncApp, signing_secret: str) -> None:
        self._app = app
        self._secret = signing_secret.encode()

    def application(self) -> web.Application:
        """Build the aiohttp application."""
        application = web.Application(client_max_size=BODY_MAX_BYTES)
        application.add_routes([web.post(EVENTS_PATH, self._events), web.get(HEALTH_PATH, _health)])
        return application

    async def _events(self, request: web.Request) -> web.Response:
        try:
            body = await request.read()
        except (HttpProcessingError, ConnectionError, ValueError):
            return _refusal(400, "unreadable body")
        if not self._is_signed(request, body):
            return _refusal(401, "invalid request")
        bolt_request = _http_request(request, body)
        if bolt_request is None:
            return _refusal(400, "malformed body")
        return await to_aiohttp_response(await self._app.async_dispatch(bolt_request))

    def _is_signed(self, request: web.Request, body: bytes) -> bool:
        """Check what Slack's verifier takes for granted (types, one value each, ASCII), then the signature itself."""
        timestamps = request.headers.getall("X-Slack-Request-Timestamp", [])
        signatures = request.headers.getall("X-Slack-Signature", [])
        if len(timestamps) != 1 or len(signatures) != 1:
            return False
        timestamp, signature = timestamps[0], signatures[0]
        if not _TIMESTAMP.fullmatch(timestamp) or not _SIGNATURE.fullmatch(signature):
            return False
        if abs(time.time() - int(timestamp)) > _CLOCK_SKEW_MAX_S:
            return False
        expected = hmac.new(self._secret, b"v0:" + timestamp.encode() + b":" + body, hashlib.sha256).hexdigest()
        return hmac.compare_digest(f"v0={expected}", signature)


class SocketEntrance(AsyncSocketModeHandler):
    """Bolt's Socket Mode handler; a payload Bolt cannot even parse is acknowledged and dropped, not repeated."""

    async def handle(self, client: AsyncBaseSocketModeClient, req: SocketModeRequest) -> None:
        """Dispatch one envelope and send the ack that the outcome deserves."""
        bolt_request = _bolt_request(req.payload, build_headers(req), mode="socket_mode")
        if bolt_request is None:
            _log.warning("slack.malformed_envelope", kind=str(req.type)[:40])
            await client.send_socket_mode_response(SocketModeResponse(envelope_id=req.envelope_id))
            return
        started = time.time()
        await send_async_response(client, req, await self.app.async_dispatch(bolt_request), started)


async def reconnect_freshly(client: SocketModeClient) -> None:
    """Make a stuck reconnection ask for a new address.

    The SDK (3.47) repeats a failed connection with the same address for ever, but Slack's addresses are good for
    one connection and half a minute.
    """
    if not client.closed and not await client.is_connected():
        client.wss_uri = None


def _http_request(request: web.Request, body: bytes) -> AsyncBoltRequest | None:
    if request.content_type not in _CONTENT_TYPES:
        return None
    # Only the headers Bolt needs: others of its own would change how it runs.
    wanted = ("Content-Type", "X-Slack-Signature", "X-Slack-Request-Timestamp", "X-Slack-Retry-Num")
    headers = {name: request.headers[name] for name in wanted if name in request.headers}
    try:
        return _bolt_request(body.decode(), headers, mode="http")
    except UnicodeDecodeError:
        return None


def _bolt_request(body: Any, headers: Mapping[str, Any] | None, *, mode: str) -> AsyncBoltRequest | None:
    try:
        request = AsyncBoltRequest(body=body, headers=dict(headers or {}), mode=mode)
    except _MALFORMED:
        return None
    # Bolt's own middleware reads these two without looking.
    whole = isinstance(request.body, dict) and isinstance(request.body.get("event", {}), dict)
    return request if whole else None


async def _health(_: web.Request) -> web.Response:
    return web.json_response({"ok": True})


def _refusal(status: int, error: str) -> web.Response:
    return web.json_response({"error": error}, status=status)
