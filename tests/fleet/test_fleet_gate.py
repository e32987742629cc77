"""The gate on a real host with systemd: every look of the tools goes through it, nothing that acts does."""

import shlex
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from opsbot.adapters.local import LocalShell
from opsbot.adapters.machines import HostMachines
from opsbot.adapters.ssh import ParamikoShell
from opsbot.adapters.ssh_keys import public_key_of
from opsbot.cli_gate import all_looks
from opsbot.context import Context
from opsbot.domain import Host, HostOutcome, Impact, Result, Risk, UnitVerb
from opsbot.errors import ToolError
from opsbot.gate import PATH, gate_for, key_line
from opsbot.root_commands import reboot_command, unit_command
from opsbot.tooling import Container, Unit
from tests.safety.gates import REFUSED, REGISTRY
from tests.ssh_servers import new_key

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

FLEET = str(Path(__file__).resolve().parent / "fleet")
NGINX = "nginx.service"
ARGUMENTS: dict[str, object] = {
    "unit": Unit(NGINX),
    "container": Container("web"),
    "path": "/etc",
    "hours": 1,
    "lines": 5,
    "pid": 1,
    "started_ticks": 1,
}
NOT_ON_HOSTS = ("host_history", "http_check", "tcp_check")


@pytest.fixture
def h1(fleet, fleet_hosts, tmp_path: Path, as_root: Callable[..., str]) -> Iterator[Host]:
    """The first host, where `viewer` looks through the gate and `bot` acts."""
    host = replace(
        fleet_hosts["h1"],
        read_user="viewer",
        read_key_file=str(new_key(tmp_path / "reads")),
        config_files=("/etc/hosts",),
        containers=("web",),
    )
    line = key_line(host, public_key_of(host.read_key_file))
    script = gate_for(host, all_looks(host, REGISTRY), line=line)
    keys = "/etc/ssh/authorized_keys/viewer"
    install = f"mkdir -p {Path(PATH).parent}; cat > {PATH}; chmod 755 {PATH}"
    subprocess.run([FLEET, "exec", "h1", "sh", "-c", install], input=script, text=True, check=True)
    as_root("h1", "sh", "-c", f"cp {keys} /root/viewer.keys; echo {shlex.quote(line)} >> {keys}")
    as_root("h1", "gpasswd", "-a", "viewer", "systemd-journal")
    yield host
    as_root("h1", "sh", "-c", f"cat /root/viewer.keys > {keys}; rm -rf {Path(PATH).parent} /root/viewer.keys")
    as_root("h1", "gpasswd", "-d", "viewer", "systemd-journal")


@pytest.fixture
def machines(h1: Host) -> Iterator[HostMachines]:
    machines = HostMachines(ParamikoShell(find={"h1": h1}.get), LocalShell())
    yield machines
    machines.close()


def refusals(as_root: Callable[..., str]) -> list[str]:
    said = as_root("h1", "journalctl", "--no-pager", "-q", "-o", "cat", "-t", "opsbot-gate")
    return said.splitlines()


def test_every_look_of_every_tool_goes_through(h1: Host, machines: HostMachines, as_root: Callable[..., str]) -> None:
    before = len(refusals(as_root))
    answered = []
    for tool in (tool for tool in REGISTRY.tools if tool.takes_host and tool.name not in NOT_ON_HOSTS):
        wanted = {parameter.name for parameter in tool.parameters}
        arguments = {name: value for name, value in ARGUMENTS.items() if name in wanted}
        for part in (tool.function if tool.risk is Risk.READ else None, tool.impact, tool.available):
            if part is not None:
                with suppress(ToolError):
                    part(Context(machines, timeout_s=60, hosts=(h1,)), h1, **arguments)
                    answered.append(tool.name)
    assert refusals(as_root)[before:] == []
    assert {"server_status", "service_status", "service_logs", "restart_service", "whats_changed"} <= set(answered)
    assert machines.services(h1).logs(NGINX, lines=5, timeout_s=30)


def test_nothing_that_acts_goes_through_and_an_approved_action_does(
    h1: Host, machines: HostMachines, as_root: Callable[..., str]
) -> None:
    before = machines.services(h1).show(NGINX, timeout_s=30)
    for words in (*(unit_command(verb, NGINX) for verb in UnitVerb), reboot_command()):
        for root in ((), ("sudo", "-n")):
            assert machines.run(h1, (*root, *words), timeout_s=30).exit_status == REFUSED
    assert machines.services(h1).show(NGINX, timeout_s=30).invocation_id == before.invocation_id
    assert len(refusals(as_root)) >= 12

    restart = REGISTRY.get("restart_service")
    assert restart.impact is not None
    assert restart.verify is not None
    card: Impact = restart.impact(Context(machines, timeout_s=60), h1, unit=Unit(NGINX))
    restart.function(Context(machines, timeout_s=60), replace(h1, acting=True), unit=Unit(NGINX))
    outcome: HostOutcome = restart.verify(Context(machines, timeout_s=90), h1, card, unit=Unit(NGINX))
    assert outcome.result is Result.DONE
    assert machines.services(h1).show(NGINX, timeout_s=30).invocation_id != before.invocation_id
