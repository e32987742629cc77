"""Commands that look and change nothing: tools, hosts, check, manifest."""

import argparse
import json
import sys
from collections.abc import Sequence
from importlib.resources import files

from rich.console import Console
from rich.table import Table
from rich.text import Text

from opsbot.cli_config import config_of, config_path
from opsbot.config import Config, load
from opsbot.discovery import SHIPPED_TOOLS, load_tools
from opsbot.domain import Host
from opsbot.errors import ConfigError
from opsbot.toolbox import tools_of


def tools(options: argparse.Namespace) -> int:
    """List the tools that would be loaded."""
    registry = tools_of(config_of(options))
    if options.json:
        found = [
            {
                "name": tool.name,
                "risk": str(tool.risk),
                "timeout_s": tool.timeout_s,
                "description": tool.description,
                "schema": spec.schema,
                "file": f"{tool.source_file}:{tool.source_line}",
                "sha256": tool.sha256,
            }
            for tool, spec in zip(registry.tools, registry.specs(), strict=True)
        ]
        _print_json(found)
        return 0
    rows = [
        (tool.name, str(tool.risk), f"{tool.timeout_s:g} s", tool.description.splitlines()[0])
        for tool in registry.tools
    ]
    _print_table(("Tool", "Risk", "Time limit", "What it does"), rows)
    return 0


def hosts(options: argparse.Namespace) -> int:
    """List the inventory, or the named part of it."""
    inventory = config_of(options).inventory()
    chosen = inventory.resolve(options.names) if options.names else tuple(inventory.hosts.values())
    if options.json:
        _print_json([_host_facts(host) for host in chosen])
        return 0
    rows = [
        (
            host.name,
            _reached_as(host),
            host.environment,
            " ".join(host.groups),
            " ".join(host.tags),
            " ".join(host.units) or "none",
        )
        for host in chosen
    ]
    _print_table(("Host", "Reached as", "Environment", "Groups", "Tags", "May be restarted"), rows)
    return 0


def _reached_as(host: Host) -> str:
    if host.connection == "local":
        return "this machine"
    via = f" via {host.jump}" if host.jump else ""
    pinned = "" if host.host_key else " (no host key pinned yet)"
    return f"{host.user}@{host.address}:{host.port}{via}{pinned}"


def check(options: argparse.Namespace) -> int:
    """Name every fault of the configuration, its secrets and its tools."""
    path = config_path(options)
    try:
        config = load(path)
    except ConfigError as error:
        # Shipped tools are checked all the same; the operator's folders cannot be known.
        raise ConfigError(*error.faults, *_faults_of_tools(())) from error
    faults: list[str] = []
    try:
        config.secrets()
    except ConfigError as error:
        faults.extend(error.faults)
    faults.extend(_faults_of_tools((config,)))
    if faults:
        raise ConfigError(*faults)
    inventory = config.inventory()
    model = "no model (keyless)" if config.model.keyless else config.model.name
    chat = "Slack" if config.slack is not None else "terminal only"
    sys.stdout.write(
        f"{path} is fine: {len(inventory.hosts)} hosts in {len(inventory.groups)} groups, "
        f"{len(tools_of(config).tools)} tools, {model}, {chat}.\n"
    )
    return 0


def manifest(options: argparse.Namespace) -> int:
    """Print the Slack app's manifest, for Socket Mode or HTTP mode."""
    content = json.loads(files("opsbot").joinpath("manifest.json").read_text(encoding="utf-8"))
    if options.http:
        if not options.http.startswith("https://"):
            raise ConfigError(f"--http {options.http[:80]!a}: Slack calls only https:// addresses; name one.")
        address = options.http.rstrip("/") + "/slack/events"
        settings, features = content["settings"], content["features"]
        settings["socket_mode_enabled"] = False
        settings["event_subscriptions"]["request_url"] = address
        settings["interactivity"]["request_url"] = address
        for command in features["slash_commands"]:
            command["url"] = address
    _print_json(content)
    return 0


def _faults_of_tools(configs: Sequence[Config]) -> tuple[str, ...]:
    try:
        for config in configs:
            tools_of(config)
        if not configs:
            load_tools([SHIPPED_TOOLS])
    except ConfigError as error:
        return error.faults
    return ()


def _host_facts(host: Host) -> dict[str, object]:
    return {
        "name": host.name,
        "connection": str(host.connection),
        "address": host.address,
        "port": host.port,
        "user": host.user,
        "read_user": host.read_user or None,
        "jump": host.jump or None,
        "host_key_pinned": bool(host.host_key),
        "environment": host.environment,
        "groups": host.groups,
        "tags": host.tags,
        "units": host.units,
        "containers": host.containers,
        "actions": host.actions,
        "health": sorted(host.health),
        "service_manager": str(host.service_manager),
    }


def _print_json(value: object) -> None:
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False) + "\n")


def _print_table(headers: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in headers:
        table.add_column(header, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console().print(table)
