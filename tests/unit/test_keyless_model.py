"""The keyless model's conversation: what it tells of results, that it says what it is, and that it never guesses."""

import json
import socket
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsbot.adapters.keyless import HELP, NOTICE, KeylessModel
from opsbot.adapters.keyless_router import LexicalRouter, wordllama_router
from opsbot.adapters.keyless_words import summary
from opsbot.domain import Actor, AssistantMessage, Connection, Host, Message, ToolCall, ToolResult, Usage, UserMessage
from opsbot.ports import Done, ModelRequest, TextDelta, ToolSpec

NOW = datetime(2026, 11, 22, tzinfo=UTC)
ANN = Actor("T1", "UANN")
LAPTOP = Host("laptop", connection=Connection.LOCAL, units=("demo",))
WEB_1 = Host("web-1", groups=("web",), units=("nginx.service",))
WEB_2 = Host("web-2", groups=("web",), units=("nginx.service",))
SCHEMA = {"type": "object", "properties": {"hosts": {"type": "array"}, "unit": {"type": "string"}}}
TOOLS = tuple(ToolSpec(name, name, SCHEMA) for name in ("server_status", "service_status", "restart_service"))

STATUS = {
    "hostname": "web-1",
    "os": "Debian 12",
    "kernel": "6.1",
    "uptime_s": 1051200,
    "cpus": 2,
    "load_1m": 0.42,
    "load_5m": 0.4,
    "load_15m": 0.3,
    "cpu_percent": 12.0,
    "memory_total_bytes": 8 * 2**30,
    "memory_available_bytes": 5 * 2**30,
    "memory_used_percent": 37.5,
    "swap_total_bytes": 0,
    "swap_used_bytes": 0,
    "disks": [
        {
            "mount": "/",
            "size_bytes": 100 * 2**30,
            "available_bytes": 55 * 2**30,
            "used_percent": 45.0,
            "inodes_used_percent": 3.0,
        }
    ],
    "disks_not_shown": 0,
    "failed_units": [],
}
SERVICE = {
    "unit": "nginx.service",
    "load_state": "loaded",
    "active_state": "active",
    "sub_state": "running",
    "main_pid": 812,
    "restarts": 0,
    "active_for_s": 11000,
    "memory_bytes": 12 * 2**20,
    "may_be_restarted": True,
    "health": "passed",
}


def user(text: str) -> UserMessage:
    return UserMessage(text, ANN, NOW)


def model(*hosts: Host) -> KeylessModel:
    groups = {"web": ("web-1", "web-2")} if WEB_2 in hosts else {}
    return KeylessModel(lambda: hosts, lambda: groups, router=LexicalRouter())


async def answer(
    messages: Sequence[Message], *hosts: Host, tools: tuple[ToolSpec, ...] = TOOLS
) -> tuple[str, list[ToolCall]]:
    text, calls = "", []
    async for event in model(*(hosts or (LAPTOP, WEB_1, WEB_2))).reply(ModelRequest("", tuple(messages), tools)):
        if isinstance(event, TextDelta):
            text += event.text
        elif isinstance(event, ToolCall):
            calls.append(event)
    return text, calls


async def told(tool: str, result: Any, *, raw: str = "") -> str:
    """What people read of one result, without the notice."""
    history = [
        user("x"),
        AssistantMessage("", (ToolCall("c", tool, "{}"),)),
        ToolResult("c", raw or json.dumps(result)),
    ]
    text, calls = await answer(history)
    assert calls == []
    assert text.endswith(NOTICE)
    return text.removesuffix(NOTICE).strip()


# --- what it says about itself ---------------------------------------------------------------------------------------


async def test_the_first_answer_says_that_no_model_is_configured_and_how_to_change_that():
    text, _ = await answer([user("hello")])
    assert "No language model is configured" in text
    assert "OPENAI_API_KEY" in text
    assert "OPENAI_BASE_URL" in text


async def test_the_first_answer_after_a_tool_says_so_too_and_the_next_one_does_not():
    call = AssistantMessage("", (ToolCall("c", "server_status", "{}"),))
    history = [user("how is laptop"), call, ToolResult("c", json.dumps({"results": {"laptop": STATUS}}))]
    first, _ = await answer(history)
    assert first.count(NOTICE) == 1
    second, _ = await answer([*history, AssistantMessage(first), user("thanks")])
    assert NOTICE not in second


async def test_an_answer_comes_in_several_pieces_with_no_tokens_used():
    events = [event async for event in model(LAPTOP).reply(ModelRequest("", (user("help"),), TOOLS))]
    assert len([event for event in events if isinstance(event, TextDelta)]) > 3
    assert events[-2:] == [Usage(), Done("stop")]
    assert model(LAPTOP).name == "no model (keyless)"


