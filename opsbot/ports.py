"""What the core asks of the world, in its own words; each adapter implements one of these."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeAlias

from opsbot.answer_format import AnswerFormat
from opsbot.caps import Caps, Effect
from opsbot.domain import (
    Actor,
    Approval,
    ApprovalState,
    AuditEntry,
    AuditRecord,
    Beats,
    CertificateReport,
    Chart,
    CheckResult,
    Closing,
    CommandResult,
    Compaction,
    Content,
    Conversation,
    History,
    Host,
    InboxItem,
    IncidentCard,
    Incoming,
    IncomingReportEdit,
    Json,
    Lease,
    LogLine,
    Membership,
    Message,
    MessageRef,
    Metric,
    Moment,
    Operation,
    OutboxItem,
    Place,
    Sample,
    ServerFacts,
    TextFile,
    ToolCall,
    UnitFacts,
    UnitVerb,
    Usage,
    Vitals,
)
from opsbot.holds import Hold
from opsbot.outputs import Outputs
from opsbot.passage_ports import Incidents, Passages
from opsbot.picture_ports import Pictures
from opsbot.pictures import Developed
from opsbot.report_ports import IncidentReports
from opsbot.spending import ModelCall, Split, Sum, Totals
from opsbot.threads import Thread

# --- the model -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as the model sees it; `schema` is a JSON schema of type object."""

    name: str
    description: str
    schema: Mapping[str, Json]


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One question to the model. `prefix_key` is stable per workspace and prompt (cache), `asker` an opaque hash.

    `deferred` are tools it may call as well, but has not asked to be shown: for models that pay nothing for reading.
    `notice` is told what the person waits for while no answer comes, as words after "is". `answer_format`: what code
    will read of the answer; an endpoint may ignore it. `pictures`: the bytes of those in `messages` that are to be
    looked at, by key; `blind` is told when the model did not get them, and why.
    """

    system: str
    messages: tuple[Message, ...]
    tools: tuple[ToolSpec, ...]
    max_output_tokens: int = 2000
    prefix_key: str = ""
    asker: str = ""
    deferred: tuple[ToolSpec, ...] = ()
    notice: Callable[[str], Awaitable[None]] | None = field(default=None, compare=False, repr=False)
    answer_format: AnswerFormat | None = None
    pictures: Mapping[str, Developed] = field(default_factory=dict, compare=False, repr=False)
    blind: Callable[[str], Awaitable[None]] | None = field(default=None, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class TextDelta:
    """A piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class Done:
    """The wire really said that the answer is complete. `reason`: stop, tool_calls, length or content_filter.

    `opaque`: what the adapter wants back with this message next time. `refused`: the text says why the model will not.
    """

    reason: str
    opaque: str = ""
    refused: bool = False


ModelEvent: TypeAlias = TextDelta | ToolCall | Usage | Done


class ChatModel(Protocol):
    """A language model, or something that stands in for one."""

    @property
    def name(self) -> str:
        """What people are told answers them, e.g. `gpt-6-luna` or `no model (keyless)`."""
        ...

    def reply(self, request: ModelRequest) -> AsyncIterator[ModelEvent]:
        """Stream one reply. A reply is usable only if it ended with `Done`; each `Usage` adds to what it took.

        Raises:
            ModelUnavailable: the service is down, slow, rate limited, or refuses us.
            ModelMisbehaved: the answer was cut, is unreadable, or breaks the protocol.
        """
        ...

    async def close(self) -> None:
        """Release connections."""
        ...


# --- the chat service ------------------------------------------------------------------------------------------------


class LiveText(Protocol):
    """An answer while it is being written. Safe to call often: updates are coalesced and paced."""

    async def show(self, markdown: str) -> None:
        """Show the whole text so far (not a delta)."""
        ...

    async def finish(self, content: Content) -> MessageRef:
        """Replace the draft by the final content and return where it stands."""
        ...


