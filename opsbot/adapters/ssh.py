"""Shell over SSH: argument vectors, quoted once, run on pinned hosts over warm paramiko connections."""

import logging
import shlex
import time
from collections.abc import Sequence

from opsbot.adapters.hostfacts import MAX_BYTES, Probe
from opsbot.adapters.ssh_command import Command
from opsbot.adapters.ssh_deadline import Deadline
from opsbot.adapters.ssh_dial import scan_host_key
from opsbot.adapters.ssh_jump import FindHost, no_jumps
from opsbot.adapters.ssh_link import place_of
from opsbot.adapters.ssh_pool import LinkPool
from opsbot.adapters.ssh_probe import Prober
from opsbot.adapters.ssh_slots import PoolLimits
from opsbot.domain import CommandResult, Host
from opsbot.errors import BadArguments, CommandTimedOut, HostUnreachable

__all__ = ["ParamikoShell", "PoolLimits", "command_line", "scan_host_key"]

# Linux takes 128 KiB for one argument (MAX_ARG_STRLEN, execve(2)), and sshd hands the whole line to a shell as one.
_MAX_LINE_BYTES = 128 * 1024 - 1


class ParamikoShell:
    """`opsbot.ports.Shell` over SSH. Thread-safe; one instance serves all hosts.

    The user's login shell on the host must be a POSIX shell. Only `Host.address` is ever connected to, only a key
    pinned in `Host.host_key` is accepted, and only `Host.login_key_file` is tried: no agent, no ~/.ssh. `find` returns
    the inventory's record of a jump host, or None.
    """

    def __init__(self, limits: PoolLimits | None = None, *, find: FindHost = no_jumps) -> None:
        # paramiko logs whole tracebacks at ERROR; every cause is in the error we raise.
        logging.getLogger("paramiko").setLevel(logging.CRITICAL + 1)
        self._pool = LinkPool(limits or PoolLimits(), find)
        self._prober = Prober(self._pool)

    def run(
        self, host: Host, argv: Sequence[str], *, timeout_s: float, max_bytes: int = 65536, stdin: str = ""
    ) -> CommandResult:
        """Run one command to its end; see `Shell.run`.

        Of a command that floods us, the first `max_bytes` of each stream are returned, `truncated`; if it was still
        writing after 8 MiB more, its channel is closed and the exit status is 141, as of a reader that went away.

        Raises:
            BadArguments: an argument vector that no command line can carry; nothing was sent.
            HostUnreachable, CommandTimedOut, OutcomeUnknown: see `Shell.run`.
        """
        line = command_line(argv)
        started_at = time.monotonic()
        deadline = Deadline(timeout_s)
        if deadline.passed:
            raise HostUnreachable(f"No time left to reach {place_of(host)}. Nothing was run.")
        with self._pool.session(host, deadline) as channel:
            command = Command(channel, f"`{argv[0]}` on {host.name}", deadline, max_bytes)
            ended = command.run(line, stdin.encode("utf-8", "surrogateescape"))
        return CommandResult(
            argv=tuple(argv),
            exit_status=ended.exit_status,
            stdout=ended.stdout.decode("utf-8", "replace"),
            stderr=ended.stderr.decode("utf-8", "replace"),
            truncated=ended.truncated,
            duration_s=time.monotonic() - started_at,
        )

    def probe(self, host: Host, probe: Probe, *, timeout_s: float) -> CommandResult:
        """Ask one of the fixed questions over the host's probe channel, or by one command where that does not work.

        Raises:
            HostUnreachable, CommandTimedOut, OutcomeUnknown: see `Shell.run`.
        """
        started_at = time.monotonic()
        deadline = Deadline(timeout_s)
        answer = self._prober.ask(host, probe, deadline) if not deadline.passed else None
        if answer is None and deadline.passed:
            raise CommandTimedOut(f"The look at {host.name} had not ended after {timeout_s:.1f} s. It changes nothing.")
        if answer is None:
            return self.run(host, probe.argv, timeout_s=deadline.left_s, max_bytes=MAX_BYTES)
        status, output = answer
        text = output.decode("utf-8", "replace")
        return CommandResult(probe.argv, status, text, duration_s=time.monotonic() - started_at)

    def scan_host_key(self, host: Host, *, timeout_s: float) -> str:
        """Ask a host for its key, as `ssh-ed25519 AAAA…`; no log-in, and nothing is trusted by it.

        Raises:
            HostUnreachable: it cannot be reached in time, or has no acceptable key.
        """
        return self._pool.scan(host, Deadline(timeout_s))

    def close(self) -> None:
        """Close every connection, also those in use, and end every thread."""
        self._pool.close()


def command_line(argv: Sequence[str]) -> bytes:
    """Quote an argument vector for a POSIX shell: the one place where this is done.

    Raises:
        BadArguments: it is empty, holds a NUL or an unpaired surrogate, or is too long for one command line.
    """
    if not argv or not argv[0]:
        raise BadArguments("There is no command to run.")
    if any("\0" in word for word in argv):
        raise BadArguments("A command's arguments cannot hold a NUL character.")
    try:
        line = shlex.join(argv).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError as error:
        raise BadArguments("A command's arguments must be valid Unicode text.") from error
    if len(line) > _MAX_LINE_BYTES:
        raise BadArguments(f"The command is {len(line)} bytes long; {_MAX_LINE_BYTES} is the most a host takes.")
    return line