async def test_it_is_deterministic():
    history = [user("how are my servers?")]
    once, again = await answer(history), await answer(history)
    assert [call.arguments for call in once[1]] == [call.arguments for call in again[1]]
    assert (await answer([user("hello")]))[0] == (await answer([user("hello")]))[0]


# --- the past --------------------------------------------------------------------------------------------------------

COURSE = {
    "now": 95.0,
    "last": "95% at 2026-11-22 12:00 UTC",
    "min": 40.0,
    "max": 95.0,
    "max_at": "2026-11-22 12:00 UTC",
    "mean": 60.0,
    "p95": 95.0,
    "trend": "rising by 10.0 points a day",
    "since": ["at or above 90% since 2026-11-22 11:00 UTC (1h 0m)"],
    "unreachable": [],
    "gaps": ["2026-11-22 03:00 UTC to 2026-11-22 04:00 (1h 0m)"],
    "samples": 1380,
    "note": "",
    "limit": 90.0,
}


async def test_a_history_is_told_in_a_line_per_server_and_who_gave_no_answer():
    down = COURSE | {"now": None, "trend": "", "since": [], "gaps": [], "mount": "/srv"}
    none = {"samples": 0, "note": "no samples yet"}
    servers = {"web-1": COURSE, "web-2": down, "db-1": none}
    history = {"metric": "memory used", "unit": "percent", "hours": 24, "servers": servers, "not_shown": 3}
    text = await told("host_history", {"all": history, "errors": {"lab-1": "The database is closed."}})
    assert text.splitlines() == [
        "Memory used over the last 24 h:",
        "- **web-1**: 95% now, between 40% and 95%; rising by 10.0 points a day; at or above 90% since "
        "2026-11-22 11:00 UTC (1h 0m); no samples 2026-11-22 03:00 UTC to 2026-11-22 04:00 (1h 0m) (1380 samples)",
        "- **web-2** `/srv`: last 95% at 2026-11-22 12:00 UTC, between 40% and 95% (1380 samples)",
        "- **db-1**: no samples yet",
        "- and 3 more",
        "",
        "**lab-1** gave no answer: The database is closed.",
    ]


async def test_a_history_in_another_form_is_listed_as_it_is():
    text = await told("host_history", {"all": {"metric": 5, "servers": []}})
    assert "- metric: 5" in text


async def test_what_a_tool_says_of_all_hosts_at_once_is_listed():
    text = await told("compare_hosts", {"all": {"same": 12, "differences": [{"fact": "kernel", "odd": "web-2"}]}})
    assert "- same: 12" in text
    assert "fact kernel, odd web-2" in text


async def test_a_status_says_since_when_it_is_so():
    status = STATUS | {"memory_used_percent": 95.0, "since": {"memory": "at or above 90% since 2026-11-22 11:00 UTC"}}
    text = await told("server_status", {"results": {"web-1": status}})
    assert "By what I kept: memory at or above 90% since 2026-11-22 11:00 UTC." in text


# --- never guessing --------------------------------------------------------------------------------------------------


async def test_on_a_single_host_this_machine_needs_no_name():
    for phrase in ("how is this machine?", "how is the server", "status", "how are my servers"):
        _, calls = await answer([user(phrase)], LAPTOP)
        assert [json.loads(call.arguments)["hosts"][0] for call in calls] in (["laptop"], ["all"]), phrase


async def test_this_machine_is_asked_for_if_the_bots_own_is_not_managed():
    text, calls = await answer([user("how is this machine?")], WEB_1, WEB_2)
    assert calls == []
    assert "web-1" in text


async def test_a_numbered_name_that_does_not_exist_is_not_passed_over():
    text, calls = await answer([user("is demo running, db-77?")], LAPTOP)
    assert calls == []
    assert "`db-77`" in text


async def test_a_service_on_two_hosts_is_asked_for_and_the_answer_is_understood():
    text, calls = await answer([user("restart nginx")])
    assert calls == []
    assert "`web-1` or `web-2`" in text
    _, calls = await answer([user("restart nginx"), AssistantMessage(text), user("web-2")])
    assert [json.loads(call.arguments) for call in calls] == [{"hosts": ["web-2"], "unit": "nginx"}]


async def test_restart_it_is_completed_by_the_next_message_only_with_both_names():
    asked, calls = await answer([user("restart it")])
    assert calls == []
    _, calls = await answer([user("restart it"), AssistantMessage(asked), user("nginx on web-1")])
    assert [call.tool for call in calls] == ["restart_service"]
    assert json.loads(calls[0].arguments) == {"hosts": ["web-1"], "unit": "nginx"}


async def test_a_name_given_later_without_a_question_before_restarts_nothing():
    _, calls = await answer([user("restart it"), AssistantMessage("All is quiet."), user("nginx on web-1")])
    assert "restart_service" not in [call.tool for call in calls]


