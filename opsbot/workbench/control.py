"""The `/_control` API: one JSON route per act of a person, for the page and the tests alike."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

from aiohttp import WSMsgType, web

from opsbot.workbench.delivery import Answer
from opsbot.workbench.faults import Fault
from opsbot.workbench.http_mode import HttpMode
from opsbot.workbench.people import People
from opsbot.workbench.socket_mode import SocketMode
from opsbot.workbench.web_api.call import Desk
from opsbot.workbench.wire import ControlError, Json, SlackError

_FAULT_KEYS = ("kind", "method", "count")
Operation = Callable[[Json], Awaitable[Json]]


class Control:
    """Carries out what the page or a test asks for."""

    def __init__(self, desk: Desk, people: People, transport: "SocketMode | HttpMode") -> None:
        self._desk, self._workspace, self._people, self._transport = desk, desk.workspace, people, transport
        self._operations: Mapping[str, Operation] = {
            "message": self._message,
            "command": self._command,
            "action": self._action,
            "view_submit": self._view_submit,
            "view_close": self._view_close,
            "shortcut": self._shortcut,
            "reaction": self._reaction,
            "options": self._options,
            "home": self._home,
            "context": self._context,
            "stop": self._stop,
            "group": self._group,
            "person": self._person,
            "app_message": self._app_message,
            "clock": self._clock,
            "fault": self._fault,
            "clear_faults": self._clear_faults,
            "disconnect": self._disconnect,
            "verify": self._verify,
            "reset": self._reset,
        }

    async def operate(self, request: web.Request) -> web.Response:
        """Answer a POST: `{"ok": true, ...}`, or 400 with the reason."""
        operation = self._operations.get(request.match_info["operation"])
        if operation is None:
            return _refused(f"unknown operation; known: {', '.join(sorted(self._operations))}", status=404)
        if request.content_type != "application/json":
            return _refused("Content-Type must be application/json")
        try:
            given = json.loads(await request.read() or b"{}")
            if not isinstance(given, dict):
                raise ControlError("the body must be a JSON object")
            return web.json_response({"ok": True, **await operation(given)})
        except SlackError as error:
            return _refused(error.code)
        except ControlError as error:
            return _refused(str(error))
        except KeyError as error:
            return _refused(f"missing key: {error.args[0]}")
        except (ValueError, TypeError) as error:
            return _refused(f"unusable body: {error}")

    async def state(self, request: web.Request) -> web.Response:
        """Answer with everything the page shows."""
        return web.json_response(self._state())

    async def log(self, request: web.Request) -> web.Response:
        """Answer with the log of all traffic, oldest first."""
        return web.json_response({"log": list(self._workspace.feed.log)})

    async def watch(self, request: web.Request) -> web.StreamResponse:
        """Send the state, then every change, over a WebSocket."""
        socket = web.WebSocketResponse(heartbeat=30)
        await socket.prepare(request)
        frames = self._workspace.feed.watch()
        try:
            await socket.send_json({"type": "state", "state": self._state(), "version": self._workspace.feed.version})
            sending = _Sender(socket, frames)
            await sending.until_closed()
        except ConnectionError:
            # The page was closed between two frames.
            return socket
        finally:
            self._workspace.feed.leave(frames)
        return socket

    def _state(self) -> Json:
        return self._workspace.state(online=self._transport.is_online)

    async def _message(self, given: Json) -> Json:
        message = self._people.says(
            given["user"],
            given["channel"],
            str(given.get("text", "")),
            given.get("thread_ts") or "",
            given.get("files") or [],
        )
        return {"ts": message.ts, "channel": message.channel}

    async def _command(self, given: Json) -> Json:
        text = str(given.get("text", ""))
        return _outcome(await self._people.runs_command(given["user"], given["channel"], given["command"], text))

    async def _action(self, given: Json) -> Json:
        return _outcome(await self._people.acts(given["user"], given, given))

    async def _view_submit(self, given: Json) -> Json:
        answer = await self._people.submits(given["user"], given["view_id"], given.get("state") or {})
        response = answer.payload if isinstance(answer.payload, dict) else {}
        return {**_outcome(answer), "response": response}

    async def _view_close(self, given: Json) -> Json:
        is_cleared = bool(given.get("is_cleared", False))
        return _outcome(await self._people.closes(given["user"], given["view_id"], is_cleared=is_cleared))

    async def _shortcut(self, given: Json) -> Json:
        return _outcome(await self._people.uses_shortcut(given["user"], given["callback_id"], given))

    async def _reaction(self, given: Json) -> Json:
        remove = bool(given.get("remove", False))
        self._people.reacts(given["user"], given["channel"], given["ts"], given["name"], remove=remove)
        return {}

    async def _options(self, given: Json) -> Json:
        return await self._people.searches(given["user"], given, given)

    async def _home(self, given: Json) -> Json:
        self._people.opens_home(given["user"], given.get("tab", "home"))
        return {}

    async def _context(self, given: Json) -> Json:
        self._people.looks_at(given["user"], given.get("entities") or [])
        return {}

    async def _stop(self, given: Json) -> Json:
        self._people.stops(given["user"], given["channel"], given["thread_ts"])
        return {}

    async def _group(self, given: Json) -> Json:
        group = self._workspace.groups.get(given["id"])
        if group is None:
            raise ControlError(f"no user group {given['id']!r}")
        changed = replace(group, users=tuple(given["users"]))
        self._workspace.groups[group.id] = changed
        event: Json = {"type": "subteam_members_changed", "subteam_id": group.id}
        event |= {"team_id": self._workspace.world.team_id, "date_update": int(self._workspace.clock.now())}
        event["added_users"] = [user for user in changed.users if user not in group.users]
        event["removed_users"] = [user for user in group.users if user not in changed.users]
        self._desk.events.emit({**event, "event_ts": self._workspace.ids.ts("events")})
        return {}

    async def _person(self, given: Json) -> Json:
        self._people.becomes(given["id"], {key: value for key, value in given.items() if key != "id"})
        return {}

    async def _app_message(self, given: Json) -> Json:
        is_workflow = bool(given.get("is_workflow", False))
        thread_ts = given.get("thread_ts") or ""
        message = self._people.posts_as_other_app(
            given["channel"], str(given.get("text", "")), thread_ts, is_workflow=is_workflow
        )
        return {"ts": message.ts, "channel": message.channel}

    async def _clock(self, given: Json) -> Json:
        advance_s = float(given.get("advance_s", 0))
        if advance_s < 0:
            raise ControlError("the clock cannot go back")
        await self._workspace.clock.advance(advance_s)
        return {"now": self._workspace.clock.now()}

    async def _fault(self, given: Json) -> Json:
        options = {key: value for key, value in given.items() if key not in _FAULT_KEYS}
        count = given.get("count", 1)
        fault = Fault(given["kind"], given.get("method") or "*", None if count is None else int(count), options)
        self._workspace.faults.inject(fault)
        return {"faults": self._workspace.faults.waiting()}

    async def _clear_faults(self, given: Json) -> Json:
        self._workspace.faults.clear()
        return {}

    async def _disconnect(self, given: Json) -> Json:
        if not isinstance(self._transport, SocketMode):
            raise ControlError("there are no connections in HTTP mode")
        if given.get("plainly"):
            await self._transport.close()
        else:
            await self._transport.disconnect_all(given.get("reason", "refresh_requested"))
        return {}

    async def _verify(self, given: Json) -> Json:
        if not isinstance(self._transport, HttpMode):
            raise ControlError("url_verification belongs to HTTP mode")
        return {"verified": await self._transport.verify()}

    async def _reset(self, given: Json) -> Json:
        self._workspace.reset()
        self._workspace.feed.publish("state", state=self._state())
        return {}


class _Sender:
    """Feeds one page until either side goes."""

    def __init__(self, socket: web.WebSocketResponse, frames: "asyncio.Queue[str]") -> None:
        self._socket, self._frames = socket, frames

    async def until_closed(self) -> None:
        """Send frames while reading, so that the page's goodbye is seen."""
        sending = asyncio.create_task(self._send())
        try:
            async for frame in self._socket:
                if frame.type == WSMsgType.ERROR:
                    return
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)

    async def _send(self) -> None:
        while True:
            await self._socket.send_str(await self._frames.get())


def _outcome(answer: Answer) -> Json:
    return {"acknowledged": not answer.failure}


def _refused(reason: str, *, status: int = 400) -> web.Response:
    return web.json_response({"ok": False, "error": reason}, status=status)
