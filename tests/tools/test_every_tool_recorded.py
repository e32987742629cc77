"""Every shipped tool that reads from hosts does so on recorded outputs of two Debian releases, or of both engines.

A new tool without a row here fails; so does a row whose commands nobody recorded. A container's restart is recorded by
`python -m tests.tools.test_every_tool_recorded podman-4 "podman 4.3.1 of Debian 12"` where a container `web` runs.
"""

import json
import sys
from contextlib import suppress
from dataclasses import dataclass, replace

import pytest

from opsbot.adapters.local import LocalShell
from opsbot.adapters.machines import HostMachines
from opsbot.context import Context
from opsbot.discovery import SHIPPED_TOOLS, load_tools
from opsbot.domain import Host, HostOutcome, Impact, Result, Risk
from opsbot.errors import ToolError
from opsbot.tooling import Container, Tool, Unit
from tests.recordings import FOLDER, RecordingShell, ReplayShell

REGISTRY = load_tools([SHIPPED_TOOLS])
RELEASES = ("debian-12", "debian-13")
ENGINES = ("docker-28", "podman-4")
NGINX, BRITTLE = Unit("nginx.service"), Unit("brittle.service")
UNITS = ("nginx.service", "redis-server.service", "brittle.service")
FILES = ("/etc/hosts", "/etc/nginx/nginx.conf", "/etc/nope", "/etc/shadow")
HOST = Host(
    "box-1",
    user="bot",
    units=UNITS,
    containers=("web",),
    config_files=FILES,
    dns_names=("localhost", "nope.invalid"),
    certificates=("/etc/hosts", "/etc/shadow", "/etc/nope.pem"),
)


@dataclass(frozen=True, slots=True)
class Row:
    """How a tool is called on the recordings of each release, or of each engine, with that suffix."""

    suffix: str = ""
    arguments: tuple[object, ...] = ()
    engines: bool = False
    host: Host = HOST

    @property
    def recordings(self) -> tuple[str, ...]:
        return tuple(f"{name}{self.suffix}" for name in (ENGINES if self.engines else RELEASES))


ROWS = {
    "certificate_expiry": Row("-changes"),
    "compare_hosts": Row("-changes"),
    "disk_usage": Row("-resources", ("/usr/share",)),
    "dns_check": Row("-changes"),
    "docker_containers": Row(engines=True),
    "docker_logs": Row(engines=True, arguments=(Container("t1"), 5)),
    "kernel_messages": Row("-resources"),
    "kill_process": Row("-endings", host=replace(HOST, units=UNITS[:2])),
    "list_failed_units": Row("-processes"),
    "network_ports": Row("-processes"),
    "package_updates": Row("-resources"),
    "reboot_host": Row("-endings", host=replace(HOST, units=UNITS[:2])),
    "reload_service": Row("-writes", (NGINX,)),
    "reset_failed": Row("-writes", (BRITTLE,)),
    "restart_container": Row("-restart", engines=True, arguments=(Container("web"),)),
    "restart_service": Row("-writes", (NGINX,)),
    "server_status": Row(),
    "service_dependencies": Row("-processes", (NGINX,)),
    "service_logs": Row("", (BRITTLE, 50)),
    "service_status": Row("", (NGINX,)),
    "start_service": Row("-writes", (BRITTLE,)),
    "stop_service": Row("-writes", (Unit("dbus.service"),)),
    "timers_and_cron": Row("-changes"),
    "top_processes": Row("-processes", ("memory",)),
    "whats_changed": Row("-changes", (24,)),
}
# They ask from the bot's own machine, the store, or nobody: there is no host's output whose format could differ.
ASKS_NO_HOST: dict[str, tuple[object, ...]] = {
    "host_history": (HOST, "load"),
    "http_check": (HOST,),
    "list_hosts": (),
    "search_runbooks": ("disk full",),
    "similar_incidents": ("disk full",),
    "tcp_check": (HOST,),
}