async def test_only_tools_that_are_there_are_called():
    text, calls = await answer([user("how is laptop?")], tools=())
    assert calls == []
    assert "server_status" in text


async def test_parameters_a_tool_does_not_have_are_not_sent():
    bare = (ToolSpec("server_status", "", {"type": "object", "properties": {}}),)
    _, calls = await answer([user("how is laptop?")], tools=bare)
    assert calls[0].arguments == "{}"


@given(st.text(max_size=80), st.sampled_from(["restart ", "how is ", "logs of ", "is ", ""]))
async def test_every_name_in_a_call_is_a_name_of_the_inventory_or_of_the_message(noise, start):
    text, calls = await answer([user(start + noise)])
    assert bool(text) != bool(calls)
    for call in calls:
        arguments = json.loads(call.arguments)
        assert set(arguments["hosts"]) <= {"laptop", "web-1", "web-2", "web", "all"}
        if call.tool == "restart_service":
            assert arguments["unit"] in ("demo", "nginx", "nginx.service")
            assert arguments["unit"] in (start + noise).lower()


async def test_an_empty_inventory_is_said():
    silent = KeylessModel(list, dict, router=LexicalRouter())
    events = [event async for event in silent.reply(ModelRequest("", (user("how is the server?"),), TOOLS))]
    text = "".join(event.text for event in events if isinstance(event, TextDelta))
    assert "none is configured" in text


# --- what results become ---------------------------------------------------------------------------------------------


async def test_a_servers_status_is_one_readable_line():
    assert await told("server_status", {"results": {"web-1": STATUS}}) == (
        "**web-1** (Debian 12): up 12d 4h, load 0.42 on 2 CPUs, CPU 12%, memory 38% of 8.0 GiB used, no swap, "
        "fullest disk `/` at 45% (55 GiB free); failed services: none. Nothing stands out."
    )


async def test_what_is_worth_a_look_is_said():
    disk = {**STATUS["disks"][0], "used_percent": 97.0, "inodes_used_percent": 92.0}
    bad = {**STATUS, "load_5m": 7.1, "memory_used_percent": 95.0, "disks": [disk], "failed_units": ["x.service"]}
    text = await told("server_status", {"results": {"web-1": bad}})
    for words in ("above the number of CPUs", "memory is 95%", "`/` is 97% full", "inodes", "`x.service`"):
        assert words in text
    assert "Nothing stands out" not in text


async def test_unknown_facts_are_called_unknown():
    text = await told("server_status", {"results": {"web-1": {**STATUS, "cpu_percent": None, "failed_units": None}}})
    assert "CPU unknown" in text
    assert "failed services unknown" in text


async def test_hosts_that_gave_no_answer_are_named_beside_the_others():
    text = await told("server_status", {"results": {"web-1": STATUS}, "errors": {"web-2": "No connection."}})
    assert "- **web-1**" in text
    assert "- **web-2** gave no answer: No connection." in text


async def test_a_service_is_told_with_state_time_and_health():
    assert await told("service_status", {"results": {"web-1": SERVICE}}) == (
        "On **web-1**, `nginx.service` is active (running), for 3h 3m, PID 812, memory 12 MiB; health check: passed."
    )


async def test_a_failed_service_stands_out():
    failed = {**SERVICE, "active_state": "failed", "sub_state": "failed", "result": "exit-code", "exit_status": 3}
    text = await told("service_status", {"results": {"web-1": failed}})
    assert "**failed (failed)**" in text
    assert "result: exit-code, exit status 3" in text


async def test_a_service_that_does_not_exist_comes_with_similar_names():
    missing = {**SERVICE, "unit": "ngnix.service", "load_state": "not-found", "similar": ["nginx.service"]}
    text = await told("service_status", {"results": {"web-1": missing}})
    assert text == "**web-1** has no service `ngnix.service`. Similar names there: `nginx.service`."


async def test_a_list_of_services_is_a_list():
    text = await told("service_status", {"results": {"web-1": {"units": [SERVICE, SERVICE], "not_shown": 7}}})
    assert text.count("- `nginx.service` is active") == 2
    assert "and 7 more" in text


async def test_log_lines_stay_inside_their_block():
    lines = ["started", "``` <@U1> *click here* ```"]
    text = await told("service_logs", {"results": {"web-1": {"unit": "nginx.service", "lines": lines}}})
    assert text.count("```") == 2
    assert "started" in text


async def test_no_log_lines_is_an_answer():
    text = await told("service_logs", {"results": {"web-1": {"unit": "nginx.service", "lines": []}}})
    assert text == "`nginx.service` on **web-1** has no log lines there."


