"""A proxy for any TCP link that can be told to fail: the harness for networks that lie, stall and tear."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator
from enum import Enum, auto

_PIECE = 65_536
# With this on, closing a socket sends a reset.
_LINGER_NOT = struct.pack("ii", 1, 0)


class Fault(Enum):
    """What happens to the link from now on."""

    NONE = auto()
    REFUSE = auto()  # connections are reset as they are made; those there are go on
    RESET = auto()  # all connections are reset, and new ones as they are made
    STALL = auto()  # connections are accepted and kept, nothing passes any more
    TRICKLE = auto()  # a few bytes at a time
    TEAR = auto()  # half of the next piece passes, then the connection is reset


class FaultProxy:
    """Passes bytes on to `upstream`: a port of loopback, or the path of a Unix socket.

    `http`: callers name the proxy's address in their Host header, and the server wants to read its own.
    """

    def __init__(self, upstream: int | str, *, http: bool = False) -> None:
        self.port = 0
        self.connections = 0
        self._upstream = upstream
        self._http = http
        self._fault = Fault.NONE
        self._healthy = asyncio.Event()
        self._healthy.set()
        self._open: set[asyncio.StreamWriter] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["FaultProxy"]:
        """Listen on a free port of loopback; what is open at the end is cut."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self._healthy.set()
            self._reset_all()

    @property
    def fault(self) -> Fault:
        return self._fault

    @fault.setter
    def fault(self, fault: Fault) -> None:
        self._fault = fault
        if fault is Fault.STALL:
            self._healthy.clear()
        else:
            self._healthy.set()
        if fault is Fault.RESET:
            self._reset_all()

    def _reset_all(self) -> None:
        for writer in tuple(self._open):
            _reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        if self._fault in (Fault.REFUSE, Fault.RESET):
            _reset(writer)
            return
        try:
            far_reader, far_writer = await self._dial()
        except OSError:
            _reset(writer)
            return
        self._open |= {writer, far_writer}
        try:
            await asyncio.gather(self._copy(reader, far_writer), self._copy(far_reader, writer))
        finally:
            for end in (writer, far_writer):
                self._open.discard(end)
                end.close()

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._upstream, str):
            return await asyncio.open_unix_connection(self._upstream)
        return await asyncio.open_connection("127.0.0.1", self._upstream)

    async def _copy(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while piece := await source.read(_PIECE):
                await self._healthy.wait()
                await self._pass_on(self._readdressed(piece), sink)
            sink.write_eof()

    def _readdressed(self, piece: bytes) -> bytes:
        if not self._http:
            return piece
        return piece.replace(b"Host: 127.0.0.1:%d" % self.port, b"Host: 127.0.0.1:%d" % self._upstream)

    async def _pass_on(self, piece: bytes, sink: asyncio.StreamWriter) -> None:
        if self._fault is Fault.TEAR:
            sink.write(piece[: len(piece) // 2])
            await sink.drain()
            self._reset_all()
            return
        while self._fault is Fault.TRICKLE and piece:
            sink.write(piece[:7])
            await sink.drain()
            piece = piece[7:]
            await asyncio.sleep(0.01)
        sink.write(piece)
        await sink.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection with a reset, whatever is still to be sent."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NOT)
    writer.transport.abort()
