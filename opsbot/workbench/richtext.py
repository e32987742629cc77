"""What a person types, turned into what Slack stores: escaped text, mentions, links and a rich_text block."""

import re

from opsbot.workbench.wire import Json
from opsbot.workbench.world import World

_TOKEN = re.compile(
    r"<(@[UW][A-Z0-9]+|#C[A-Z0-9]+(?:\|[^>]*)?|!subteam\^S[A-Z0-9]+(?:\|[^>]*)?|!(?:here|channel|everyone))>"
)
_NAME = re.compile(r"(?<![\w@#/.])([@#])([a-z0-9][a-z0-9._-]*[a-z0-9]|[a-z0-9])", re.IGNORECASE)
_URL = re.compile(r"https?://[^\s<>]+[^\s<>.,;:!?)'\"]")
# Slack links bare host names under well-known top-level domains too.
_HOST = re.compile(r"(?<![\w@/.-])((?:[a-z0-9-]+\.)+(?:com|net|org|io|dev))(?![\w.-])", re.IGNORECASE)


def stored_text(typed: str, world: World) -> str:
    """Return the text of the message event: `@bob` as `<@U0BOB>`, `#ops` as `<#C0OPS>`, `&`, `<`, `>` escaped."""
    parts: list[str] = []
    position = 0
    for token in _TOKEN.finditer(typed):
        parts += [_convert(typed[position : token.start()], world), token.group()]
        position = token.end()
    parts.append(_convert(typed[position:], world))
    return "".join(parts)


def escaped_command(typed: str, world: World) -> str:
    """Return the text of a slash command declared with `should_escape`: names ride along, `<@U0BOB|bob>`."""
    names = {f"<@{user.id}>": f"<@{user.id}|{user.name}>" for user in world.users}
    names |= {f"<#{channel.id}>": f"<#{channel.id}|{channel.name}>" for channel in world.channels}
    names |= {f"<!subteam^{group.id}>": f"<!subteam^{group.id}|@{group.handle}>" for group in world.groups}
    return re.sub(r"<[^<>]+>", lambda token: names.get(token.group(), token.group()), stored_text(typed, world))


def rich_text(text: str, block_id: str) -> Json:
    """Return the rich_text block Slack adds to a person's message."""
    parts: list[Json] = []
    for piece in re.split(r"(<[^<>]+>)", text):
        if piece:
            parts.append(_element(piece))
    return {
        "type": "rich_text",
        "block_id": block_id,
        "elements": [{"type": "rich_text_section", "elements": parts}],
    }


def _convert(typed: str, world: World) -> str:
    escaped = typed.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    pieces = []
    position = 0
    for url in _URL.finditer(escaped):
        pieces += [_names(escaped[position : url.start()], world), f"<{url.group()}>"]
        position = url.end()
    return "".join([*pieces, _names(escaped[position:], world)])


def _names(text: str, world: World) -> str:
    linked = _HOST.sub(r"<http://\1|\1>", text)
    return _NAME.sub(lambda match: _mention(match, world), linked)


def _mention(match: re.Match[str], world: World) -> str:
    sign, name = match.group(1), match.group(2).lower()
    if sign == "#":
        channel = next((c for c in world.channels if c.name == name), None)
        return f"<#{channel.id}>" if channel else match.group()
    if name in ("here", "channel", "everyone"):
        return f"<!{name}>"
    user = next((u for u in world.users if u.name.lower() == name), None)
    if user:
        return f"<@{user.id}>"
    group = next((g for g in world.groups if g.handle == name), None)
    return f"<!subteam^{group.id}>" if group else match.group()


def _element(piece: str) -> Json:
    if piece.startswith("<@"):
        return {"type": "user", "user_id": piece[2:-1].split("|")[0]}
    if piece.startswith("<#"):
        return {"type": "channel", "channel_id": piece[2:-1].split("|")[0]}
    if piece.startswith("<!subteam^"):
        return {"type": "usergroup", "usergroup_id": piece[10:-1].split("|")[0]}
    if piece.startswith("<!"):
        return {"type": "broadcast", "range": piece[2:-1]}
    if piece.startswith("<"):
        url, _, label = piece[1:-1].partition("|")
        return {"type": "link", "url": _plain(url), **({"text": label} if label else {})}
    return {"type": "text", "text": _plain(piece)}


def _plain(text: str) -> str:
    return text.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
