"""Hosts and groups from the configuration, in the core's words."""

from collections.abc import Iterable
from pathlib import Path

from opsbot.config_model import Health, Settings, completed, jump_of
from opsbot.domain import Connection, HealthCheck, Host, ServiceManager
from opsbot.inventory import Inventory
from opsbot.units import canonical_unit


def inventory_of(settings: Settings, folder: Path) -> Inventory:
    """Return the hosts and groups; `folder`: where relative paths start."""
    named = settings.groups
    every = dict.fromkeys([*named, *(group for host in settings.hosts.values() for group in host.groups)])
    groups = {
        group: tuple(
            name for name, host in settings.hosts.items() if group in host.groups or name in named.get(group, ())
        )
        for group in every
    }
    hosts = {
        name: _host(name, settings, folder, tuple(sorted(g for g in groups if name in groups[g])))
        for name in settings.hosts
    }
    return Inventory(hosts, groups)


def _host(name: str, settings: Settings, folder: Path, groups: tuple[str, ...]) -> Host:
    entry = completed(settings.hosts[name], settings.defaults)
    manager = ServiceManager(entry.service_manager)
    ssh = entry.connection == "ssh"
    return Host(
        name=name,
        connection=Connection(entry.connection),
        address=(entry.address or name) if ssh else "",
        port=entry.port,
        user=entry.user or "",
        key_file=str(folder / Path(entry.key).expanduser()) if ssh and entry.key else "",
        host_key=(entry.host_key or "").strip(),
        environment=entry.environment,
        groups=groups,
        units=_units(entry.units, manager),
        health={canonical_unit(unit, manager): _check(check) for unit, check in entry.health.items()},
        service_manager=manager,
        service_command=entry.service_command,
        sudo=entry.sudo,
        tags=tuple(sorted(set(entry.tags))),
        actions=tuple(dict.fromkeys(entry.actions)),
        containers=entry.containers,
        jump=jump_of(name, settings) or "",
        certificates=entry.certificates,
        config_files=entry.config_files,
        dns_names=entry.dns_names,
        data_stores=entry.data_stores,
        read_user=entry.read_user or "",
        read_key_file=str(folder / Path(entry.read_key).expanduser()) if ssh and entry.read_key else "",
    )


def _check(check: Health) -> HealthCheck:
    return HealthCheck(url=check.url or "", tcp=check.tcp or "", timeout_s=check.timeout_s)


def _units(units: Iterable[str], manager: ServiceManager) -> tuple[str, ...]:
    return tuple(dict.fromkeys(canonical_unit(unit, manager) for unit in units))
