"""One command on one open channel: sent once, both streams read to their caps, ended by its status or the deadline."""

import threading
import time
from dataclasses import dataclass

import paramiko
from paramiko.common import cMSG_CHANNEL_REQUEST

from opsbot.adapters.ssh_deadline import Deadline
from opsbot.adapters.ssh_link import cause_of
from opsbot.errors import CommandTimedOut, OutcomeUnknown

# What a shell says of a command whose reader went away: 128 + SIGPIPE. Ours when we stopped reading a flood.
STOPPED_READING = 141
# Read on for so much beyond the caps, to learn the exit status of a command that only talks too much.
_DRAIN_BYTES = 8 * 1024 * 1024
# After the status, a background child may hold the streams open for ever: enough when it was silent so long.
_LINGER_S = 1.0
_PIECE_BYTES = 64 * 1024
_POLL_S = 0.1
_NO_STATUS = -1


@dataclass(frozen=True, slots=True)
class Ended:
    """How a command ended. `exit_status` is STOPPED_READING when it was still flooding us."""

    exit_status: int
    stdout: bytes
    stderr: bytes
    truncated: bool


def send_exec(channel: paramiko.Channel, line: bytes) -> None:
    """Ask the host to run this line, and wait for nothing.

    `Channel.exec_command` waits for the confirmation without any time-out (paramiko/paramiko#1815), hence its six
    lines here. `channel.event` is set when the host has answered; a refusal closes the channel.
    """
    request = paramiko.Message()
    request.add_byte(cMSG_CHANNEL_REQUEST)
    request.add_int(channel.remote_chanid)
    request.add_string("exec")
    request.add_boolean(True)
    request.add_string(line)
    channel.event.clear()
    channel.event_ready = False
    channel.get_transport()._send_user_message(request)  # type: ignore[attr-defined]  # not in the stubs


class Wake(threading.Event):
    """An alarm shared by two streams: reading one empty must not silence the other, so only `rearm` clears it."""

    def clear(self) -> None:
        """The library calls this when one stream is empty."""

    def rearm(self) -> None:
        """Clear, before the streams are looked at."""
        super().clear()


class _Sink:
    """One stream's bytes up to the cap, and how many there were."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self.kept = bytearray()
        self.seen_bytes = 0

    def add(self, piece: bytes) -> None:
        self.seen_bytes += len(piece)
        self.kept += piece[: max(0, self._max_bytes - len(self.kept))]

    @property
    def over(self) -> bool:
        return self.seen_bytes > self._max_bytes


class Command:
    """A command being run. `what` names it in errors: "`systemctl` on web-1"."""

    def __init__(self, channel: paramiko.Channel, what: str, deadline: Deadline, max_bytes: int) -> None:
        self._channel = channel
        self._what = what
        self._deadline = deadline
        self._stdout, self._stderr = _Sink(max_bytes), _Sink(max_bytes)
        self._most_bytes = 2 * max_bytes + _DRAIN_BYTES
        self._quiet_since = time.monotonic()
        self._wake = Wake()

    def run(self, line: bytes, stdin: bytes) -> Ended:
        """Send the command and stay until it ended.

        Raises:
            CommandTimedOut: the deadline passed; it may still run.
            OutcomeUnknown: no exit status came.
        """
        self._send(line)
        self._channel.in_buffer.set_event(self._wake)
        self._channel.in_stderr_buffer.set_event(self._wake)
        unsent: bytes | None = stdin
        while not self._look():
            if self._deadline.passed:
                return self._out_of_time()
            if self._seen_bytes > self._most_bytes:
                return self._ended(STOPPED_READING)
            unsent = self._feed(unsent)
            self._wake.wait(min(_POLL_S, self._deadline.left_s))
        return self._ended(self._status())

    def _send(self, line: bytes) -> None:
        """Send the request and wait until the host confirms it."""
        try:
            send_exec(self._channel, line)
        except (paramiko.SSHException, OSError, EOFError) as error:
            raise OutcomeUnknown(
                f"The connection broke while {self._what} was being sent: {cause_of(error)}."
            ) from error
        while not self._channel.event.wait(min(_POLL_S, self._deadline.left_s)):
            if self._deadline.passed:
                raise self._timed_out()
        if not self._channel.event_ready:
            raise self._unknown()

    def _look(self) -> bool:
        """Take what arrived; True when nothing more will come."""
        self._wake.rearm()
        # First the state, then the bytes: bytes that came before the end must not be missed.
        closed = self._channel.closed
        eof = bool(self._channel.eof_received)
        status_known = self._channel.exit_status != _NO_STATUS
        if not status_known:
            self._quiet_since = time.monotonic()
        self._drain()
        lingered = time.monotonic() - self._quiet_since > _LINGER_S
        return closed or (status_known and (eof or lingered))

    def _drain(self) -> None:
        channel = self._channel
        for ready, receive, sink in (
            (channel.recv_ready, channel.recv, self._stdout),
            (channel.recv_stderr_ready, channel.recv_stderr, self._stderr),
        ):
            while ready() and self._seen_bytes <= self._most_bytes:
                sink.add(receive(_PIECE_BYTES))
                self._quiet_since = time.monotonic()

    def _feed(self, unsent: bytes | None) -> bytes | None:
        """Send of stdin what the host takes now; None once its end was sent."""
        # During a key exchange a write would block until its end, past our deadline: try again later.
        if unsent is None or not self._channel.get_transport().clear_to_send.is_set():
            return unsent
        try:
            while unsent and self._channel.send_ready():
                sent_bytes = self._channel.send(unsent[:_PIECE_BYTES])
                unsent = unsent[sent_bytes:]
            if not unsent:
                self._channel.shutdown_write()
        except (paramiko.SSHException, OSError, EOFError):
            # The command closed its input or the link is gone; how it ended will tell.
            return None
        return unsent or None

    @property
    def _seen_bytes(self) -> int:
        return self._stdout.seen_bytes + self._stderr.seen_bytes

    def _status(self) -> int:
        if self._channel.exit_status == _NO_STATUS:
            raise self._unknown()
        return self._channel.exit_status

    def _ended(self, exit_status: int, *, cut: bool = False) -> Ended:
        truncated = cut or self._stdout.over or self._stderr.over
        return Ended(exit_status, bytes(self._stdout.kept), bytes(self._stderr.kept), truncated)

    def _out_of_time(self) -> Ended:
        """At the deadline: a command that ended, but whose children still talk, has a result."""
        if self._channel.exit_status != _NO_STATUS:
            return self._ended(self._channel.exit_status, cut=True)
        raise self._timed_out()

    def _timed_out(self) -> CommandTimedOut:
        return CommandTimedOut(
            f"{self._what} was sent but had not ended after {self._deadline.timeout_s:.1f} s. It may still be running."
        )

    def _unknown(self) -> OutcomeUnknown:
        transport = self._channel.get_transport()
        error = transport.get_exception()
        if transport.is_active() and error is None:
            return OutcomeUnknown(
                f"{self._what} was sent, but the host closed it without an exit status (a signal may have ended it). "
                "It may or may not have done its work."
            )
        why = f": {cause_of(error)}" if error else ""
        return OutcomeUnknown(
            f"The connection was lost after {self._what} was sent{why}. It may or may not have run to its end."
        )
