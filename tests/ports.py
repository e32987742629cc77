"""A port for a server that is started later, by somebody else."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def reserved_port() -> Iterator[int]:
    """Hold a port of 127.0.0.1, so that nobody else is given it, for a server that sets SO_REUSEADDR.

    Linux lets two such sockets share a port as long as only one of them listens (socket(7)).
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]