class Chat(Protocol):
    """Where people talk to the bot."""

    async def post(self, place: Place, content: Content, *, key: str) -> MessageRef:
        """Post a message; `key` travels with it invisibly. Raises ChatError when it was not accepted."""
        ...

    async def edit(self, place: Place, ref: MessageRef, content: Content) -> None:
        """Replace a message's content; pending edits of one message are coalesced. Raises MessageGone, ChatError."""
        ...

    async def whisper(self, place: Place, actor: Actor, content: Content, *, reply_to: str = "") -> None:
        """Answer one person privately. `reply_to` is the handle that came with the command or click, if any."""
        ...

    async def status(self, place: Place, text: str) -> None:
        """Show that the bot is at work ("" ends it). Never raises."""
        ...

    async def live(self, place: Place, *, key: str, asker: Actor) -> LiveText:
        """Begin an answer that appears while it is written."""
        ...

    async def pictures(self, place: Place, charts: Sequence[Chart], *, to: Actor | None = None) -> None:
        """Show charts below what was said here; with `to`, only to this person. Called once, never repeated.

        Raises:
            ChatError: not all of them can be seen; the text says why.
        """
        ...

    async def files(self, place: Place, files: Sequence[TextFile], *, look: bool = False) -> None:
        """Hand files to people. `look`: they may be there already, and are looked for first.

        Raises:
            ChatError: not all of them can be seen; the text says why.
        """
        ...

    async def form(self, trigger: str, place: Place, card: IncidentCard) -> None:
        """Open the form in which a report's draft is edited, for whoever the trigger belongs to.

        Raises:
            ChatError: it is not open; the text says what to do.
        """
        ...

    async def find(self, place: Place, key: str) -> MessageRef | None:
        """Look for a message posted earlier with `key` among the place's recent messages."""
        ...

    async def earlier(self, place: Place, *, before: str) -> Thread:
        """Read what people wrote in a thread before this message, as it came; bounded in calls and time.

        Raises:
            ChatError: nothing of it could be read.
        """
        ...


class Directory(Protocol):
    """Who people are: their membership and user groups in the chat service, cached by the adapter, failing closed."""

    async def membership_of(self, actor: Actor) -> Membership:
        """Return what the service says the account is.

        Raises:
            ChatError: the service cannot be asked and nothing fresh is cached; the caller must refuse.
        """
        ...

    async def groups_of(self, actor: Actor) -> frozenset[str]:
        """Return ids of the groups (among those configuration names) that `actor` is in.

        Raises:
            ChatError: the service cannot be asked and nothing fresh is cached; the caller must refuse.
        """
        ...


# --- hosts -----------------------------------------------------------------------------------------------------------


class Shell(Protocol):
    """Runs commands on one kind of connection; blocking, called from worker threads."""

    def run(
        self, host: Host, argv: Sequence[str], *, timeout_s: float, max_bytes: int = 65536, stdin: str = ""
    ) -> CommandResult:
        """Run one command (an argument vector; quoting is done here) to its end.

        Never retried once sent. Both streams are read; each is capped at `max_bytes`.

        Raises:
            HostUnreachable: no connection, so nothing ran.
            CommandTimedOut: the total deadline passed.
            OutcomeUnknown: the connection was lost before an exit status came.
        """
        ...

    def close(self) -> None:
        """Close every connection."""
        ...


class Machines(Protocol):
    """All managed hosts behind one face: picks the connection and the service manager of each."""

    def run(
        self, host: Host, argv: Sequence[str], *, timeout_s: float, max_bytes: int = 65536, stdin: str = ""
    ) -> CommandResult:
        """As `Shell.run`."""
        ...

    def facts(self, host: Host, *, timeout_s: float) -> ServerFacts:
        """Look at the machine: one round trip."""
        ...

    def vitals(self, host: Host, *, timeout_s: float) -> Vitals:
        """Look at the part of it that starts no process there: for many hosts, and often.

        `cpu_percent` is over the time since this host was last looked at, if that is 1 to 120 s; else None.
        """
        ...

    def services(self, host: Host) -> "Services":
        """Return the host's service manager."""
        ...

    def healthy(self, host: Host, unit: str) -> str | None:
        """Run the unit's health check. None: no check configured. "": it passed. Else: why it failed."""
        ...

    def checks(self, host: Host, units: Sequence[str], *, timeout_s: float) -> Mapping[str, CheckResult]:
        """Run these units' health checks from the bot, side by side; units without one are left out."""
        ...

    def certificates(self, host: Host, *, timeout_s: float) -> tuple[CertificateReport, ...]:
        """Look at every place of `host.certificates`, side by side; a place that fails is a report that says so."""
        ...

    def lookups(self, host: Host, *, timeout_s: float) -> Mapping[str, tuple[str, ...] | None]:
        """Look `host.dns_names` up from the bot: sorted addresses, () if there is no such name, None: no answer."""
        ...


