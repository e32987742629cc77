"""A store in memory that behaves like the real one; `tests/contract/test_store_contract.py` holds it to that."""

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import count

from opsbot import audit, thinning
from opsbot.caps import WINDOW_S, Caps, Effect, Noted, age_s, check_hour, journal_time
from opsbot.domain import (
    Approval,
    ApprovalState,
    AuditEntry,
    AuditRecord,
    Beats,
    Closing,
    Compaction,
    Content,
    Conversation,
    InboxItem,
    Incoming,
    Lease,
    Message,
    MessageRef,
    Metric,
    Moment,
    Operation,
    OutboxItem,
    OutboxState,
    Place,
    Sample,
    event_lease,
    message_lease,
)
from opsbot.errors import Conflict, Fenced, StoreError
from opsbot.holds import Hold, overlap, taken
from opsbot.incident_report import IncidentReport
from opsbot.outputs import KEPT_PER_CONVERSATION, Output
from opsbot.passages import Document, Found, Incident, Kind, Shelf, Vector, digest_of
from opsbot.pictures import Developed
from opsbot.spending import ModelCall, Scope, Split, Sum, Totals, summed

TEST_KEY = bytes(range(32))


@dataclass
class Outage:
    """While `reason` is set, every call raises StoreError with it and changes nothing."""

    reason: str = ""

    async def step(self) -> None:
        """Give way to other tasks, as every real database call does, then fail if there is an outage."""
        await asyncio.sleep(0)
        self.check()

    def check(self) -> None:
        if self.reason:
            raise StoreError(self.reason)


@dataclass
class Register:
    """The replicas and leases that all stores on one database share."""

    beats: dict[str, int] = field(default_factory=dict)
    holders: dict[str, str] = field(default_factory=dict)
    attempts: dict[str, int] = field(default_factory=dict)
    handed: set[str] = field(default_factory=set)

    def lapsed(self) -> tuple[str, ...]:
        return tuple(sorted(name for name, holder in self.holders.items() if holder not in self.beats))


@dataclass
class MemoryLeases:
    outage: Outage
    register: Register
    replica: str

    async def take(self, name: str) -> Lease | None:
        await self.outage.step()
        return self.took(name)

    def check(self) -> None:
        if self.replica not in self.register.beats:
            raise Fenced("The other replicas gave this one up.")

    def took(self, name: str) -> Lease | None:
        """Take it within a step of another part."""
        self.check()
        holder = self.register.holders.get(name)
        if holder not in (None, self.replica) and holder in self.register.beats:
            return None
        taken_over = holder not in (None, self.replica)
        counted = (taken_over and holder != "") or holder is None
        self.register.attempts[name] = self.register.attempts.get(name, 0) + counted
        self.register.holders[name] = self.replica
        self.register.handed.discard(name)
        return Lease(name, self.register.attempts[name], taken_over)

    async def drop(self, name: str) -> None:
        await self.outage.step()
        self.dropped(name)

    def dropped(self, name: str) -> bool:
        """Drop it within a step of another part."""
        if self.register.holders.get(name) != self.replica:
            return False
        del self.register.holders[name], self.register.attempts[name]
        self.register.handed.discard(name)
        return True

    async def hand_over(self, name: str, *, to_holder_of: str) -> bool:
        await self.outage.step()
        holder = self.register.holders.get(to_holder_of, "")
        mine = self.register.holders.get(name) == self.replica
        if not mine or holder == self.replica or holder not in self.register.beats:
            return False
        self.register.holders[name] = holder
        self.register.handed.add(name)
        return True


