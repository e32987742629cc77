"""What went wrong with a request to the model, sorted by what may be done about it, in words fit for the asker."""

import math
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2
from openai import APIConnectionError, APIError, APIStatusError, APITimeoutError
from tenacity import RetryCallState

from opsbot.adapters.openai_endpoint import ModelSettings
from opsbot.adapters.openai_sse import NotAStream, TooLong
from opsbot.errors import ContextTooLong, ModelError, ModelMisbehaved, ModelUnavailable

# security.md R04: a longer wait is the asker's to decide.
MAX_WAIT_S = 20.0
MAX_TRIES = 3
_BACKOFF_S = 0.5
_RETRIED_STATUS = (408, 409, 429)
# OpenAI, llama.cpp ("exceeds the available context size"), vLLM ("maximum context length"), LM Studio; November 2026.
_TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|maximum context length|available context size|context window"
    r"|context length|prompt is too long|input is too long",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Said:
    """What the service said about its error; every part may be ""."""

    code: str = ""
    parameter: str = ""
    message: str = ""
    status: int = 0
    request_id: str = ""


class TryFailed(Exception):
    """One request failed. `error` is for the asker.

    `retry`: the same request may succeed, after `wait_s` if not None. `outage`: the service is not well.
    """

    def __init__(
        self,
        error: ModelError,
        *,
        retry: bool = False,
        wait_s: float | None = None,
        outage: bool = False,
        said: Said | None = None,
    ) -> None:
        super().__init__(str(error))
        self.error = error
        self.retry = retry
        self.wait_s = wait_s
        self.outage = outage
        self.said = said or Said()

    @property
    def awaited(self) -> str:
        """What is waited for before the next try, in a few words."""
        match self.said.status:
            case 429:
                return "the model's service, which limits our requests (429)"
            case 0:
                return "the model's service, which did not answer as it should"
            case status:
                return f"the model's service, which fails ({status})"


def misbehaved(what: str, *, retry: bool = True) -> TryFailed:
    """An answer that cannot be used."""
    return TryFailed(ModelMisbehaved(f"{what} Nothing in it was used. Ask again."), retry=retry, outage=retry)


def translated(error: Exception, settings: ModelSettings) -> TryFailed:
    """Turn whatever the SDK, the HTTP client or the parser raised into one of ours."""
    match error:
        case TryFailed():
            return error
        case APIStatusError():
            return _from_status(error, settings)
        case APITimeoutError() | TimeoutError() | httpx2.TimeoutException():
            return _unavailable(
                f"The {settings.speaker} at {settings.host} did not answer in time. Ask again in a minute."
            )
        case APIConnectionError() | httpx2.TransportError() | OSError():
            return _unavailable(
                f"The connection to the {settings.speaker} at {settings.host} failed or broke off. Ask again in a "
                f"minute; if it stays so, the operator checks {settings.setting('base_url')}, DNS, TLS and proxy."
            )
        case NotAStream():
            return _not_a_stream(error, settings)
        case TooLong():
            return misbehaved("The model's answer was larger than allowed.", retry=False)
        case APIError():
            return from_event({"code": error.code, "message": error.message, "type": error.type}, settings)
        case _:
            return misbehaved(f"The answer of the {settings.speaker} at {settings.host} was unreadable.")


def from_event(said: Mapping[str, Any], settings: ModelSettings) -> TryFailed:
    """Judge an error that arrived inside a stream, after a status of 200."""
    details = _said(said)
    if failure := _by_code(details, settings):
        return failure
    error = ModelMisbehaved(f"The {settings.speaker} at {settings.host} reported an error while answering. Ask again.")
    return TryFailed(error, retry=True, outage=True, said=details)


def _from_status(error: APIStatusError, settings: ModelSettings) -> TryFailed:
    body = error.body if isinstance(error.body, Mapping) else {}
    status = error.status_code
    said = _said(body, status=status, request_id=error.request_id or "", fallback=error.message)
    if failure := _by_code(said, settings):
        return failure
    headers = error.response.headers
    if status in _RETRIED_STATUS or status >= 500:
        return _retried(said, headers, settings)
    refused = ModelUnavailable(_refusal(status, said, settings))
    return TryFailed(refused, retry=headers.get("x-should-retry") == "true", said=said)


