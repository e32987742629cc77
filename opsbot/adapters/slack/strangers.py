"""Who speaks to the bot without being a person of its workspace: told apart from noise, and never heard."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from opsbot.adapters.slack.incoming import COMMANDS, ID, TS, Home, matching
from opsbot.domain import Actor, Membership, Place

Body: TypeAlias = Mapping[str, Any]

_TEAMS = ("team", "user_team", "source_team", "actor_team_id")


@dataclass(frozen=True, slots=True)
class Stranger:
    """Who tried to get in, how, and where. `reply_to`: where Slack lets a person be answered, or ""."""

    actor: Actor
    place: Place
    entrance: str
    reply_to: str = ""


def stranger(body: Body, home: Home) -> Stranger | None:
    """Return who it was, if a payload that is not heard was meant for the bot; None for everything else."""
    kind = body.get("type")
    if kind == "event_callback":
        return _speaker(body, home)
    if kind == "block_actions":
        return _clicker(body, home)
    if kind is None and body.get("command") in tuple(COMMANDS):
        return _commander(body, home)
    return None


def _speaker(body: Body, home: Home) -> Stranger | None:
    event = _mapping(body.get("event"))
    channel, ts = matching(ID, event.get("channel")), matching(TS, event.get("ts"))
    if channel is None or ts is None:
        return None
    # A mention comes as a message too; it is counted once.
    direct = event.get("type") == "message" and channel.startswith("D") and event.get("user") != home.bot_user_id
    if event.get("type") != "app_mention" and not direct:
        return None
    place = Place(home.team_id, channel, matching(TS, event.get("thread_ts")) or ts)
    if app := event.get("bot_id"):
        app_id = None if direct else matching(ID, app)
        return Stranger(Actor(home.team_id, app_id, membership=Membership.BOT), place, "app") if app_id else None
    teams = [event.get(name) for name in _TEAMS]
    foreign = next((team for team in (*teams, body.get("team_id")) if team and team != home.team_id), None)
    return _foreigner(event.get("user"), foreign, home, Stranger(_NOBODY, place, "message"))


def _clicker(body: Body, home: Home) -> Stranger | None:
    user, container = _mapping(body.get("user")), _mapping(body.get("container"))
    channel = matching(ID, container.get("channel_id"))
    if channel is None:
        return None
    place = Place(home.team_id, channel, matching(TS, container.get("thread_ts")) or "")
    tried = Stranger(_NOBODY, place, "click", _text(body.get("response_url")))
    return _foreigner(user.get("id"), user.get("team_id"), home, tried)


def _commander(body: Body, home: Home) -> Stranger | None:
    channel = matching(ID, body.get("channel_id"))
    if channel is None:
        return None
    tried = Stranger(_NOBODY, Place(home.team_id, channel, ""), "command", _text(body.get("response_url")))
    return _foreigner(body.get("user_id"), body.get("team_id"), home, tried)


_NOBODY = Actor("", "", membership=Membership.UNKNOWN)


def _foreigner(user: object, team: object, home: Home, tried: Stranger) -> Stranger | None:
    user_id, team_id = matching(ID, user), matching(ID, team)
    if user_id is None or team_id is None or team_id == home.team_id:
        return None
    return replace(tried, actor=Actor(team_id, user_id, membership=Membership.FOREIGN))


def _mapping(value: object) -> Body:
    return value if isinstance(value, dict) else {}


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
