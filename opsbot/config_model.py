"""What may be configured: every section, setting, default and range. Unknown settings are refused."""

from typing import Annotated, Literal

from pydantic import Field

from opsbot.config_budget import Budget, ModelPrice
from opsbot.config_freezes import FreezeEntry
from opsbot.config_policy import Policy
from opsbot.config_secrets import SecretRef
from opsbot.config_types import (
    Action,
    Certificate,
    DnsName,
    FilePath,
    Listen,
    Name,
    OneChannelId,
    Port,
    Section,
    Syslog,
    Text,
    Url,
)

# --- the chat service ------------------------------------------------------------------------------------------------


# A host, with its port where that is not 443; in lower case, as they are compared.
LinkedHost = Annotated[str, Field(pattern=r"^[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})+(:[0-9]{1,5})?$", max_length=260)]


class SlackHttp(Section):
    """Where the bot listens in HTTP mode."""

    host: Text = "127.0.0.1"
    port: Port = 3000


class Slack(Section):
    """The Slack app. Socket Mode needs `app_token`, HTTP mode `signing_secret`; both need `bot_token`."""

    mode: Literal["socket", "http"] = "socket"
    bot_token: SecretRef = SecretRef(env="SLACK_BOT_TOKEN")
    app_token: SecretRef = SecretRef(env="SLACK_APP_TOKEN")
    signing_secret: SecretRef = SecretRef(env="SLACK_SIGNING_SECRET")
    api_url: Url = "https://slack.com/api/"
    http: SlackHttp = SlackHttp()
    links: tuple[LinkedHost, ...] = ()


# --- the model -------------------------------------------------------------------------------------------------------


class Model(Section):
    """The language model. Without `api_key` and `base_url` the bot answers without a model (keyless)."""

    name: Text = "gpt-6-luna"
    base_url: Url | None = None
    api_key: SecretRef | None = None
    api: Literal["auto", "responses", "chat"] = "auto"
    max_output_tokens: Annotated[int, Field(ge=100, le=100_000)] = 2000
    context_tokens: Annotated[int, Field(ge=4000, le=10_000_000)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    reasoning_effort: Literal["none", "minimal", "low", "medium", "high", "xhigh"] | None = None
    salvage: bool = False
    vision: bool = True
    prices: dict[Text, ModelPrice] = Field(default_factory=dict)

    @property
    def keyless(self) -> bool:
        """Whether no model is configured."""
        return self.api_key is None and self.base_url is None


# --- what the bot keeps ----------------------------------------------------------------------------------------------


class Runbooks(Section):
    """A folder of Markdown, and what makes vectors of it. `auto`: wordllama if it is installed, else none.

    Without a `base_url` of its own, `compatible` asks the model's server; the model's key is used where its server is.
    """

    folder: Text | None = None
    backend: Literal["auto", "openai", "compatible", "wordllama", "none"] = "auto"
    model: Text = "text-embedding-3-small"
    base_url: Url | None = None
    api_key: SecretRef | None = None
    dimensions: Annotated[int, Field(ge=16, le=8192)] | None = None
    min_score: Annotated[float, Field(ge=-1, le=1)] | None = None
    weights: Text | None = None


class Store(Section):
    """The database. `password` belongs to a PostgreSQL `url`, which must not contain one itself."""

    url: Annotated[str, Field(pattern=r"^(sqlite:///.+|postgresql://.+)$", max_length=2000)] = (
        "sqlite:///data/opsbot.db"
    )
    password: SecretRef | None = None
    audit_key: SecretRef | None = None


class Anchor(Section):
    """Where heads of the audit log are noted. `syslog`: auto (this machine's), none, a socket, or host:port (UDP)."""

    syslog: Syslog = "auto"
    file: Text | None = None
    channel: OneChannelId | None = None


class Audit(Section):
    """The audit log."""

    anchor: Anchor = Anchor()


class History(Section):
    """How often every host is looked at by itself, in seconds; 0: only when somebody asks."""

    every_s: Annotated[int, Field(ge=0, le=3600)] = 60


class Log(Section):
    """How the bot logs. `auto`: for people on a terminal, JSON otherwise."""

    format: Literal["auto", "console", "json"] = "auto"
    level: Literal["debug", "info", "warning", "error"] = "info"


class Metrics(Section):
    """Where Prometheus may read figures, as host:port; None: nowhere."""

    listen: Listen | None = None


# --- what the bot may do ---------------------------------------------------------------------------------------------


class Tools(Section):
    """More tool folders than the shipped one, higher risks for tools by name, and whether tool files are pinned."""

    folders: tuple[Text, ...] = ()
    pinned: bool = False
    pins: Text = "tools.pins"
    risk: dict[Name, Literal["read", "change", "danger"]] = Field(default_factory=dict)


class Limits(Section):
    """What one turn, one action and the whole bot may use."""

    rounds: Annotated[int, Field(ge=1, le=50)] = 8
    calls: Annotated[int, Field(ge=1, le=200)] = 20
    tokens: Annotated[int, Field(ge=1000, le=10_000_000)] = 60_000
    turn_s: Annotated[int, Field(ge=10, le=3600)] = 300
    open_requests: Annotated[int, Field(ge=1, le=100)] = 5
    requests: Annotated[int, Field(ge=1, le=1000)] = 20
    requests_window_s: Annotated[int, Field(ge=10, le=86_400)] = 600
    hosts_per_action: Annotated[int, Field(ge=1, le=1000)] = 3
    hosts_per_action_in: dict[Name, Annotated[int, Field(ge=1, le=1000)]] = Field(
        default_factory=lambda: {"production": 1}
    )
    actions_per_hour: Annotated[int, Field(ge=1, le=100_000)] = 60
    actions_per_hour_per_person: Annotated[int, Field(ge=1, le=100_000)] = 20
    messages_per_minute: Annotated[int, Field(ge=1, le=100_000)] = 120
    messages_per_minute_per_person: Annotated[int, Field(ge=1, le=100_000)] = 20
    parallel_hosts: Annotated[int, Field(ge=1, le=500)] = 32
    turns_at_once: Annotated[int, Field(ge=1, le=500)] = 16
    turns_at_once_per_person: Annotated[int, Field(ge=1, le=500)] = 4
    waiting_turns: Annotated[int, Field(ge=1, le=100_000)] = 50


class Stop(Section):
    """The stop file: while it is there, no action begins."""

    file: Text | None = None


class Rollout(Section):
    """How an action goes over several hosts."""

    canary: Annotated[int, Field(ge=1, le=100)] = 1
    batch: Annotated[int, Field(ge=1, le=100)] = 1
    max_unavailable: Annotated[int, Field(ge=1, le=100)] = 1
    pause_max_s: Annotated[int, Field(ge=30, le=86_400)] = 1800


# --- hosts -----------------------------------------------------------------------------------------------------------


class Health(Section):
    """A check from the bot's machine after a restart: exactly one of `url` and `tcp`."""

    url: Url | None = None
    tcp: Annotated[str, Field(pattern=r"^(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9_.-]+):[0-9]{1,5}$")] | None = None
    timeout_s: Annotated[float, Field(gt=0, le=60)] = 5.0


class HostDefaults(Section):
    """Settings a host has unless it says otherwise."""

    connection: Literal["ssh", "local"] = "ssh"
    port: Port = 22
    user: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]{0,31}\$?$")] | None = None
    key: Text | None = None
    read_user: Annotated[str, Field(pattern=r"^[a-z_][a-z0-9_-]{0,31}\$?$")] | None = None
    read_key: Text | None = None
    environment: Name = "default"
    service_manager: Literal["systemd", "supervisord"] = "systemd"
    service_command: tuple[Text, ...] = ()
    sudo: bool = True
    actions: tuple[Action, ...] = ("restart", "start", "reload", "reset-failed")
    jump: Name | None = None
    certificates: tuple[Certificate, ...] = ()
    config_files: tuple[FilePath, ...] = ()
    dns_names: tuple[DnsName, ...] = ()


