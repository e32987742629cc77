"""The words of opsbot: frozen data, no behaviour beyond derived facts."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias

from opsbot.errors import CommandFailed
from opsbot.incident_report import IncidentReport, Words

# A value as JSON knows it. Recursive for the type checker only: resolving it at run time would never end.
if TYPE_CHECKING:
    Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
else:
    Json = object


class Risk(StrEnum):
    """What a tool may do to a host; configuration can raise it, never lower it."""

    READ = "read"
    CHANGE = "change"
    DANGER = "danger"


# --- people and places -----------------------------------------------------------------------------------------------


class Membership(StrEnum):
    """What the chat service says an account is; only members count."""

    MEMBER = "member"
    GUEST = "guest"  # of our workspace, but restricted to some channels
    FOREIGN = "foreign"  # of another workspace
    BOT = "bot"
    GONE = "gone"  # deactivated, or never there
    UNKNOWN = "unknown"  # it could not be looked up


@dataclass(frozen=True, slots=True)
class Actor:
    """A person, identified by ids of the chat service, never by display names.

    `unread`: groups of which it is not known whether the person is in them; they give nothing and take everything.
    """

    team_id: str
    user_id: str
    groups: frozenset[str] = frozenset()
    membership: Membership = Membership.MEMBER
    unread: frozenset[str] = frozenset()

    @property
    def key(self) -> str:
        """`team/user`: the canonical person id used in records."""
        return f"{self.team_id}/{self.user_id}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a conversation happens: one thread of one channel. `thread_id` is "" at a channel's top level."""

    team_id: str
    channel_id: str
    thread_id: str = ""
    direct: bool = False

    @property
    def key(self) -> str:
        """The conversation id: `team/channel/thread`."""
        return f"{self.team_id}/{self.channel_id}/{self.thread_id}"


@dataclass(frozen=True, slots=True)
class MessageRef:
    """A message the chat service accepted; enough to edit it."""

    channel_id: str
    message_id: str


@dataclass(frozen=True, slots=True)
class Moment:
    """What the clocks said at one time: `at` is aware UTC; `monotonic_s` compares only within one `boot_id`.

    `machine` outlives boots, so that another boot of the same machine is told from another machine.
    """

    at: datetime
    machine: str
    boot_id: str
    monotonic_s: float


# --- hosts -----------------------------------------------------------------------------------------------------------


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


@dataclass(frozen=True, slots=True)
class CommandResult:
    """What a command on a host produced; the text is decoded with replacement and capped in bytes."""

    argv: tuple[str, ...]
    exit_status: int
    stdout: str
    stderr: str = ""
    truncated: bool = False
    duration_s: float = 0.0

    def check(self) -> "CommandResult":
        """Return self, or raise CommandFailed with the first words of stderr."""
        if self.exit_status != 0:
            said = (self.stderr or self.stdout).strip()[:300] or "it said nothing"
            raise CommandFailed(f"`{self.argv[0]}` ended with status {self.exit_status}: {said}")
        return self


@dataclass(frozen=True, slots=True)
class Disk:
    """One mounted file system."""

    mount: str
    size_bytes: int
    used_bytes: int
    inodes: int | None = None
    inodes_used: int | None = None
    # What ordinary users may still fill; less than size - used where blocks are reserved for root.
    available_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class ServerFacts:
    """How a machine is doing, the same facts whether read by SSH or by psutil. None means "unknown"."""

    hostname: str
    os: str
    kernel: str
    cpus: int
    load: tuple[float, float, float]
    cpu_percent: float | None
    memory_total_bytes: int
    memory_available_bytes: int
    swap_total_bytes: int
    swap_used_bytes: int
    disks: tuple[Disk, ...]
    uptime_s: float
    boot_id: str
    failed_units: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class Vitals:
    """The part of a machine's state that is read without starting a process on it. None means "unknown"."""

    load: tuple[float, float, float]
    cpu_percent: float | None
    memory_total_bytes: int
    memory_available_bytes: int
    swap_total_bytes: int
    swap_used_bytes: int
    uptime_s: float
    boot_id: str


