"""When a look was taken and what to type to see the same, for a model to quote beside its evidence. Pure."""

import re
import shlex
from collections.abc import Mapping
from datetime import datetime

from opsbot.actions import Prepared
from opsbot.domain import Json, ServiceManager

_NAME = re.compile(r"\{([a-z_]+)\}")
_PIECE = re.compile(r"\[([^\[\]]*)\]")


def sighting(prepared: Prepared, at: datetime) -> dict[str, Json]:
    """Return `at` (ISO 8601, UTC, whole seconds) and, where the tool says it and every host runs systemd, `by_hand`."""
    seen: dict[str, Json] = {"at": at.strftime("%Y-%m-%dT%H:%M:%SZ")}
    if all(host.service_manager is ServiceManager.SYSTEMD for host in prepared.hosts):
        typed = typed_command(prepared.tool.by_hand, prepared.action.arguments)
        seen |= {"by_hand": typed} if typed else {}
    return seen


def typed_command(template: str, arguments: Mapping[str, Json]) -> str:
    """Fill a tool's `by_hand` with a call's arguments, quoted for a shell; see `Tool`."""

    def piece(match: re.Match[str]) -> str:
        return match[1] if all(_given(arguments, name) for name in _NAME.findall(match[1])) else ""

    filled = _NAME.sub(lambda match: shlex.quote(str(arguments.get(match[1], ""))), _PIECE.sub(piece, template))
    return " ".join(filled.split())


def _given(arguments: Mapping[str, Json], name: str) -> bool:
    return arguments.get(name) is not None