class HostEntry(HostDefaults):
    """One managed host."""

    address: Annotated[str, Field(pattern=r"^[A-Za-z0-9:][A-Za-z0-9_.:%-]*$", max_length=253)] | None = None
    host_key: Text | None = None
    groups: tuple[Name, ...] = ()
    tags: tuple[Name, ...] = ()
    units: tuple[Text, ...] = ()
    containers: tuple[Annotated[str, Field(pattern=r"^[a-zA-Z0-9][a-zA-Z0-9_.-]{0,254}$")], ...] = ()
    data_stores: tuple[Text, ...] = ()
    health: dict[Text, Health] = Field(default_factory=dict)


def completed(host: HostEntry, defaults: HostDefaults) -> HostEntry:
    """Return the host with the defaults for everything it does not name itself."""
    unnamed = type(defaults).model_fields.keys() - host.model_fields_set
    return host.model_copy(update={setting: getattr(defaults, setting) for setting in unnamed})


class Reports(Section):
    """Incident reports: who may edit and publish them, and where they go besides their thread."""

    channel: OneChannelId | None = None
    editors: Literal["approvers", "askers"] = "approvers"


class Settings(Section):
    """The whole of config.yaml."""

    slack: Slack | None = None
    model: Model = Model()
    runbooks: Runbooks = Runbooks()
    reports: Reports = Reports()
    store: Store = Store()
    tools: Tools = Tools()
    policy: Policy = Policy()
    limits: Limits = Limits()
    budget: Budget = Budget()
    stop: Stop = Stop()
    freezes: tuple[FreezeEntry, ...] = ()
    rollout: Rollout = Rollout()
    audit: Audit = Audit()
    history: History = History()
    inventory: tuple[Text, ...] = ()
    host_keys: Text | None = None
    defaults: HostDefaults = HostDefaults()
    groups: dict[str, tuple[str, ...]] = Field(default_factory=dict)
    hosts: dict[str, HostEntry] = Field(default_factory=dict)
    log: Log = Log()
    metrics: Metrics = Metrics()


def jump_of(name: str, settings: Settings) -> str | None:
    """Return the host through which this one is reached; a default jump host is not reached through itself."""
    entry = settings.hosts[name]
    if "jump" in entry.model_fields_set:
        return entry.jump
    return None if settings.defaults.jump == name else settings.defaults.jump
