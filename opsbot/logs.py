"""The log: for people on a console, JSON for machines; every line passes one redacting processor."""

import logging
import re
import sys
from collections.abc import Iterable
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from opsbot.redact import Redactor

# Libraries write for their own authors; from them only what is wrong is of interest.
_LIBRARIES = (
    "aiohttp",
    "alembic",
    "asyncio",
    "httpcore",
    "httpcore2",
    "httpx",
    "httpx2",
    "openai",
    "paramiko",
    "slack_bolt",
    "slack_sdk",
    "sqlalchemy",
)
# Every failure of theirs reaches us as an exception; they log it as a traceback besides.
_SILENT = ("paramiko",)
_MAX_DEPTH = 6
_SHOWN_CHARS = 300
# Bolt puts whole request bodies, signatures included, into some of its messages (seen with 1.30: a bad signature at
# INFO, an unhandled request at WARNING).
_REQUEST = re.compile(r"[\s:(,]*(?:body|headers|payload|\{).*", re.IGNORECASE | re.DOTALL)


def configure(
    format: str, level: str, redactor: Redactor, *, stream: TextIO | None = None, counting: Processor | None = None
) -> None:
    """Send every log line, our own and the libraries', to `stream` (stderr).

    Args:
        format: `console`, `json`, or `auto`: console if the stream is a terminal.
        level: The least level of our own lines: debug, info, warning or error. Of libraries only warnings and errors
            are logged, of paramiko not even these.
        counting: Sees every event of ours first, also those below the level.
    """
    stream = stream or sys.stderr
    console = format == "console" or (format == "auto" and stream.isatty())
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(processors=_ending(console, stream, redactor), foreign_pre_chain=shared)
    )
    handler.addFilter(_without_requests)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level.upper())
    for name in _LIBRARIES:
        logging.getLogger(name).setLevel(max(_least(name), root.level))
    structlog.configure(
        processors=[
            *([counting] if counting else []),
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def _ending(console: bool, stream: TextIO, redactor: Redactor) -> list[Processor]:
    """Return the last processors: tracebacks become text before redaction, and nothing is added after it."""
    renderer: Processor = structlog.processors.JSONRenderer(default=repr)
    if console:
        renderer = structlog.dev.ConsoleRenderer(colors=stream.isatty(), pad_event_to=30)

    def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        return {key: _redacted(value, redactor, _MAX_DEPTH) for key, value in event.items()}

    return [
        structlog.stdlib.ProcessorFormatter.remove_processors_meta,
        structlog.processors.format_exc_info,
        redact,
        renderer,
    ]


def _redacted(value: Any, redactor: Redactor, depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return redactor.text(value)
    if depth and isinstance(value, dict):
        return {str(key): _redacted(item, redactor, depth - 1) for key, item in value.items()}
    if depth and isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return redactor.texts(value)  # lines of one text may share a secret
    if depth and isinstance(value, list | tuple | set | frozenset):
        return [_redacted(item, redactor, depth - 1) for item in _ordered(value)]
    return redactor.text(repr(value))


def _ordered(values: Iterable[Any]) -> Iterable[Any]:
    return sorted(values, key=repr) if isinstance(values, set | frozenset) else values


def _least(library: str) -> int:
    return logging.CRITICAL if library in _SILENT else logging.WARNING


def _without_requests(record: logging.LogRecord) -> bool:
    """Drop libraries' chatter, and cut requests out of what Bolt says."""
    library = record.name.partition(".")[0]
    if library in _LIBRARIES and record.levelno < _least(library):
        return False
    if library == "slack_bolt":
        said = record.getMessage()
        record.msg = _REQUEST.sub(" [request left out]", said, count=1)[:_SHOWN_CHARS]
        record.args = ()
    return True
