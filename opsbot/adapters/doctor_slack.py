"""`opsbot doctor` on Slack: token, scopes, clock, and the way events come in. Nothing is posted or acknowledged."""

import asyncio
import errno
import json
import socket
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from importlib.resources import files

import aiohttp

from opsbot.adapters.doctor_edges import run_async
from opsbot.adapters.slack.settings import SlackSettings, bypasses_proxy, faults
from opsbot.adapters.ssh_deadline import Deadline
from opsbot.diagnosis import Area, Check, Finding, Subject
from opsbot.readable import duration_text, plain_line

# Slack's own limit for the age of a signed request is 300 s.
_SKEW_WARN_S = 5.0
_SKEW_FAIL_S = 240.0
# https://docs.slack.dev/apis/events-api/using-socket-mode (read 2026-11).
_MAX_CONNECTIONS = 10
_MAX_FRAMES = 20
_OAUTH = "the app's page OAuth & Permissions"
_REINSTALL = f"Reinstall the app ({_OAUTH}), and put the new token where `slack.bot_token` points."
_BOT_REMEDIES = {
    "account_inactive": _REINSTALL,
    "token_expired": _REINSTALL,
    "token_revoked": _REINSTALL,
    "invalid_auth": f"Copy the Bot User OAuth Token (xoxb-) from {_OAUTH} to where `slack.bot_token` points.",
    "not_authed": f"Copy the Bot User OAuth Token (xoxb-) from {_OAUTH} to where `slack.bot_token` points.",
    "not_allowed_token_type": f"`slack.bot_token` is a token of another kind; it must be the xoxb- one from {_OAUTH}.",
}
_MAKE_ONE = (
    "On the app's page Basic Information, App-Level Tokens: make one with the scope connections:write, and put it "
    "where `slack.app_token` points."
)
_APP_REMEDIES = {
    "socket_mode_disabled": "Turn Socket Mode on, on the app's page of that name.",
    "not_allowed_token_type": f"`slack.app_token` is a token of another kind. {_MAKE_ONE}",
}


@dataclass(frozen=True, slots=True)
class _Answer:
    """An answer of the Web API; `code` is "" if it is ok."""

    code: str
    data: Mapping[str, object]
    headers: Mapping[str, str]
    status: int
    took_s: float


