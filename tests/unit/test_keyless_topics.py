"""Every topic of the keyless model names a tool that is there, with arguments it takes."""

import json
from typing import get_args

import pytest
from opsbot_tools.host_history import Word

from opsbot.adapters import keyless_topics
from opsbot.adapters.keyless import _WRITES
from opsbot.adapters.keyless_topics import TOPICS, topic_of
from opsbot.discovery import SHIPPED_TOOLS, load_tools
from opsbot.schema import parse_arguments

SHIPPED = load_tools([SHIPPED_TOOLS])


@pytest.mark.parametrize("topic", TOPICS, ids=lambda topic: topic.tool)
def test_every_topic_names_a_tool_and_arguments_it_takes(topic) -> None:
    tool = SHIPPED.get(topic.tool)
    assert tool.takes_host
    _, arguments = parse_arguments(tool, json.dumps({"hosts": ["a"], **topic.arguments}))
    assert dict(topic.arguments).items() <= arguments.items()


@pytest.mark.parametrize("name", ["list_hosts", "server_status", "service_status", "service_logs", "reboot_host"])
def test_tools_of_plain_requests_exist(name: str) -> None:
    assert SHIPPED.get(name).name == name


def test_tools_that_write_exist() -> None:
    assert {SHIPPED.get(name).name for name in _WRITES.values()} == set(_WRITES.values())


def test_every_metric_of_the_history_has_words() -> None:
    assert {metric for _, metric in keyless_topics._METRICS} == set(get_args(Word))


@pytest.mark.parametrize(
    ("words", "hours"),
    [
        ("memory over the last hour", 1),
        ("memory over the last day", 24),
        ("memory in the past 3 days", 72),
        ("memory over the last 999 weeks", 336),
        ("memory over the last 0 hours", None),
        ("memory trend", None),
    ],
)
def test_the_time_asked_for_is_one_the_tool_takes(words: str, hours: int | None) -> None:
    topic = topic_of(words)
    assert topic is not None
    assert topic.arguments["hours"] == hours
    wanted = {name: value for name, value in topic.arguments.items() if value is not None}
    parse_arguments(SHIPPED.get(topic.tool), json.dumps({"hosts": ["a"], **wanted}))


def test_how_long_a_service_is_down_is_no_question_about_the_host() -> None:
    topic = topic_of("how long has the service been down on the server")
    assert topic is None or topic.tool != "host_history"
