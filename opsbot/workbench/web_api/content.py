"""The content of a message a method was given: exactly one of the allowed forms, validated."""

from opsbot.workbench.validation import check_message
from opsbot.workbench.web_api.call import Call
from opsbot.workbench.wire import Json, SlackError

_LOOKS = ("username", "icon_emoji", "icon_url")


def read_content(call: Call, *, is_update: bool = False) -> Json:
    """Return text, blocks and attachments of a call as message fields. Raises SlackError when refused."""
    markdown_text = call.text("markdown_text")
    if markdown_text:
        return _markdown_content(call, markdown_text)
    content: Json = {"text": call.text("text")} if "text" in call.arguments else {}
    for name in ("blocks", "attachments"):
        if call.arguments.get(name) is not None:
            content[name] = call.array(name)
    _refuse_empty(content, is_update=is_update)
    check_content(call, content)
    return content


def read_thread(call: Call, channel: str) -> Json:
    """Return `thread_ts` as a message field. Raises SlackError `thread_not_found`."""
    thread_ts = call.text("thread_ts")
    if not thread_ts:
        return {}
    root = call.workspace.conversations.find(channel, thread_ts)
    if root is None:
        raise SlackError("thread_not_found")
    return {"thread_ts": root.root_ts}


def read_looks(call: Call) -> Json:
    """Return the name and icon a message is posted under, when given."""
    return {name: call.text(name) for name in _LOOKS if call.text(name)}


def read_metadata(call: Call) -> Json | None:
    """Return validated message metadata, or None. Raises SlackError `invalid_metadata_format`."""
    metadata = call.arguments.get("metadata")
    if metadata in (None, "", {}):
        return None
    if not isinstance(metadata, dict) or not isinstance(metadata.get("event_payload"), dict):
        raise SlackError("invalid_metadata_format")
    if not isinstance(metadata.get("event_type"), str) or not metadata["event_type"]:
        raise SlackError("invalid_metadata_format")
    return {"event_type": metadata["event_type"], "event_payload": metadata["event_payload"]}


def check_content(call: Call, content: Json) -> None:
    """Refuse too long text and faulty blocks."""
    limits = call.workspace.limits
    if len(content.get("text", "")) > limits.text_max:
        raise SlackError("msg_too_long")
    if len(content.get("attachments", [])) > 100:
        raise SlackError("too_many_attachments")
    faults = check_message(content.get("blocks", []), limits)
    for index, attachment in enumerate(content.get("attachments", [])):
        faults += check_message(attachment.get("blocks", []), limits, f"/attachments/{index}/blocks")
    if faults:
        raise SlackError("invalid_blocks", errors=faults, response_metadata={"messages": faults})


def _markdown_content(call: Call, markdown_text: str) -> Json:
    if call.text("text") or call.arguments.get("blocks"):
        raise SlackError("markdown_text_conflict")
    if len(markdown_text) > call.workspace.limits.markdown_max:
        raise SlackError("msg_too_long")
    return {"text": markdown_text, "blocks": [{"type": "markdown", "text": markdown_text}]}


def _refuse_empty(content: Json, *, is_update: bool) -> None:
    has_something = any(content.get(name) for name in ("text", "blocks", "attachments"))
    removes_blocks = is_update and "blocks" in content
    if not has_something and not removes_blocks:
        raise SlackError("no_text")