@dataclass(frozen=True, slots=True)
class SlackDoctor:
    """Checks one workspace's connection."""

    settings: SlackSettings
    environment: Mapping[str, str]

    @property
    def subject(self) -> Subject:
        """The service, by the address that is used."""
        return Subject(Area.SLACK, self.settings.api_url.removeprefix("https://").rstrip("/"))

    def check(self, timeout_s: float) -> Iterator[Finding]:
        """Yield what is found, within about `timeout_s`."""
        wrong = faults(self.settings, self.environment)
        for fault in wrong:
            yield self.subject.fail(
                Check.SETTINGS, fault.removeprefix("slack: "), "Correct it in the `slack:` section."
            )
        if not wrong:
            yield from run_async(self._asked(Deadline(timeout_s)))

    async def _asked(self, deadline: Deadline) -> list[Finding]:
        trust = not bypasses_proxy(self.settings.api_url)
        async with aiohttp.ClientSession(trust_env=trust) as session:
            found = await self._web_api(session, deadline)
            if self.settings.mode == "socket":
                found += await self._socket_mode(session, deadline)
            else:
                found.append(
                    self.subject.ok(Check.SIGNING_SECRET, "set; only a request of Slack's shows whether it fits")
                )
                found.append(port(self.subject, self.settings.http_host, self.settings.http_port))
        return found

    async def _web_api(self, session: aiohttp.ClientSession, deadline: Deadline) -> list[Finding]:
        subject = self.subject
        answer = await self._call(session, "auth.test", self.settings.bot_token, deadline)
        if isinstance(answer, str):
            return [subject.fail(Check.BOT_TOKEN, answer, _network_remedy(self.settings.api_url))]
        found = [token(subject, answer)]
        if not answer.code:
            found.append(scopes(subject, answer.headers, needed_scopes()))
        found.append(clock(subject, answer.headers, datetime.now(UTC)))
        return found

    async def _socket_mode(self, session: aiohttp.ClientSession, deadline: Deadline) -> list[Finding]:
        subject = self.subject
        answer = await self._call(session, "apps.connections.open", self.settings.app_token, deadline)
        if isinstance(answer, str):
            return [subject.fail(Check.APP_TOKEN, answer, _network_remedy(self.settings.api_url))]
        if answer.code:
            return [_refused(subject, Check.APP_TOKEN, answer, _APP_REMEDIES, _MAKE_ONE)]
        found = [subject.ok(Check.APP_TOKEN, "accepted, with connections:write", took_s=answer.took_s)]
        return [*found, await self._hello(session, str(answer.data.get("url", "")), deadline)]

    async def _hello(self, session: aiohttp.ClientSession, url: str, deadline: Deadline) -> Finding:
        """Open one connection until Slack greets it. What else arrives is not acknowledged: Slack sends it again."""
        started_s = deadline.left_s
        remedy = "Let this machine reach wss://wss-primary.slack.com (port 443), through proxies and firewalls too."
        try:
            async with asyncio.timeout(deadline.left_s), session.ws_connect(url, autoping=True) as link:
                for _ in range(_MAX_FRAMES):
                    frame = await link.receive()
                    if frame.type is not aiohttp.WSMsgType.TEXT:
                        return self.subject.fail(
                            Check.SOCKET, f"closed by Slack before it greeted ({link.close_code})", remedy
                        )
                    greeting = _greeting(frame.data)
                    if greeting is not None:
                        return connections(self.subject, greeting, started_s - deadline.left_s)
        except TimeoutError:
            return self.subject.fail(Check.SOCKET, f"no greeting within {deadline.timeout_s:g} s", remedy)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return self.subject.fail(Check.SOCKET, f"refused: {_cause(error)}", remedy)
        return self.subject.fail(Check.SOCKET, "no greeting among the first messages", remedy)

    async def _call(
        self, session: aiohttp.ClientSession, method: str, secret: str, deadline: Deadline
    ) -> _Answer | str:
        """Call a method once; a text says why there is no answer."""
        started_s = deadline.left_s
        url = f"{self.settings.api_url.rstrip('/')}/{method}"
        try:
            async with (
                asyncio.timeout(deadline.left_s),
                session.post(url, headers={"Authorization": f"Bearer {secret}"}, allow_redirects=False) as response,
            ):
                text = (await response.content.read(65536)).decode("utf-8", "replace")
                headers = {name.lower(): value for name, value in response.headers.items()}
                took_s = started_s - deadline.left_s
                return _answer(text, headers, response.status, took_s)
        except TimeoutError:
            return f"no answer within {deadline.timeout_s:g} s"
        except (aiohttp.ClientError, OSError, ValueError) as error:
            return f"cannot be reached: {_cause(error)}"


def needed_scopes() -> frozenset[str]:
    """Return the bot's scopes as the manifest has them."""
    manifest = json.loads(files("opsbot").joinpath("manifest.json").read_text(encoding="utf-8"))
    return frozenset(manifest["oauth_config"]["scopes"]["bot"])


def token(subject: Subject, answer: _Answer) -> Finding:
    """Judge the answer to auth.test."""
    if answer.code:
        return _refused(subject, Check.BOT_TOKEN, answer, _BOT_REMEDIES, _REINSTALL)
    if not answer.data.get("bot_id"):
        remedy = f"Use the Bot User OAuth Token (xoxb-) from {_OAUTH}."
        return subject.fail(Check.BOT_TOKEN, "it is a person's token, not a bot's", remedy, took_s=answer.took_s)
    who, team = (plain_line(str(answer.data.get(name, "")), limit=60) for name in ("user", "team"))
    said = f"accepted: {who} ({answer.data.get('user_id')}) in {team} ({answer.data.get('team_id')})"
    return subject.ok(Check.BOT_TOKEN, said, took_s=answer.took_s)


def scopes(subject: Subject, headers: Mapping[str, str], needed: frozenset[str]) -> Finding:
    """Compare what the token may with what the manifest needs."""
    if "x-oauth-scopes" not in headers:
        return subject.warn(Check.SCOPES, "Slack did not say which the token has", f"Compare by hand on {_OAUTH}.")
    has = {scope.strip() for scope in headers["x-oauth-scopes"].split(",") if scope.strip()}
    missing, more = sorted(needed - has), sorted(has - needed)
    if missing:
        remedy = f"Add {', '.join(missing)} to the Bot Token Scopes on {_OAUTH}, then reinstall the app."
        return subject.fail(Check.SCOPES, f"missing: {', '.join(missing)}", remedy)
    extra = f"; not needed: {plain_line(', '.join(more), limit=300)}" if more else ""
    return subject.ok(Check.SCOPES, f"all {len(needed)} needed ones{extra}")


