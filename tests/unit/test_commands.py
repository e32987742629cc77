"""The grammar of `/ops`."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsbot import command_forms, grammar
from opsbot.commands import Ask, Explain, Help, ListApprovals, ListTools, Propose, Read, Reset
from opsbot.discovery import SHIPPED_TOOLS, load_tools
from opsbot.domain import Risk
from opsbot.errors import BadArguments
from opsbot.grammar import parse

SHIPPED = load_tools([SHIPPED_TOOLS])


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("status web-1", Read("server_status", ("web-1",))),
        ("STATUS all", Read("server_status", ("all",))),
        ("  status   web-1   db  ", Read("server_status", ("web-1", "db"))),
        ("services web", Read("service_status", ("web",))),
        ("service nginx web-1 web-2", Read("service_status", ("web-1", "web-2"), (("unit", "nginx"),))),
        ("logs nginx web-1", Read("service_logs", ("web-1",), (("unit", "nginx"),))),
        ("logs nginx web-1 20", Read("service_logs", ("web-1",), (("unit", "nginx"), ("lines", 20)))),
        ("restart nginx web-1", Propose("restart_service", ("web-1",), (("unit", "nginx"),))),
        (
            "restart nginx web-1 web-2 because it leaks",
            Propose("restart_service", ("web-1", "web-2"), (("unit", "nginx"),), "it leaks"),
        ),
        ("changes web 6", Read("whats_changed", ("web",), (("hours", 6),))),
        ("history load web 48", Read("host_history", ("web",), (("metric", "load"), ("hours", 48)))),
        ("stop nginx web-1", Propose("stop_service", ("web-1",), (("unit", "nginx"),))),
        ("reboot web-1 because of the kernel", Propose("reboot_host", ("web-1",), (), "of the kernel")),
        ("do my_tool web-1 count=3 name=x", Propose("my_tool", ("web-1",), (("count", "3"), ("name", "x")))),
        ("do my_tool", Propose("my_tool", ())),
        ("hosts", Read("list_hosts")),
        ("runbook 502 bad gateway?", Read("search_runbooks", (), (("query", "502 bad gateway?"),))),
        ("incidents checkout slow because", Read("similar_incidents", (), (("query", "checkout slow because"),))),
        ("tools", ListTools()),
        ("approvals", ListApprovals()),
        ("explain A7K3", Explain("A7K3")),
        ("ask what is wrong with web-1?", Ask("what is wrong with web-1?")),
        ("reset", Reset()),
        ("help", Help()),
        ("help me", Help()),
    ],
)
def test_every_word(text, command):
    assert parse(text) == command


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "Usage: `help`"),
        ("statsu web-1", "Did you mean `status`?"),
        ("rm -rf /", "is not a command"),
        ("status", "Usage: `status HOST|GROUP|all`"),
        ("restart nginx", "Usage: `restart UNIT HOST"),
        ("restart nginx web-1 because", "no reason after `because`"),
        ("restart nginx because it leaks", "Usage: `restart"),
        ("logs nginx", "Usage: `logs"),
        ("do", "Usage: `do TOOL"),
        ("history load", "Usage: `history METRIC"),
        ("reboot because", "no reason after `because`"),
        ("explain", "Usage: `explain ID`"),
        ("reset everything", "takes nothing after it"),
        ("ask", "Usage: `ask TEXT`"),
        ("runbook", "Usage: `runbook WORDS`"),
        ("incidents ", "Usage: `incidents WORDS`"),
        ("status " + "x" * 1000, "too long"),
    ],
)
def test_a_wrong_line_is_told_what_is_expected(text, says):
    with pytest.raises(BadArguments) as caught:
        parse(text)
    assert says in str(caught.value)


@given(st.text(max_size=200))
def test_any_text_is_a_command_or_a_readable_refusal(text):
    with suppress(BadArguments):  # any other exception fails the test
        parse(text)


@pytest.mark.parametrize("form", [*command_forms.READING, *command_forms.WRITING], ids=lambda form: form.usage.words)
def test_every_form_names_a_tool_and_arguments_that_exist(form):
    tool = SHIPPED.get(form.tool)
    arguments = {parameter.name for parameter in tool.parameters}
    assert tool.takes_host
    assert {*form.first, *([form.last] if form.last else [])} <= arguments
    required = {parameter.name for parameter in tool.parameters if parameter.required}
    assert required <= set(form.first)
    assert (tool.risk is Risk.READ) == (form in command_forms.READING)


def test_every_usage_line_has_a_parser_and_back():
    assert set(command_forms.WORDS) == set(grammar._PARSERS)