@dataclass
class MemoryReplicas:
    leases: MemoryLeases
    shared: bool = False

    async def join(self) -> None:
        await self.leases.outage.step()
        self.joined()

    def joined(self) -> None:
        """As `join`, for the constructor."""
        if not self.shared:
            # A fake outlives the processes that use it one after another under its one name.
            self.leases.register.beats.clear()
            self.leases.register.holders = dict.fromkeys(self.leases.register.holders, "an earlier process")
        self.leases.register.beats.setdefault(self.leases.replica, 0)

    async def beat(self) -> Beats:
        await self.leases.outage.step()
        self.leases.check()
        register, me = self.leases.register, self.leases.replica
        register.beats[me] += 1
        handed = tuple(sorted(name for name in register.handed if register.holders[name] == me))
        register.handed -= set(handed)
        others = {replica: beat for replica, beat in register.beats.items() if replica != me}
        return Beats(me, others, handed, register.lapsed())

    async def give_up(self, replica: str, beat: int) -> bool:
        await self.leases.outage.step()
        if self.leases.register.beats.get(replica) != beat:
            return False
        del self.leases.register.beats[replica]
        return True

    async def leave(self) -> None:
        await self.leases.outage.step()
        register, me = self.leases.register, self.leases.replica
        register.holders = {name: "" if holder == me else holder for name, holder in register.holders.items()}
        register.beats.pop(me, None)


@dataclass
class MemoryInbox:
    outage: Outage
    leases: MemoryLeases
    keys: dict[str, str] = field(default_factory=dict)
    items: dict[str, InboxItem] = field(default_factory=dict)
    finished: set[str] = field(default_factory=set)
    numbers: Iterator[int] = field(default_factory=lambda: count(1))

    async def accept(self, keys: Sequence[str], event: Incoming, at: datetime) -> str | None:
        await self.outage.step()
        known = next((self.keys[key] for key in sorted(set(keys)) if key in self.keys), None)
        item_id = known or f"event-{next(self.numbers)}"
        self.keys = dict.fromkeys(keys, item_id) | self.keys
        if known is not None:
            return None
        self.leases.check()
        self.items[item_id] = InboxItem(item_id, event, at)
        self.leases.took(event_lease(item_id))
        return item_id

    async def waiting(self) -> tuple[InboxItem, ...]:
        await self.outage.step()
        return tuple(item for item in self.items.values() if item.id not in self.finished)

    async def get(self, item_id: str) -> InboxItem | None:
        await self.outage.step()
        return None if item_id in self.finished else self.items.get(item_id)

    async def finish(self, item_id: str) -> None:
        await self.outage.step()
        if self.leases.dropped(event_lease(item_id)):
            self.finished.add(item_id)

    async def prune(self, before: datetime) -> int:
        await self.outage.step()
        old = {item.id for item in self.items.values() if item.id in self.finished and item.received_at < before}
        self.items = {item_id: item for item_id, item in self.items.items() if item_id not in old}
        self.keys = {key: item_id for key, item_id in self.keys.items() if item_id not in old}
        return len(old)


@dataclass
class MemoryConversations:
    outage: Outage
    log: "MemoryAuditLog"
    stored: dict[str, Conversation] = field(default_factory=dict)
    waking: set[str] = field(default_factory=set)
    usage: "MemoryUsageLog" = field(default_factory=lambda: MemoryUsageLog(Outage()))
    outputs: "MemoryOutputs" = field(default_factory=lambda: MemoryOutputs(Outage()))

    async def load(self, place: Place) -> Conversation:
        await self.outage.step()
        return self.stored.get(place.key, Conversation(place))

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
        await self.outage.step()
        shown = compaction or conversation.compaction
        after = replace(conversation, messages=(*conversation.messages, *messages), compaction=shown)
        stored = self._advance(after, entries, needs_turn=needs_turn)
        self.usage.extend(model_calls)
        return stored

    async def needing_turn(self) -> tuple[Place, ...]:
        await self.outage.step()
        return tuple(self.stored[key].place for key in sorted(self.waking))

    async def reset(self, conversation: Conversation, *, entries: Sequence[AuditEntry] = ()) -> Conversation:
        await self.outage.step()
        after = self._advance(replace(conversation, messages=(), compaction=None), entries, needs_turn=False)
        self.outputs.forget(conversation.id)
        return after

    def _advance(self, wanted: Conversation, entries: Sequence[AuditEntry], *, needs_turn: bool) -> Conversation:
        stored = self.stored.get(wanted.id, Conversation(wanted.place))
        if stored.version != wanted.version:
            raise Conflict(f"The conversation {wanted.id} moved on since version {wanted.version} was read.")
        self.log.extend(entries)
        after = replace(wanted, version=wanted.version + 1)
        self.stored[wanted.id] = replace(after, place=stored.place)
        (self.waking.add if needs_turn else self.waking.discard)(wanted.id)
        return after


