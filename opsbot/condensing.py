"""Keeps what the model is shown of a conversation within its context: when to show less, and what to say instead."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

import structlog

from opsbot import recollection
from opsbot.compaction import Room, compacted, estimate, tokens_of_text, view
from opsbot.domain import Approval, AuditEntry, Compaction, Conversation, Json, Message, UserMessage
from opsbot.intake import Intake
from opsbot.metering import Account
from opsbot.minutes import digest_of
from opsbot.notes import EARLIER
from opsbot.ports import Clock, ModelRequest, Store, ToolSpec
from opsbot.summarising import READ_BYTES, Summariser

log = structlog.get_logger(__name__)

# A model that says nothing else: what is sold as one today has at least this.
WINDOW_TOKENS = 128_000
# Counting is guessing, and a reply must fit too.
_MARGIN = 0.05
# Less than this is no conversation.
_LEAST = 2_000
# How far a model's own count may move the guess.
_RATIO = (0.5, 2.0)
# After a request that was too long: what the next one may have of it.
_HARDER = 0.5
# What the part of a summary that code and the model write freely may take, in bytes; requests come on top.
_FREE_BYTES = 6_000
# So little is its own summary.
_SHORT_BYTES = 1_500


@dataclass(frozen=True, slots=True)
class Window:
    """What a request may be, in tokens: the model's own limit with room for its reply, and what a turn can pay."""

    context: int = WINDOW_TOKENS
    max_output: int = 2_000
    turn: int = 60_000

    @property
    def request(self) -> int:
        """The most tokens of one request: a turn needs several."""
        fits = self.context - self.max_output - int(self.context * _MARGIN)
        return max(_LEAST, min(fits, max(self.turn // 3, 4 * _LEAST)))


@dataclass(slots=True)
class Condenser:
    """Looks at each request before it goes out. What a model counted, and refused, is remembered by this process."""

    store: Store
    summariser: Summariser
    intake: Intake
    clock: Clock
    window: Window
    _ratio: float = 1.0
    _ceiling: int | None = None

    async def shorter(
        self, conversation: Conversation, account: Account, overhead: int, *, refused: bool = False
    ) -> Compaction | None:
        """Return how to show the conversation from now on; None: as it was shown.

        `overhead`: estimated tokens of what goes along. `refused`: the last request was too long for the model.
        """
        room = self._room(conversation, overhead, refused=refused)
        approvals = await self._approvals(conversation, room)
        if approvals is None:
            return None
        requests = recollection.ledger(approvals)
        free = min(_FREE_BYTES, max(600, room.target))
        room = replace(room, summary=tokens_of_text(requests) + tokens_of_text("x" * free) + 60)
        actions = {approval.call_id for approval in approvals if approval.call_id}
        way = compacted(conversation.messages, conversation.compaction, room, actions=actions)
        return await self._summed_up(conversation, way, account, requests, free) if way else None

    def counted(self, request: ModelRequest, input_tokens: int) -> None:
        """Learn from what a model counted for a request."""
        guessed = estimate(request.messages) + overhead_of(request.system, request.tools)
        if input_tokens > 0 and guessed > 0:
            low, high = _RATIO
            self._ratio = min(high, max(low, (self._ratio + input_tokens / guessed) / 2))

    def entry(self, conversation: Conversation, compaction: Compaction) -> AuditEntry:
        """Return the record that less is shown from now on."""
        facts: dict[str, Json] = {
            "folded": compaction.folded,
            "shortened": compaction.shortened,
            **digest_of(compaction.summary),
        }
        return AuditEntry("conversation.condensed", self.clock.now(), conversation_id=conversation.id, facts=facts)

    async def _approvals(self, conversation: Conversation, room: Room) -> Sequence[Approval] | None:
        """Return the requests since the last reset, or None where nothing has to be done."""
        if estimate(view(conversation.messages, conversation.compaction)) <= room.most:
            return None
        since = next((m.at for m in conversation.messages if isinstance(m, UserMessage)), self.clock.now())
        known = await self.store.approvals.of_conversation(conversation.id)
        return [approval for approval in known if approval.created_at >= since]

    def _room(self, conversation: Conversation, overhead: int, *, refused: bool) -> Room:
        most = self.window.request
        if refused:
            last = estimate(view(conversation.messages, conversation.compaction)) + overhead
            most = min(most, int(last * self._ratio * _HARDER))
            # Not asked for so much again, whatever was configured.
            self._ceiling = max(_LEAST, min(self._ceiling or most, int(last * self._ratio * 0.9)))
        elif self._ceiling is not None:
            most = min(most, self._ceiling)
        left = max(1, int(most / self._ratio) - overhead)
        return Room(left, left // 2)

    async def _summed_up(
        self, conversation: Conversation, way: Compaction, account: Account, requests: str, free: int
    ) -> Compaction:
        """Complete a way of showing less by its summary."""
        before = conversation.compaction or Compaction()
        way = replace(way, messages=len(conversation.messages))
        if not way.folded:
            log.info("conversation.shortened", results_before=way.shortened)
            return way
        prose = before.prose
        if way.folded > before.folded:
            prose = await self._prose(conversation, before, way, account) or prose
        looks = recollection.recollected(conversation.messages[: way.folded])
        text = recollection.summary(requests, looks, prose, folded=way.folded, limit=free)
        note = self.intake.note(EARLIER, text)
        log.info("conversation.condensed", folded=way.folded, shortened=way.shortened, by_model=bool(prose))
        return replace(way, prose=prose, summary=note.content, nonce=note.nonce)

    async def _prose(self, conversation: Conversation, before: Compaction, way: Compaction, account: Account) -> str:
        gone: Sequence[Message] = conversation.messages[before.folded : way.folded]
        written = f"Summed up before: {before.prose}\n" if before.prose else ""
        told = recollection.transcript(gone, limit=READ_BYTES - len(written.encode()))
        if len(told.encode()) <= _SHORT_BYTES:
            return (written + told).strip()
        asker = next(m.actor.key for m in reversed(conversation.messages) if isinstance(m, UserMessage))
        return await self.summariser.prose(written + told, account, asker=asker)


def overhead_of(system: str, tools: Sequence[ToolSpec]) -> int:
    """Estimate the tokens of what goes along with every request."""
    schemas = (f"{tool.name} {tool.description} {json.dumps(tool.schema)}" for tool in tools)
    return tokens_of_text(system) + sum(map(tokens_of_text, schemas))
