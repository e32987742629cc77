"""files.*: the three steps of an upload, and what is known of a file."""

from opsbot.workbench.web_api.call import Call, invalid_arguments
from opsbot.workbench.web_api.content import check_content, read_thread
from opsbot.workbench.wire import Json, SlackError


def get_upload_url(call: Call) -> Json:
    """files.getUploadURLExternal."""
    if call.integer("length", 0) < 1:
        raise invalid_arguments("must be at least 1: length", "length")
    file = call.workspace.files.create(call.required("filename"), call.workspace.world.bot_user.id)
    return {"upload_url": f"{call.workspace.base_url}/upload/{file.id}", "file_id": file.id}


def complete_upload(call: Call) -> Json:
    """files.completeUploadExternal: share the uploaded files in a channel, or keep them private."""
    workspace = call.workspace
    entries = call.array("files")
    if not entries:
        raise invalid_arguments("missing required field: files", "files")
    files = [workspace.files.get(str(entry.get("id", ""))) for entry in entries]
    for file, entry in zip(files, entries, strict=True):
        if not file.content:
            raise SlackError("file_not_found")
        file.title = str(entry.get("title") or file.name)
        file.is_complete = True
    for channel_id in [call.text("channel_id"), *call.names("channels")]:
        if channel_id:
            _share(call, channel_id, [file.id for file in files])
    return {"files": [file.shown(workspace.base_url) for file in files]}


def file_info(call: Call) -> Json:
    """files.info."""
    file = call.workspace.files.get(call.required("file"))
    return {"file": file.shown(call.workspace.base_url), "comments": []}


def _share(call: Call, channel_id: str, file_ids: list[str]) -> None:
    workspace = call.workspace
    channel = workspace.conversations.channel(channel_id)
    if workspace.world.bot_user.id not in channel.members:
        raise SlackError("not_in_channel")
    for file_id in file_ids:
        workspace.files.get(file_id).channels.append(channel.id)
    shown = [workspace.files.get(file_id).shown(workspace.base_url) for file_id in file_ids]
    content: Json = {"text": call.text("initial_comment"), "files": shown, "upload": True}
    if call.array("blocks"):
        content["blocks"] = call.array("blocks")
        check_content(call, content)
    call.desk.posting.post_as_bot(channel.id, content | read_thread(call, channel.id))
