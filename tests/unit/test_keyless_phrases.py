"""What people say and what the keyless model makes of it; written before the router was tuned."""

import json
from datetime import UTC, datetime

import pytest

from opsbot.adapters.keyless import KeylessModel
from opsbot.adapters.keyless_router import LexicalRouter, Router, wordllama_router
from opsbot.domain import Actor, Connection, Host, Message, ToolCall, UserMessage
from opsbot.ports import ModelRequest, TextDelta, ToolSpec

HOSTS = (
    Host("laptop", connection=Connection.LOCAL, units=("demo",)),
    Host("web-1", groups=("web",), units=("nginx.service", "api.service")),
    Host("web-2", groups=("web",), units=("nginx.service",)),
    Host("db-1", groups=("databases",), units=("postgresql.service",)),
)
GROUPS = {"web": ("web-1", "web-2"), "databases": ("db-1",)}

_HOSTS_SCHEMA = {"type": "array", "items": {"type": "string"}}
_UNIT = {"unit": {"type": "string"}}


def spec(name: str, **properties: object) -> ToolSpec:
    return ToolSpec(name, name, {"type": "object", "properties": properties})


TOOLS = (
    spec("list_hosts", group={"type": "string"}),
    spec("server_status", hosts=_HOSTS_SCHEMA),
    spec("service_status", hosts=_HOSTS_SCHEMA, **_UNIT),
    spec("service_logs", hosts=_HOSTS_SCHEMA, **_UNIT, lines={"type": "integer"}),
    *(spec(f"{verb}_service", hosts=_HOSTS_SCHEMA, **_UNIT) for verb in ("restart", "start", "stop", "reload")),
    spec("reboot_host", hosts=_HOSTS_SCHEMA),
    spec("whats_changed", hosts=_HOSTS_SCHEMA),
    spec("compare_hosts", hosts=_HOSTS_SCHEMA),
    spec("top_processes", hosts=_HOSTS_SCHEMA, by={"type": "string"}),
    spec("network_ports", hosts=_HOSTS_SCHEMA, **_UNIT),
    spec("timers_and_cron", hosts=_HOSTS_SCHEMA),
    spec("kernel_messages", hosts=_HOSTS_SCHEMA),
    spec("package_updates", hosts=_HOSTS_SCHEMA),
    spec("certificate_expiry", hosts=_HOSTS_SCHEMA),
    spec("http_check", hosts=_HOSTS_SCHEMA),
    spec("dns_check", hosts=_HOSTS_SCHEMA),
    spec("docker_containers", hosts=_HOSTS_SCHEMA),
    spec("disk_usage", hosts=_HOSTS_SCHEMA),
    spec("search_runbooks", query={"type": "string"}),
    spec("similar_incidents", query={"type": "string"}),
    spec("host_history", hosts=_HOSTS_SCHEMA, metric={"type": "string"}, hours={"type": "integer"}),
)
NOW = datetime(2026, 11, 22, tzinfo=UTC)