class Metric(StrEnum):
    """What is measured of hosts and kept. The value is a stable name with its unit."""

    LOAD = "load_1m"
    CPU = "cpu_percent"
    MEMORY = "memory_used_percent"
    SWAP = "swap_used_percent"
    UPTIME = "uptime_s"
    # 1: it answered, 0: it did not; as a mean the share of looks it answered.
    REACHABLE = "reachable"
    # Of each mount point, which is the sample's `part`.
    DISK = "disk_used_percent"
    FAILED_UNITS = "failed_units"
    # How many processors there are, beside the load.
    CPUS = "cpus"


@dataclass(frozen=True, slots=True)
class Sample:
    """One figure of one host at one time (aware UTC, whole seconds). `part`: of what, where a host has several."""

    host: str
    metric: Metric
    at: datetime
    value: float
    part: str = ""


@dataclass(frozen=True, slots=True)
class History:
    """What is kept of one host: the samples of a window up to `until`, oldest first.

    `kept_since`: the oldest there is of this host, None: nothing yet. `every_s`: how often it is looked at by itself,
    0: only when somebody asks.
    """

    samples: tuple[Sample, ...]
    until: datetime
    kept_since: datetime | None = None
    every_s: float = 0.0


@dataclass(frozen=True, slots=True)
class CheckResult:
    """How a health check went, seen from the bot. `failure` is "" if it passed; None means "unknown".

    `target` and `redirect_host` (where a redirect leads; it is not followed) hold no user, password or query.
    """

    target: str
    failure: str = ""
    latency_ms: float | None = None
    status: int | None = None
    body_bytes: int | None = None
    tls_not_after: datetime | None = None
    redirect_host: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class Certificate:
    """What a certificate says of itself. `names`: DNS names and addresses it is for. `key`: kind and bits."""

    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    key: str
    sha256: str


@dataclass(frozen=True, slots=True)
class CertificateReport:
    """What was found at one place of `Host.certificates`: `chain`, the certificate itself first, and its problems.

    `failure`: why nothing could be read. `verified`: whether the bot's own trust store accepts it; None for a file, or
    when that could not be tried.
    """

    place: str
    failure: str = ""
    chain: tuple[Certificate, ...] = ()
    problems: tuple[str, ...] = ()
    verified: bool | None = None


@dataclass(frozen=True, slots=True)
class UnitFacts:
    """A service as its manager sees it. None means "unknown" or "not applicable"."""

    unit: str
    description: str = ""
    load_state: str = ""
    active_state: str = ""
    sub_state: str = ""
    result: str = ""
    main_pid: int | None = None
    exit_status: int | None = None
    restarts: int | None = None
    active_since: datetime | None = None
    memory_bytes: int | None = None
    tasks: int | None = None
    # Identifies one run of the unit: systemd's InvocationID, or boot id + pid + start tick elsewhere.
    invocation_id: str = ""
    triggered_by: tuple[str, ...] = ()
    required_by: tuple[str, ...] = ()

    @property
    def exists(self) -> bool:
        return self.load_state == "loaded"

    @property
    def active(self) -> bool:
        return self.active_state == "active"


@dataclass(frozen=True, slots=True)
class LogLine:
    """One journal line. `at` is aware UTC, None if the source has no time."""

    at: datetime | None
    text: str
    source: str = ""
    priority: int | None = None


# --- conversation ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call as the model sent it; `arguments` is the raw, unparsed JSON text."""

    call_id: str
    tool: str
    arguments: str


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of model calls. `cached_tokens` are part of the input, `reasoning_tokens` of the output."""

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    reasoning_tokens: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(
            self.input_tokens + other.input_tokens,
            self.output_tokens + other.output_tokens,
            self.cached_tokens + other.cached_tokens,
            self.reasoning_tokens + other.reasoning_tokens,
        )


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture that somebody showed: its bytes are in the store under `key`, re-encoded and free of all else.

    `name` is what a person called the file. `trouble`: why it is not looked at; then there are no bytes, and no size.
    """

    key: str
    name: str
    digest: str = ""
    width: int = 0
    height: int = 0
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class UserMessage:
    """What a person wrote, and the pictures they showed with it."""

    text: str
    actor: Actor
    at: datetime
    pictures: tuple[Picture, ...] = ()

    @property
    def shown(self) -> tuple[Picture, ...]:
        """The pictures that can be looked at."""
        return tuple(picture for picture in self.pictures if picture.digest)

    def repeats(self, other: "UserMessage") -> bool:
        """Whether it is the same message, whatever became of its pictures this time."""
        return (self.text, self.actor, self.at) == (other.text, other.actor, other.at)


