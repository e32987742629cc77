"""What hosts of tests do and say: well or badly, below SSH and in answer to a command."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

import paramiko

from tests.ssh_servers import Exec

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