# (phrase, tool, arguments): the call that must come out.
CALLS = [
    ("how is this machine?", "server_status", {"hosts": ["laptop"]}),
    ("How is this server doing", "server_status", {"hosts": ["laptop"]}),
    ("how are my servers", "server_status", {"hosts": ["all"]}),
    ("how are the servers doing today?", "server_status", {"hosts": ["all"]}),
    ("is everything ok?", "server_status", {"hosts": ["all"]}),
    ("status of web-1", "server_status", {"hosts": ["web-1"]}),
    ("how is web-1", "server_status", {"hosts": ["web-1"]}),
    ("check db-1 please", "server_status", {"hosts": ["db-1"]}),
    ("how much memory is free on web-2?", "server_status", {"hosts": ["web-2"]}),
    ("what is the load on the web group", "server_status", {"hosts": ["web"]}),
    ("is the disk full on db-1?", "server_status", {"hosts": ["db-1"]}),
    ("cpu usage of web-1 and web-2", "server_status", {"hosts": ["web-1", "web-2"]}),
    ("show me the uptime of all servers", "server_status", {"hosts": ["all"]}),
    ("what's wrong with web-1?", "server_status", {"hosts": ["web-1"]}),
    ("web-2 is slow", "server_status", {"hosts": ["web-2"]}),
    ("status", "server_status", {"hosts": ["all"]}),
    ("runbook for a full disk", "search_runbooks", {"query": "a full disk"}),
    ("is there a runbook about redis persistence?", "search_runbooks", {"query": "redis persistence"}),
    ("what do the runbooks say about expired certificates", "search_runbooks", {"query": "expired certificates"}),
    ("show me the nginx runbook", "search_runbooks", {"query": "show me the nginx"}),
    ("past incidents like checkout down", "similar_incidents", {"query": "checkout down"}),
    ("list my servers", "list_hosts", {}),
    ("which hosts do you know?", "list_hosts", {}),
    ("what servers are there", "list_hosts", {}),
    ("show the inventory", "list_hosts", {}),
    ("is nginx running on web-1?", "service_status", {"hosts": ["web-1"], "unit": "nginx"}),
    ("status of the nginx service on web-2", "service_status", {"hosts": ["web-2"], "unit": "nginx"}),
    ("is postgresql up?", "service_status", {"hosts": ["db-1"], "unit": "postgresql"}),
    ("how is the demo service", "service_status", {"hosts": ["laptop"], "unit": "demo"}),
    ("is sshd alive on db-1", "service_status", {"hosts": ["db-1"], "unit": "sshd"}),
    ("what services are running on web-1?", "service_status", {"hosts": ["web-1"]}),
    ("which services failed on db-1", "service_status", {"hosts": ["db-1"]}),
    ("when was nginx restarted on web-1?", "service_status", {"hosts": ["web-1"], "unit": "nginx"}),
    ("show me the logs of nginx on web-1", "service_logs", {"hosts": ["web-1"], "unit": "nginx"}),
    ("last 20 lines of the api log on web-1", "service_logs", {"hosts": ["web-1"], "unit": "api", "lines": 20}),
    ("what does postgresql say in its journal", "service_logs", {"hosts": ["db-1"], "unit": "postgresql"}),
    ("demo logs", "service_logs", {"hosts": ["laptop"], "unit": "demo"}),
    ("any errors in the nginx logs on web-2?", "service_logs", {"hosts": ["web-2"], "unit": "nginx"}),
    ("restart nginx on web-1", "restart_service", {"hosts": ["web-1"], "unit": "nginx"}),
    ("restart the demo service", "restart_service", {"hosts": ["laptop"], "unit": "demo"}),
    ("please restart api.service on web-1", "restart_service", {"hosts": ["web-1"], "unit": "api.service"}),
    ("can you restart postgresql?", "restart_service", {"hosts": ["db-1"], "unit": "postgresql"}),
    ("bounce nginx on web-1 and web-2", "restart_service", {"hosts": ["web-1", "web-2"], "unit": "nginx"}),
    ("restart nginx on the web group", "restart_service", {"hosts": ["web"], "unit": "nginx"}),
    ("stop nginx on web-1", "stop_service", {"hosts": ["web-1"], "unit": "nginx"}),
    ("please start api on web-1", "start_service", {"hosts": ["web-1"], "unit": "api"}),
    ("reload nginx on web-1 and web-2", "reload_service", {"hosts": ["web-1", "web-2"], "unit": "nginx"}),
    ("can you stop postgresql?", "stop_service", {"hosts": ["db-1"], "unit": "postgresql"}),
    ("reboot web-1", "reboot_host", {"hosts": ["web-1"]}),
    ("what changed on web-1?", "whats_changed", {"hosts": ["web-1"]}),
    ("any changes on the web group", "whats_changed", {"hosts": ["web"]}),
    ("compare web-1 and web-2", "compare_hosts", {"hosts": ["web-1", "web-2"]}),
    ("what is eating all the memory on db-1", "top_processes", {"hosts": ["db-1"], "by": "memory"}),
    ("what uses the disk on db-1?", "disk_usage", {"hosts": ["db-1"]}),
    ("what fills up all the space on db-1?", "disk_usage", {"hosts": ["db-1"]}),
    ("which process uses cpu on db-1?", "top_processes", {"hosts": ["db-1"]}),
    ("top processes on this machine", "top_processes", {"hosts": ["laptop"]}),
    ("who listens on db-1", "network_ports", {"hosts": ["db-1"]}),
    ("open ports on web-2", "network_ports", {"hosts": ["web-2"]}),
    ("cron jobs on db-1", "timers_and_cron", {"hosts": ["db-1"]}),
    ("was there an oom kill on db-1?", "kernel_messages", {"hosts": ["db-1"]}),
    ("are there security updates for web-1", "package_updates", {"hosts": ["web-1"]}),
    ("does web-2 need a reboot? is a reboot needed on web-2", "package_updates", {"hosts": ["web-2"]}),
    ("when do the certificates of all servers expire", "certificate_expiry", {"hosts": ["all"]}),
    ("run the health checks on all hosts", "http_check", {"hosts": ["all"]}),
    ("does dns work on db-1", "dns_check", {"hosts": ["db-1"]}),
    ("which containers run on web-1", "docker_containers", {"hosts": ["web-1"]}),
    ("largest directories on db-1", "disk_usage", {"hosts": ["db-1"]}),
    ("memory of db-1 over the last day", "host_history", {"hosts": ["db-1"], "metric": "memory", "hours": 24}),
    ("outages of web-1 in the last 3 days", "host_history", {"hosts": ["web-1"], "metric": "reachable", "hours": 72}),
    ("load history of this machine", "host_history", {"hosts": ["laptop"], "metric": "load"}),
    ("memory history of web-1", "host_history", {"hosts": ["web-1"], "metric": "memory"}),
    ("show me a chart of the load on web", "host_history", {"hosts": ["web"], "metric": "load"}),
    ("cpu on web-1 in the last 6 hours", "host_history", {"hosts": ["web-1"], "metric": "cpu", "hours": 6}),
    ("swap on db-1 over the past 2 weeks", "host_history", {"hosts": ["db-1"], "metric": "swap", "hours": 336}),
    ("since when is the disk of db-1 full?", "host_history", {"hosts": ["db-1"], "metric": "disk"}),
    ("since when is web-2 unreachable?", "host_history", {"hosts": ["web-2"], "metric": "reachable"}),
    ("how long has db-1 been down?", "host_history", {"hosts": ["db-1"], "metric": "reachable"}),
    (
        "outages of web-1 over the last 9 weeks",
        "host_history",
        {"hosts": ["web-1"], "metric": "reachable", "hours": 336},
    ),
    ("uptime trend of all servers", "host_history", {"hosts": ["all"], "metric": "uptime"}),
    ("since when has web-1 failed units?", "host_history", {"hosts": ["web-1"], "metric": "failed_units"}),
    ("since when is web-1 down", "host_history", {"hosts": ["web-1"], "metric": "reachable"}),
]