class Services(Protocol):
    """A service manager on one host: systemd or supervisord, the same words for both."""

    def show(self, unit: str, *, timeout_s: float) -> UnitFacts:
        """Read a unit. A missing unit is `load_state="not-found"`, not an error."""
        ...

    def units(self, *, timeout_s: float) -> tuple[UnitFacts, ...]:
        """List the services that run, failed, or may be touched."""
        ...

    def logs(self, unit: str, *, lines: int, since: str = "", timeout_s: float) -> tuple[LogLine, ...]:
        """Read the newest `lines` (1 to 500) log lines, oldest first; `since` as journalctl takes it."""
        ...

    def act(self, verb: UnitVerb, unit: str, *, timeout_s: float) -> CommandResult:
        """Do this to a unit, once. A non-zero exit status is returned, not raised.

        Raises:
            BadArguments: this service manager does not know the verb; nothing was run.
        """
        ...

    def connections(self, unit: UnitFacts, *, timeout_s: float) -> str:
        """Say what listens and who is connected, in a few words, or "unknown"."""
        ...


# --- the store -------------------------------------------------------------------------------------------------------


class Inbox(Protocol):
    """Events, written before they are acknowledged; each is handled once."""

    async def accept(self, keys: Sequence[str], event: Incoming, at: datetime) -> str | None:
        """Store the event unless one of its dedupe keys is known; return its new id, or None for a duplicate.

        The event is leased to this replica (`domain.event_lease`) in the same transaction.
        """
        ...

    async def waiting(self) -> tuple[InboxItem, ...]:
        """Events accepted and not finished, oldest first."""
        ...

    async def get(self, item_id: str) -> InboxItem | None:
        """Return an event that is not finished."""
        ...

    async def finish(self, item_id: str) -> None:
        """Mark an event as handled, and end its lease; nothing happens if that is not this replica's (any more)."""
        ...

    async def prune(self, before: datetime) -> int:
        """Delete finished events received before that time, with their dedupe keys; return how many."""
        ...


class Conversations(Protocol):
    """Histories, append-only, with optimistic versions."""

    async def load(self, place: Place) -> Conversation:
        """Return the conversation; an unknown one is empty with version 0."""
        ...

    async def append(
        self,
        conversation: Conversation,
        messages: Sequence[Message],
        *,
        needs_turn: bool,
        entries: Sequence[AuditEntry] = (),
        model_calls: Sequence[ModelCall] = (),
        compaction: Compaction | None = None,
    ) -> Conversation:
        """Append with the audit records that tell of it and what it took, in one transaction; return the new state.

        `compaction` takes the place of the one before; None leaves it.

        Raises:
            Conflict: the stored version is not `conversation.version`.
        """
        ...

    async def needing_turn(self) -> tuple[Place, ...]:
        """Places whose conversation was last saved with `needs_turn`."""
        ...

    async def reset(self, conversation: Conversation, *, entries: Sequence[AuditEntry] = ()) -> Conversation:
        """Forget the history (kept in the database, no longer loaded) and its outputs, with audit records.

        Raises:
            Conflict: the stored version is not `conversation.version`.
        """
        ...


class Approvals(Protocol):
    """Approval records, changed only by compare-and-swap."""

    async def add(self, approval: Approval, entry: AuditEntry) -> Approval:
        """Insert with its audit record in one transaction.

        For the same conversation and non-empty call id the stored approval is returned instead.
        """
        ...

    async def get(self, approval_id: str) -> Approval | None:
        """Return the record. An id prefix of at least 4 characters that fits exactly one is enough."""
        ...

    async def change(
        self,
        approval: Approval,
        *,
        expected: tuple[ApprovalState, int],
        entries: Sequence[AuditEntry],
        closings: Sequence[Closing] = (),
    ) -> Approval:
        """Write `approval` with its audit records if stored (state, version) are as expected; bump the version.

        `closings` end its operations; the record of one that had ended before is left out, so that each has one end.

        Raises:
            Conflict: they are not.
        """
        ...

    async def in_state(self, *states: ApprovalState) -> tuple[Approval, ...]:
        """All approvals in these states, oldest first."""
        ...

    async def of_conversation(self, conversation_id: str) -> tuple[Approval, ...]:
        """All approvals of a conversation, oldest first."""
        ...

    async def since(self, at: datetime) -> tuple[Approval, ...]:
        """All approvals asked for at that time or later, oldest first."""
        ...


class Operations(Protocol):
    """The write-ahead journal of effects: one row per approval and host, inserted before the command is sent.

    A row is open until `Approvals.change` closes it, and locks its targets on that host, for every process.
    """

    async def claim(self, operation: Operation, entry: AuditEntry, *, caps: Caps) -> bool:
        """Insert the row, with its audit record, if the stored approval is executing and equal in digest.

        False: the row exists already, so the command was or may have been sent. Synced to disk on return.

        Raises:
            Conflict: the approval is not executing, or its digest differs.
            Fenced: this replica was given up.
            TargetTaken: another operation is open on one of the targets.
            CapReached: the effects of the last hour leave no room.
        """
        ...

    async def started(self, approval_id: str) -> frozenset[str]:
        """Hosts of this approval whose command was or may have been sent."""
        ...

    async def effects(self, now: Moment) -> tuple[Effect, ...]:
        """The effects of the last hour, those under way included, those left out that changed nothing."""
        ...


