"""The container tools: two engines' real outputs, each refusal with its way out, bounds, and nothing secret."""

import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opsbot_tools.docker import docker_containers, docker_logs, parse_containers

from opsbot.adapters.machines import HostMachines
from opsbot.context import Context
from opsbot.domain import CommandResult, Host
from opsbot.errors import BadArguments, ToolError
from opsbot.tooling import Container
from tests.fake_machines import FakeMachines
from tests.recordings import ReplayShell

HOST = Host("box-1")
NOW = datetime(2026, 11, 23, 4, 0, tzinfo=UTC)


def replayed(name: str) -> Context:
    shell = ReplayShell(name)
    return Context(HostMachines(shell, shell), timeout_s=30)


class Said(FakeMachines):
    """Every command gets this answer."""

    def __init__(self, stdout: str = "", *, stderr: str = "", exit_status: int = 0) -> None:
        super().__init__()
        self._said = (exit_status, stdout, stderr)

    def run(self, host, argv, *, timeout_s, max_bytes=65536, stdin=""):
        return CommandResult(tuple(argv), *self._said)


def said(stdout: str = "", **kwargs) -> Context:
    return Context(Said(stdout, **kwargs), timeout_s=30)


def listing(*items: dict, inspected: str = "") -> str:
    lines = "\n".join(json.dumps(item) for item in items)
    return f"@@opsbot engine docker\n{lines}\n\n@@opsbot inspected\n{inspected}"


def row(context: Context) -> dict:
    (entry,) = docker_containers.function(context, HOST)["containers"]
    return entry


@pytest.mark.parametrize(("recording", "engine"), [("docker-28", "docker"), ("podman-4", "podman")])
def test_both_engines_are_read_alike(recording, engine):
    result = docker_containers.function(replayed(recording), HOST)
    assert result["engine"] == engine
    assert [(c["name"], c["state"], c["exit_status"], c["health"]) for c in result["containers"]] == [
        ("done-1", "exited", 3, ""),
        ("hc", "running", None, "starting"),
        ("t1", "running", None, ""),
        ("web", "running", None, ""),
    ]
    assert {c["restarts"] for c in result["containers"]} == {0}
    assert all(c["for_s"] >= 0 and c["image"] == "localhost/bb:1" for c in result["containers"])
    assert docker_containers.table({"box-1": result}).rows[0][:3] == ("box-1", "done-1", "exited (status 3)")


@pytest.mark.parametrize("recording", ["docker-28", "podman-4"])
def test_no_command_line_or_environment_leaves_the_host_tool(recording):
    assert "sleep" not in json.dumps(docker_containers.function(replayed(recording), HOST))


@pytest.mark.parametrize("recording", ["docker-28", "podman-4"])
def test_both_streams_of_a_log_are_read_in_order(recording):
    result = docker_logs.function(replayed(recording), HOST, Container("done-1"), 5)
    assert [line.split(" UTC ")[1] for line in result["lines"]] == ["out", "err"]
    assert len(docker_logs.function(replayed(recording), HOST, Container("t1"), 5)["lines"]) == 5


@pytest.mark.parametrize("recording", ["docker-28", "podman-4"])
def test_an_unknown_container_is_named_with_those_there_are(recording):
    with pytest.raises(ToolError, match=r"there is no container nope; there are: .*done-1"):
        docker_logs.function(replayed(recording), HOST, Container("nope"), 5)


def test_a_sick_container_comes_first_with_its_reason():
    inspected = (
        '"/a" 0 0 false "2026-11-23T03:00:00.5Z" "0001-01-01T00:00:00Z" healthy\n'
        '"/b" 12 137 true "2026-11-23T03:00:00Z" "2026-11-23T03:30:00Z" \n'
        '"/c" 3 0 false "2026-11-23T03:00:00Z" "0001-01-01T00:00:00Z" unhealthy\n'
    )
    ports = "0.0.0.0:80->80/tcp, [::]:80->80/tcp"
    items = [
        {"ID": "1", "Names": "a", "State": "running", "Status": "Up 1 hour (healthy)", "Image": "x", "Ports": ports},
        {"ID": "2", "Names": "b", "State": "exited", "Status": "Exited (137) 30 minutes ago", "Image": "x"},
        {"ID": "3", "Names": "c", "State": "running", "Status": "Up 1 hour (unhealthy)", "Image": "x"},
    ]
    _, found = parse_containers(listing(*items, inspected=inspected), NOW)
    by_name = {entry["name"]: entry for entry in found}
    assert by_name["a"]["ports"] == ["0.0.0.0:80->80/tcp", "[::]:80->80/tcp"]
    assert (by_name["b"]["for_s"], by_name["b"]["restarts"], by_name["b"]["oom_killed"]) == (1800, 12, True)
    result = docker_containers.function(said(listing(*items, inspected=inspected)), HOST)
    assert [entry["name"] for entry in result["containers"]] == ["b", "c", "a"]
    rows = docker_containers.table({"box-1": result}).rows
    assert rows[0][2] == "exited (killed for want of memory, status 137)"
    assert rows[1][2] == "running (unhealthy)"


