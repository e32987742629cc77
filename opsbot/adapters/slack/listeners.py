"""Bolt's side of opsbot: one middleware that writes each event to the inbox and only then lets Bolt acknowledge.

It answers every request itself, so nothing reaches a listener and nothing stays unacknowledged. In both modes Bolt
acknowledges with what `async_dispatch` returns, after all middleware: 200 is an ack; 503 is none (HTTP: Slack sends
the event again; Socket Mode: no ack frame is sent, with the same effect).
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import structlog
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.middleware.async_middleware import AsyncMiddleware
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse
from slack_sdk.web.async_client import AsyncWebClient

from opsbot.adapters.slack import report_form, shortcuts
from opsbot.adapters.slack.directory import SlackDirectory
from opsbot.adapters.slack.incoming import Heard, Home, changed_group, read
from opsbot.adapters.slack.strangers import stranger
from opsbot.domain import IncomingReportEdit
from opsbot.errors import OpsbotError
from opsbot.ports import Handler

_log = structlog.get_logger()

# Bolt logs whole bodies (bad signatures, unhandled requests) and the SDK whole frames; both may hold secrets.
_TALKATIVE = ("slack_bolt", "slack_sdk")
_LONGEST_LINE = 300


class Acceptance(AsyncMiddleware):
    """The one middleware: authenticate, convert, accept, acknowledge."""

    def __init__(self, handler: Handler, directory: SlackDirectory, home: Home) -> None:
        self._handler = handler
        self._directory = directory
        self._home = home
        self._under_way = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def async_process(
        self, *, req: AsyncBoltRequest, resp: BoltResponse, next: Callable[[], Awaitable[BoltResponse]]
    ) -> BoltResponse:
        """Answer the request: 200 once it is in the inbox or not for us, 503 if it could not be written."""
        self._under_way += 1
        self._idle.clear()
        try:
            return await self._answer(req.body, _signature_keys(req))
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._idle.set()

    async def settled(self) -> None:
        """Wait until no request is being accepted."""
        await self._idle.wait()

    async def _answer(self, body: dict[str, Any], signature: tuple[str, ...]) -> BoltResponse:
        heard = self._heard(body)
        if isinstance(heard, report_form.Unfit):
            return _kept_open(heard.faults)
        if heard is None:
            self._note(body)
            return _acknowledged()
        try:
            if isinstance(heard.event, IncomingReportEdit) and (faults := await self._handler.faults(heard.event)):
                return _kept_open(faults)
            await self._accept(replace(heard, keys=(*heard.keys, *signature)))
        except OpsbotError as error:
            _log.error("slack.not_accepted", error=type(error).__name__)
            return BoltResponse(status=503, body="")
        except Exception:  # noqa: BLE001 - whatever went wrong, Slack must send the event again
            _log.exception("slack.not_accepted")
            return BoltResponse(status=503, body="")
        return _acknowledged()

    def _heard(self, body: dict[str, Any]) -> Heard | report_form.Unfit | None:
        match body.get("type"):
            case "view_submission":
                return report_form.submitted(body, self._home)
            case "message_action":
                return shortcuts.used(body, self._home)
            case _:
                return read(body, self._home)

    async def _accept(self, heard: Heard) -> None:
        if heard.only_known and not await self._handler.knows(heard.event.place):
            return
        fresh = await self._handler.accept(heard.keys, heard.event)
        _log.debug("slack.accepted", kind=type(heard.event).__name__, fresh=fresh)

    def _note(self, body: dict[str, Any]) -> None:
        group_id = changed_group(body, self._home)
        if group_id is not None:
            self._directory.forget(group_id)
        tried = stranger(body, self._home)
        if tried is not None:
            self._handler.turn_away(tried.actor, tried.place, tried.entrance, reply_to=tried.reply_to)


def build_app(acceptance: Acceptance, home: Home, client: AsyncWebClient, *, signing_secret: str) -> AsyncApp:
    """Build the Bolt app around the middleware. Its own `authorize` keeps Bolt from asking Slack for each event."""

    async def authorize() -> AuthorizeResult:
        return AuthorizeResult(enterprise_id=None, team_id=home.team_id, bot_user_id=home.bot_user_id)

    app = AsyncApp(
        # Bolt gives the logger of this name a level of its own; ours must not be below it.
        name="slack_bolt.opsbot",
        signing_secret=signing_secret,
        client=client,
        authorize=authorize,
        attaching_conversation_kwargs_enabled=False,
    )
    app.middleware(acceptance)
    return app


def hush() -> None:
    """Cut what Bolt and the SDK log, so that no payload gets into a log whole. May be called twice."""
    for name in _TALKATIVE:
        for each in [name, *(known for known in logging.root.manager.loggerDict if known.startswith(f"{name}."))]:
            logger = logging.getLogger(each)
            if not any(isinstance(existing, _NoBodies) for existing in logger.filters):
                logger.addFilter(_NoBodies())


class _NoBodies(logging.Filter):
    """Cuts a line at its payload, and drops debug lines, which hold whole frames."""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno <= logging.DEBUG:
            return False
        said = record.getMessage()
        head = said.split("body:", 1)[0] if "body:" in said else said
        record.msg, record.args = head[:_LONGEST_LINE], ()
        return True


def _signature_keys(request: AsyncBoltRequest) -> tuple[str, ...]:
    """Recognise a signed request that comes once more to the letter, whatever ids it holds (HTTP mode)."""
    return tuple(f"signed:{signature}" for signature in request.headers.get("x-slack-signature", ()))


def _kept_open(faults: Mapping[str, str]) -> BoltResponse:
    """Answer a form so that it stays open, with what is wrong beside its fields."""
    return BoltResponse(status=200, body=report_form.errors(faults))


def _acknowledged() -> BoltResponse:
    return BoltResponse(status=200, body="")