class Holds(Protocol):
    """Stops and freezes that people made."""

    async def add(self, hold: Hold, entry: AuditEntry) -> None:
        """Insert with its audit record in one transaction."""
        ...

    async def change(self, hold: Hold, entry: AuditEntry) -> Hold:
        """Write `hold` with its audit record if the stored version is the same; bump the version.

        Raises:
            Conflict: it is not.
        """
        ...

    async def standing(self) -> tuple[Hold, ...]:
        """Those that nobody ended, also past their time; oldest first."""
        ...

    def standing_now(self) -> tuple[Hold, ...]:
        """As `standing`; blocks, for worker threads."""
        ...


class StopSwitch(Protocol):
    """A switch outside the database that stops every action."""

    def thrown(self) -> Hold | None:
        """Return the stop it makes now, None: none. Never raises: a switch that cannot be read is thrown."""
        ...

    def release(self) -> bool:
        """Let go, if that can be done from here; tell whether it was thrown and is not any more. Never raises."""
        ...


class Outbox(Protocol):
    """Messages to deliver once. One replica at a time sends a message, by a lease (`domain.message_lease`)."""

    async def put(self, key: str, place: Place, content: Content) -> OutboxItem:
        """Store a message to send; for a known key update the content, which waits again, and return the row.

        Unless `ours`, a living replica is sending it and will bring this content.
        """
        ...

    async def sent(self, key: str, ref: MessageRef, *, version: int, settled: bool = True) -> OutboxItem | None:
        """Record where that version stands. Not `settled`: its content will change, so it stays among the waiting.

        Returns the message with its newest content if that moved on meanwhile: send it again. None: the lease ended.

        Raises:
            Fenced: this replica was given up.
        """
        ...

    async def waiting(self) -> tuple[OutboxItem, ...]:
        """Messages whose newest content was never confirmed or will change, oldest first."""
        ...

    async def get(self, key: str) -> OutboxItem | None:
        """Return one row."""
        ...


class Leases(Protocol):
    """Who is at work on what, among the replicas on one database. A lease lapses with the replica that holds it."""

    async def take(self, name: str) -> Lease | None:
        """Take the lease, or take it over if it has lapsed; None while another living replica holds it.

        Raises:
            Fenced: this replica was given up.
        """
        ...

    async def drop(self, name: str) -> None:
        """End the lease, if it is this replica's."""
        ...

    async def hand_over(self, name: str, *, to_holder_of: str) -> bool:
        """Give this replica's lease to the living replica that holds another; False: there is none, or it is this one.

        The other learns of it at its next beat.
        """
        ...


class Replicas(Protocol):
    """The living processes on one database, as they know each other. Opening the store makes a process one of them."""

    @property
    def shared(self) -> bool:
        """Whether there can be others. Where not, whatever an earlier process held has lapsed from the start."""
        ...

    async def join(self) -> None:
        """Begin anew, before anything is held."""
        ...

    async def beat(self) -> Beats:
        """Show that this replica lives, and learn of the others.

        Raises:
            Fenced: they gave this replica up.
        """
        ...

    async def give_up(self, replica: str, beat: int) -> bool:
        """Count another replica as dead, unless it has shown life since that beat: its leases lapse."""
        ...

    async def leave(self) -> None:
        """End in good order: what this replica holds lapses at once, and is not counted as an attempt."""
        ...


class AuditLog(Protocol):
    """The hash chain."""

    async def append(self, entry: AuditEntry) -> AuditRecord:
        """Chain and store one record, synced. Raises StoreError when it cannot be written."""
        ...

    async def read(self, *, after: int = 0, limit: int = 1000) -> tuple[AuditRecord, ...]:
        """Return records with seq > after, in order."""
        ...

    async def about(self, approval_id: str) -> tuple[AuditRecord, ...]:
        """Return the records of one approval, in order, without reading the rest."""
        ...

    async def of_conversation(self, conversation_id: str, *, limit: int) -> tuple[AuditRecord, ...]:
        """Return the newest records of a conversation, in order. Reads the whole log: not for every message."""
        ...

    async def newest(self, kind: str) -> AuditRecord | None:
        """Return the newest record of this kind."""
        ...


