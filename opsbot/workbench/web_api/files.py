"""files.*: the three steps of an upload, and what is known of a file."""

from opsbot.workbench.web_api.call import Call, invalid_arguments
from opsbot.workbench.web_api.content import check_content, read_thread
from opsbot.workbench.wire import Json, SlackError


def get_upload_url(call: Call) -> Json:
    """files.getUploadURLExternal."""
    length = call.integer("length", 0)
    if length < 1:
        raise invalid_arguments("must be at least 1: length", "length")
    if length > call.workspace.limits.file_max_bytes:
        raise SlackError("file_upload_size_restricted")
    if len(call.text("alt_txt")) > call.workspace.limits.alt_text_max:
        raise SlackError("alt_txt_too_large")
    file = call.workspace.files.create(call.required("filename"), call.workspace.world.bot_user.id)
    file.announced_bytes, file.alt_txt = length, call.text("alt_txt")
    return {"upload_url": f"{call.workspace.base_url}/upload/{file.id}", "file_id": file.id}


def complete_upload(call: Call) -> Json:
    """files.completeUploadExternal: share the uploaded files in a channel, or keep them private."""
    workspace = call.workspace
    entries = call.array("files")
    if not entries:
        raise invalid_arguments("missing required field: files", "files")
    files = [workspace.files.get(str(entry.get("id", ""))) for entry in entries]
    if not all(file.content for file in files):
        raise SlackError("file_not_found")
    named = [name for name in [call.text("channel_id"), *call.names("channels")] if name]
    contents = [_shared_content(call, name) for name in named]
    for file, entry in zip(files, entries, strict=True):
        file.title = str(entry.get("title") or file.name)
        file.is_complete = True
    for channel_id, content in contents:
        for file in files:
            file.channels.append(channel_id)
        shown = [file.shown(workspace.base_url) for file in files]
        call.desk.posting.post_as_bot(channel_id, content | {"files": shown})
    return {"files": [file.shown(workspace.base_url) for file in files]}


def file_info(call: Call) -> Json:
    """files.info."""
    file = call.workspace.files.get(call.required("file"))
    return {"file": file.shown(call.workspace.base_url), "comments": []}


def _shared_content(call: Call, name: str) -> tuple[str, Json]:
    """Return where and as what the files are shared, before anything is changed. Raises SlackError."""
    workspace = call.workspace
    channel = workspace.conversations.channel(name)
    if channel.is_archived:
        raise SlackError("is_archived")
    if workspace.world.bot_user.id not in channel.members:
        raise SlackError("not_in_channel")
    content: Json = {"text": call.text("initial_comment"), "upload": True}
    if call.array("blocks"):
        content["blocks"] = call.array("blocks")
        check_content(call, content)
    return channel.id, content | read_thread(call, channel.id)
