"""The probe channel: one `sh` per host, kept open on its link, that answers the fixed questions of `hostfacts`.

It runs a fixed script that knows the members of `Probe` by name and nothing else: what is written to it is never run.
Each question carries a random mark, and only what stands between that mark's two lines is an answer: what a host says
unasked, late or twice ends the channel instead.
"""

import re
import secrets
import shlex
import time

import paramiko

from opsbot.adapters.hostfacts import MAX_BYTES, PROBE_FUNCTIONS, Probe
from opsbot.adapters.ssh_command import Wake, send_exec
from opsbot.adapters.ssh_deadline import Deadline
from opsbot.adapters.ssh_link import Link
from opsbot.adapters.ssh_pool import NO_ROOM_S, LinkPool
from opsbot.domain import Host

# The mark is put together by the host: an echo of the question is not an answer. The shell forks for no line of it.
_LOOP = r"""
ask() { opsbot_mark=$1$2; shift 2; printf '%s begin\n' "$opsbot_mark"
"$@" </dev/null 2>/dev/null; printf '\n%s end %s\n' "$opsbot_mark" "$?"; }
while read -r opsbot_verb opsbot_half opsbot_rest opsbot_what; do
  case $opsbot_verb:$opsbot_half$opsbot_rest in ask:*[!0-9a-f]*) exit 2 ;; ask:?*) ;; *) exit 2 ;; esac
  case $opsbot_what in
QUESTIONS
  *) exit 2 ;;
  esac
done
exit 0
"""
_QUESTIONS = "\n".join(f"""  '{probe}') ask "$opsbot_half" "$opsbot_rest" {probe} ;;""" for probe in Probe)
# `exec` replaces the login shell, whichever that is; not `sh -s`, so that the words are the same in every shell.
PROBE_WORDS = ("exec", "sh", "-c", PROBE_FUNCTIONS + _LOOP.replace("QUESTIONS", _QUESTIONS))
_START = shlex.join(PROBE_WORDS).encode("ascii")
# The smallest the library takes (MIN_WINDOW_SIZE): all that a host can make us keep for it between questions.
_WINDOW_BYTES = 32 * 1024
# What start-up files of a login shell may print before the first answer.
_MAX_NOISE_BYTES = 16 * 1024
# An answer must begin within this share of the time left, so that a command still has a chance.
_SHARE = 0.5
_MAX_WAIT_S = 10.0
# How long a question waits for another one on the same channel before it is asked by a command of its own.
_TURN_S = 1.0
# After a channel that broke, the host is asked by commands for so long.
_BROKE_S = 60.0
_POLL_S = 0.1
_PIECE_BYTES = 64 * 1024
_STATUS = re.compile(rb"([0-9]{1,3})\n")
_STATUS_BYTES = 4


class ProbeFailed(Exception):
    """The channel gave no answer that can be trusted; it must not be used again."""


class ProbeTimedOut(ProbeFailed):
    """No answer in time: nobody knows whether the link is well."""


class Prober:
    """Asks hosts over their probe channels, which it opens, keeps on the pool's links, and gives up when in doubt."""

    def __init__(self, pool: LinkPool) -> None:
        self._pool = pool

    def ask(self, host: Host, probe: Probe, deadline: Deadline) -> tuple[int, bytes] | None:
        """Return the exit status and the output, or None: ask by a command instead, if there is time left.

        Raises:
            HostUnreachable: no connection within the deadline.
        """
        if not self._pool.may_probe(host):
            return None
        with self._pool.borrow(host, deadline) as link:
            if not link.probe_turn.acquire(timeout=min(_TURN_S, deadline.left_s * _SHARE)):
                return None
            try:
                return self._asked(link, probe, deadline)
            finally:
                link.probe_turn.release()

    def _asked(self, link: Link, probe: Probe, deadline: Deadline) -> tuple[int, bytes] | None:
        share = Deadline(min(deadline.left_s * _SHARE, _MAX_WAIT_S))
        fresh = link.probe is None
        try:
            with self._pool.watch(link, deadline):
                answer = self._converse(link, probe, share, deadline)
            self._pool.saw(link.host)
            return answer
        except (ProbeFailed, paramiko.SSHException, OSError, EOFError) as error:
            answered = isinstance(error, ProbeFailed | paramiko.ChannelException) and not isinstance(
                error, ProbeTimedOut
            )
            # A link that died says nothing about what the host can do.
            if link.alive:
                self._pool.bar_probes(link.host, NO_ROOM_S if fresh and answered else _BROKE_S)
            self._pool.end_probe(link, retire=not answered)
            return None

    def _converse(self, link: Link, probe: Probe, share: Deadline, deadline: Deadline) -> tuple[int, bytes]:
        fresh = link.probe is None
        if link.probe is None:
            link.probe = link.open_channel(share, _WINDOW_BYTES)
            send_exec(link.probe, _START)
        halves = secrets.token_hex(16), secrets.token_hex(16)
        question = f"ask {halves[0]} {halves[1]} {probe}\n".encode("ascii")
        _send(link, link.probe, question, share)
        return _Answer(link.probe, "".join(halves), fresh=fresh).read(share, deadline)


