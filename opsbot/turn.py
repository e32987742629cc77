"""The loop: ask the model, run what is allowed, stop for a person. The stored history is the only state."""

import asyncio
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import Protocol

import structlog

from opsbot.actions import Catalogue, Prepared
from opsbot.approvals import result_for_model
from opsbot.charting import announcing, charts_of
from opsbot.compaction import view
from opsbot.condensing import Condenser, overhead_of
from opsbot.domain import (
    Actor,
    Answered,
    Approval,
    AssistantMessage,
    AuditEntry,
    Chart,
    Compaction,
    Conversation,
    GaveUp,
    Message,
    NeedsApproval,
    Outcome,
    Stopped,
    ToolCall,
    ToolResult,
    UserMessage,
    Verdict,
)
from opsbot.errors import BadArguments, BudgetSpent, ContextTooLong, ModelError, ToolError
from opsbot.established import established
from opsbot.executor import Executor
from opsbot.hearing import Heard, complete
from opsbot.identity import Identify, unchanged
from opsbot.intake import Intake, error_json
from opsbot.metering import Account, Meter
from opsbot.minutes import Minutes
from opsbot.own_tools import OwnTools, asked_for
from opsbot.pictures import wanted
from opsbot.policy import PolicyRules, decide
from opsbot.ports import ChatModel, Clock, ModelRequest, Store
from opsbot.prompts import prompt_digest
from opsbot.redact import HIDDEN
from opsbot.sightings import sighting
from opsbot.spending import turn_id
from opsbot.turn_limits import Limits, Spent

log = structlog.get_logger(__name__)

_BECAUSE = re.compile(r"\bbecause\b[:,]?\s+(.*)", re.IGNORECASE | re.DOTALL)
_REASON_MAX = 300


class _Denied(ToolError):
    """Policy refused a call."""


class Watcher(Protocol):
    """Sees a turn while it runs; shows it to people."""

    async def text(self, so_far: str) -> None:
        """The reply's text so far."""
        ...

    async def working(self, what: str) -> None:
        """What is being done now, in a few words."""
        ...

    async def proposing(self, call: ToolCall) -> None:
        """A card for this call is about to be posted; what was said so far belongs before it."""
        ...

    async def charts(self, charts: Sequence[Chart]) -> int:
        """Charts of what a tool found, to be shown below the answer; return how many of them will be."""
        ...

    async def blind(self, conversation: Conversation, why: str) -> None:
        """The model answers without the pictures that it was shown."""
        ...

    async def ending(self, conversation: Conversation, last: AssistantMessage) -> None:
        """The words that end this turn, told before they are saved, so that a crash cannot lose them."""
        ...


Propose = Callable[[Conversation, ToolCall, Prepared, Actor], Awaitable[Approval]]


