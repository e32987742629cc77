"""views.*: modals and the App Home."""

import json

from opsbot.workbench.validation import assign_ids, check_view
from opsbot.workbench.web_api.call import Call, invalid_arguments
from opsbot.workbench.wire import Json, SlackError
from opsbot.workbench.workspace import Workspace


def open_view(call: Call) -> Json:
    """views.open."""
    given = _read_view(call, "modal")
    user = call.workspace.triggers.redeem(_trigger(call))
    return {"view": call.workspace.views.open(user, given)}


def push_view(call: Call) -> Json:
    """views.push."""
    given = _read_view(call, "modal")
    user = call.workspace.triggers.redeem(_trigger(call))
    return {"view": call.workspace.views.push(user, given)}


def update_view(call: Call) -> Json:
    """views.update."""
    view = call.workspace.views.find(call.text("view_id"), call.text("external_id"))
    given = _read_view(call, view["type"])
    return {"view": call.workspace.views.update(view, given, call.text("hash"))}


def publish_view(call: Call) -> Json:
    """views.publish."""
    if not call.workspace.manifest.has_home_tab:
        raise SlackError("not_enabled")
    user = call.required("user_id")
    if call.workspace.world.user(user) is None:
        raise SlackError("user_not_found")
    given = _read_view(call, "home")
    return {"view": call.workspace.views.publish(user, given, call.text("hash"))}


def checked_view(workspace: Workspace, given: Json, surface: str) -> Json:
    """Return a view with ids assigned. Raises SlackError `view_too_large` or `invalid_arguments`."""
    if len(json.dumps(given).encode()) > workspace.limits.view_max_bytes:
        raise SlackError("view_too_large")
    faults = check_view(given, surface, workspace.limits)
    if faults:
        raise SlackError("invalid_arguments", response_metadata={"messages": faults})
    return {**given, "blocks": assign_ids(given["blocks"], workspace.ids)}


def _read_view(call: Call, surface: str) -> Json:
    given = call.object("view")
    if given is None:
        raise invalid_arguments("missing required field: view", "view")
    return checked_view(call.workspace, given, surface)


def _trigger(call: Call) -> str:
    return call.text("trigger_id") or call.required("interactivity_pointer")
