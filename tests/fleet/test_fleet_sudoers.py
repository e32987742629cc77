"""The printed sudo rules against the sudo of a real host: what the tools send is allowed, its neighbours are not."""

import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from opsbot.domain import Host, HostVerb, UnitVerb
from opsbot.root_commands import (
    container_log,
    container_look,
    container_restart,
    kill_command,
    reboot_command,
    unit_command,
)
from opsbot.sudoers import file_for

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(200)]

FLEET = str(Path(__file__).resolve().parent / "fleet")
USER = "opsbot-rules"
UNITS = ("nginx.service", "a:b.service", "getty@tty1.service", r"dev-disk-by\x2dlabel.service", r"a\\b.service")
HOST = Host("h1", user=USER, units=UNITS, containers=("web", "a.b-c_1"), actions=(*UnitVerb, *HostVerb))
Allowed = Callable[[Sequence[Sequence[str]]], list[bool]]


@pytest.fixture(scope="module")
def on_h1(fleet) -> Callable[[str], str]:
    return lambda script: subprocess.check_output([FLEET, "exec", "h1", "sh", "-c", script], text=True)


@pytest.fixture(scope="module")
def allowed(on_h1) -> Iterator[Allowed]:
    """Ask sudo on the host about commands, as a user for whom the printed file is the only rule."""
    file = shlex.quote(file_for(HOST))
    try:
        # sudo allows no command that does not exist, and the hosts have no engine.
        on_h1("for engine in docker podman; do ln -s /bin/true /usr/bin/$engine; done")
        on_h1(f"useradd -M {USER}; printf %s {file} > /root/rules; visudo -scf /root/rules")
        on_h1(f"install -o root -g root -m 0440 /root/rules /etc/sudoers.d/{USER}")
        yield lambda commands: _asked(on_h1, commands)
    finally:
        on_h1(f"rm -f /etc/sudoers.d/{USER} /root/rules /usr/bin/docker /usr/bin/podman; userdel {USER}")


def _asked(on_h1: Callable[[str], str], commands: Sequence[Sequence[str]]) -> list[bool]:
    asked = [f"runuser -u {USER} -- sudo -n -l {shlex.join(words)} >/dev/null 2>&1; echo $?" for words in commands]
    return [line == "0" for line in on_h1("\n".join(asked)).split()]


def test_every_command_the_tools_send_is_allowed(allowed):
    commands = [
        *(unit_command(verb, unit) for verb in UnitVerb for unit in UNITS),
        *(
            make("docker", name)
            for make in (container_look, container_log, container_restart)
            for name in HOST.containers
        ),
        reboot_command(),
        kill_command("TERM", 1234),
        kill_command("KILL", 4194304),
    ]
    refused = [words for words, may in zip(commands, allowed(commands), strict=True) if not may]
    assert refused == []


def test_every_neighbour_of_an_allowed_command_is_refused(allowed):
    systemctl = ("/usr/bin/systemctl", "--no-pager")
    commands = [
        (*systemctl, "restart", "--", "ssh.service"),
        (*systemctl, "restart", "--", "nginx.service", "ssh.service"),
        (*systemctl, "restart", "--", "nginx.service ssh.service"),
        (*systemctl, "restart", "--", "*.service"),
        (*systemctl, "restart", "nginx.service"),
        (*systemctl, "restart", "--", "nginxXservice"),
        (*systemctl, "restart", "--", "dev-disk-byx2dlabel.service"),
        (*systemctl, "restart", "--", "a:b.services"),
        (*systemctl, "restart", "--force", "--", "nginx.service"),
        (*systemctl, "mask", "--", "nginx.service"),
        (*systemctl, "reboot", "--force"),
        (*systemctl, "poweroff"),
        ("/usr/bin/systemctl", "restart", "--", "nginx.service"),
        (*systemctl,),
        ("/bin/sh",),
        ("/usr/bin/kill", "-TERM", "--", "-1"),
        ("/usr/bin/kill", "-TERM", "--", "0"),
        ("/usr/bin/kill", "-HUP", "--", "12"),
        ("/usr/bin/kill", "-TERM", "--", "12", "13"),
        ("/usr/bin/kill", "-TERM", "--", "12345678"),
        ("/usr/bin/docker", "restart", "--", "other"),
        ("/usr/bin/docker", "restart", "--", "web", "other"),
        ("/usr/bin/docker", "exec", "web", "sh"),
        ("/usr/bin/docker", "logs", "--", "web"),
        ("/usr/bin/docker", "container", "inspect", "--", "web"),
        ("/usr/bin/docker", "container", "inspect", "--format", "{{json .Config.Env}}", "--", "web"),
        ("/usr/bin/podman", "restart", "--", "web"),
    ]
    let_through = [words for words, may in zip(commands, allowed(commands), strict=True) if may]
    assert let_through == []