@dataclass(frozen=True, slots=True)
class AssistantMessage:
    """A complete reply of the model (or, with `by_code`, a text of opsbot's own that closes a turn).

    `opaque` is what the wire adapter wants back next time (encrypted reasoning items), as JSON text.
    """

    text: str
    calls: tuple[ToolCall, ...] = ()
    usage: Usage = Usage()
    opaque: str = ""
    by_code: bool = False


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The one result of a call: JSON text for the model.

    `nonce` fences the content off on its way to the model and does not occur in it; it is kept, so that a history is
    the same bytes in every request. `untrusted`: it may hold free text of a host, a file or a stranger. `kept`: this is
    only its beginning and end, and `ports.Outputs` has the whole.
    """

    call_id: str
    content: str
    failed: bool = False
    nonce: str = ""
    untrusted: bool = False
    kept: bool = False

    @property
    def ref(self) -> str:
        """What the model calls it by to read more of it; nobody can guess it."""
        return hashlib.sha256(self.nonce.encode()).hexdigest()[:12] if self.nonce else ""


Message: TypeAlias = UserMessage | AssistantMessage | ToolResult


@dataclass(frozen=True, slots=True)
class Compaction:
    """How a long history is shown to the model (see `compaction.view`): nothing of it is lost.

    The first `folded` messages stand in `summary`, but for those at the places in `kept`. Of results before `shortened`
    about `result_chars` characters are shown, but for those at the places in `whole`. `prose`: what of the summary the
    model wrote. `messages`: how many there were when it was made. `nonce` as of a result.
    """

    folded: int = 0
    kept: tuple[int, ...] = ()
    shortened: int = 0
    whole: tuple[int, ...] = ()
    result_chars: int = 0
    summary: str = ""
    nonce: str = ""
    prose: str = ""
    messages: int = 0


@dataclass(frozen=True, slots=True)
class Conversation:
    """One thread with its history since the last reset; `version` counts the changes ever made (0 = new)."""

    place: Place
    messages: tuple[Message, ...] = ()
    version: int = 0
    compaction: Compaction | None = None

    @property
    def id(self) -> str:
        return self.place.key

    @property
    def open_calls(self) -> tuple[ToolCall, ...]:
        """Calls that have no result yet, oldest first."""
        done = {m.call_id for m in self.messages if isinstance(m, ToolResult)}
        return tuple(
            call
            for message in self.messages
            if isinstance(message, AssistantMessage)
            for call in message.calls
            if call.call_id not in done
        )


# --- actions and approvals -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Rollout:
    """How an action goes over many hosts: `canary` hosts first, then `batch` at a time, each verified before the next.

    `max_unavailable` of the action's hosts may be out of service at once. A pause of more than `pause_max_s` ends it.
    """

    canary: int = 1
    batch: int = 1
    max_unavailable: int = 1
    pause_max_s: int = 1800


@dataclass(frozen=True, slots=True)
class Action:
    """A validated intent: exactly this tool, these arguments, these hosts (sorted, non-empty for host tools).

    `arguments` holds only JSON values and no host parameter.
    """

    tool: str
    arguments: Mapping[str, Json]
    hosts: tuple[str, ...]


class Verdict(StrEnum):
    """The policy's answer."""

    ALLOW = "allow"
    NEED_APPROVAL = "need_approval"
    DENY = "deny"


class Tier(StrEnum):
    """How much an action can break, from the least to the most; computed from the inventory, see `reach.py`."""

    READ = "read"
    REPLICA = "replica"  # other hosts of the group go on serving
    UNGROUPED = "ungrouped"  # the host is in no group, so nothing is known of others
    LAST_REPLICA = "last_replica"  # no host of the group is left that is not touched
    DANGER = "danger"  # the tool itself is of risk danger
    DATA_STORE = "data_store"