@dataclass
class MemoryAuditLog:
    outage: Outage
    key: bytes = TEST_KEY
    records: list[AuditRecord] = field(default_factory=list)

    async def append(self, entry: AuditEntry) -> AuditRecord:
        await self.outage.step()
        return self.extend([entry])[-1]

    async def read(self, *, after: int = 0, limit: int = 1000) -> tuple[AuditRecord, ...]:
        await self.outage.step()
        return tuple(record for record in self.records if record.seq > after)[:limit]

    async def about(self, approval_id: str) -> tuple[AuditRecord, ...]:
        await self.outage.step()
        return tuple(record for record in self.records if record.entry.approval_id == approval_id)

    async def of_conversation(self, conversation_id: str, *, limit: int) -> tuple[AuditRecord, ...]:
        await self.outage.step()
        return tuple(record for record in self.records if record.entry.conversation_id == conversation_id)[-limit:]

    async def newest(self, kind: str) -> AuditRecord | None:
        await self.outage.step()
        return next((record for record in reversed(self.records) if record.entry.kind == kind), None)

    def extend(self, entries: Sequence[AuditEntry]) -> list[AuditRecord]:
        """Chain all entries, or none when one has no canonical form."""
        added: list[AuditRecord] = []
        last = self.records[-1] if self.records else None
        for entry in entries:
            last = audit.chain(last, entry, self.key)
            added.append(last)
        self.records += added
        return added


@dataclass
class MemoryApprovals:
    outage: Outage
    log: MemoryAuditLog
    stored: dict[str, Approval] = field(default_factory=dict)
    # How each operation ended; "" while it is open.
    ends: dict[tuple[str, str], str] = field(default_factory=dict)

    async def add(self, approval: Approval, entry: AuditEntry) -> Approval:
        await self.outage.step()
        for known in self.stored.values():
            same = (known.conversation_id, known.call_id) == (approval.conversation_id, approval.call_id)
            if same and approval.call_id:
                return known
        if approval.id in self.stored:
            raise Conflict(f"There is an approval {approval.id} already.")
        self.log.extend([entry])
        self.stored[approval.id] = approval
        return approval

    async def get(self, approval_id: str) -> Approval | None:
        await self.outage.step()
        if approval_id in self.stored or len(approval_id) < 4:
            return self.stored.get(approval_id)
        fitting = [approval for known, approval in self.stored.items() if known.startswith(approval_id)]
        return fitting[0] if len(fitting) == 1 else None

    async def change(
        self,
        approval: Approval,
        *,
        expected: tuple[ApprovalState, int],
        entries: Sequence[AuditEntry],
        closings: Sequence[Closing] = (),
    ) -> Approval:
        await self.outage.step()
        stored = self.stored.get(approval.id)
        if stored is None or (stored.state, stored.version) != expected:
            raise Conflict(f"The approval {approval.id} is not {expected[0]} (version {expected[1]}).")
        ends = [closing for closing in closings if self.ends.get((approval.id, closing.host)) == ""]
        self.log.extend([*(closing.entry for closing in ends), *entries])
        for closing in ends:
            self.ends[approval.id, closing.host] = str(closing.result)
        after = replace(approval, version=expected[1] + 1)
        self.stored[approval.id] = after
        return after

    async def in_state(self, *states: ApprovalState) -> tuple[Approval, ...]:
        await self.outage.step()
        return self._sorted(approval for approval in self.stored.values() if approval.state in states)

    async def of_conversation(self, conversation_id: str) -> tuple[Approval, ...]:
        await self.outage.step()
        return self._sorted(a for a in self.stored.values() if a.conversation_id == conversation_id)

    async def since(self, at: datetime) -> tuple[Approval, ...]:
        await self.outage.step()
        return self._sorted(a for a in self.stored.values() if a.created_at >= at)

    @staticmethod
    def _sorted(found: Iterable[Approval]) -> tuple[Approval, ...]:
        return tuple(sorted(found, key=lambda approval: (approval.created_at, approval.id)))


