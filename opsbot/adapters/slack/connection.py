"""The bot's connection to one Slack workspace: opened with clear errors, served in either mode, drained at the end."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import TypeAlias

import aiohttp
import structlog
from aiohttp import web
from slack_bolt.async_app import AsyncApp
from slack_sdk.errors import SlackApiError
from slack_sdk.http_retry.builtin_async_handlers import (
    AsyncConnectionErrorRetryHandler,
    AsyncRateLimitErrorRetryHandler,
)
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.web.async_client import AsyncWebClient

from opsbot.adapters.clock import SystemClock
from opsbot.adapters.slack.attachments import SlackAttachments
from opsbot.adapters.slack.chat import SlackChat
from opsbot.adapters.slack.directory import SlackDirectory
from opsbot.adapters.slack.entrance import HttpEntrance, SocketEntrance, reconnect_freshly
from opsbot.adapters.slack.incoming import Home
from opsbot.adapters.slack.listeners import Acceptance, build_app, hush
from opsbot.adapters.slack.settings import SlackSettings, bypasses_proxy, faults
from opsbot.adapters.slack.web import Refused, Web
from opsbot.errors import ChatError, ConfigError
from opsbot.ports import Clock, Handler

_log = structlog.get_logger()

Leave: TypeAlias = Callable[[], Awaitable[None]]

_CALL_TIMEOUT = aiohttp.ClientTimeout(total=30, connect=10)
_CONNECTIONS_MAX = 20
# The Socket Mode client notices a lost connection within this time, and a silent one after four times as long.
_PING_EVERY_S = 5.0
_DRAIN_MAX_S = 2.0


class SlackConnection:
    """One workspace. `ready` is set once events can arrive; then `http_port` is the port really listened on."""

    def __init__(self, settings: SlackSettings, session: aiohttp.ClientSession, web_api: Web, home: Home) -> None:
        self._settings = settings
        self._session = session
        self._home = home
        self._clock = web_api.clock
        self.chat = SlackChat(
            web_api, session, api_url=settings.api_url, bot_user_id=home.bot_user_id, links=settings.links
        )
        self.attachments = SlackAttachments(web_api, session, api_url=settings.api_url, token=settings.bot_token)
        self.directory = SlackDirectory(web_api, team_id=home.team_id, group_ids=settings.group_ids)
        self.ready = asyncio.Event()
        self.http_port = settings.http_port

    @property
    def team_id(self) -> str:
        """The workspace's id."""
        return self._home.team_id

    @property
    def bot_user_id(self) -> str:
        """The bot's own user id."""
        return self._home.bot_user_id

    @staticmethod
    async def open(
        settings: SlackSettings, *, clock: Clock | None = None, check: Callable[[], None] = lambda: None
    ) -> "SlackConnection":
        """Check the settings, ask Slack who we are, and return the connection, which does not listen yet.

        `check` is called right before anything lasting is sent, and may raise.

        Raises:
            ConfigError: settings or tokens cannot work; every fault found, with its remedy.
            ChatError: Slack cannot be reached.
        """
        found = faults(settings, os.environ)
        if found:
            raise ConfigError(*found)
        session = aiohttp.ClientSession(timeout=_CALL_TIMEOUT, connector=aiohttp.TCPConnector(limit=_CONNECTIONS_MAX))
        # No retry handlers: they repeat a lost chat.postMessage blindly, which may post it twice. `Web` retries.
        client = AsyncWebClient(settings.bot_token, settings.api_url, session=session, retry_handlers=[])
        _go_direct(client, settings.api_url)
        web_api = Web(client, clock or SystemClock(), check)
        try:
            return SlackConnection(settings, session, web_api, await _who_we_are(web_api, settings))
        except BaseException:
            await session.close()
            raise

    async def serve(self, handler: Handler, stop: asyncio.Event) -> None:
        """Take events in until `stop` is set; then finish what is being accepted and send what is queued.

        Raises:
            ConfigError: Slack refuses the app token, or the HTTP port cannot be had.
            ChatError: Slack cannot be reached.
        """
        acceptance = Acceptance(handler, self.directory, self._home)
        app = build_app(acceptance, self._home, self._listening_client(), signing_secret=self._settings.signing_secret)
        leave = await (self._listen_socket(app) if self._settings.mode == "socket" else self._listen_http(app))
        hush()
        self.ready.set()
        _log.info("slack.listening", mode=self._settings.mode, team_id=self.team_id)
        try:
            await stop.wait()
            with suppress(TimeoutError):
                await asyncio.wait_for(acceptance.settled(), _DRAIN_MAX_S)
        finally:
            self.ready.clear()
            await leave()
        with suppress(TimeoutError):
            await asyncio.wait_for(self.chat.drain(), _DRAIN_MAX_S)

    async def close(self) -> None:
        """End every task and connection."""
        await self.chat.close()
        await self._session.close()

    def _listening_client(self) -> AsyncWebClient:
        """A client without the bot token: it asks for socket addresses, with the app token, and nothing else."""
        handlers = [AsyncConnectionErrorRetryHandler(), AsyncRateLimitErrorRetryHandler(max_retry_count=3)]
        client = AsyncWebClient(None, self._settings.api_url, session=self._session, retry_handlers=handlers)
        _go_direct(client, self._settings.api_url)
        return client

    async def _listen_socket(self, app: AsyncApp) -> Leave:
        entrance = SocketEntrance(app, self._settings.app_token, ping_interval=_PING_EVERY_S)
        _go_direct(entrance.client, self._settings.api_url)
        try:
            # Once connecting, the SDK would repeat a refused token for ever; so the first address is asked for here.
            entrance.client.wss_uri = await _socket_address(entrance.client)
        except BaseException:
            await entrance.close_async()  # type: ignore[no-untyped-call]
            raise
        await entrance.connect_async()  # type: ignore[no-untyped-call]
        watch = asyncio.get_running_loop().create_task(self._watch(entrance.client))

        async def leave() -> None:
            watch.cancel()
            await entrance.close_async()  # type: ignore[no-untyped-call]

        return leave

    async def _watch(self, client: SocketModeClient) -> None:
        while True:
            await self._clock.sleep(2 * _PING_EVERY_S)
            await reconnect_freshly(client)

    async def _listen_http(self, app: AsyncApp) -> Leave:
        entrance = HttpEntrance(app, self._settings.signing_secret).application()
        # A request whose body never comes does not hold up the end.
        runner = web.AppRunner(entrance, access_log=None, shutdown_timeout=_DRAIN_MAX_S)
        await runner.setup()
        where = (self._settings.http_host, self._settings.http_port)
        try:
            await web.TCPSite(runner, *where).start()
        except OSError as error:
            await runner.cleanup()
            raise ConfigError(f"slack: cannot listen on {where[0]}:{where[1]}: {error.strerror}") from error
        self.http_port = runner.addresses[0][1]
        return runner.cleanup


async def _who_we_are(web_api: Web, settings: SlackSettings) -> Home:
    try:
        answer = await web_api.again("auth.test", {})
    except Refused as refused:
        raise ConfigError(f"slack: the bot token was refused by {settings.api_url}: {refused.code}") from refused
    except ChatError as error:
        raise ChatError(f"Slack cannot be reached at {settings.api_url}: {error}") from error
    if not answer.get("bot_id"):
        raise ConfigError("slack: the token is a person's, not a bot's; use the Bot User OAuth Token (xoxb-)")
    return Home(team_id=str(answer["team_id"]), bot_user_id=str(answer["user_id"]))


async def _socket_address(client: SocketModeClient) -> str:
    try:
        return await client.issue_new_wss_url()
    except SlackApiError as error:
        code = error.response.get("error") or "no answer"
        raise ConfigError(f"slack: the app token was refused ({code}); it needs the scope connections:write") from error
    except (aiohttp.ClientError, TimeoutError, OSError) as error:
        raise ChatError(f"Slack cannot be reached: {type(error).__name__}.") from error


def _go_direct(client: AsyncWebClient | SocketModeClient, api_url: str) -> None:
    if bypasses_proxy(api_url):
        client.proxy = None