@dataclass(frozen=True, slots=True)
class Reach:
    """The tier of one action on its hosts, and why, in a few words."""

    tier: Tier
    why: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What policy decided, with the rule that decided. `needed` approvals from people matching `approvers`.

    `reach`: what the action can break. `reason_required`: it is only asked for with a person's reason.
    """

    verdict: Verdict
    rule: str
    reason: str = ""
    needed: int = 0
    approver_users: frozenset[str] = frozenset()
    approver_groups: frozenset[str] = frozenset()
    reach: Reach | None = None
    reason_required: bool = False


@dataclass(frozen=True, slots=True)
class Impact:
    """What an action would hit on one host, collected by code.

    `facts` are for the card, in order; a fact that could not be read is "unknown".
    `fingerprint` identifies the target's present state: if it differs at execution, the target drifted.
    """

    facts: tuple[tuple[str, str], ...]
    fingerprint: Mapping[str, str] = field(default_factory=dict)


class Result(StrEnum):
    """How an action on one host ended, as the host says."""

    DONE = "done"  # changed and verified
    FAILED = "failed"  # changed, but not well afterwards; or the command was refused
    NOT_DONE = "not_done"  # verified: nothing changed
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class HostOutcome:
    """The verified end of an action on one host. `evidence` is an excerpt (journal lines), untrusted text."""

    host: str
    result: Result
    summary: str
    evidence: str = ""
    facts: tuple[tuple[str, str], ...] = ()


class ApprovalState(StrEnum):
    """pending → approved | denied | withdrawn | expired | stale; approved → executing | withdrawn | expired | stale;
    executing → done | failed | unknown | stale | expired; unknown → done | failed (reconciled)."""

    PENDING = "pending"
    APPROVED = "approved"
    DENIED = "denied"
    WITHDRAWN = "withdrawn"
    EXPIRED = "expired"
    STALE = "stale"
    EXECUTING = "executing"
    DONE = "done"
    FAILED = "failed"
    UNKNOWN = "unknown"

    @property
    def final(self) -> bool:
        return self not in (ApprovalState.PENDING, ApprovalState.APPROVED, ApprovalState.EXECUTING)


@dataclass(frozen=True, slots=True)
class Review:
    """One person's counted click. `for_a_while`: it is to count for the same thing again, as long as policy allows."""

    actor: Actor
    approve: bool
    at: datetime
    for_a_while: bool = False


class OrderVerb(StrEnum):
    """What people can tell an action on many hosts while it is under way."""

    PAUSE = "pause"
    RESUME = "resume"
    HALT = "halt"


@dataclass(frozen=True, slots=True)
class Order:
    """A person's word to an action under way. It counts before the next host is started, never in the middle of one."""

    verb: OrderVerb
    actor: Actor
    at: datetime


@dataclass(frozen=True, slots=True)
class Narrowing:
    """An approver left these hosts out before anybody approved."""

    actor: Actor
    at: datetime
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StandingApproval:
    """An approval that counts again until a time, for the same requester and exactly what was approved.

    `pattern`: digest of all bindings but those of one request and its time. `ended`: why it ended before its time.
    """

    begun: Moment
    until: datetime
    pattern: str
    ended: str = ""


@dataclass(frozen=True, slots=True)
class Approval:
    """The durable record of one proposed action, from proposal to outcome.

    `call_id` is the model's call, or `command:<inbox id>` when a command proposed it. `digest` is the hex SHA-256
    over the canonical JSON of `bindings`: everything an approver agrees to, by name (see `bindings.bind`).
    `version` is bumped by every change. `halted`: who stopped it before its last host. `opened`: what the clocks said
    when it was asked. `shown_at`: since when its card stands as it is; None: it does not yet. `narrowed`: who left
    hosts out before it was decided. `standing`: that it counts again for a while; `stands_on`: the id of the approval
    whose standing approved this one. `tainted_by`: the untrusted text the model had read when it proposed this (see
    `taint.sources`). `reach`: what it can break. `escalated`: how many steps of the escalation were taken.
    """

    id: str
    conversation_id: str
    place: Place
    call_id: str
    requester: Actor
    action: Action
    tool_sha256: str
    reason: str
    rule: str
    needed: int
    approver_users: frozenset[str]
    approver_groups: frozenset[str]
    impacts: Mapping[str, Impact]
    created_at: datetime
    expires_at: datetime
    digest: str
    state: ApprovalState = ApprovalState.PENDING
    reviews: tuple[Review, ...] = ()
    outcomes: tuple[HostOutcome, ...] = ()
    note: str = ""
    decided_at: datetime | None = None
    version: int = 1
    bindings: Mapping[str, str] = field(default_factory=dict)
    halted: Order | None = None
    tainted_by: tuple[str, ...] = ()
    opened: Moment | None = None
    shown_at: datetime | None = None
    narrowed: tuple[Narrowing, ...] = ()
    standing: StandingApproval | None = None
    stands_on: str = ""
    reach: Reach | None = None
    escalated: int = 0

    @property
    def untouched(self) -> tuple[str, ...]:
        """Hosts without an outcome, in order."""
        ended = {outcome.host for outcome in self.outcomes}
        return tuple(name for name in self.action.hosts if name not in ended)