@dataclass
class MemoryOperations:
    outage: Outage
    leases: MemoryLeases
    approvals: MemoryApprovals
    rows: dict[tuple[str, str], Operation] = field(default_factory=dict)
    behind: set[tuple[str, str]] = field(default_factory=set)

    async def claim(self, operation: Operation, entry: AuditEntry, *, caps: Caps) -> bool:
        await self.outage.step()
        self.leases.check()
        approval, key = operation.approval, (operation.approval.id, operation.host)
        stored = self.approvals.stored.get(approval.id)
        if stored is None or stored.state is not ApprovalState.EXECUTING or stored.digest != approval.digest:
            raise Conflict(f"The approval {approval.id} is not executing what was approved; nothing is sent.")
        if key in self.rows:
            return False
        for (other, host), row in self.rows.items():
            open_there = host == operation.host and self.approvals.ends[other, host] == ""
            if open_there and overlap(operation.targets, row.targets):
                raise taken(host, other)
        now = operation.moment
        check_hour(caps, self._effects(now), operation.requester, more=1, now=now.at)
        self.approvals.log.extend([entry])
        noted = [Noted(row.moment, known in self.behind) for known, row in self.rows.items()]
        fresh = journal_time(now, max(noted, key=lambda each: each.moment.at, default=None))
        self.rows[key] = replace(operation, moment=fresh.moment)
        self.behind |= {key} if fresh.behind else set()
        self.approvals.ends[key] = ""
        return True

    async def started(self, approval_id: str) -> frozenset[str]:
        await self.outage.step()
        return frozenset(host for known, host in self.rows if known == approval_id)

    async def overtaken(self, approval_id: str, host: str) -> str | None:
        await self.outage.step()
        mine = self.rows.get((approval_id, host))
        for (other, there), row in sorted(self.rows.items(), key=lambda item: item[1].moment.at):
            acted = other != approval_id and there == host and self.approvals.ends[other, there] != "not_done"
            since = acted and mine is not None and row.moment.at >= mine.moment.at
            if since and overlap(mine.targets, row.targets):
                return other
        return None

    async def effects(self, now: Moment) -> tuple[Effect, ...]:
        await self.outage.step()
        return self._effects(now)

    def _effects(self, now: Moment) -> tuple[Effect, ...]:
        done = (item for item in self.rows.items() if self.approvals.ends[item[0]] != "not_done")
        found = (Effect(row.requester, age_s(row.moment, now, behind=key in self.behind)) for key, row in done)
        return tuple(effect for effect in found if effect.age_s < WINDOW_S)


@dataclass
class MemoryHolds:
    outage: Outage
    log: MemoryAuditLog
    stored: dict[str, Hold] = field(default_factory=dict)

    async def add(self, hold: Hold, entry: AuditEntry) -> None:
        await self.outage.step()
        self.log.extend([entry])
        self.stored[hold.id] = hold

    async def change(self, hold: Hold, entry: AuditEntry) -> Hold:
        await self.outage.step()
        if hold.id not in self.stored or self.stored[hold.id].version != hold.version:
            raise Conflict(f"{hold.kind} {hold.id} was changed by somebody else; look again.")
        self.log.extend([entry])
        self.stored[hold.id] = replace(hold, version=hold.version + 1)
        return self.stored[hold.id]

    async def standing(self) -> tuple[Hold, ...]:
        await self.outage.step()
        return self._standing()

    def standing_now(self) -> tuple[Hold, ...]:
        self.outage.check()
        return self._standing()

    def _standing(self) -> tuple[Hold, ...]:
        found = (hold for hold in self.stored.values() if hold.ended_at is None)
        return tuple(sorted(found, key=lambda hold: (hold.at, hold.id)))


