"""The language model, over the openai SDK: one reply per call, complete or an error the asker can read."""

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeAlias

import httpx2
import structlog
from openai import AsyncAPIResponse, OpenAIError
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt

from opsbot.adapters.openai_breaker import MAX_FAILURES, Breaker
from opsbot.adapters.openai_chat import ChatWire
from opsbot.adapters.openai_doctor import findings
from opsbot.adapters.openai_endpoint import Capabilities, ModelSettings
from opsbot.adapters.openai_errors import MAX_TRIES, Said, TryFailed, backoff_s, translated
from opsbot.adapters.openai_http import client
from opsbot.adapters.openai_memory import endpoint_name, learned, recalled
from opsbot.adapters.openai_reply import Reader, Reply, Wire, checked, looks_like_json, salvaged
from opsbot.adapters.openai_responses import ResponsesWire
from opsbot.adapters.openai_sse import TooLong, payloads
from opsbot.adapters.openai_vision import is_about_pictures, is_about_these
from opsbot.domain import Usage
from opsbot.endpoints import HOLDS_FOR, EndpointMemory
from opsbot.errors import ContextTooLong, ModelUnavailable, StoreError
from opsbot.ports import Done, ModelEvent, ModelRequest, TextDelta

__all__ = ["ModelSettings", "OpenAIModel"]

# Usage follows the end of a chat reply in a chunk of its own; a server that keeps silent instead is not waited for.
TRAILER_S = 5.0

log = structlog.get_logger(__name__)


_Begun: TypeAlias = tuple[ModelEvent, AsyncGenerator[ModelEvent, None]]


@dataclass(slots=True)
class _Progress:
    """What is worth logging about one reply."""

    started: float
    deadline: float
    tries: int = 0
    first_token_s: float | None = None
    request_id: str = ""
    # Whether the pictures of the request are left out.
    blind: bool = False
    # What tries took whose answer could not be used.
    wasted: Usage = field(default_factory=Usage)


