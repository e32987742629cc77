"""Names of services: one grammar for what may ever reach a command line, one canonical form per manager."""

import re

from opsbot.domain import ServiceManager
from opsbot.errors import BadArguments

# systemd.unit(5): 255 characters at most; first character never "-" so that no name can be an option.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9:_.\\-]*(@[A-Za-z0-9:_.\\-]+)?", re.ASCII)
_SUFFIXES = (".service", ".timer", ".socket")
_MAX_LENGTH = 255


def canonical_unit(name: str, manager: ServiceManager) -> str:
    """Return the name as `manager` spells it: `nginx` is `nginx.service` for systemd, `demo` for supervisord.

    Raises:
        BadArguments: the name does not fit the grammar.
    """
    if len(name) > _MAX_LENGTH or not _NAME.fullmatch(name):
        raise BadArguments(
            f"{name[:80]!r} is not a service name: letters, digits and : _ . @ - only, "
            "starting with a letter or digit, at most 255 characters."
        )
    if manager is ServiceManager.SUPERVISORD:
        return name.removesuffix(".service")
    full = name if name.endswith(_SUFFIXES) else f"{name}.service"
    if len(full) > _MAX_LENGTH:
        raise BadArguments("That service name is too long: at most 255 characters with its suffix.")
    return full