def test_podmans_ports_are_spelled_like_dockers():
    port = {"host_ip": "", "container_port": 80, "host_port": 8080, "range": 1, "protocol": "tcp"}
    item = {"Id": "1", "Names": ["web"], "State": "running", "Image": "x", "Ports": [port]}
    _, (entry,) = parse_containers(f"@@opsbot engine podman\n{json.dumps([item])}\n\n@@opsbot inspected\n", NOW)
    assert entry["ports"] == ["0.0.0.0:8080->80/tcp"]


def test_what_inspect_did_not_say_is_unknown_not_zero():
    entry = row(said(listing({"Names": "a", "Status": "Up 3 hours (unhealthy)", "Image": "x"})))
    assert (entry["state"], entry["health"]) == ("running", "unhealthy")
    assert entry["restarts"] is entry["exit_status"] is entry["for_s"] is entry["oom_killed"] is None


def test_no_containers_is_said_not_left_empty():
    result = docker_containers.function(said("@@opsbot engine docker\n\n@@opsbot inspected\n"), HOST)
    assert docker_containers.table({"box-1": result}).rows[0][:2] == ("box-1", "no containers")


def test_many_containers_are_bounded_and_counted():
    items = [{"Names": f"c{n}", "State": "running", "Image": "x" * 500, "Status": "Up"} for n in range(300)]
    result = docker_containers.function(said(listing(*items)), HOST)
    assert (len(result["containers"]), result["not_shown"]) == (40, 260)
    assert len(json.dumps(result)) < 20_000
    assert docker_containers.table({"box-1": result}).title == "260 more not shown"


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ({"exit_status": 127}, "neither docker nor podman is installed"),
        (
            {
                "exit_status": 1,
                "stderr": "permission denied while trying to connect to the Docker daemon socket at "
                "unix:///var/run/docker.sock",
            },
            "group docker would give it root",
        ),
        ({"exit_status": 124}, "its daemon may hang"),
        ({"exit_status": 1, "stderr": "Cannot connect to the Docker daemon\x1b[31m at x"}, "Cannot connect .* at x"),
        ({"exit_status": 9}, "status 9, and it said nothing"),
    ],
)
@pytest.mark.parametrize("call", [(docker_containers,), (docker_logs, Container("a"))])
def test_each_refusal_says_the_way_out(answer, expected, call):
    with pytest.raises(ToolError, match=expected) as raised:
        call[0].function(said(**answer), HOST, *call[1:])
    assert "\x1b" not in str(raised.value)


@pytest.mark.parametrize("lines", [0, -1, 201])
def test_the_number_of_lines_is_bounded(lines):
    with pytest.raises(BadArguments, match="1 to 200"):
        docker_logs.function(said(), HOST, Container("a"), lines)


def test_a_log_is_bounded_made_harmless_and_what_is_missing_counted():
    text = "\n".join(f"2026-11-23T03:00:00.1Z \x1b[2Jline {n} {'x' * 1500}" for n in range(200))
    result = docker_logs.function(said(text), HOST, Container("a"), 200)
    assert sum(map(len, result["lines"])) < 13_000
    assert result["lines_left_out"] == 200 - len(result["lines"])
    assert result["lines"][-1].startswith("2026-11-23 03:00:00 UTC line 199")
    assert "\x1b" not in json.dumps(result)


def test_the_container_name_is_a_word_of_its_own():
    machines = FakeMachines()
    docker_logs.function(Context(machines, timeout_s=9), HOST, Container("a"), 7)
    ((_, argv),) = machines.commands
    assert argv[3:] == ("sh", "a", "7")


@given(st.text(max_size=300), st.text(max_size=200))
def test_garbage_is_read_without_falling_over(head, tail):
    engine, found = parse_containers(f"{head}\n@@opsbot inspected\n{tail}", NOW)
    assert isinstance(engine, str)
    assert all(entry["name"] for entry in found)