class OpenAIModel:
    """A ChatModel behind any endpoint of the OpenAI kind. One per process: it holds the connections.

    `sleep` and `monotonic` (both in seconds), `transport` and `now` exist for tests. `memory` keeps what is learned of
    the endpoint, so that a restart does not learn it again.
    """

    def __init__(
        self,
        settings: ModelSettings,
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        monotonic: Callable[[], float] = time.monotonic,
        transport: httpx2.AsyncBaseTransport | None = None,
        memory: EndpointMemory | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._settings = settings
        self._sleep = sleep
        self._monotonic = monotonic
        self._wire: Wire = ResponsesWire() if settings.wire == "responses" else ChatWire()
        self._can = Capabilities(settings)
        self._memory = memory
        self._now = now
        self._recalling = asyncio.Lock()
        # When what is believed of the endpoint has to be found out anew.
        self._believed_until = datetime.min.replace(tzinfo=UTC)
        self._breaker = Breaker(monotonic)
        self._client = client(settings, transport)

    @property
    def name(self) -> str:
        return self._settings.model

    @property
    def capabilities(self) -> Capabilities:
        """What the endpoint is believed to take."""
        return self._can

    async def close(self) -> None:
        await self._client.close()

    async def check(self) -> list[str]:
        """Ask the endpoint about the configured model; return what the operator should know, [] if all is well."""
        return await findings(self._client, self._settings)

    async def reply(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        """Stream one reply; see `ChatModel`. Raises ContextTooLong as well, for a conversation that does not fit.

        Retries until the first event, never after it: what a person saw is not said twice.
        """
        await self._recall()
        now = self._monotonic()
        progress = _Progress(now, now + self._settings.total_timeout_s)
        try:
            begun: _Begun = await self._retrying(request, progress)(self._begun, request, progress)
            first, rest = begun
            async with aclosing(rest):
                yield first
                async for event in rest:
                    yield event
        except TryFailed as failed:
            self._log_failure(failed, progress)
            if progress.wasted != Usage():
                yield progress.wasted
            raise failed.error from failed

    def _retrying(self, request: ModelRequest, progress: _Progress) -> AsyncRetrying:
        def out_of_time(state: RetryCallState) -> bool:
            return self._monotonic() + state.upcoming_sleep >= progress.deadline

        return AsyncRetrying(
            retry=retry_if_exception(lambda error: isinstance(error, TryFailed) and error.retry),
            stop=lambda state: stop_after_attempt(MAX_TRIES)(state) or out_of_time(state),
            wait=backoff_s,
            sleep=self._sleep,
            before_sleep=partial(self._tell_retry, request),
            reraise=True,
        )

    async def _begun(self, request: ModelRequest, progress: _Progress) -> _Begun:
        """Make one try and wait for its first event; after that it is committed."""
        progress.tries += 1
        if progress.tries > 1 and request.notice is not None:
            await request.notice(f"asking the model once more (try {progress.tries} of {MAX_TRIES})")
        if request.pictures and not self._can.looks_at_pictures and not progress.blind:
            await self._go_without(request, progress, f"{self.name} cannot look at pictures")
        while True:
            asked = replace(request, pictures={}) if progress.blind else request
            body = self._wire.body(asked, self._settings, self._can)
            events = self._guarded(asked, body, progress)
            try:
                return await anext(events), events
            except TryFailed as failed:
                if asked.pictures and is_about_pictures(failed.said):
                    await self._refused_pictures(request, failed.said, progress)
                elif self._learned_from(failed, body):
                    await self._keep()
                else:
                    raise

    async def _refused_pictures(self, request: ModelRequest, said: Said, progress: _Progress) -> None:
        """Go on without pictures; where it was not these that were at fault, from now on."""
        if is_about_these(said):
            await self._go_without(request, progress, f"the service of {self.name} refused these pictures")
            return
        self._can.go_blind()
        await self._keep()
        await self._go_without(request, progress, f"{self.name} cannot look at pictures")

    async def _go_without(self, request: ModelRequest, progress: _Progress, why: str) -> None:
        progress.blind = True
        if request.blind is not None:
            await request.blind(why)

    async def _recall(self) -> None:
        """Begin with what was learned earlier, and forget what is too old: a server may have been replaced."""
        async with self._recalling:
            if self._now() >= self._believed_until:
                await self._recall_now(self._now())

    async def _recall_now(self, now: datetime) -> None:
        kept = None
        if self._memory is not None:
            try:
                kept = await self._memory.recall()
            except StoreError as error:
                log.warning("model.not_recalled", error=str(error))
        self._can = recalled(kept, self._settings, now) or Capabilities(self._settings)
        known = kept is not None and kept.holds(endpoint_name(self._settings), now)
        self._believed_until = (kept.at if kept is not None and known else now) + HOLDS_FOR

    async def _keep(self) -> None:
        """Write down what was just learned. It works without: then it is learned again after a restart."""
        if self._memory is None:
            return
        now = self._now()
        self._believed_until = now + HOLDS_FOR
        try:
            await self._memory.keep(learned(self._can, self._settings, now))
        except StoreError as error:
            log.warning("model.not_kept", error=str(error))

    def _learned_from(self, failed: TryFailed, body: dict[str, Any]) -> bool:
        """Whether the refusal was about an optional parameter that the next request will not carry."""
        said = failed.said
        if said.status not in (400, 422) or isinstance(failed.error, ContextTooLong):
            return False
        return self._can.unlearn(body, said.parameter, said.message)

    async def _guarded(
        self, request: ModelRequest, body: dict[str, Any], progress: _Progress
    ) -> AsyncGenerator[ModelEvent, None]:
        """One request behind the circuit breaker, with every error as TryFailed."""
        if wait_s := self._breaker.wait_s():
            raise TryFailed(_resting(self._settings, wait_s))
        judged = False
        try:
            async with aclosing(self._events(request, body, progress)) as events:
                async for event in events:
                    if isinstance(event, Done):
                        judged = True
                        self._breaker.succeeded()
                        self._log_success(progress)
                    yield event
        except (OpenAIError, httpx2.HTTPError, OSError, ValueError, TooLong, TryFailed) as error:
            failed = translated(error, self._settings)
            judged = True
            if failed.outage:
                self._breaker.failed()
            else:
                self._breaker.succeeded()
            raise failed from (None if failed is error else error)
        finally:
            if not judged:
                self._breaker.dropped()

    async def _events(
        self, request: ModelRequest, body: dict[str, Any], progress: _Progress
    ) -> AsyncGenerator[ModelEvent, None]:
        """Send one request and read its reply; Done comes last, and only from a reply the wire called complete."""
        reader = self._wire.reader(self._settings)
        held = ""
        shown = False
        async with AsyncExitStack() as stack:
            async with asyncio.timeout(progress.deadline - self._monotonic()):
                response = await stack.enter_async_context(self._send(body))
            progress.request_id = response.headers.get("x-request-id", "")
            texts = await stack.enter_async_context(aclosing(self._texts(response, reader, progress)))
            async for text in texts:
                held += text
                if shown or not (self._settings.salvage and looks_like_json(held)):
                    yield TextDelta(held)
                    held, shown = "", True
        reply = reader.result()
        if self._settings.salvage and not shown:
            reply = salvaged(reply, [spec.name for spec in request.tools])
        progress.wasted += reply.usage
        whole = replace(checked(reply, request.messages), usage=progress.wasted)
        progress.wasted = Usage()
        for event in _closing(whole, shown=shown):
            yield event

    async def _texts(
        self, response: AsyncAPIResponse[Any], reader: Reader, progress: _Progress
    ) -> AsyncGenerator[str, None]:
        """Feed the reader until the stream ends; yield new text. Errors after the reply's end are of no interest."""
        deadline = progress.deadline
        async with aclosing(payloads(response.iter_bytes())) as events:
            while (event := await self._next(events, deadline, reader)) is not None:
                if progress.first_token_s is None:
                    progress.first_token_s = self._monotonic() - progress.started
                if text := reader.feed(event):
                    yield text
                if reader.finished:
                    deadline = min(deadline, self._monotonic() + TRAILER_S)

    async def _next(
        self, events: AsyncGenerator[dict[str, Any], None], deadline: float, reader: Reader
    ) -> dict[str, Any] | None:
        try:
            async with asyncio.timeout(deadline - self._monotonic()):
                return await anext(events, None)
        except (OpenAIError, httpx2.HTTPError, OSError, ValueError):
            if reader.finished:
                return None
            raise

    def _send(self, body: dict[str, Any]) -> AbstractAsyncContextManager[AsyncAPIResponse[Any]]:
        # The body goes by extra_body: the SDK would spend more time walking a typed request than on sending it.
        model = self._settings.model
        if self._settings.wire == "responses":
            return self._client.responses.with_streaming_response.create(model=model, stream=True, extra_body=body)
        completions = self._client.chat.completions.with_streaming_response
        return completions.create(model=model, messages=[], stream=True, extra_body=body)

    async def _tell_retry(self, request: ModelRequest, state: RetryCallState) -> None:
        """Log why the same is asked again, and tell the asker what is waited for."""
        error = state.outcome.exception() if state.outcome else None
        log.warning(
            "model.retry", try_number=state.attempt_number, wait_s=round(state.upcoming_sleep, 3), cause=str(error)
        )
        if request.notice is not None and isinstance(error, TryFailed):
            await request.notice(f"waiting {max(1, round(state.upcoming_sleep))} s for {error.awaited}")

    def _log_failure(self, failed: TryFailed, progress: _Progress) -> None:
        said = failed.said
        secret = self._settings.api_key
        message = said.message.replace(secret, "***") if secret else said.message
        log.warning(
            "model.failed",
            host=self._settings.host,
            model=self._settings.model,
            text=str(failed.error),
            status=said.status or None,
            code=said.code,
            parameter=said.parameter,
            said=message[:300],
            cause=type(failed.__cause__).__name__,
            request_id=said.request_id or progress.request_id,
            tries=progress.tries,
            duration_s=round(self._monotonic() - progress.started, 3),
        )

    def _log_success(self, progress: _Progress) -> None:
        log.info(
            "model.answered",
            host=self._settings.host,
            model=self._settings.model,
            request_id=progress.request_id,
            tries=progress.tries,
            first_token_s=round(progress.first_token_s or 0.0, 3),
            duration_s=round(self._monotonic() - progress.started, 3),
        )


def _closing(reply: Reply, *, shown: bool) -> list[ModelEvent]:
    text = [TextDelta(reply.text)] if reply.text and not shown else []
    return [*text, *reply.calls, reply.usage, Done(reply.reason, reply.opaque, reply.refused)]


def _resting(settings: ModelSettings, wait_s: float) -> ModelUnavailable:
    return ModelUnavailable(
        f"The model's service at {settings.host} failed {MAX_FAILURES} times in a row and is left alone for now. "
        f"Ask again in {max(1, round(wait_s))} s.",
        retry_after_s=wait_s,
    )
