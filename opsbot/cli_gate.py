"""Print the gate of a host, or the line of authorized_keys that holds the key to it."""

import argparse
import sys
from collections.abc import Iterator

from opsbot.adapters.machines import looks
from opsbot.adapters.ssh_keys import public_key_of
from opsbot.cli_config import config_of
from opsbot.discovery import SHIPPED_TOOLS, Registry
from opsbot.domain import Connection, Host
from opsbot.errors import BadArguments, HostUnreachable
from opsbot.gate import gate_for, key_line
from opsbot.inventory import Inventory
from opsbot.looks import Look
from opsbot.toolbox import tools_of

_NO_KEY = "ssh-ed25519 THE_PUBLIC_KEY"


def gate(options: argparse.Namespace) -> int:
    """Print a host's gate on stdout; say on stderr what would not work with it."""
    config = config_of(options)
    inventory = config.inventory()
    (host,) = _one(inventory, options.host)
    registry = tools_of(config)
    public_key, trouble = _public_key(host)
    behind = [other for other in inventory.hosts.values() if other.jump == host.name]
    line = key_line(host, public_key, behind=behind, sources=options.sources)
    said = line + "\n" if options.key_line else gate_for(host, all_looks(host, registry), line=line)
    sys.stdout.write(said)
    for warning in (*trouble, *_warnings(host, registry, options.sources)):
        sys.stderr.write(f"opsbot: warning: {warning}\n")
    return 0


def all_looks(host: Host, registry: Registry) -> Iterator[Look]:
    """Yield everything the bot and its tools send to this host to look at it."""
    yield from looks(host)
    for tool in registry.tools:
        yield from tool.looks(host) if tool.looks else ()


def _one(inventory: Inventory, name: str) -> tuple[Host, ...]:
    hosts = inventory.resolve([name])
    if len(hosts) != 1 or hosts[0].connection is not Connection.SSH:
        raise BadArguments(f"{name[:60]!a}: name one host that is reached by SSH; each has a gate of its own.")
    return hosts


def _public_key(host: Host) -> tuple[str, tuple[str, ...]]:
    try:
        return public_key_of(host.login_key_file), ()
    except HostUnreachable as error:
        return _NO_KEY, (f"{error} Put its public half in the place of {_NO_KEY}.",)


def _warnings(host: Host, registry: Registry, sources: str) -> Iterator[str]:
    if not host.reads_apart:
        yield (
            f"{host.name} has no `read_user` or `read_key`: behind this gate its only key could act no more. Give the "
            "bot another key for looking first (docs/keys.md)."
        )
    if not sources:
        yield "the key works from any address; name the bot's with --from."
    own = (tool for tool in registry.tools if not tool.function.__module__.startswith(f"{SHIPPED_TOOLS}."))
    silent = [tool.name for tool in own if tool.takes_host and tool.looks is None]
    if silent:
        yield (
            f"{', '.join(silent)}: do not say what they send (`looks=` of @tool, docs/tools.md), so what they send by "
            "ctx.run is refused by the gate."
        )