@dataclass(frozen=True, slots=True)
class Operation:
    """An effect about to be sent to one host. `targets`: what it touches there, `()` is the whole host.

    `requester`: whose request it counts as, whichever account asked.
    """

    approval: Approval
    host: str
    targets: tuple[str, ...]
    moment: Moment
    requester: str


@dataclass(frozen=True, slots=True)
class Closing:
    """The one end of an operation, with its audit record."""

    host: str
    result: Result
    entry: "AuditEntry"


# --- what comes in ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Attachment:
    """A file on a message, as the chat service tells of it; nothing in it is checked. `url` "": it has to be asked."""

    file_id: str
    name: str = ""
    mimetype: str = ""
    size_bytes: int = 0
    url: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class IncomingMessage:
    """A person wrote to the bot (mention, thread reply, DM); `text` is plain, without the bot's mention.

    `files_told`: `files` are all there are; where not, the chat service has to be asked. `pointed_at`: the words of a
    message that is to be looked into, whoever wrote it.
    """

    place: Place
    actor: Actor
    text: str
    message_id: str
    addressed: bool = True
    files: tuple[Attachment, ...] = ()
    files_told: bool = field(default=True, compare=False)
    pointed_at: str = ""


@dataclass(frozen=True, slots=True)
class IncomingCommand:
    """A slash command, or `!words` in a thread (then `place.thread_id` is set and `reply_to` is "")."""

    place: Place
    actor: Actor
    text: str
    reply_to: str = ""


@dataclass(frozen=True, slots=True)
class IncomingDecision:
    """A click on an approval card. `verb`: approve, approve_while, deny, withdraw, narrow, plan, or an OrderVerb.

    `seal`: what came with the button (see `seals`). `chosen`: numbers of the hosts to leave out, as on the card.
    """

    place: Place
    actor: Actor
    approval_id: str
    verb: str
    message_id: str
    reply_to: str = ""
    seal: str = ""
    chosen: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class IncomingStop:
    """Somebody pressed Stop on a running turn."""

    place: Place
    actor: Actor


@dataclass(frozen=True, slots=True)
class IncomingReportClick:
    """A click on a report's draft. `verb`: edit, publish or discard. `trigger` opens a form, once and soon."""

    place: Place
    actor: Actor
    report_id: str
    verb: str
    message_id: str
    seal: str = ""
    reply_to: str = ""
    trigger: str = ""


@dataclass(frozen=True, slots=True)
class IncomingReportEdit:
    """A report's form was sent. `version`: which the person had before them, proved by `seal`."""

    place: Place
    actor: Actor
    report_id: str
    version: int
    seal: str
    words: Words


Incoming: TypeAlias = (
    IncomingMessage | IncomingCommand | IncomingDecision | IncomingStop | IncomingReportClick | IncomingReportEdit
)


@dataclass(frozen=True, slots=True)
class InboxItem:
    """An accepted event, not yet handled."""

    id: str
    event: Incoming
    received_at: datetime