async def test_the_inventory_is_a_list():
    hosts = [{"name": "web-1", "environment": "prod", "groups": ["web"], "units_that_may_be_restarted": ["nginx"]}]
    text = await told("list_hosts", {"matching": 3, "not_shown": 2, "hosts": hosts})
    assert text == "I look after 3 servers:\n- **web-1**: prod; groups `web`; may restart `nginx`\n- and 2 more"


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("denied", "denied"),
        ("expired", "Nobody approved"),
        ("stale", "out of date"),
        ("failed", "**failed**"),
        ("unknown", "**unknown**"),
        ("done", "Done and verified"),
    ],
)
async def test_the_end_of_an_approval_is_told_as_the_record_has_it(state, words):
    outcome = {"host": "web-1", "result": state, "summary": "nginx.service is active", "evidence": "line 1\nline 2"}
    ran = state in ("failed", "unknown", "done")
    record = {"approval": "ab12", "state": state, "note": "", "outcomes": [outcome] if ran else []}
    text = await told("restart_service", {**record, "decided_by": ["<@UBOB>"]})
    assert words in text
    assert "UBOB" not in text  # the card names who decided; mentions in a model's words are not live
    assert ("nginx.service is active" in text) == ran
    assert ("line 2" in text) == (state in ("failed", "unknown"))
    assert ("Done" in text) == (state == "done")


async def test_an_error_is_told_as_an_error():
    assert await told("x", {"error": "No host named 'y'."}) == "That was not possible: No host named 'y'."


@pytest.mark.parametrize("tool", ["server_status", "service_status", "service_logs", "unknown_tool"])
async def test_results_of_an_unexpected_form_are_listed_as_they_are(tool):
    text = await told(tool, {"results": {"web-1": {"free_gb": 12, "nested": {"a": [1, 2]}}}})
    assert "free gb: 12" in text
    assert "web-1" in text


@pytest.mark.parametrize(
    "raw", ["not json", "[1, 2]", '"text"', "null", "{}", '{"results": 3}', '{"results": {"a": 1}}']
)
async def test_no_result_is_too_strange_to_be_told(raw):
    await told("server_status", None, raw=raw)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=8,
)


@given(JSON, st.sampled_from(["server_status", "service_status", "service_logs", "list_hosts", "other"]))
async def test_any_json_at_all_is_told_without_a_crash(value, tool):
    for result in (
        value,
        {"results": {"web-1": value}, "errors": value},
        {"hosts": value},
        {"approval": "x", "state": value},
    ):
        await told(tool, result)


async def test_several_results_are_told_one_after_the_other():
    calls = AssistantMessage("", (ToolCall("a", "server_status", "{}"), ToolCall("b", "service_status", "{}")))
    results = [
        ToolResult("a", json.dumps({"results": {"web-1": STATUS}})),
        ToolResult("b", json.dumps({"results": {"web-1": SERVICE}})),
    ]
    text, _ = await answer([user("x"), calls, *results])
    assert text.index("up 12d") < text.index("PID 812")


def test_the_help_names_every_kind_of_request():
    for words in ("how is this machine?", "list hosts", "is SERVICE running", "logs of SERVICE", "restart SERVICE"):
        assert words in HELP


def test_word_vectors_load_without_the_network(monkeypatch):
    def refuse(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    router = wordllama_router()
    if router is None:
        pytest.skip("the extra `router` is not installed")
    assert router.route("how is this machine?") == "status"


async def test_a_restart_on_all_is_never_narrowed_to_the_one_host_that_allows_it():
    text, calls = await answer([user("restart demo on all servers")])
    assert calls == []
    assert "`laptop`" in text


def test_any_tools_answer_is_told_with_units_and_bounded_lists():
    found = {
        "processes": [
            {"name": "one", "rss_bytes": 3 * 2**30, "cpu_percent": 41.2, "age_s": 90.0, "state": "", "zombie": False},
            *({"name": f"p{n}", "rss_bytes": n} for n in range(20)),
        ],
        "units": ["a.service", "b.service"],
        "hidden": 0,
        "unknown_thing": None,
        "errors": [],
    }
    content = json.dumps({"results": {"alpha": found}, "errors": {"beta": "no answer"}})
    text = summary([ToolResult("c1", content)], {"c1": "some_tool"})
    assert "  - name one, rss bytes 3.0 GiB, cpu percent 41%, age s 1m 30s" in text
    assert "  - and 9 more" in text
    assert "- units: a.service, b.service" in text
    assert "- hidden: 0" in text
    assert "unknown thing" not in text
    assert "**beta** gave no answer: no answer" in text


def test_an_empty_answer_says_so():
    content = json.dumps({"results": {"alpha": {"failed": []}}})
    assert "nothing to report" in summary([ToolResult("c1", content)], {"c1": "some_tool"})