class CountingReplay(ReplayShell):
    """Counts what was asked; an answer that was not recorded is a failure, not the tool's error."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.asked = 0

    def run(self, host, argv, *, timeout_s, max_bytes=65536, stdin=""):
        self.asked += 1
        try:
            return super().run(host, argv, timeout_s=timeout_s, max_bytes=max_bytes, stdin=stdin)
        except KeyError:
            pytest.fail(f"not recorded: {' '.join(argv)[:200]}")


def context(shell: ReplayShell) -> Context:
    return Context(HostMachines(shell, shell), timeout_s=60, hosts=(HOST,), sleep=lambda seconds: None)


def arguments_of(row: Row, shell: ReplayShell) -> tuple[object, ...]:
    """The recording of a process names the process."""
    about = shell.recorded_on
    return (int(about["pid"]), int(about["ticks"])) if "pid" in about else row.arguments


def looked(tool: Tool, row: Row, shell: ReplayShell) -> object:
    """What a read answers, or what a card would say and what the host says afterwards."""
    words = arguments_of(row, shell) if tool.name != "reboot_host" else ()
    if tool.risk is Risk.READ:
        return tool.function(context(shell), row.host, *words)
    assert tool.impact is not None
    assert tool.verify is not None
    before = tool.impact(context(shell), row.host, *words)
    return before, tool.verify(context(shell), row.host, before, *words)


def test_every_tool_has_a_row_or_asks_no_host() -> None:
    assert set(ROWS) | set(ASKS_NO_HOST) == set(REGISTRY.names)
    assert not set(ROWS) & set(ASKS_NO_HOST)


CASES = [
    pytest.param(name, recording, id=f"{name}-{recording}")
    for name, row in ROWS.items()
    for recording in row.recordings
]


@pytest.mark.parametrize(("name", "recording"), CASES)
def test_a_recorded_host_is_read(name: str, recording: str) -> None:
    shell = CountingReplay(recording)
    found = looked(REGISTRY.get(name), ROWS[name], shell)
    assert shell.asked
    if REGISTRY.get(name).risk is Risk.READ:
        assert isinstance(found, dict)
        assert json.loads(json.dumps(found, default=str))
    else:
        before, outcome = found  # type: ignore[misc]
        assert isinstance(before, Impact)
        assert before.facts
        assert before.fingerprint
        assert isinstance(outcome, HostOutcome)
        # Nothing was done in between: only what was so already may be called done, and nothing unknown.
        assert outcome.result is not Result.UNKNOWN, outcome


@pytest.mark.parametrize("name", sorted(ASKS_NO_HOST))
def test_a_tool_without_a_row_really_asks_no_host(name: str) -> None:
    shell = CountingReplay("debian-12")
    with suppress(ToolError):
        REGISTRY.get(name).function(context(shell), *ASKS_NO_HOST[name])
    assert shell.asked == 0


@pytest.mark.parametrize("release", RELEASES)
def test_each_recording_was_made_on_the_release_it_is_named_after(release: str) -> None:
    for path in FOLDER.glob(f"{release}*.json"):
        content = json.loads(path.read_text(encoding="utf-8"))
        about = json.dumps(content.get("recorded_on", content.get("stdout", ""))).lower()
        assert f"debian {release[-2:]}" in about or f"debian gnu/linux {release[-2:]}" in about or release in about


@pytest.mark.parametrize("engine", ENGINES)
def test_a_restart_of_a_container_is_proved_by_its_start(engine: str) -> None:
    shell = CountingReplay(f"{engine}-restart")
    tool = REGISTRY.get("restart_container")
    assert tool.impact is not None
    assert tool.verify is not None
    after = tool.impact(context(shell), HOST, Container("web"))
    assert dict(after.facts)["engine"] == f"{engine.partition('-')[0]}, as the bot's own user"
    before = replace(after, fingerprint={**after.fingerprint, "started_at": "2026-11-01T00:00:00Z"})
    outcome = tool.verify(context(shell), HOST, before, Container("web"))
    assert (outcome.result, outcome.summary) == (Result.DONE, "web was restarted and is running")


def record(name: str, about: str) -> None:
    """Restart the container `web` of this machine's engine, as the tool does, and keep what the engine said."""
    shell = RecordingShell(LocalShell())
    machines = HostMachines(shell, shell)
    tool = REGISTRY.get("restart_container")
    assert tool.impact is not None
    tool.impact(Context(machines, timeout_s=60), HOST, Container("web"))
    tool.function(Context(machines, timeout_s=60), HOST, Container("web"))
    tool.impact(Context(machines, timeout_s=60), HOST, Container("web"))
    shell.save(f"{name}-restart", engine=about)
    shell.close()


if __name__ == "__main__":
    record(*sys.argv[1:])