# (phrase, words that the answer must contain): a question back, never a call.
QUESTIONS = [
    ("restart it", ["service"]),
    ("restart", ["service"]),
    ("please restart the service", ["service"]),
    ("restart web-1", ["service", "nginx", "api"]),
    ("restart nginx", ["web-1", "web-2"]),
    ("restart everything", ["service"]),
    ("restart ngnix on web-1", ["nginx"]),
    ("restart nginx on web-3", ["web-3", "web-1"]),
    ("restart nginx on prod", ["prod"]),
    ("how is web1?", ["web-1"]),
    ("status of db-2", ["db-1"]),
    ("is nginx running?", ["web-1", "web-2"]),
    ("show me the logs", ["service"]),
    ("stop nginx", ["web-1", "web-2"]),
    ("stop everything", ["service"]),
    ("reboot", ["server"]),
    ("reboot all", ["server"]),
    ("reboot the web group", ["server"]),
    ("reboot web-9", ["web-9"]),
    ("what changed?", ["server"]),
]

# (phrase, a word of the answer): no call, no question about hosts.
TALK = [
    ("hello", "help"),
    ("hi there!", "help"),
    ("thanks!", "welcome"),
    ("thank you very much", "welcome"),
    ("who are you?", "opsbot"),
    ("help", "restart"),
    ("what can you do?", "restart"),
    ("tell me a joke", "help"),
    ("what is the weather in Paris", "help"),
    ("I had a great lunch today", "help"),
    ("write a poem about autumn", "help"),
    ("what do you think about football?", "help"),
    ("don't restart nginx on web-1", "help"),
    ("delete all logs on web-1", "cannot"),
    ("shut down web-1", "cannot"),
    ("kill nginx on web-1", "cannot"),
    ("do not reboot web-1", "help"),
    ("never stop nginx on web-1", "help"),
    ("install htop on db-1", "cannot"),
]

