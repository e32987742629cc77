"""chat.startStream, appendStream and stopStream: text and tasks that grow while people watch."""

import copy

from opsbot.workbench.agent import Session
from opsbot.workbench.conversations import Message, Stream
from opsbot.workbench.validation import assign_ids, check_chunks, check_message
from opsbot.workbench.web_api.agents import SESSION_STATUSES
from opsbot.workbench.web_api.call import Call, invalid_arguments
from opsbot.workbench.web_api.chat import own_message
from opsbot.workbench.web_api.content import read_looks, read_metadata, read_thread
from opsbot.workbench.wire import Json, SlackError


def start_stream(call: Call) -> Json:
    """chat.startStream."""
    channel = call.joined_channel()
    call.required("thread_ts")
    recipient = call.text("recipient_user_id")
    if not channel.is_im and not recipient:
        raise SlackError("missing_recipient_user_id")
    if not channel.is_im and not call.text("recipient_team_id"):
        raise SlackError("missing_recipient_team_id")
    mode = call.text("task_display_mode", "timeline")
    if mode not in ("timeline", "plan"):
        raise invalid_arguments("must be one of: timeline, plan", "task_display_mode")
    chunks = _read_chunks(call)
    stream = Stream(recipient or channel.user, mode)
    _merge(stream, chunks)
    content = {"text": _text(stream), **read_thread(call, channel.id), **read_looks(call)}
    message = call.desk.posting.post_as_bot(channel.id, content, stream=stream)
    workspace = call.workspace
    workspace.clock.call_later(workspace.limits.stream_life_s, lambda: _expire(call, message, stream))
    return {"channel": channel.id, "ts": message.ts}


def append_stream(call: Call) -> Json:
    """chat.appendStream."""
    message, stream = _open_stream(call)
    if stream.was_stopped_by_user:
        raise SlackError("stopped_by_user")
    chunks = _read_chunks(call)
    if not chunks:
        raise SlackError("no_text")
    _merge(stream, chunks)
    message.body["text"] = _text(stream)
    _refuse_too_long(call, message)
    call.workspace.conversations.changed(message)
    return {"channel": message.channel, "ts": message.ts}


def stop_stream(call: Call) -> Json:
    """chat.stopStream."""
    message, stream = _open_stream(call)
    chunks = _read_chunks(call)
    blocks = call.array("blocks")
    status = call.text("session_status")
    metadata = read_metadata(call)
    _refuse(check_message(blocks, call.workspace.limits), "invalid_blocks")
    if status and status not in SESSION_STATUSES:
        raise SlackError("invalid_status")
    previous = copy.deepcopy(message.body)
    _merge(stream, chunks)
    stream.is_open = False
    message.body["text"] = _text(stream)
    if blocks:
        message.body["blocks"] = assign_ids(blocks, call.workspace.ids)
    message.metadata = metadata or message.metadata
    thread = (message.channel, message.root_ts)
    call.workspace.agent.set_status(thread, "", [])
    if status:
        known = call.workspace.agent.sessions.get(thread, Session(status))
        call.workspace.agent.set_session(thread, Session(status, known.title))
    call.desk.posting.announce_change(message, previous)
    return {"channel": message.channel, "ts": message.ts, "message": dict(message.body)}


def _open_stream(call: Call) -> tuple[Message, Stream]:
    message = own_message(call, "message_not_owned_by_app")
    if message.stream is None or not message.stream.is_open:
        raise SlackError("message_not_in_streaming_state")
    return message, message.stream


def _read_chunks(call: Call) -> list[Json]:
    chunks = call.array("chunks")
    markdown_text = call.text("markdown_text")
    if chunks and markdown_text:
        raise SlackError("markdown_text_conflict")
    if markdown_text:
        chunks = [{"type": "markdown_text", "text": markdown_text}]
    _refuse(check_chunks(chunks, call.workspace.limits), "invalid_chunks")
    return chunks


def _refuse(faults: list[str], code: str) -> None:
    if faults:
        raise SlackError(code, response_metadata={"messages": faults})


def _merge(stream: Stream, chunks: list[Json]) -> None:
    """Fold new chunks in: text grows, a task keeps its place, details and output of a task grow."""
    for chunk in copy.deepcopy(chunks):
        known = _same(stream.chunks, chunk)
        if known is None:
            stream.chunks.append(chunk)
        elif chunk["type"] == "markdown_text":
            known["text"] += chunk["text"]
        else:
            grown = {key: known.get(key, "") + chunk[key] for key in ("details", "output") if chunk.get(key)}
            known |= {**chunk, **grown}


def _same(chunks: list[Json], new: Json) -> Json | None:
    if new["type"] == "task_update":
        return next((c for c in chunks if c["type"] == "task_update" and c["id"] == new["id"]), None)
    if new["type"] == "plan_update":
        return next((c for c in chunks if c["type"] == "plan_update"), None)
    if new["type"] == "markdown_text" and chunks and chunks[-1]["type"] == "markdown_text":
        return chunks[-1]
    return None


def _text(stream: Stream) -> str:
    return "".join(chunk["text"] for chunk in stream.chunks if chunk["type"] == "markdown_text")


def _refuse_too_long(call: Call, message: Message) -> None:
    if len(message.body["text"]) > call.workspace.limits.text_max:
        raise SlackError("msg_too_long")


def _expire(call: Call, message: Message, stream: Stream) -> None:
    if stream.is_open and message.stream is stream:
        previous = copy.deepcopy(message.body)
        stream.is_open = False
        call.desk.posting.announce_change(message, previous)
