"""chat.*: posting, updating, deleting, ephemerals, permalinks, scheduling, unfurling."""

from opsbot.workbench.conversations import Message
from opsbot.workbench.web_api.call import Call, invalid_arguments
from opsbot.workbench.web_api.content import check_content, read_content, read_looks, read_metadata, read_thread
from opsbot.workbench.wire import Json, SlackError


def post_message(call: Call) -> Json:
    """chat.postMessage."""
    channel = call.joined_channel()
    content = read_content(call) | read_thread(call, channel.id) | read_looks(call)
    message = call.desk.posting.post_as_bot(channel.id, content, metadata=read_metadata(call))
    return {"channel": channel.id, "ts": message.ts, "message": _answered(message)}


def update(call: Call) -> Json:
    """chat.update."""
    message = own_message(call, "cant_update_message")
    content = read_content(call, is_update=True)
    if message.stream is not None and message.stream.is_open:
        raise SlackError("streaming_state_conflict")
    # The new text replaces what was streamed: this is the way out after a stream expired.
    message.stream = None
    if call.arguments.get("metadata") is not None:
        message.metadata = read_metadata(call)
    call.desk.posting.edit(message, content)
    body = _answered(message)
    return {"channel": message.channel, "ts": message.ts, "text": body["text"], "message": body}


def delete(call: Call) -> Json:
    """chat.delete."""
    message = own_message(call, "cant_delete_message")
    call.desk.posting.remove(message)
    return {"channel": message.channel, "ts": message.ts}


def post_ephemeral(call: Call) -> Json:
    """chat.postEphemeral."""
    channel = call.joined_channel()
    user = call.required("user")
    if call.workspace.world.user(user) is None:
        raise SlackError("user_not_found")
    if user not in channel.members:
        raise SlackError("user_not_in_channel")
    content = read_content(call) | read_thread(call, channel.id) | read_looks(call)
    message = call.desk.posting.post_as_bot(channel.id, content, ephemeral_for=user)
    return {"message_ts": message.ts}


def get_permalink(call: Call) -> Json:
    """chat.getPermalink."""
    channel = call.channel()
    message = call.workspace.conversations.get(channel.id, call.required("message_ts"))
    link = f"{call.workspace.base_url}/archives/{channel.id}/p{message.ts.replace('.', '')}"
    if message.is_reply:
        link += f"?thread_ts={message.root_ts}&cid={channel.id}"
    return {"channel": channel.id, "permalink": link}


def schedule_message(call: Call) -> Json:
    """chat.scheduleMessage."""
    channel = call.joined_channel()
    post_at = call.integer("post_at", 0)
    delay_s = post_at - call.workspace.clock.now()
    if delay_s <= 0:
        raise SlackError("time_in_past")
    if delay_s > 120 * 24 * 3600:
        raise SlackError("time_too_far")
    content = read_content(call) | read_thread(call, channel.id)
    metadata = read_metadata(call)
    posting = call.desk.posting

    def post() -> None:
        posting.post_as_bot(channel.id, content, metadata=metadata)

    call.workspace.clock.call_later(delay_s, post)
    scheduled_id = call.workspace.ids.next("Q")
    return {"channel": channel.id, "scheduled_message_id": scheduled_id, "post_at": post_at, "message": content}


def unfurl(call: Call) -> Json:
    """chat.unfurl: attach previews to a person's message, by URL."""
    unfurls = call.object("unfurls")
    if unfurls is None and call.object("metadata") is None:
        raise invalid_arguments("missing required field: unfurls", "unfurls")
    channel = call.channel()
    message = call.workspace.conversations.get(channel.id, call.required("ts"))
    previews = [{"from_url": url, **preview} for url, preview in (unfurls or {}).items()]
    check_content(call, {"attachments": previews})
    call.desk.posting.edit(message, {"attachments": previews}, mark_edited=False)
    return {}


def own_message(call: Call, refusal: str) -> Message:
    """Return the app's own message a call names. Raises SlackError `message_not_found` or `refusal`."""
    channel = call.channel()
    message = call.workspace.conversations.get(channel.id, call.required("ts"))
    if message.body.get("bot_id") != call.workspace.world.bot_id:
        raise SlackError(refusal)
    return message


def _answered(message: Message) -> Json:
    return {**message.body, **({"metadata": message.metadata} if message.metadata else {})}
