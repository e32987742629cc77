"""Server-sent events: bytes of a streamed HTTP answer to JSON objects, strictly."""

import json
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

_FIELDS = (b"data", b"event", b"id", b"retry", b"")


class NotAStream(ValueError):
    """The body is not server-sent events of JSON objects; `kind` is html, json, chunk or other."""

    def __init__(self, kind: str) -> None:
        super().__init__(f"not a stream of events: {kind}")
        self.kind = kind


class TooLong(Exception):
    """The answer is larger than anything a model should send."""


async def payloads(chunks: AsyncIterator[bytes]) -> AsyncGenerator[dict[str, Any], None]:
    """Yield the JSON object of each event until `[DONE]` or the end of the body.

    An event counts once its closing blank line arrived, so the last event of a cut stream is dropped.

    Raises:
        NotAStream: a line or payload of the wrong form.
    """
    data: list[bytes] = []
    async for line in _lines(chunks):
        if line:
            data += _data_of(line)
            continue
        if not data:
            continue
        payload = b"\n".join(data)
        data = []
        if payload.startswith(b"[DONE]"):
            return
        yield _object(payload)


async def _lines(chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield lines without their end; an unfinished last line is yielded only if it shows what the body is."""
    pending: list[bytes] = []
    nothing_yet = True
    async for chunk in chunks:
        head, *tail = chunk.split(b"\n")
        pending.append(head)
        for next_head in tail:
            nothing_yet = False
            yield b"".join(pending).removesuffix(b"\r")
            pending = [next_head]
    rest = b"".join(pending)
    if nothing_yet and rest.strip():
        yield rest


def _data_of(line: bytes) -> list[bytes]:
    name, _, value = line.partition(b":")
    if name not in _FIELDS:
        raise NotAStream(_kind(line))
    return [value.removeprefix(b" ")] if name == b"data" else []


def _object(payload: bytes) -> dict[str, Any]:
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError) as error:  # nested without end
        raise NotAStream("chunk") from error
    if not isinstance(value, dict):
        raise NotAStream("chunk")
    return value


def _kind(line: bytes) -> str:
    start = line.lstrip()[:1]
    return {b"<": "html", b"{": "json", b"[": "json"}.get(start, "other")