@dataclass
class MemoryOutbox:
    outage: Outage
    leases: MemoryLeases
    items: dict[str, OutboxItem] = field(default_factory=dict)

    async def put(self, key: str, place: Place, content: Content) -> OutboxItem:
        await self.outage.step()
        lease = self.leases.took(message_lease(key))
        known = self.items.get(key, OutboxItem(key, place, content, version=0))
        self.items[key] = replace(known, content=content, state=OutboxState.WAITING, version=known.version + 1)
        taken_over = lease is not None and lease.taken_over
        return replace(self.items[key], ours=lease is not None, doubtful=taken_over)

    async def sent(self, key: str, ref: MessageRef, *, version: int, settled: bool = True) -> OutboxItem | None:
        await self.outage.step()
        self.leases.check()
        if key not in self.items:
            raise StoreError(f"There is no outgoing message {key!r}.")
        item = self.items[key] = replace(self.items[key], ref=ref)
        if item.version != version:
            return item
        self.items[key] = replace(item, state=OutboxState.SENT if settled else OutboxState.WAITING)
        self.leases.dropped(message_lease(key))
        return None

    async def waiting(self) -> tuple[OutboxItem, ...]:
        await self.outage.step()
        return tuple(item for item in self.items.values() if item.state is OutboxState.WAITING)

    async def get(self, key: str) -> OutboxItem | None:
        await self.outage.step()
        return self.items.get(key)


@dataclass
class MemorySamples:
    outage: Outage
    raw: dict[tuple[str, int], dict[tuple[Metric, str], float]] = field(default_factory=dict)
    means: dict[tuple[str, int], dict[tuple[Metric, str], float]] = field(default_factory=dict)

    async def add(self, samples: Sequence[Sample]) -> None:
        await self.outage.step()
        fresh: dict[tuple[str, int], dict[tuple[Metric, str], float]] = {}
        for sample in samples:
            look = fresh.setdefault((sample.host, int(sample.at.timestamp())), {})
            look[sample.metric, sample.part] = sample.value
        self.raw = fresh | self.raw

    def window(self, host: str, metrics: Sequence[Metric], *, since: datetime) -> tuple[Sample, ...]:
        self.outage.check()
        return tuple(
            Sample(host, metric, datetime.fromtimestamp(at_s, UTC), value, part)
            for kept in (self.means, self.raw)
            for (name, at_s), figures in sorted(kept.items())
            if name == host and at_s >= int(since.timestamp())
            for (metric, part), value in figures.items()
            if metric in metrics
        )

    def oldest(self, host: str) -> datetime | None:
        self.outage.check()
        times = [at_s for name, at_s in (*self.raw, *self.means) if name == host]
        return datetime.fromtimestamp(min(times), UTC) if times else None

    async def thin(self, now: datetime, *, after: str = "") -> str:
        await self.outage.step()
        host = min((name for name, _ in (*self.raw, *self.means) if name > after), default="")
        before_s = thinning.raw_until_s(now)
        old = {key: figures for key, figures in self.raw.items() if key[0] == host and key[1] < before_s}
        self.raw = {key: figures for key, figures in self.raw.items() if key not in old}
        thinned = thinning.means((at_s, figures) for (_, at_s), figures in old.items())
        self.means = {(host, at_s): figures for at_s, figures in thinned.items()} | self.means
        kept_s = thinning.kept_from_s(now)
        self.means = {key: figures for key, figures in self.means.items() if key[0] != host or key[1] >= kept_s}
        return host


