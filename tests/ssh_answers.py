"""What hosts of tests do and say: well or badly, below SSH and in answer to a command."""

import contextlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator

import paramiko
from paramiko.common import cMSG_CHANNEL_DATA

from opsbot.adapters.ssh import command_line
from opsbot.adapters.ssh_probe import PROBE_WORDS
from tests.ssh_servers import Answer, Exec

# The line that starts a probe channel.
PROBE = command_line(PROBE_WORDS)

# --- what raw servers say --------------------------------------------------------------------------------------------


def never_speaks(sock: socket.socket, stopping: threading.Event) -> None:
    stopping.wait()


def hangs_in_key_exchange(sock: socket.socket, stopping: threading.Event) -> None:
    sock.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n")
    stopping.wait()


def floods_greeting_lines(sock: socket.socket, stopping: threading.Event) -> None:
    while not stopping.is_set():
        sock.sendall(b"welcome to this host\r\n" * 100)


def floods_greeting_without_line_end(sock: socket.socket, stopping: threading.Event) -> None:
    while not stopping.is_set():
        sock.sendall(b"x" * 65536)


def drips_greeting(sock: socket.socket, stopping: threading.Event) -> None:
    while not stopping.wait(0.05):
        sock.sendall(b"x")


def speaks_http(sock: socket.socket, stopping: threading.Event) -> None:
    sock.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


def closes_at_once(sock: socket.socket, stopping: threading.Event) -> None:
    return


def sends_endless_packet(sock: socket.socket, stopping: threading.Event) -> None:
    """A greeting, then one packet that says it is 2 GB long."""
    sock.sendall(b"SSH-2.0-OpenSSH_9.2p1\r\n" + (2**31 - 4).to_bytes(4, "big") + b"\x04\x14")
    while not stopping.is_set():
        sock.sendall(b"\0" * 65536)


@contextlib.contextmanager
def full_backlog() -> Iterator[int]:
    """A port whose TCP connections are never completed: its queue is full. Yields the port."""
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket())
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = stack.enter_context(socket.socket())
            filler.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                filler.connect(listener.getsockname())
        yield listener.getsockname()[1]


# --- how SSH servers answer a command --------------------------------------------------------------------------------


def hangs(exec_: Exec) -> int:
    exec_.hold()
    return 0


def drips(exec_: Exec) -> int:
    while exec_.wanted:
        exec_.say(b".")
        time.sleep(0.02)
    return 0


def floods(exec_: Exec) -> int:
    piece = b"x" * 32768
    while exec_.wanted:
        exec_.say(piece)
        exec_.say_error(piece)
    return 0


def closes_without_status(exec_: Exec) -> None:
    exec_.say("begun\n")


def cuts_connection(exec_: Exec) -> None:
    exec_.say("begun\n")
    sock = exec_.channel.get_transport().sock
    sock.shutdown(socket.SHUT_RDWR)


def ends_by_signal(exec_: Exec) -> None:
    """RFC 4254, section 6.10."""
    exec_.say("begun\n")
    exec_.request("exit-signal", "KILL", False, "", "")


def renegotiates_for_ever(exec_: Exec) -> int:
    with contextlib.suppress(paramiko.SSHException, OSError, EOFError):
        while exec_.wanted:
            exec_.channel.get_transport().renegotiate_keys()
    return 0


def keeps_stream_open(exec_: Exec) -> None:
    """Send the status, but never the end of the output: a daemon inherited it."""
    exec_.say("started\n")
    exec_.channel.send_exit_status(0)
    exec_.hold()


class RealShell:
    """Runs the line in this machine's `sh`, as sshd would; remembers the processes. `path` is the commands' PATH."""

    def __init__(self, path: str = os.defpath) -> None:
        self.path = path
        self.processes: list[subprocess.Popen[bytes]] = []

    def __call__(self, exec_: Exec) -> int:
        with subprocess.Popen(
            ["/bin/sh", "-c", exec_.line.decode().replace("exec sh -c", "exec /bin/sh -c")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={"PATH": self.path},
        ) as process:
            self.processes.append(process)
            feeding = threading.Thread(target=_feed, args=(exec_, process), daemon=True)
            feeding.start()
            while piece := os.read(process.stdout.fileno(), 65536):
                with contextlib.suppress(OSError):
                    exec_.say(piece)
            status = process.wait()
            exec_.channel.shutdown_read()
            exec_.channel.in_buffer.close()
            feeding.join(5)
        return status if status >= 0 else 128 - status


def _feed(exec_: Exec, process: "subprocess.Popen[bytes]") -> None:
    with contextlib.suppress(OSError, EOFError):
        while piece := exec_.channel.recv(65536):
            process.stdin.write(piece)
            process.stdin.flush()
    with contextlib.suppress(OSError):
        process.stdin.close()


def splits(probe: Answer, command: Answer | None = None) -> Answer:
    """Answer probe channels so, and commands otherwise (by default in a real shell)."""
    real = command or RealShell()
    return lambda exec_: (probe if exec_.line == PROBE else real)(exec_)


# --- what hosts say that should not be believed ----------------------------------------------------------------------


def says(*pieces: bytes, error: bytes = b"", status: int = 0) -> Answer:
    """Answer every command with these pieces."""

    def answer(exec_: Exec) -> int:
        for piece in pieces:
            exec_.say(piece)
        if error:
            exec_.say_error(error)
        return status

    return answer


def floods_standard_error(exec_: Exec) -> int:
    piece = b"e" * 32768
    while exec_.wanted:
        exec_.say_error(piece)
    return 0


def floods_tiny_pieces(exec_: Exec) -> int:
    """A packet for each byte."""
    while exec_.wanted:
        exec_.say(b"x")
    return 0


def floods_without_waiting(exec_: Exec) -> int:
    """Ignore the window: send what the client did not ask for."""
    message = paramiko.Message()
    message.add_byte(cMSG_CHANNEL_DATA)
    message.add_int(exec_.channel.remote_chanid)
    message.add_string(b"w" * 32000)
    with contextlib.suppress(paramiko.SSHException, OSError, EOFError):
        while exec_.wanted and exec_.channel.get_transport().is_active():
            exec_.channel.get_transport()._send_user_message(message)
    return 0