def _send(link: Link, channel: paramiko.Channel, question: bytes, deadline: Deadline) -> None:
    """Write the whole question, without ever waiting in a write for a window or a key exchange."""
    while question:
        if channel.closed:
            raise ProbeFailed("it closed the channel")
        if link.writable and channel.send_ready():
            question = question[channel.send(question) :]
        elif deadline.passed:
            raise ProbeTimedOut("it takes no question")
        else:
            time.sleep(_POLL_S / 10)


class _Answer:
    """One answer, while it arrives: bounded, and exactly framed."""

    def __init__(self, channel: paramiko.Channel, mark: str, *, fresh: bool) -> None:
        self._channel = channel
        self._begin = f"{mark} begin\n".encode("ascii")
        self._end = f"\n{mark} end ".encode("ascii")
        self._noise_bytes = _MAX_NOISE_BYTES if fresh else 0
        self._received = bytearray()
        self._begun = False
        self._looked_bytes = 0
        self._stderr_bytes = 0

    def read(self, share: Deadline, deadline: Deadline) -> tuple[int, bytes]:
        """Read until the answer is complete. It must begin within `share` and end within `deadline`.

        Raises:
            ProbeFailed: anything but one answer in its frame; ProbeTimedOut: not in time.
        """
        wake = Wake()
        self._channel.in_buffer.set_event(wake)
        while True:
            wake.rearm()
            over = bool(self._channel.closed or self._channel.eof_received)
            self._drain()
            found = self._look()
            if found:
                return found
            limit = deadline if self._begun else share
            if over:
                raise ProbeFailed("it ended the channel")
            if limit.passed:
                raise ProbeTimedOut("it did not answer in time")
            wake.wait(min(_POLL_S, limit.left_s))

    def _drain(self) -> None:
        channel = self._channel
        # A host that sends as fast as we read must not keep us here.
        while channel.recv_ready() and len(self._received) <= MAX_BYTES + _MAX_NOISE_BYTES:
            self._received += channel.recv(_PIECE_BYTES)
        while channel.recv_stderr_ready() and self._stderr_bytes <= self._noise_bytes:
            self._stderr_bytes += len(channel.recv_stderr(_PIECE_BYTES))
        # The questions are asked without stderr: only start-up files can have written there.
        if self._stderr_bytes > self._noise_bytes:
            raise ProbeFailed("it wrote on stderr")

    def _look(self) -> tuple[int, bytes] | None:
        if not self._begun and not self._skip_to_begin():
            return None
        at = self._received.find(self._end, max(0, self._looked_bytes - len(self._end)))
        self._looked_bytes = len(self._received) if at < 0 else at
        if self._looked_bytes > MAX_BYTES:
            raise ProbeFailed("its answer is too long")
        if at < 0:
            return None
        status = bytes(self._received[at + len(self._end) :])
        known = _STATUS.fullmatch(status)
        if known:
            return int(known[1]), bytes(self._received[:at])
        if len(status) >= _STATUS_BYTES or not (status == b"" or status.isdigit()):
            raise ProbeFailed("its answer goes on after the end")
        return None

    def _skip_to_begin(self) -> bool:
        """Cut off what comes before the answer; between answers that must be nothing."""
        at = self._received.find(self._begin)
        noise_bytes = at if at >= 0 else max(0, len(self._received) - len(self._begin))
        strange = not self._noise_bytes and not self._begin.startswith(self._received[: len(self._begin)])
        if strange or noise_bytes > self._noise_bytes:
            raise ProbeFailed("it talks out of turn")
        if at < 0:
            return False
        del self._received[: at + len(self._begin)]
        self._begun = True
        return True