@dataclass
class MemoryUsageLog:
    outage: Outage
    calls: dict[str, ModelCall] = field(default_factory=dict)

    async def add(self, calls: Sequence[ModelCall]) -> None:
        await self.outage.step()
        self.extend(calls)

    def extend(self, calls: Sequence[ModelCall]) -> None:
        """Add them within a step of another part."""
        new = {call.id: replace(call, at=call.at.replace(microsecond=0)) for call in calls if call.id not in self.calls}
        self.calls |= new

    async def spent(self, *, turn_id: str, conversation_id: str, person: str, since: datetime) -> Totals:
        await self.outage.step()
        mine = [call for call in self.calls.values() if call.conversation_id == conversation_id]
        today = [call for call in self.calls.values() if call.at >= since]
        return {
            Scope.TURN: summed(call for call in mine if call.turn_id == turn_id),
            Scope.CONVERSATION: summed(mine),
            Scope.PERSON_DAY: summed(call for call in today if call.person == person),
            Scope.DAY: summed(today),
        }

    async def sums(self, by: Split, *, since: datetime, slot_s: int = 0, person: str = "") -> tuple[Sum, ...]:
        await self.outage.step()
        found: dict[tuple[str, int], list[ModelCall]] = {}
        for call in self.calls.values():
            if call.at >= since and person in ("", call.person):
                key = {Split.TURN: call.turn_id, Split.CONVERSATION: call.conversation_id, Split.PERSON: call.person}
                slot = int(call.at.timestamp()) // slot_s * slot_s if slot_s else 0
                found.setdefault((key.get(by, ""), slot), []).append(call)
        sums = [
            Sum(key, datetime.fromtimestamp(slot, UTC) if slot_s else max(call.at for call in calls), summed(calls))
            for (key, slot), calls in found.items()
        ]
        return tuple(sorted(sums, key=lambda one: (one.at, one.key)))

    async def prune(self, before: datetime) -> int:
        await self.outage.step()
        kept = {call.id: call for call in self.calls.values() if call.at >= before}
        self.calls, gone = kept, len(self.calls) - len(kept)
        return gone


@dataclass
class MemoryOutputs:
    outage: Outage
    kept: dict[tuple[str, str], Output] = field(default_factory=dict)

    async def put(self, output: Output) -> None:
        await self.outage.step()
        self.kept[output.conversation_id, output.ref] = output
        mine = [each for each in self.kept.values() if each.conversation_id == output.conversation_id]
        for old in sorted(mine, key=lambda each: each.at)[:-KEPT_PER_CONVERSATION]:
            del self.kept[old.conversation_id, old.ref]

    async def get(self, conversation_id: str, ref: str) -> Output | None:
        await self.outage.step()
        return self.kept.get((conversation_id, ref))

    async def prune(self, before: datetime) -> int:
        await self.outage.step()
        kept = {key: output for key, output in self.kept.items() if output.at >= before}
        self.kept, gone = kept, len(self.kept) - len(kept)
        return gone

    def forget(self, conversation_id: str) -> None:
        """Drop what a conversation kept, within a step of another part."""
        self.kept = {key: output for key, output in self.kept.items() if key[0] != conversation_id}


@dataclass
class MemoryPictures:
    outage: Outage
    kept: dict[str, tuple[datetime, Developed]] = field(default_factory=dict)

    async def put(self, key: str, picture: Developed, at: datetime) -> None:
        await self.outage.step()
        self.kept.setdefault(key, (at, picture))

    async def get(self, keys: Sequence[str]) -> Mapping[str, Developed]:
        await self.outage.step()
        return {key: self.kept[key][1] for key in keys if key in self.kept}

    async def prune(self, before: datetime, *, max_bytes: int) -> int:
        await self.outage.step()
        known, left = len(self.kept), max_bytes
        for key, (at, picture) in sorted(self.kept.items(), key=lambda item: item[1][0], reverse=True):
            left -= len(picture.content)
            if left < 0 or at < before:
                del self.kept[key]
        return known - len(self.kept)


