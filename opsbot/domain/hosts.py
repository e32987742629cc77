"""Hosts as the inventory describes them, and what can be done there."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class ServiceManager(StrEnum):
    """What starts and stops services on a host."""

    SYSTEMD = "systemd"
    SUPERVISORD = "supervisord"


class Connection(StrEnum):
    """How a host is reached."""

    SSH = "ssh"
    LOCAL = "local"


class UnitVerb(StrEnum):
    """What can be done to a service; the words of systemctl."""

    START = "start"
    STOP = "stop"
    RESTART = "restart"
    RELOAD = "reload"
    RESET_FAILED = "reset-failed"


class HostVerb(StrEnum):
    """What can be done on a host beyond services and containers."""

    REBOOT = "reboot"
    KILL = "kill"


# What may be done on a host unless its inventory entry says otherwise; what takes a service away has to be named.
USUAL_ACTIONS = (UnitVerb.RESTART, UnitVerb.START, UnitVerb.RELOAD, UnitVerb.RESET_FAILED)


@dataclass(frozen=True, slots=True)
class HealthCheck:
    """A check made from the bot's machine. Exactly one of `url` (GET answers 2xx/3xx) and `tcp` (host:port accepts)."""

    url: str = ""
    tcp: str = ""
    timeout_s: float = 5.0


@dataclass(frozen=True, slots=True)
class Host:
    """A managed host as the inventory describes it. Equal by value; `name` is unique in an inventory."""

    name: str
    connection: Connection = Connection.SSH
    address: str = ""
    port: int = 22
    user: str = ""
    key_file: str = ""
    host_key: str = ""
    environment: str = "default"
    groups: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    health: Mapping[str, HealthCheck] = field(default_factory=dict, hash=False)
    service_manager: ServiceManager = ServiceManager.SYSTEMD
    service_command: tuple[str, ...] = ()
    sudo: bool = True
    # Free words to select hosts by (`tag:WORD`), and for rules.
    tags: tuple[str, ...] = ()
    # What may be done here at all, with approval: members of UnitVerb and HostVerb. Units come from `units`.
    actions: tuple[str, ...] = USUAL_ACTIONS
    # Containers that may be restarted, by exact name.
    containers: tuple[str, ...] = ()
    # The host of the inventory through which this one is reached, or "".
    jump: str = ""
    # What certificate_expiry looks at: absolute paths on the host, and `host:port` of TLS endpoints seen from the bot.
    certificates: tuple[str, ...] = ()
    # Files whose checksums compare_hosts and whats_changed look at; absolute paths.
    config_files: tuple[str, ...] = ()
    # Names dns_check may look up, from the host.
    dns_names: tuple[str, ...] = ()
    # Units and containers here that keep data, or "*": the host itself does.
    data_stores: tuple[str, ...] = ()
    # The account that looks, where it is another one than `user` and `key_file`, which act.
    read_user: str = ""
    read_key_file: str = ""
    # Whether an approved action is under way. No inventory says so: the executor does, for the action itself alone.
    acting: bool = False

    @property
    def login_user(self) -> str:
        """Who logs in: the account that looks, unless an approved action is under way."""
        return self.user if self.acting else self.read_user or self.user

    @property
    def login_key_file(self) -> str:
        """The private key of that log-in."""
        return self.key_file if self.acting else self.read_key_file or self.key_file

    @property
    def reads_apart(self) -> bool:
        """Whether looking and acting are two accounts, or one with two keys."""
        return (self.user, self.key_file) != (self.read_user or self.user, self.read_key_file or self.key_file)