# Words of restarting that are no order to restart.
NO_ORDERS = [
    "why did nginx restart on its own every night like that, should I restart web-1 hmm?",
    "should I restart nginx on web-1?",
    "who restarted nginx on web-1?",
    "what happens when I restart nginx on web-1",
    "is it safe to restart nginx on web-1?",
    "never restart nginx on web-1",
    "tell me how to restart nginx on web-1",
    "nginx on web-1 was restarted by me",
    "restart nginx on web-1? better do not",
    "stop nginx on web-1? never",
    "runbook to restart nginx on web-1",
    "who stopped nginx on web-1",
    "should I reload nginx on web-1",
]


def routers() -> list[Router]:
    found: list[Router] = [LexicalRouter()]
    static = wordllama_router()
    return [*found, static] if static else found


def said(text: str) -> Message:
    return UserMessage(text, Actor("T1", "U1"), NOW)


async def reply(model: KeylessModel, *messages: Message) -> tuple[str, list[ToolCall]]:
    text, calls = "", []
    async for event in model.reply(ModelRequest("", messages, TOOLS)):
        if isinstance(event, TextDelta):
            text += event.text
        elif isinstance(event, ToolCall):
            calls.append(event)
    return text, calls


@pytest.fixture(params=routers(), ids=lambda router: type(router).__name__, scope="module")
def model(request: pytest.FixtureRequest) -> KeylessModel:
    return KeylessModel(lambda: HOSTS, lambda: GROUPS, router=request.param)


@pytest.mark.parametrize(("phrase", "tool", "arguments"), CALLS)
async def test_a_clear_request_becomes_one_call(model: KeylessModel, phrase, tool, arguments):
    text, calls = await reply(model, said(phrase))
    assert [call.tool for call in calls] == [tool], text
    assert json.loads(calls[0].arguments) == arguments


@pytest.mark.parametrize(("phrase", "words"), QUESTIONS)
async def test_a_vague_request_is_asked_about(model: KeylessModel, phrase, words):
    text, calls = await reply(model, said(phrase))
    assert calls == []
    assert "?" in text
    for word in words:
        assert word in text


@pytest.mark.parametrize(("phrase", "word"), TALK)
async def test_talk_calls_no_tool(model: KeylessModel, phrase, word):
    text, calls = await reply(model, said(phrase))
    assert calls == []
    assert word.lower() in text.lower()


@pytest.mark.parametrize("phrase", NO_ORDERS)
async def test_talk_about_restarting_is_no_order_to_restart(model: KeylessModel, phrase):
    _, calls = await reply(model, said(phrase))
    assert not {call.tool for call in calls} & {f"{verb}_service" for verb in ("restart", "start", "stop", "reload")}
