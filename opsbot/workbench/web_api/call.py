"""One Web API call: its arguments, decoded from any of the ways Slack's clients send them."""

import json
from dataclasses import dataclass
from urllib.parse import parse_qsl

from aiohttp import web

from opsbot.workbench.events import Events
from opsbot.workbench.posting import Posting
from opsbot.workbench.wire import Json, SlackError
from opsbot.workbench.workspace import Workspace
from opsbot.workbench.world import Channel

# Clients send these as JSON text inside forms and query strings.
_JSON_VALUED = frozenset(
    {
        "blocks",
        "attachments",
        "view",
        "metadata",
        "chunks",
        "prompts",
        "files",
        "unfurls",
        "loading_messages",
        "message",
        "user_auth_blocks",
    }
)


@dataclass(frozen=True, slots=True)
class Desk:
    """What the methods of the Web API work on."""

    workspace: Workspace
    posting: Posting
    events: Events


@dataclass(frozen=True, slots=True)
class Call:
    """A method with its arguments; the accessors refuse values of the wrong kind as Slack does."""

    desk: Desk
    method: str
    arguments: Json

    @property
    def workspace(self) -> Workspace:
        """All state."""
        return self.desk.workspace

    def text(self, name: str, default: str = "") -> str:
        """Return a string argument."""
        value = self.arguments.get(name, default)
        return default if value is None else str(value)

    def required(self, name: str) -> str:
        """Return a string argument that must be there. Raises SlackError `invalid_arguments`."""
        value = self.text(name)
        if not value:
            raise invalid_arguments(f"missing required field: {name}", name)
        return value

    def flag(self, name: str) -> bool:
        """Return a boolean argument; forms send `1`, `true` or nothing."""
        return self.arguments.get(name) in (True, 1, "1", "true", "True")

    def integer(self, name: str, default: int) -> int:
        """Return a whole number."""
        try:
            return int(self.arguments.get(name) or default)
        except (TypeError, ValueError) as error:
            raise invalid_arguments(f"must be an integer: {name}", name) from error

    def array(self, name: str) -> list[Json]:
        """Return a list of objects, empty when it was not given."""
        value = self.arguments.get(name)
        if value is None or value == "":
            return []
        if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
            raise invalid_arguments("must be an array of objects", name)
        return value

    def names(self, name: str) -> list[str]:
        """Return a list of strings, given as a list or joined with commas."""
        value = self.arguments.get(name) or []
        return value.split(",") if isinstance(value, str) else [str(item) for item in value]

    def object(self, name: str) -> Json | None:
        """Return a JSON object, or None when it was not given."""
        value = self.arguments.get(name)
        if value in (None, ""):
            return None
        if not isinstance(value, dict):
            raise invalid_arguments("must be an object", name)
        return value

    def channel(self, name: str = "channel") -> Channel:
        """Return the channel an argument names. Raises SlackError `channel_not_found`."""
        reference = self.text(name)
        if not reference:
            raise invalid_arguments(f"missing required field: {name}", name)
        return self.workspace.conversations.channel(reference)

    def joined_channel(self, name: str = "channel") -> Channel:
        """Return a channel the bot may write in. Raises `not_in_channel` or `is_archived`."""
        channel = self.channel(name)
        if channel.is_archived:
            raise SlackError("is_archived")
        if self.workspace.world.bot_user.id not in channel.members:
            raise SlackError("not_in_channel")
        return channel


def invalid_arguments(text: str, pointer: str) -> SlackError:
    """Return Slack's refusal of arguments, with the place of the fault."""
    messages = [f"[ERROR] {text} [json-pointer:/{pointer}]"]
    return SlackError("invalid_arguments", response_metadata={"messages": messages})


async def read_arguments(request: web.Request) -> Json:
    """Collect the arguments of a request: query, then JSON, form or multipart body."""
    arguments: Json = {**dict(request.query), **await _body(request)}
    return {key: _decoded(key, value) for key, value in arguments.items()}


async def _body(request: web.Request) -> Json:
    kind = request.content_type
    if kind == "multipart/form-data":
        return await _multipart(request)
    body = await request.read()
    if kind == "application/json" and body.strip():
        return _json_object(body)
    if kind == "application/x-www-form-urlencoded":
        return dict(parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True))
    return {}


async def _multipart(request: web.Request) -> Json:
    try:
        form = await request.post()
    except ValueError as error:
        raise SlackError("invalid_form_data") from error
    return {key: value for key, value in form.items() if isinstance(value, str)}


def _json_object(body: bytes) -> Json:
    try:
        parsed = json.loads(body)
    except ValueError as error:
        raise SlackError("invalid_json") from error
    if not isinstance(parsed, dict):
        raise SlackError("json_not_object")
    return parsed


def _decoded(key: str, value: object) -> object:
    if key not in _JSON_VALUED or not isinstance(value, str) or not value:
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        # A list of plain strings may arrive joined with commas instead of as JSON.
        if key == "loading_messages":
            return value.split(",")
        code = "invalid_blocks_format" if key == "blocks" else "invalid_arguments"
        raise SlackError(code) from error