def _retried(said: Said, headers: Mapping[str, str], settings: ModelSettings) -> TryFailed:
    wait_s = retry_after_s(headers)
    limited = said.status == 429
    what = "is limiting our requests (429)" if limited else f"is failing ({said.status})"
    when = f"in {math.ceil(wait_s)} s" if wait_s else "in a minute"
    error = ModelUnavailable(
        f"The {settings.service} at {settings.host} {what}. Ask again {when}.", retry_after_s=wait_s
    )
    may = headers.get("x-should-retry") != "false" and (wait_s or 0) <= MAX_WAIT_S
    return TryFailed(error, retry=may, wait_s=wait_s, outage=not limited, said=said)


def retry_after_s(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Read when to come back: `retry-after-ms`, else `Retry-After` in seconds or as a date. None: not said."""
    for name, factor in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        text = headers.get(name)
        if not text:
            continue
        try:
            wait_s = float(text) * factor
        except ValueError:
            wait_s = _seconds_until(text, now or datetime.now(UTC))
        if math.isfinite(wait_s):
            return max(0.0, wait_s)
    return None


def backoff_s(state: RetryCallState) -> float:
    """Wait as long as the service asked, else a jittered, doubling time."""
    error = state.outcome.exception() if state.outcome else None
    if isinstance(error, TryFailed) and error.wait_s is not None:
        return error.wait_s
    doubled: float = _BACKOFF_S * 2.0 ** (state.attempt_number - 1)
    return doubled * random.uniform(0.75, 1.25)  # noqa: S311 not a secret


def _seconds_until(date: str, now: datetime) -> float:
    try:
        at = parsedate_to_datetime(date)
    except ValueError:
        return math.nan
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() - now.timestamp()


def _said(body: Mapping[str, Any], *, status: int = 0, request_id: str = "", fallback: str = "") -> Said:
    inner = body.get("error")
    source = inner if isinstance(inner, Mapping) else body
    code = source.get("code") or source.get("type") or ""
    message = source.get("message") or (inner if isinstance(inner, str) else "") or fallback
    return Said(str(code), str(source.get("param") or ""), str(message), status, request_id)


def _by_code(said: Said, settings: ModelSettings) -> TryFailed | None:
    """Errors known by what they say, wherever they come from."""
    if "insufficient_quota" in (said.code, said.message):
        text = (
            "The model account has no credit left (insufficient_quota). "
            "The operator must add credit or raise the account's limit; asking again does not help."
        )
        return TryFailed(ModelUnavailable(text), said=said)
    if said.status in (0, 400, 413, 422, 500) and _TOO_LONG.search(f"{said.code} {said.message}"):
        text = f"This conversation is longer than {settings.model} can read. Start a new thread, or `reset` this one."
        if settings.embeds:
            text = f"A passage is longer than {settings.model} can read. Cut it into shorter ones."
        return TryFailed(ContextTooLong(text), said=said)
    return None


def _refusal(status: int, said: Said, settings: ModelSettings) -> str:
    match status:
        case 401:
            return f"The {settings.service} at {settings.host} refused the API key (401). The operator must check it."
        case 403:
            return (
                f"The {settings.service} at {settings.host} denies us access (403). The operator must check our rights."
            )
        case 404:
            return (
                f"The {settings.service} at {settings.host} knows no model {settings.model!r}, or no such address "
                f"(404). The operator must check {settings.setting('model')} and {settings.setting('base_url')}."
            )
        case _ if 300 <= status < 400:
            return (
                f"The {settings.service} at {settings.host} redirects elsewhere ({status}), which is not followed. "
                f"The operator must set the final address as {settings.setting('base_url')}."
            )
    code = f", {said.code}" if re.fullmatch(r"[a-z_]{1,60}", said.code) else ""
    helps = "" if settings.embeds else "; `reset` helps if the conversation is the cause"
    refused = f"The {settings.service} at {settings.host} refused the request ({status}{code})."
    return f"{refused} The log has the details{helps}."


def _not_a_stream(error: NotAStream, settings: ModelSettings) -> TryFailed:
    if error.kind == "html":
        text = (
            f"The address at {settings.host} answered with a web page: it is not a model API. "
            f"The operator must check {settings.setting('base_url')}."
        )
        return TryFailed(ModelMisbehaved(text), outage=True)
    return misbehaved(
        f"The {settings.speaker} at {settings.host} sent something that is not a stream of events ({error.kind})."
    )


def _unavailable(text: str) -> TryFailed:
    return TryFailed(ModelUnavailable(text), retry=True, outage=True)
