"""Pictures made anew out of files that anybody may have sent: judged by content, decoded by a process apart."""

import asyncio
import json
from pathlib import Path

import structlog

from opsbot.adapters.worker_process import WorkerFailed, WorkerProcess
from opsbot.errors import BadArguments
from opsbot.pictures import MAX_BYTES, Developed, too_large
from opsbot.readable import plain_line

# A picture of 1600 x 1600 pixels without loss, if nothing on it repeats; larger than anything the worker makes.
MAX_DEVELOPED_BYTES = 8 * 1024 * 1024
_TIME_LIMIT_S = 20.0
_WORKER = Path(__file__).with_name("darkroom_worker.py")
# As the worker has them, which is a script and not imported: the decoders stay out of the bot.
_STARTS = {"image/png": b"\x89PNG\r\n\x1a\n", "image/jpeg": b"\xff\xd8\xff"}
_SHOWN_SIDE = 1600
_FAILED = "it could not be decoded safely"

log = structlog.get_logger(__name__)


class ProcessDarkroom:
    """Implements `ports.Darkroom`: one file at a time, each in a process that lives for it alone."""

    def __init__(self, *, worker: Path = _WORKER, time_limit_s: float = _TIME_LIMIT_S) -> None:
        self._worker = WorkerProcess(worker, "darkroom", time_limit_s, MAX_DEVELOPED_BYTES, {"TZ": "UTC"})
        self._one_at_a_time = asyncio.Lock()

    async def develop(self, raw: bytes) -> Developed:
        """Decode, scale down and encode anew.

        Raises:
            BadArguments: it is no picture that can be taken; the text says why, for the person who sent it.
        """
        check_kind(raw)
        async with self._one_at_a_time:
            try:
                made = await self._worker.run(raw)
            except WorkerFailed as error:
                log.warning("picture.not_developed", why=str(error), detail=error.detail[:300])
                raise BadArguments(plain_line(error.detail, limit=200) if error.refused else _FAILED) from error
        return _read(made)

    def close(self) -> None:
        """Remove the worker's folder."""
        self._worker.close()


def check_kind(raw: bytes) -> None:
    """Look at what a file really is. Raises BadArguments for what is none of the four kinds."""
    if not raw:
        raise BadArguments("it is empty")
    if len(raw) > MAX_BYTES:
        raise BadArguments(too_large(len(raw)))
    is_webp = raw[:4] == b"RIFF" and raw[8:12] == b"WEBP"
    if raw.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF87a", b"GIF89a")) or is_webp:
        return
    start = raw[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    kind = "an SVG drawing" if b"<svg" in start else "a web page" if start.startswith((b"<!doc", b"<html")) else ""
    raise BadArguments(f"its content is {kind or 'something else'}, not PNG, JPEG, WebP or GIF. Send a screenshot")


def _read(made: bytes) -> Developed:
    """Read what the worker wrote, and trust none of it: a file may have taken it over. Raises BadArguments."""
    head, _, content = made.partition(b"\n")
    try:
        facts = json.loads(head)
        developed = Developed(str(facts["media_type"]), int(facts["width"]), int(facts["height"]), content)
    except (ValueError, KeyError, TypeError) as error:
        raise BadArguments(_FAILED) from error
    small = 0 < developed.width <= _SHOWN_SIDE and 0 < developed.height <= _SHOWN_SIDE
    start = _STARTS.get(developed.media_type)
    if not small or start is None or not content.startswith(start):
        raise BadArguments(_FAILED)
    return developed
