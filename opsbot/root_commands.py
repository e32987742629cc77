"""The exact commands the bot runs as root, in one place: what is sent, and what a host's sudoers file has to allow."""

from collections.abc import Sequence
from typing import Final

from opsbot.domain import Host, UnitVerb

SYSTEMCTL: Final = "/usr/bin/systemctl"
# Where the Debian packages docker.io, docker-ce and podman put them; sudo compares whole paths.
ENGINES: Final = {"docker": "/usr/bin/docker", "podman": "/usr/bin/podman"}
# Fields that docker 20.10 to 28 and podman 4 both have; the order is CONTAINER_FIELDS.
_LOOK: Final = (
    "[{{json .ID}},{{json .Config.Image}},{{json .State.Status}},{{json .State.StartedAt}},{{json .State.ExitCode}},"
    "{{json .State.OOMKilled}},{{json .State.Error}},{{json .State.Health}},{{json .RestartCount}},{{json .HostConfig.RestartPolicy.Name}},"
    "{{json .HostConfig.AutoRemove}},{{json .Config.StopTimeout}},{{json .NetworkSettings.Ports}},"
    '{{json .NetworkSettings.Networks}},{{json (index .Config.Labels "com.docker.compose.project")}}]'
)
CONTAINER_FIELDS: Final = (
    "id", "image", "state", "started_at", "exit_status", "oom_killed", "error", "health", "restarts", "restart_policy",
    "auto_remove", "stop_timeout_s", "ports", "networks", "compose_project",
)  # fmt: skip
# sudoers(5) of sudo 1.9.13, "Special characters": these are escaped in an argument. What is left is a pattern of
# fnmatch(3), so a backslash meant literally is escaped once more.
_SPECIAL: Final = ",:=\\"
_PATTERN: Final = "\\*?[]"


def unit_command(verb: UnitVerb, unit: str) -> tuple[str, ...]:
    """Return the words that do this to a unit of systemd."""
    return (SYSTEMCTL, "--no-pager", str(verb), "--", unit)


def container_restart(engine: str, name: str) -> tuple[str, ...]:
    """Return the words that restart a container of docker or podman."""
    return (ENGINES[engine], "restart", "--", name)


def container_look(engine: str, name: str) -> tuple[str, ...]:
    """Return the words that print a container's state as a JSON array: neither environment, labels nor command line."""
    return (ENGINES[engine], "container", "inspect", "--format", _LOOK, "--", name)


def container_log(engine: str, name: str) -> tuple[str, ...]:
    """Return the words that print a container's newest log lines."""
    return (ENGINES[engine], "logs", "--timestamps", "--tail", "15", "--", name)


def as_root(host: Host, command: Sequence[str]) -> tuple[str, ...]:
    """Return what is sent to the host: the command by `sudo -n`, or as it is where the inventory says `sudo: false`."""
    return ("sudo", "-n", *command) if host.sudo else tuple(command)


def sudoers_command(command: Sequence[str]) -> str:
    """Spell a command as sudoers wants it, so that it allows these very words and no others."""
    path, *arguments = command
    return " ".join((path, *map(_escaped, arguments)))


def sudoers_rule(host: Host, command: Sequence[str]) -> str:
    """Return the line that allows the bot's user of this host to run the command as root without a password."""
    return f"{host.user or 'THE_BOT_USER'} ALL=(root) NOPASSWD: {sudoers_command(command)}"


def _escaped(argument: str) -> str:
    literal = "".join(f"\\{c}" if c in _PATTERN else c for c in argument)
    return "".join(f"\\{c}" if c in _SPECIAL else c for c in literal)