@dataclass
class MemoryPassages:
    outage: Outage
    kept: dict[tuple[Kind, str], Document] = field(default_factory=dict)
    ids: dict[tuple[Kind, str, int], int] = field(default_factory=dict)
    vectors: dict[str, tuple[str, Vector]] = field(default_factory=dict)

    async def documents(self, kind: Kind) -> Mapping[str, str]:
        await self.outage.step()
        return {name: document.digest for (of, name), document in self.kept.items() if of is kind}

    async def put(self, document: Document) -> None:
        await self.outage.step()
        self._put(document)

    def _put(self, document: Document) -> None:
        self.kept[document.kind, document.name] = document
        for at in range(len(document.passages)):
            self.ids.setdefault((document.kind, document.name, at), len(self.ids) + 1)
        self._forget_vectors()

    async def remove(self, kind: Kind, names: Sequence[str]) -> None:
        await self.outage.step()
        for name in names:
            self.kept.pop((kind, name), None)
        self._forget_vectors()

    def _forget_vectors(self) -> None:
        used = {digest for digest, _, _ in self._texts()}
        self.vectors = {digest: vector for digest, vector in self.vectors.items() if digest in used}

    async def unembedded(self, model: str, *, dimensions: int, limit: int) -> Mapping[str, str]:
        await self.outage.step()
        missing = {}
        for digest, text, _ in self._texts():
            known, vector = self.vectors.get(digest, ("", ()))
            if known != model or (dimensions and len(vector) != dimensions):
                missing[digest] = text
        return dict(list(missing.items())[:limit])

    async def embed(self, model: str, vectors: Mapping[str, Vector]) -> None:
        await self.outage.step()
        self.vectors |= {digest: (model, vector) for digest, vector in vectors.items()}

    def matching(self, kind: Kind, terms: Sequence[str], *, every: bool, limit: int) -> tuple[Found, ...]:
        self.outage.check()
        found = []
        for _, text, passage in self._texts(kind):
            words = re.findall(r"[^\W_]+", f"{passage.document} {text}".lower())
            held = [any(word.startswith(term.rstrip("s")) for word in words) for term in terms]
            if terms and (all(held) if every else any(held)):
                found.append(replace(passage, score=float(sum(held))))
        return _best(found, limit)

    def nearest(self, kind: Kind, vector: Vector, *, model: str, limit: int) -> tuple[Found, ...]:
        self.outage.check()
        found = []
        for digest, _, passage in self._texts(kind):
            known, stored = self.vectors.get(digest, ("", ()))
            if known == model and len(stored) == len(vector):
                score = sum(one * other for one, other in zip(stored, vector, strict=True))
                found.append(replace(passage, score=score))
        return _best(found, limit)

    def shelf(self, kind: Kind, model: str) -> Shelf:
        self.outage.check()
        texts = list(self._texts(kind))
        embedded = sum(self.vectors.get(digest, ("",))[0] == model for digest, _, _ in texts)
        return Shelf(sum(of is kind for of, _ in self.kept), len(texts), embedded)

    def _texts(self, kind: Kind | None = None) -> Iterator[tuple[str, str, Found]]:
        """Yield (digest, what is embedded, passage)."""
        for (of, name), document in self.kept.items():
            for at, passage in enumerate(document.passages if kind in (None, of) else ()):
                heading, text = document.heading(passage), document.embedded_text(passage)
                new = Found(self.ids[of, name, at], of, name, document.title, heading, passage.line, passage.text, 0.0)
                yield digest_of(text), text, new


def _best(found: Sequence[Found], limit: int) -> tuple[Found, ...]:
    return tuple(sorted(found, key=lambda each: (-each.score, each.id))[:limit])