# --- what goes out ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Table:
    """Rows for people; every cell is plain text."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    title: str = ""


@dataclass(frozen=True, slots=True)
class Series:
    """One line of a chart; points are (aware UTC, finite value), oldest first."""

    name: str
    points: tuple[tuple[datetime, float], ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """A picture of figures over time. `unit`: percent, bytes, seconds or "" (a plain number).

    `threshold` (finite) is a line across it: what must not be passed.
    """

    title: str
    unit: str
    series: tuple[Series, ...]
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """Markdown of the model's, or plain words of opsbot's own (then `trusted`). Never a card's facts.

    `to`: who is notified of it, as `user:ID` and `group:ID`; only code says that, no words in the text can.
    """

    markdown: str
    trusted: bool = False
    footer: str = ""
    to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Report:
    """The answer to a command, by code: a sentence, tables, preformatted blocks, errors per host, and charts."""

    text: str
    tables: tuple[Table, ...] = ()
    blocks: tuple[tuple[str, str], ...] = ()
    errors: tuple[tuple[str, str], ...] = ()
    charts: tuple[Chart, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One line of progress. `state`: waiting, paused, running, done, failed or untouched."""

    title: str
    state: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Card:
    """The approval card: everything on it comes from the record and the clock. `order` is what people last ordered.

    `seal` goes with its buttons (see `seals`). `while_minutes`: for how long it can be approved; 0: only once.
    `held`: what holds it back now, in code's words.
    """

    approval: Approval
    steps: tuple[Step, ...] = ()
    order: Order | None = None
    seal: str = ""
    while_minutes: int = 0
    held: str = ""


@dataclass(frozen=True, slots=True)
class IncidentCard:
    """An incident's report: with `seal` its draft, which can be edited and published; `final` its published form."""

    report: IncidentReport
    seal: str = ""
    final: bool = False


@dataclass(frozen=True, slots=True)
class TextFile:
    """A file for people. `name` is unique in its thread."""

    name: str
    title: str
    text: str = field(repr=False)


Content: TypeAlias = Text | Report | Card | IncidentCard


class OutboxState(StrEnum):
    """Whether people see an outgoing message as it is stored (sent), or it has to be looked at again (waiting)."""

    WAITING = "waiting"
    SENT = "sent"


@dataclass(frozen=True, slots=True)
class OutboxItem:
    """A message to deliver once. `key` is unique and travels with it, so a re-send can be recognised."""

    key: str
    place: Place
    content: Content
    state: OutboxState = OutboxState.WAITING
    ref: MessageRef | None = None
    # Counts the contents under this key.
    version: int = 1
    # False: another replica is sending it, and brings this content too.
    ours: bool = True
    # Another replica was sending it and is gone: it may stand there although nobody wrote down where.
    doubtful: bool = False


# --- who is at work on what ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Lease:
    """A note that a replica is at work on something; it lapses with the replica.

    `attempts`: how many replicas have begun this work, this one included. `taken_over`: another one held it until now.
    """

    name: str
    attempts: int = 1
    taken_over: bool = False


@dataclass(frozen=True, slots=True)
class Beats:
    """What a replica learns when it shows life: its own name, the beats of the `others`, and leases by name.

    `handed` were given to this replica just now; `lapsed` wait for anyone to take them over.
    """

    me: str
    others: Mapping[str, int]
    handed: tuple[str, ...] = ()
    lapsed: tuple[str, ...] = ()


def event_lease(item_id: str) -> str:
    """Name the lease of who handles an event."""
    return f"event:{item_id}"


def turn_lease(conversation_id: str) -> str:
    """Name the lease of who has a conversation's turn."""
    return f"turn:{conversation_id}"


def run_lease(approval_id: str) -> str:
    """Name the lease of who carries an approved action out, or looks what became of it."""
    return f"run:{approval_id}"


def message_lease(key: str) -> str:
    """Name the lease of who sends a message."""
    return f"send:{key}"


# --- audit -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """A fact to record, before it is chained. `kind` is a stable dotted name: `approval.decided`."""

    kind: str
    at: datetime
    actor: str = ""
    conversation_id: str = ""
    approval_id: str = ""
    facts: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AuditRecord:
    """A chained fact: `hash` covers `seq`, `prev` and the entry."""

    seq: int
    prev: str
    entry: AuditEntry
    hash: str


# --- turn ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answered:
    """The model gave its answer."""

    text: str


@dataclass(frozen=True, slots=True)
class NeedsApproval:
    """The turn waits for people; these approvals are open."""

    approval_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stopped:
    """A person or a limit ended the turn; `text` says what was established."""

    text: str


@dataclass(frozen=True, slots=True)
class GaveUp:
    """The model could not answer; `text` says why and what works meanwhile."""

    text: str


Outcome: TypeAlias = Answered | NeedsApproval | Stopped | GaveUp
