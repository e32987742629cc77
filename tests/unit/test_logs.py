"""Rules of the log: secrets and requests never get in, libraries keep quiet, JSON is one object a line."""

import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from opsbot.logs import configure
from opsbot.redact import Redactor

CANARY = "canary-secret-value-1"


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def logged(format: str = "json", level: str = "info") -> io.StringIO:
    stream = io.StringIO()
    configure(format, level, Redactor([CANARY]), stream=stream)
    return stream


def lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_json_line_has_event_level_time_and_bound_ids() -> None:
    stream = logged()
    with structlog.contextvars.bound_contextvars(thread_id="T/C/1"):
        structlog.get_logger("opsbot.x").info("tool.finished", duration_s=1.5, hosts=("a", "b"))
    (line,) = lines(stream)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "tool.finished",
        "level": "info",
        "logger": "opsbot.x",
        "thread_id": "T/C/1",
        "duration_s": 1.5,
        "hosts": ["a", "b"],
    }


@pytest.mark.parametrize("format", ["json", "console"])
def test_secret_is_hidden_wherever_it_stands(format: str) -> None:
    stream = logged(format)
    log = structlog.get_logger()
    log.info(CANARY, key=CANARY, deep={"a": [{"b": (CANARY,)}]}, other={CANARY}, thing=ValueError(CANARY))
    try:
        raise RuntimeError(CANARY)
    except RuntimeError:
        log.exception("event.failed")
        logging.getLogger("someone").exception("failed with %s", CANARY)
    logging.getLogger("slack_sdk").error("token %s", CANARY)
    with structlog.contextvars.bound_contextvars(bound=CANARY):
        log.warning("x")
    text = stream.getvalue()
    assert CANARY not in text
    assert text.count("[redacted]") >= 10
    assert "RuntimeError" in text


def test_level_is_the_least_of_our_own_lines() -> None:
    stream = logged(level="warning")
    structlog.get_logger().info("quiet")
    structlog.get_logger().warning("loud")
    assert [line["event"] for line in lines(stream)] == ["loud"]


@pytest.mark.parametrize("name", ["slack_bolt.AsyncApp", "slack_sdk.web", "openai", "httpx2"])
def test_libraries_speak_only_when_something_is_wrong(name: str) -> None:
    stream = logged(level="debug")
    logger = logging.getLogger(name)
    # Bolt gives its loggers levels of their own.
    level = logger.level
    logger.setLevel(logging.DEBUG)
    logger.info("chatter")
    logger.warning("trouble")
    logger.setLevel(level)
    assert [line["event"] for line in lines(stream)] == ["trouble"]


def test_failures_of_ssh_are_not_logged_as_tracebacks_besides() -> None:
    stream = logged(level="debug")
    logging.getLogger("paramiko.transport").error("Traceback (most recent call last):")
    assert lines(stream) == []


@pytest.mark.parametrize(
    "said",
    [
        'Invalid request signature (signature: v0=x, body: {"text":"private words"})',
        'Unhandled request ({"type":"event_callback","text":"private words"})',
        "Failed, headers: {'x': 'private words'}",
    ],
)
def test_bolts_request_bodies_stay_out(said: str) -> None:
    stream = logged()
    logging.getLogger("slack_bolt.App").warning(said)
    (line,) = lines(stream)
    assert "private words" not in line["event"]
    assert line["event"].endswith("[request left out]")


def test_auto_is_json_unless_a_terminal() -> None:
    stream = logged("auto")
    structlog.get_logger().info("x")
    assert lines(stream)[0]["event"] == "x"