class Samples(Protocol):
    """What was measured of hosts: worth keeping, never worth waiting for. Old ones are thinned (see `thinning`)."""

    async def add(self, samples: Sequence[Sample]) -> None:
        """Store them in one transaction; a host that has samples of that very second keeps those instead."""
        ...

    def window(self, host: str, metrics: Sequence[Metric], *, since: datetime) -> tuple[Sample, ...]:
        """Return a host's samples from that time on, oldest first. Blocks: for worker threads. Raises StoreError."""
        ...

    def oldest(self, host: str) -> datetime | None:
        """Return the time of the first sample kept of a host. Blocks, as `window`."""
        ...

    async def thin(self, now: datetime, *, after: str = "") -> str:
        """Replace what is old by means, and forget what is very old, of the next host by name after this one.

        Returns that host's name, "" when there was none. Does a bounded amount; what is left waits for the next round.
        """
        ...


class UsageLog(Protocol):
    """What the model took, call by call."""

    async def add(self, calls: Sequence[ModelCall]) -> None:
        """Store them; those that are there already stay as they are."""
        ...

    async def spent(self, *, turn_id: str, conversation_id: str, person: str, since: datetime) -> Totals:
        """Return what was used in this turn and conversation, and by this person and everybody since that time."""
        ...

    async def sums(self, by: Split, *, since: datetime, slot_s: int = 0, person: str = "") -> tuple[Sum, ...]:
        """Return what was used since that time by `by`, and for each slot of so many seconds; oldest first.

        `person`: only theirs. Without slots `Sum.at` is the newest call.
        """
        ...

    async def prune(self, before: datetime) -> int:
        """Forget calls made before that time; return how many."""
        ...


class Prices(Protocol):
    """What models cost."""

    def cost_nano_usd(self, model: str, usage: Usage, at: datetime) -> int | None:
        """Return the cost in billionths of a dollar; None: no price is known."""
        ...


class Store(Protocol):
    """One database."""

    @property
    def replicas(self) -> Replicas: ...
    @property
    def leases(self) -> Leases: ...
    @property
    def inbox(self) -> Inbox: ...
    @property
    def conversations(self) -> Conversations: ...
    @property
    def approvals(self) -> Approvals: ...
    @property
    def operations(self) -> Operations: ...
    @property
    def holds(self) -> Holds: ...
    @property
    def outbox(self) -> Outbox: ...
    @property
    def audit(self) -> AuditLog: ...
    @property
    def samples(self) -> Samples: ...
    @property
    def usage(self) -> UsageLog: ...
    @property
    def outputs(self) -> Outputs: ...
    @property
    def passages(self) -> Passages: ...
    @property
    def incidents(self) -> Incidents: ...
    @property
    def reports(self) -> IncidentReports: ...
    @property
    def pictures(self) -> Pictures: ...

    async def close(self) -> None:
        """Close the database."""
        ...


# --- the past, as tools see it ---------------------------------------------------------------------------------------


class Past(Protocol):
    """What was measured earlier; blocking, called from worker threads."""

    def history(self, host: str, metrics: Sequence[Metric], *, hours: float) -> History:
        """Return these metrics of a host over the last hours, measured at most some seconds ago. Raises StoreError."""
        ...


# --- the core, as chat adapters see it -------------------------------------------------------------------------------


class Handler(Protocol):
    """Takes events in. Implemented by the service."""

    async def accept(self, keys: Sequence[str], event: Incoming) -> bool:
        """Write the event to the inbox and start its handling in the background; False for a duplicate.

        Raises:
            StoreError: it could not be written; the caller must not acknowledge it.
        """
        ...

    async def knows(self, place: Place) -> bool:
        """Whether a conversation exists at this place, so that thread replies without a mention are for us."""
        ...

    async def faults(self, edit: IncomingReportEdit) -> Mapping[str, str]:
        """Say what keeps a report from being changed so, by the form's field; {}: nothing does, it can be accepted.

        Raises:
            StoreError: that cannot be told now.
        """
        ...

    def turn_away(self, actor: Actor, place: Place, entrance: str, *, reply_to: str = "") -> None:
        """Note in the background that somebody tried to get in who is no person of the workspace; tell a person so."""
        ...


# --- time ------------------------------------------------------------------------------------------------------------


class Clock(Protocol):
    """Wall and monotonic time."""

    def now(self) -> datetime:
        """Aware UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start, never going back."""
        ...

    def moment(self) -> Moment:
        """Both clocks at once, with the machine and the boot they belong to."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait."""
        ...
