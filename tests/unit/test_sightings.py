"""When and how something was seen, as the model is told it."""

import re
from datetime import UTC, datetime

import pytest

from opsbot import Context, Host, tool
from opsbot.actions import Catalogue
from opsbot.discovery import SHIPPED_TOOLS, Registry, load_tools
from opsbot.domain import ServiceManager, ToolCall
from opsbot.errors import ToolDefinitionError
from opsbot.inventory import Inventory
from opsbot.sightings import sighting, typed_command

AT = datetime(2026, 11, 28, 3, 4, 5, 678900, tzinfo=UTC)
HOSTS = {
    "alpha": Host("alpha", units=("one.service",)),
    "omega": Host("omega", units=("one",), service_manager=ServiceManager.SUPERVISORD),
}


@pytest.mark.parametrize(
    ("template", "arguments", "typed"),
    [
        ("", {"unit": "one"}, ""),
        ("df -h[; du -x {path}]", {"path": None}, "df -h"),
        ("df -h[; du -x {path}]", {"path": "/var/lib"}, "df -h; du -x /var/lib"),
        ("[systemctl status {unit}]", {}, ""),
        ("tail -n {lines} {unit}", {"lines": 5, "unit": "a; rm -rf $(b)"}, "tail -n 5 'a; rm -rf $(b)'"),
        ("look {unit}", {"unit": "{lines}[x]", "lines": 3}, "look '{lines}[x]'"),
    ],
)
def test_a_command_is_filled_with_quoted_arguments_and_without_what_was_not_given(template, arguments, typed):
    assert typed_command(template, arguments) == typed


def test_a_look_says_when_and_how():
    assert _seen("service_logs", '{"hosts": ["alpha"], "unit": "one", "lines": 7}') == {
        "at": "2026-11-28T03:04:05Z",
        "by_hand": "journalctl -u one.service -n 7",
    }


def test_no_command_of_systemd_is_named_where_another_manager_runs_the_services():
    assert _seen("service_logs", '{"hosts": ["omega"], "unit": "one"}') == {"at": "2026-11-28T03:04:05Z"}


def test_every_reading_tool_that_runs_commands_on_a_host_says_what_to_type_or_compares():
    silent = {tool.name for tool in load_tools([SHIPPED_TOOLS]).tools if tool.risk == "read" and not tool.by_hand}
    assert silent == {
        "certificate_expiry",  # three ways of looking, by the kind of certificate
        "compare_hosts",
        "dns_check",
        "host_history",
        "http_check",
        "list_hosts",
        "search_runbooks",
        "similar_incidents",
        "tcp_check",
        "whats_changed",
    }


def test_a_command_names_only_arguments_that_the_tool_takes():
    with pytest.raises(ToolDefinitionError, match=re.escape("by_hand names unit, which it does not take.")):

        @tool(risk="read", by_hand="systemctl status {unit}")
        def look(ctx: Context, host: Host) -> str:
            """Look."""
            return ""


def _seen(name: str, arguments: str) -> dict[str, object]:
    catalogue = Catalogue(Registry(load_tools([SHIPPED_TOOLS]).tools), Inventory(HOSTS, {}))
    return dict(sighting(catalogue.from_call(ToolCall("c1", name, arguments)), AT))
