"""Socket Mode: tickets, up to ten connections, one envelope to one of them, acknowledgements from any."""

import asyncio
import json
import uuid

from aiohttp import WSMsgType, web

from opsbot.workbench.clock import Clock
from opsbot.workbench.delivery import Answer, Attempt, Parcel
from opsbot.workbench.faults import Faults
from opsbot.workbench.feed import Feed
from opsbot.workbench.limits import Limits
from opsbot.workbench.wire import Json

_DEBUG_INFO = {"host": "applink-1", "build_number": 10, "approximate_connection_time": 18060}


class SocketMode:
    """The server end of Slack's Socket Mode; a Transport."""

    def __init__(self, *, app_id: str, clock: Clock, feed: Feed, faults: Faults, limits: Limits) -> None:
        self._app_id, self._clock, self._feed = app_id, clock, feed
        self._faults, self._limits = faults, limits
        self._tickets: set[str] = set()
        self._connections: list[web.WebSocketResponse] = []
        self._waiting: dict[str, asyncio.Future[object]] = {}
        self._turn = 0

    @property
    def is_online(self) -> bool:
        """Whether at least one connection is open."""
        return bool(self._connections)

    @property
    def connection_count(self) -> int:
        """How many connections are open."""
        return len(self._connections)

    def issue_ticket(self) -> str:
        """Return a ticket that opens one connection."""
        ticket = uuid.uuid4().hex
        self._tickets.add(ticket)
        return ticket

    async def serve(self, request: web.Request) -> web.StreamResponse:
        """Hold one connection of the app."""
        ticket = request.query.get("ticket", "")
        if ticket not in self._tickets:
            raise web.HTTPForbidden(text="unknown or used ticket")
        self._tickets.discard(ticket)
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        if len(self._connections) >= self._limits.max_connections:
            await _disconnect(socket, "too_many_websockets")
            return socket
        await self._hold(socket)
        return socket

    async def deliver(self, parcel: Parcel, attempt: Attempt) -> Answer:
        """Send an envelope to the next connection and wait for its acknowledgement."""
        socket = self._next_connection()
        if socket is None:
            return Answer("connection_failed")
        envelope_id = str(uuid.uuid4())
        acknowledged: asyncio.Future[object] = asyncio.get_running_loop().create_future()
        self._waiting[envelope_id] = acknowledged
        timer = self._clock.call_later(self._limits.ack_timeout_s, lambda: _expire(acknowledged))
        try:
            await self._send(socket, self._envelope(envelope_id, parcel, attempt))
            return Answer(payload=await acknowledged)
        except TimeoutError:
            return Answer("http_timeout")
        except ConnectionError:
            return Answer("connection_failed")
        finally:
            timer.cancel()
            del self._waiting[envelope_id]

    async def disconnect_all(self, reason: str) -> None:
        """Ask every connection to go, as Slack does before it refreshes or turns Socket Mode off."""
        for socket in list(self._connections):
            await _disconnect(socket, reason)

    async def close(self) -> None:
        """Close every connection without a word."""
        for socket in list(self._connections):
            await socket.close()

    async def _hold(self, socket: web.WebSocketResponse) -> None:
        self._connections.append(socket)
        self._tell_online()
        hello = {"type": "hello", "num_connections": len(self._connections), "debug_info": _DEBUG_INFO}
        try:
            await socket.send_json({**hello, "connection_info": {"app_id": self._app_id}})
            async for frame in socket:
                if frame.type == WSMsgType.TEXT:
                    self._receive(frame.data)
        except ConnectionError:
            # The app went away between two frames; the next delivery takes another connection.
            return
        finally:
            self._connections.remove(socket)
            self._tell_online()

    def _receive(self, text: str) -> None:
        try:
            frame = json.loads(text)
        except ValueError:
            frame = None
        if not isinstance(frame, dict):
            self._feed.record(direction="in", kind="ack", name="unreadable frame", summary=text[:200])
            return
        waiting = self._waiting.get(str(frame.get("envelope_id", "")))
        if waiting is not None and not waiting.done():
            waiting.set_result(frame.get("payload"))

    async def _send(self, socket: web.WebSocketResponse, envelope: Json) -> None:
        await socket.send_json(envelope)
        if self._faults.take("disconnect_on_delivery"):
            await _disconnect(socket, "refresh_requested")

    def _envelope(self, envelope_id: str, parcel: Parcel, attempt: Attempt) -> Json:
        envelope: Json = {
            "envelope_id": envelope_id,
            "type": parcel.kind,
            "payload": parcel.payload,
            "accepts_response_payload": parcel.accepts_response,
        }
        if parcel.kind == "events_api" and (attempt.number or self._limits.first_delivery_is_numbered):
            envelope |= {"retry_attempt": attempt.number, "retry_reason": attempt.reason}
        return envelope

    def _next_connection(self) -> web.WebSocketResponse | None:
        alive = [socket for socket in self._connections if not socket.closed]
        if not alive:
            return None
        self._turn += 1
        return alive[self._turn % len(alive)]

    def _tell_online(self) -> None:
        self._feed.publish("bot", online=self.is_online, connections=len(self._connections))


async def _disconnect(socket: web.WebSocketResponse, reason: str) -> None:
    frame = {"type": "disconnect", "reason": reason, "debug_info": {"host": "applink-1"}}
    try:
        await socket.send_json(frame)
        await socket.close()
    except ConnectionError:
        # Gone already, which is what was asked for.
        return


def _expire(acknowledged: "asyncio.Future[object]") -> None:
    if not acknowledged.done():
        acknowledged.set_exception(TimeoutError())
