"""The one client a process talks to its model with: timeouts, no redirects, no retries of its own, bounded bodies."""

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

import httpx2
from openai import AsyncAzureOpenAI, AsyncOpenAI

from opsbot.adapters.openai_endpoint import ModelSettings
from opsbot.adapters.openai_sse import NotAStream, TooLong

CONNECT_TIMEOUT_S = 5.0
# A streamed answer carries 200 to 350 bytes of envelope per token, so the wire's limit is far above the answer's.
MAX_WIRE_BYTES = 8 * 1024 * 1024
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


def client(settings: ModelSettings, transport: httpx2.AsyncBaseTransport | None = None) -> AsyncOpenAI:
    """Make the SDK's client. A dated Azure API version needs the SDK's Azure client, everything else the plain one."""
    # The SDK insists on a key; servers on one's own machine have none.
    key = settings.api_key or "not-needed"
    timeout = httpx2.Timeout(settings.read_timeout_s, connect=CONNECT_TIMEOUT_S)
    http = httpx2.AsyncClient(
        transport=transport,
        timeout=timeout,
        follow_redirects=False,
        # Proxies and certificates of the environment are for the world outside, not for a model on this machine.
        trust_env=settings.host not in _LOOPBACK,
        headers={"accept-encoding": "identity"},
        event_hooks={"response": [_bound]},
    )
    if not settings.azure_api_version:
        return AsyncOpenAI(base_url=settings.url, api_key=key, max_retries=0, timeout=timeout, http_client=http)
    parts = urlsplit(settings.url)
    return AsyncAzureOpenAI(
        azure_endpoint=f"{parts.scheme}://{parts.netloc}",
        api_version=settings.azure_api_version,
        api_key=key,
        max_retries=0,
        timeout=timeout,
        http_client=http,
    )


async def _bound(response: httpx2.Response) -> None:
    """Limit what is read of any body, errors included; compressed ones could grow behind the limit."""
    if response.headers.get("content-encoding", "identity") != "identity":
        raise NotAStream("compressed")
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = _Bounded(response.stream)


class _Bounded(httpx2.AsyncByteStream):
    """A body that raises TooLong beyond MAX_WIRE_BYTES."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > MAX_WIRE_BYTES:
                raise TooLong
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()