def clock(subject: Subject, headers: Mapping[str, str], now: datetime) -> Finding:
    """Compare the bot's clock with the Date of an answer, which has whole seconds."""
    try:
        there = parsedate_to_datetime(headers["date"])
    except (KeyError, ValueError):
        return subject.skipped(Check.CLOCK, "Slack did not tell its time")
    there = there if there.tzinfo else there.replace(tzinfo=UTC)
    skew_s = (now - there).total_seconds()
    if abs(skew_s) < _SKEW_WARN_S + 1:
        return subject.ok(Check.CLOCK, "this machine's agrees with Slack's")
    said = f"this machine's is {duration_text(abs(skew_s))} {'ahead of' if skew_s > 0 else 'behind'} Slack's"
    remedy = "Synchronise this machine's clock: `timedatectl set-ntp true`, then `timedatectl`."
    make = subject.fail if abs(skew_s) >= _SKEW_FAIL_S else subject.warn
    return make(Check.CLOCK, said, remedy)


def connections(subject: Subject, greeting: Mapping[str, object], took_s: float) -> Finding:
    """Judge the greeting of a socket."""
    number = greeting.get("num_connections")
    if not isinstance(number, int):
        return subject.ok(Check.SOCKET, "Slack greets", took_s=took_s)
    if number >= _MAX_CONNECTIONS:
        said = f"{number} connections are open, the most Slack allows: a bot that starts now is refused"
        return subject.warn(Check.SOCKET, said, "End the processes that hold them.", took_s=took_s)
    others = number - 1
    said = f"Slack greets; {others} other connection{'' if others == 1 else 's'} open"
    return subject.ok(Check.SOCKET, said, took_s=took_s)


def port(subject: Subject, host: str, number: int) -> Finding:
    """Whether the bot could listen for Slack's requests."""
    place = f"{host}:{number}"
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, number, type=socket.SOCK_STREAM)[0]
        with closing(socket.socket(family, kind, protocol)) as listener:
            # As the bot does it: connections that just ended do not count.
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            who = f"`ss -ltnp 'sport = :{number}'` shows who"
            remedy = f"If the bot runs, that is it; else {who}, or change `slack.http.port`."
            return subject.warn(Check.PORT, f"{place} is in use", remedy)
        return subject.fail(Check.PORT, f"cannot listen on {place}: {error.strerror}", "Correct `slack.http`.")
    return subject.ok(Check.PORT, f"{place} is free: the bot does not run, or not here")


def _refused(subject: Subject, check: Check, answer: _Answer, remedies: Mapping[str, str], otherwise: str) -> Finding:
    if answer.status == 429 or answer.code == "ratelimited":
        wait = answer.headers.get("retry-after", "")
        said = "Slack limits our requests (429)" + (f" for {wait} s" if wait.isdecimal() else "")
        return subject.warn(check, said, "Wait that long and try again; often it means that a bot restarts in a loop.")
    if answer.status >= 500:
        remedy = "Slack is in trouble: see slack-status.com, and try again."
        return subject.fail(check, f"Slack answers with status {answer.status}", remedy, took_s=answer.took_s)
    if answer.code in ("no_json", "redirect"):
        remedy = "Check `slack.api_url`, and proxies that answer in Slack's place."
        return subject.fail(check, f"that is not Slack's API (status {answer.status})", remedy, took_s=answer.took_s)
    return subject.fail(check, f"refused: {answer.code}", remedies.get(answer.code, otherwise), took_s=answer.took_s)


def _answer(text: str, headers: Mapping[str, str], status: int, took_s: float) -> _Answer:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        data = None
    if 300 <= status < 400:
        return _Answer("redirect", {}, headers, status, took_s)
    if not isinstance(data, dict):
        return _Answer("no_json", {}, headers, status, took_s)
    code = "" if data.get("ok") is True else plain_line(str(data.get("error", "no reason given")), limit=80)
    return _Answer(code, data, headers, status, took_s)


def _greeting(text: str) -> Mapping[str, object] | None:
    try:
        frame = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return frame if isinstance(frame, dict) and frame.get("type") == "hello" else None


def _cause(error: BaseException) -> str:
    return plain_line(str(error) or type(error).__name__, limit=200)


def _network_remedy(api_url: str) -> str:
    return (
        f"Try `curl -sS {api_url.rstrip('/')}/api.test` here: DNS, firewall, proxy ($HTTPS_PROXY) and `slack.api_url`."
    )
