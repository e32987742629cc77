"""assistant.threads.* and agents.sessions.*: status lines, prompts, titles and session states."""

from opsbot.workbench.agent import Session
from opsbot.workbench.web_api.call import Call, invalid_arguments
from opsbot.workbench.wire import Json, SlackError

SESSION_STATUSES = frozenset({"active", "processing", "suspended", "closed"})
_STOPPED = "agent_session_stopped"


def set_status(call: Call) -> Json:
    """assistant.threads.setStatus."""
    channel = call.joined_channel("channel_id")
    loading_messages = call.names("loading_messages")
    if "status" not in call.arguments:
        raise invalid_arguments("missing required field: status", "status")
    if len(loading_messages) > 10:
        raise invalid_arguments("no more than 10 items allowed", "loading_messages")
    thread = (channel.id, call.required("thread_ts"))
    call.workspace.agent.set_status(thread, call.text("status"), loading_messages)
    return {}


def set_suggested_prompts(call: Call) -> Json:
    """assistant.threads.setSuggestedPrompts."""
    channel = call.joined_channel("channel_id")
    prompts = call.array("prompts")
    if not prompts or len(prompts) > 4:
        raise invalid_arguments("between 1 and 4 prompts allowed", "prompts")
    for index, prompt in enumerate(prompts):
        if not prompt.get("title") or not prompt.get("message"):
            raise invalid_arguments("missing required field: title and message", f"prompts/{index}")
    call.workspace.agent.set_prompts(channel.id, call.text("thread_ts"), call.text("title"), prompts)
    return {}


def set_title(call: Call) -> Json:
    """assistant.threads.setTitle."""
    return _rename(call, call.required("thread_ts"))


def set_session_status(call: Call) -> Json:
    """agents.sessions.setStatus."""
    channel = call.joined_channel("channel_id")
    status = call.required("status")
    if status not in SESSION_STATUSES:
        raise invalid_arguments(f"must be one of: {', '.join(sorted(SESSION_STATUSES))}", "status")
    thread = (channel.id, call.text("thread_ts"))
    known = call.workspace.agent.sessions.get(thread, Session(status))
    call.workspace.agent.set_session(thread, Session(status, _title(call) or known.title))
    if call.workspace.manifest.subscribes(_STOPPED):
        return {}
    warning = "missing_agent_session_stopped_event_subscription"
    return {"warning": warning, "response_metadata": {"warnings": [warning]}}


def rename_session(call: Call) -> Json:
    """agents.sessions.rename."""
    return _rename(call, call.text("thread_ts"))


def _rename(call: Call, thread_ts: str) -> Json:
    channel = call.joined_channel("channel_id")
    call.required("title")
    thread = (channel.id, thread_ts)
    known = call.workspace.agent.sessions.get(thread, Session("active"))
    call.workspace.agent.set_session(thread, Session(known.status, _title(call)))
    return {}


def _title(call: Call) -> str:
    title = call.text("title")
    if len(title) > 200:
        raise SlackError("title_too_long")
    return title
