"""The Web API methods the workbench provides, and the scopes each needs."""

from collections.abc import Callable, Mapping

from opsbot.workbench.validation import check_message, check_view
from opsbot.workbench.web_api import agents, chat, conversations, files, people, streams, views
from opsbot.workbench.web_api.call import Call
from opsbot.workbench.wire import Json, SlackError

Method = Callable[[Call], Json]


def validate_blocks(call: Call) -> Json:
    """blocks.validate: needs no token."""
    view = call.object("view")
    message = call.object("message") or {}
    limits = call.workspace.limits
    if view is not None:
        faults = check_view(view, str(view.get("type", "")), limits)
    else:
        faults = check_message(call.array("blocks") or message.get("blocks", []), limits)
    if faults:
        raise SlackError("invalid_blocks", errors=faults, response_metadata={"messages": faults})
    return {}


METHODS: Mapping[str, Method] = {
    "auth.test": people.auth_test,
    "bots.info": people.bot_info,
    "team.info": people.team_info,
    "chat.postMessage": chat.post_message,
    "chat.update": chat.update,
    "chat.delete": chat.delete,
    "chat.postEphemeral": chat.post_ephemeral,
    "chat.getPermalink": chat.get_permalink,
    "chat.scheduleMessage": chat.schedule_message,
    "chat.unfurl": chat.unfurl,
    "chat.startStream": streams.start_stream,
    "chat.appendStream": streams.append_stream,
    "chat.stopStream": streams.stop_stream,
    "conversations.list": conversations.list_channels,
    "conversations.info": conversations.info,
    "conversations.history": conversations.history,
    "conversations.replies": conversations.replies,
    "conversations.members": conversations.members,
    "conversations.open": conversations.open_dm,
    "users.list": people.list_users,
    "users.info": people.user_info,
    "users.lookupByEmail": people.lookup_by_email,
    "usergroups.list": people.list_groups,
    "usergroups.users.list": people.list_group_users,
    "views.open": views.open_view,
    "views.push": views.push_view,
    "views.update": views.update_view,
    "views.publish": views.publish_view,
    "reactions.add": conversations.add_reaction,
    "reactions.remove": conversations.remove_reaction,
    "reactions.get": conversations.get_reactions,
    "files.getUploadURLExternal": files.get_upload_url,
    "files.completeUploadExternal": files.complete_upload,
    "files.info": files.file_info,
    "assistant.threads.setStatus": agents.set_status,
    "assistant.threads.setSuggestedPrompts": agents.set_suggested_prompts,
    "assistant.threads.setTitle": agents.set_title,
    "agents.sessions.setStatus": agents.set_session_status,
    "agents.sessions.rename": agents.rename_session,
    "blocks.validate": validate_blocks,
}

# Any one of the scopes suffices. Slack's method pages, 2026-11; agents.sessions.* assumed.
SCOPES: Mapping[str, tuple[str, ...]] = {
    "bots.info": ("users:read",),
    "team.info": ("team:read",),
    "chat.postMessage": ("chat:write",),
    "chat.update": ("chat:write",),
    "chat.delete": ("chat:write",),
    "chat.postEphemeral": ("chat:write",),
    "chat.scheduleMessage": ("chat:write",),
    "chat.unfurl": ("links:write",),
    "chat.startStream": ("chat:write",),
    "chat.appendStream": ("chat:write",),
    "chat.stopStream": ("chat:write",),
    "conversations.open": ("im:write",),
    "users.list": ("users:read",),
    "users.info": ("users:read",),
    "users.lookupByEmail": ("users:read.email",),
    "usergroups.list": ("usergroups:read",),
    "usergroups.users.list": ("usergroups:read",),
    "reactions.add": ("reactions:write",),
    "reactions.remove": ("reactions:write",),
    "reactions.get": ("reactions:read",),
    "files.getUploadURLExternal": ("files:write",),
    "files.completeUploadExternal": ("files:write",),
    "files.info": ("files:read",),
    "assistant.threads.setStatus": ("chat:write", "assistant:write"),
    "assistant.threads.setSuggestedPrompts": ("assistant:write",),
    "assistant.threads.setTitle": ("assistant:write",),
    "agents.sessions.setStatus": ("assistant:write", "chat:write"),
    "agents.sessions.rename": ("assistant:write", "chat:write"),
}

# These need the scope of the kind of conversation they look at.
_BY_CHANNEL = {
    "conversations.history": "history",
    "conversations.replies": "history",
    "conversations.info": "read",
    "conversations.members": "read",
}
_FAMILY = {"im": "im", "group": "groups", "channel": "channels"}


def needed_scopes(call: Call) -> tuple[str, ...]:
    """Return the scopes of which the call needs one; empty when it needs none."""
    if call.method in _BY_CHANNEL and call.text("channel"):
        return (f"{_FAMILY[call.channel().kind]}:{_BY_CHANNEL[call.method]}",)
    if call.method == "conversations.list":
        kinds = {"im": "im", "private_channel": "groups", "mpim": "mpim"}
        wanted = call.names("types") or ["public_channel"]
        return tuple(f"{kinds.get(kind, 'channels')}:read" for kind in wanted)
    return SCOPES.get(call.method, ())