@dataclass(frozen=True, slots=True)
class TurnLoop:
    """Advances conversations. `propose` opens an approval for a writing call (idempotent per call).

    `identify`: who somebody is now; a stored message says only which account wrote it.
    """

    model: ChatModel
    store: Store
    catalogue: Catalogue
    executor: Executor
    rules: PolicyRules
    intake: Intake
    clock: Clock
    system_prompt: Callable[[], str]
    limits: Limits
    propose: Propose
    meter: Meter
    own: OwnTools
    condenser: Condenser
    identify: Identify = unchanged

    @property
    def minutes(self) -> Minutes:
        """Takes down what is said."""
        return Minutes(self.intake)

    async def advance(self, conversation: Conversation, watcher: Watcher) -> tuple[Conversation, Outcome]:
        """Go on from the stored history until there is an answer, a person is needed, or a limit is reached.

        Every message is saved before anything that follows from it is done.

        Raises:
            Conflict: somebody else advanced this conversation.
            StoreError: the history could not be saved.
        """
        spent = Spent(self.limits, self.clock.monotonic())
        while True:
            conversation, waiting = await self._settle(conversation, spent, watcher)
            if not wants_reply(conversation):
                if spent.rounds:
                    await self.meter.look(self._account(conversation))
                return conversation, _rest(conversation, waiting)
            try:
                spent.check(self.clock.monotonic())
                await self.meter.check(self._account(conversation))
                conversation = await self._fitted(conversation, refused=False)
                reply = await self._ask(conversation, spent, watcher)
            except ContextTooLong as error:
                condensed = (
                    conversation if spent.refused_as_too_long else await self._fitted(conversation, refused=True)
                )
                spent.refused_as_too_long = True
                if condensed is conversation:
                    return await self._give_up(conversation, error, spent, watcher)
                conversation = condensed
                continue
            except ModelError as error:
                return await self._give_up(conversation, error, spent, watcher)
            if not reply.calls:
                await watcher.ending(conversation, reply)
            conversation = await self._save(conversation, [reply])

    async def stop(self, conversation: Conversation, last: AssistantMessage) -> Conversation:
        """Close an interrupted turn: calls without an approval get a result, and the history its last words."""
        pending = {a.call_id for a in await self.store.approvals.of_conversation(conversation.id)}
        closing: list[Message] = [
            ToolResult(call.call_id, '{"error": "Stopped by a person before it ran."}', failed=True)
            for call in conversation.open_calls
            if call.call_id not in pending
        ]
        return await self._save(conversation, [*closing, last])

    # --- calls -------------------------------------------------------------------------------------------------------

    async def _settle(
        self, conversation: Conversation, spent: Spent, watcher: Watcher
    ) -> tuple[Conversation, tuple[str, ...]]:
        """Give every open call its result, or an approval to wait for; return the ids waited for."""
        calls = conversation.open_calls
        if not calls:
            return conversation, ()
        approvals = {a.call_id: a for a in await self.store.approvals.of_conversation(conversation.id) if a.call_id}
        settled = await asyncio.gather(
            *(self._settle_one(conversation, call, approvals.get(call.call_id), spent, watcher) for call in calls)
        )
        results = [item for item in settled if isinstance(item, ToolResult)]
        waiting = tuple(item.id for item in settled if isinstance(item, Approval))
        if results:
            conversation = await self._save(conversation, results, refused=spent.refused)
        return conversation, waiting

    async def _settle_one(
        self, conversation: Conversation, call: ToolCall, approval: Approval | None, spent: Spent, watcher: Watcher
    ) -> ToolResult | Approval:
        if approval is not None:
            return self._outcome(approval) if approval.state.final else approval
        if spent.calls >= self.limits.calls:
            limit = f"Not run: the limit of {self.limits.calls} tool calls for one turn is reached."
            spent.refused[call.call_id] = limit
            return self._failure(call, limit, untrusted=False)
        spent.calls += 1
        try:
            return await self._run(conversation, call, watcher)
        except ToolError as error:
            spent.refused[call.call_id] = str(error)
            # Bad arguments name only what the model itself sent, a denial only rules; the rest may quote a host.
            return self._failure(call, str(error), untrusted=not isinstance(error, BadArguments | _Denied))

    async def _run(self, conversation: Conversation, call: ToolCall, watcher: Watcher) -> ToolResult | Approval:
        """Run a read, or open an approval. Raises ToolError for whatever the model should know."""
        if (own := await self.own.answer(conversation, call)) is not None:
            return own
        if HIDDEN in call.arguments:
            raise BadArguments("The arguments hold a secret that was hidden, so they are not used.")
        prepared = self.catalogue.from_call(call)
        asker = await self.identify(last_asker(conversation))
        now = self.clock.now()
        decision = decide(self.rules, prepared.question(asker, conversation.place, now))
        match decision.verdict:
            case Verdict.DENY:
                await self.store.audit.append(prepared.denial(decision, asker, conversation.id, now))
                raise _Denied(f"Denied by policy ({decision.rule}): {decision.reason}")
            case Verdict.NEED_APPROVAL:
                await watcher.working(f"checking what {prepared.tool.name} would hit")
                await watcher.proposing(call)
                return await self.propose(conversation, call, prepared, asker)
            case Verdict.ALLOW:
                await watcher.working(_describe(prepared))
                fan_out = await self.executor.read(prepared)
                charts = charts_of(prepared.tool, fan_out.results, self.intake)
                shown = charts[: await watcher.charts(charts)] if charts else ()
                text = announcing(shown, fan_out.as_json(sighting(prepared, now)))
                failed = not fan_out.results
                return await self.own.keeper.result(
                    conversation.id, call, text, failed=failed, untrusted=fan_out.untrusted
                )

    def _outcome(self, approval: Approval) -> ToolResult:
        made = result_for_model(approval)
        return self.intake.result(made.call_id, made.content, failed=made.failed, untrusted=made.untrusted)

    def _failure(self, call: ToolCall, text: str, *, untrusted: bool) -> ToolResult:
        return self.intake.result(call.call_id, error_json(self.intake.text(text)), failed=True, untrusted=untrusted)

    # --- the model ---------------------------------------------------------------------------------------------------

    async def _fitted(self, conversation: Conversation, *, refused: bool) -> Conversation:
        """Store how to show less of the conversation, where it has grown too long; `refused`: the model said so."""
        overhead = overhead_of(self.system_prompt(), self.catalogue.registry.shown(asked_for(conversation)))
        account = self._account(conversation)
        compaction = await self.condenser.shorter(conversation, account, overhead, refused=refused)
        if compaction is None:
            return conversation
        entry = self.condenser.entry(conversation, compaction)
        return await self._append(conversation, [], entries=[entry], compaction=compaction)

    async def _ask(self, conversation: Conversation, spent: Spent, watcher: Watcher) -> AssistantMessage:
        """Ask for one complete reply. Raises ModelError; nothing of an unfinished reply is kept."""
        await watcher.working("thinking")
        messages = view(conversation.messages, conversation.compaction)
        request = ModelRequest(
            system=self.system_prompt(),
            messages=messages,
            tools=self.catalogue.registry.shown(asked_for(conversation)),
            max_output_tokens=self.limits.max_output_tokens,
            prefix_key=f"opsbot-{conversation.place.team_id}-{prompt_digest()[:8]}",
            asker=last_asker(conversation).key,
            deferred=self.catalogue.registry.deferred(),
            notice=watcher.working,
            pictures=await self.store.pictures.get(wanted(messages)),
            blind=partial(watcher.blind, conversation),
        )
        spent.rounds += 1
        heard = Heard()
        try:
            async for event in self.model.reply(request):
                if heard.take(event):
                    await watcher.text(heard.text)
        finally:
            # What it took counts also if it was cut off, refused or stopped.
            spent.tokens += self.meter.note(self._account(conversation), request, heard)
        self.condenser.counted(request, heard.usage.input_tokens)
        log.info("model.replied", calls=len(heard.calls), **asdict(heard.usage))
        exact = self.intake.exact
        calls = [replace(c, tool=exact(c.tool), arguments=exact(c.arguments)) for c in heard.calls]
        return complete(conversation, self.intake.text(heard.text), calls, heard)

    async def _give_up(
        self, conversation: Conversation, error: ModelError, spent: Spent, watcher: Watcher
    ) -> tuple[Conversation, Outcome]:
        log.warning("turn.gave_up", error=str(error), rounds=spent.rounds, calls=spent.calls)
        if isinstance(error, BudgetSpent):
            found = established(conversation.messages) or "nothing; no tool was run for this question"
            text = f"Stopped at the budget: {error}\n\nEstablished so far:\n{found}\n\nNext step: {error.next_step}"
            outcome: Outcome = Stopped(text)
        else:
            text = f"{error} Commands work without the model: `/ops help`, or `!help` in a thread."
            outcome = GaveUp(text)
        last = AssistantMessage(text, by_code=True)
        await watcher.ending(conversation, last)
        return await self._save(conversation, [last]), outcome

    async def _save(
        self, conversation: Conversation, messages: Sequence[Message], *, refused: Mapping[str, str] | None = None
    ) -> Conversation:
        """Append the messages, with their minutes."""
        entries = self.minutes.of(conversation, messages, self.clock.now(), refused=refused)
        return await self._append(conversation, messages, entries=entries)

    async def _append(
        self,
        conversation: Conversation,
        messages: Sequence[Message],
        *,
        entries: Sequence[AuditEntry],
        compaction: Compaction | None = None,
    ) -> Conversation:
        after = replace(conversation, messages=(*conversation.messages, *messages))
        needs_turn = wants_reply(after) or bool(after.open_calls)
        taken = self.meter.take()
        try:
            return await self.store.conversations.append(
                conversation,
                messages,
                needs_turn=needs_turn,
                entries=entries,
                model_calls=taken,
                compaction=compaction,
            )
        except BaseException:
            self.meter.give_back(taken)
            raise

    def _account(self, conversation: Conversation) -> Account:
        number, asked = next(
            (n, m) for n, m in reversed([*enumerate(conversation.messages)]) if isinstance(m, UserMessage)
        )
        turn = turn_id(conversation.id, asked.at, number)
        return Account(conversation.place, turn, self.rules.person(asked.actor))


