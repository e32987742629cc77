"""The exact commands the bot runs as root, in one place: what is sent, and what a host's sudoers file has to allow."""

from collections.abc import Sequence
from typing import Final

from opsbot.domain import Host, UnitVerb

SYSTEMCTL: Final = "/usr/bin/systemctl"
KILL: Final = "/usr/bin/kill"
# A process has no name a rule could list, so this one is a regular expression (sudo 1.9.10 and later): TERM or KILL to
# one process at a time, never to a group (a negative number) and never to all (-1).
KILL_RULE: Final = r"/usr/bin/kill ^-(TERM|KILL) -- [1-9][0-9]{0\,6}$"
# Where the Debian packages docker.io, docker-ce and podman put them; sudo compares whole paths.
ENGINES: Final = {"docker": "/usr/bin/docker", "podman": "/usr/bin/podman"}
# Fields of typed templates that docker 20.10 to 28 and podman 4 both have; neither environment nor command line.
_LOOKED_AT: Final = {
    "id": ".ID",
    "image": ".Config.Image",
    "state": ".State.Status",
    "started_at": ".State.StartedAt",
    "exit_status": ".State.ExitCode",
    "oom_killed": ".State.OOMKilled",
    "error": ".State.Error",
    "health": ".State.Health",
    "restarts": ".RestartCount",
    "restart_policy": ".HostConfig.RestartPolicy.Name",
    "auto_remove": ".HostConfig.AutoRemove",
    "stop_timeout_s": ".Config.StopTimeout",
    "ports": ".NetworkSettings.Ports",
    "networks": ".NetworkSettings.Networks",
    "compose_project": '(index .Config.Labels "com.docker.compose.project")',
}
CONTAINER_FIELDS: Final = tuple(_LOOKED_AT)
_LOOK: Final = "[" + ",".join(f"{{{{json {path}}}}}" for path in _LOOKED_AT.values()) + "]"
# sudoers(5) of sudo 1.9.13, "Special characters": these are escaped in an argument. What is left is a pattern of
# fnmatch(3), so a backslash meant literally is escaped once more.
_SPECIAL: Final = ",:=\\"
_PATTERN: Final = "\\*?[]"


def unit_command(verb: UnitVerb, unit: str) -> tuple[str, ...]:
    """Return the words that do this to a unit of systemd."""
    return (SYSTEMCTL, "--no-pager", str(verb), "--", unit)


def reboot_command() -> tuple[str, ...]:
    """Return the words that reboot a host."""
    return (SYSTEMCTL, "--no-pager", "reboot")


def kill_command(signal: str, pid: int) -> tuple[str, ...]:
    """Return the words that send TERM or KILL to one process."""
    return (KILL, f"-{signal}", "--", str(pid))


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
    return sudoers_line(host.user or "THE_BOT_USER", sudoers_command(command))


def sudoers_line(user: str, spelled: str) -> str:
    """Return the line that allows `user` a command that is spelled as sudoers wants it."""
    return f"{user} ALL=(root) NOPASSWD: {spelled}"


def _escaped(argument: str) -> str:
    literal = "".join(f"\\{c}" if c in _PATTERN else c for c in argument)
    return "".join(f"\\{c}" if c in _SPECIAL else c for c in literal)
