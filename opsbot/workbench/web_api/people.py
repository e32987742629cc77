"""auth.*, apps.*, bots.*, team.*, users.* and usergroups.*: who is who."""

from opsbot.workbench.web_api.call import Call
from opsbot.workbench.web_api.conversations import paged
from opsbot.workbench.wire import Json, SlackError
from opsbot.workbench.world import Group, User, user_json


def auth_test(call: Call) -> Json:
    """auth.test."""
    world = call.workspace.world
    return {
        "url": f"{call.workspace.base_url}/",
        "team": world.team_name,
        "user": world.bot_user.name,
        "team_id": world.team_id,
        "user_id": world.bot_user.id,
        "bot_id": world.bot_id,
        "app_id": world.app_id,
        "is_enterprise_install": False,
    }


def bot_info(call: Call) -> Json:
    """bots.info."""
    world = call.workspace.world
    if call.text("bot", world.bot_id) != world.bot_id:
        raise SlackError("bot_not_found")
    described = {"id": world.bot_id, "name": world.bot_user.name, "user_id": world.bot_user.id}
    return {"bot": {**described, "app_id": world.app_id, "deleted": False, "updated": 1_700_000_000, "icons": {}}}


def team_info(call: Call) -> Json:
    """team.info."""
    world = call.workspace.world
    return {"team": {"id": world.team_id, "name": world.team_name, "domain": world.domain, "email_domain": ""}}


def list_users(call: Call) -> Json:
    """users.list."""
    page, metadata = paged(call, call.workspace.world.users, default_limit=1000)
    members = [user_json(user, call.workspace.world.team_id) for user in page]
    return {"members": members, "cache_ts": int(call.workspace.clock.now()), **metadata}


def user_info(call: Call) -> Json:
    """users.info."""
    user = call.workspace.world.user(call.required("user"))
    return {"user": _shown(call, user)}


def lookup_by_email(call: Call) -> Json:
    """users.lookupByEmail."""
    email = call.required("email").lower()
    people = call.workspace.world.people
    user = next((person for person in people if person.email.lower() == email), None)
    if user is None:
        raise SlackError("users_not_found")
    return {"user": _shown(call, user)}


def list_groups(call: Call) -> Json:
    """usergroups.list."""
    with_users = call.flag("include_users")
    return {"usergroups": [group_json(call, g, with_users=with_users) for g in call.workspace.groups.values()]}


def list_group_users(call: Call) -> Json:
    """usergroups.users.list."""
    group = call.workspace.groups.get(call.required("usergroup"))
    if group is None:
        raise SlackError("no_such_subteam")
    return {"users": list(group.users)}


def group_json(call: Call, group: Group, *, with_users: bool) -> Json:
    """Return the user group object."""
    described = {
        "id": group.id,
        "team_id": call.workspace.world.team_id,
        "is_usergroup": True,
        "is_subteam": True,
        "name": group.name,
        "handle": group.handle,
        "description": "",
        "date_delete": 0,
        "user_count": len(group.users),
    }
    return {**described, **({"users": list(group.users)} if with_users else {})}


def _shown(call: Call, user: User | None) -> Json:
    if user is None:
        raise SlackError("user_not_found")
    return user_json(user, call.workspace.world.team_id)