def wants_reply(conversation: Conversation) -> bool:
    """Whether the model should speak next: a person wrote, or the newest calls all have results."""
    if not conversation.messages:
        return False
    last = conversation.messages[-1]
    if isinstance(last, UserMessage):
        return True
    if isinstance(last, AssistantMessage):
        return False
    newest = next(m for m in reversed(conversation.messages) if isinstance(m, AssistantMessage) and m.calls)
    still_open = {call.call_id for call in conversation.open_calls}
    return not any(call.call_id in still_open for call in newest.calls)


def last_asker(conversation: Conversation) -> Actor:
    """The person whose words the newest turn answers."""
    return next(m.actor for m in reversed(conversation.messages) if isinstance(m, UserMessage))


def spoken_reason(conversation: Conversation) -> str:
    """Return the reason in the words of whoever asked: what follows `because` in their newest message, or ""."""
    said = next(m.text for m in reversed(conversation.messages) if isinstance(m, UserMessage))
    found = _BECAUSE.search(said)
    return " ".join(found.group(1).split())[:_REASON_MAX] if found else ""


def _rest(conversation: Conversation, waiting: tuple[str, ...]) -> Outcome:
    if waiting:
        return NeedsApproval(waiting)
    last = conversation.messages[-1] if conversation.messages else None
    return Answered(last.text if isinstance(last, AssistantMessage) else "")


def _describe(prepared: Prepared) -> str:
    hosts = prepared.action.hosts
    where = f" on {hosts[0]}" if len(hosts) == 1 else f" on {len(hosts)} hosts" if hosts else ""
    return f"running {prepared.tool.name}{where}"