@dataclass
class MemoryIncidents:
    outage: Outage
    passages: MemoryPassages
    kept: dict[str, Incident] = field(default_factory=dict)

    async def put(self, incident: Incident) -> None:
        await self.outage.step()
        self.kept[incident.id] = incident
        self.passages._put(incident.as_document())

    def get(self, incident_id: str) -> Incident | None:
        self.outage.check()
        return self.kept.get(incident_id)


@dataclass
class MemoryIncidentReports:
    outage: Outage
    log: MemoryAuditLog
    incidents: MemoryIncidents
    stored: dict[str, IncidentReport] = field(default_factory=dict)

    async def add(self, report: IncidentReport, entry: AuditEntry) -> IncidentReport:
        await self.outage.step()
        if known := self._of_call(report.conversation_id, report.call_id):
            return known
        if report.id in self.stored:
            raise Conflict(f"There is a report {report.id} already.")
        self.log.extend([entry])
        self.stored[report.id] = report
        return report

    async def get(self, report_id: str) -> IncidentReport | None:
        await self.outage.step()
        return self.stored.get(report_id)

    async def of_call(self, conversation_id: str, call_id: str) -> IncidentReport | None:
        await self.outage.step()
        return self._of_call(conversation_id, call_id)

    async def change(
        self, report: IncidentReport, *, entries: Sequence[AuditEntry] = (), incident: Incident | None = None
    ) -> IncidentReport:
        await self.outage.step()
        stored = self.stored.get(report.id)
        if stored is None or stored.version != report.version:
            raise Conflict(f"The report {report.id} is not of version {report.version}.")
        self.log.extend(entries)
        if incident is not None:
            self.incidents.kept[incident.id] = incident
            self.incidents.passages._put(incident.as_document())
        self.stored[report.id] = replace(report, version=report.version + 1)
        return self.stored[report.id]

    def _of_call(self, conversation_id: str, call_id: str) -> IncidentReport | None:
        wanted = (conversation_id, call_id)
        return next((r for r in self.stored.values() if (r.conversation_id, r.call_id) == wanted), None)


class MemoryStore:
    """Implements `ports.Store`. Set `outage.reason` to make every call fail."""

    def __init__(self) -> None:
        self.outage = Outage()
        self._register = Register()
        self._be_replica("replica-1", shared=False)
        self.inbox = MemoryInbox(self.outage, self.leases)
        self.audit = MemoryAuditLog(self.outage)
        self.usage = MemoryUsageLog(self.outage)
        self.outputs = MemoryOutputs(self.outage)
        self.conversations = MemoryConversations(self.outage, self.audit, usage=self.usage, outputs=self.outputs)
        self.approvals = MemoryApprovals(self.outage, self.audit)
        self.operations = MemoryOperations(self.outage, self.leases, self.approvals)
        self.holds = MemoryHolds(self.outage, self.audit)
        self.outbox = MemoryOutbox(self.outage, self.leases)
        self.samples = MemorySamples(self.outage)
        self.passages = MemoryPassages(self.outage)
        self.incidents = MemoryIncidents(self.outage, self.passages)
        self.reports = MemoryIncidentReports(self.outage, self.audit, self.incidents)
        self.pictures = MemoryPictures(self.outage)

    def _be_replica(self, name: str, *, shared: bool) -> None:
        self.leases = MemoryLeases(self.outage, self._register, name)
        self.replicas = MemoryReplicas(self.leases, shared)
        self.replicas.joined()

    def beside(self) -> "MemoryStore":
        """Return another replica's store on this database; from now on both are shared."""
        self.replicas.shared = True
        other = copy(self)
        other._be_replica(f"replica-{len(self._register.beats) + 1}-{id(other):x}", shared=True)
        other.inbox = replace(self.inbox, leases=other.leases)
        other.operations = replace(self.operations, leases=other.leases)
        other.outbox = replace(self.outbox, leases=other.leases)
        return other

    async def close(self) -> None:
        self.outage.reason = "The database is closed: opsbot is shutting down."
