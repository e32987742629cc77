"""What the app declared about itself: events, commands, shortcuts and scopes, read from manifest.json."""

from dataclasses import dataclass

from opsbot.workbench.wire import Json


@dataclass(frozen=True, slots=True)
class Manifest:
    """The declared features. None means that no manifest was given and everything is allowed."""

    name: str = "opsbot"
    events: frozenset[str] | None = None
    scopes: frozenset[str] | None = None
    commands: tuple[Json, ...] | None = None
    shortcuts: tuple[Json, ...] | None = None
    suggested_prompts: tuple[Json, ...] = ()
    has_home_tab: bool = True
    takes_direct_messages: bool = True
    is_interactive: bool = True

    def subscribes(self, event: str) -> bool:
        """Whether the app asked for this event, for example `message.im`."""
        return self.events is None or event in self.events

    def command(self, name: str) -> Json | None:
        """Return the declaration of a slash command, or None when it is not declared."""
        if self.commands is None:
            return {"command": name, "description": "", "usage_hint": ""}
        return next((entry for entry in self.commands if entry["command"] == name), None)

    def shortcut(self, callback_id: str) -> Json | None:
        """Return the declaration of a shortcut, or None when it is not declared."""
        if self.shortcuts is None:
            return {"callback_id": callback_id, "name": callback_id, "type": ""}
        return next((entry for entry in self.shortcuts if entry["callback_id"] == callback_id), None)


def read_manifest(manifest: Json | None) -> Manifest:
    """Read a parsed manifest.json; None gives a manifest that allows everything."""
    if manifest is None:
        return Manifest()
    features = manifest.get("features", {})
    settings = manifest.get("settings", {})
    scopes = manifest.get("oauth_config", {}).get("scopes", {}).get("bot")
    app_home = features.get("app_home", {})
    display = manifest.get("display_information", {}).get("name", "opsbot")
    return Manifest(
        name=features.get("bot_user", {}).get("display_name", display),
        events=frozenset(settings.get("event_subscriptions", {}).get("bot_events", [])),
        scopes=None if scopes is None else frozenset(scopes),
        commands=tuple(features.get("slash_commands", [])),
        shortcuts=tuple(features.get("shortcuts", [])),
        suggested_prompts=tuple(features.get("agent_view", {}).get("suggested_prompts", [])),
        has_home_tab=bool(app_home.get("home_tab_enabled", False)),
        takes_direct_messages=_takes_direct_messages(app_home),
        is_interactive=bool(settings.get("interactivity", {}).get("is_enabled", False)),
    )


def _takes_direct_messages(app_home: Json) -> bool:
    is_read_only = app_home.get("messages_tab_read_only_enabled", True)
    return bool(app_home.get("messages_tab_enabled", False)) and not is_read_only
