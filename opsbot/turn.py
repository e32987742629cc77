"""The loop: ask the model, run what is allowed, stop for a person. The stored history is the only state."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import structlog

from opsbot.actions import Catalogue, Prepared
from opsbot.approvals import result_for_model
from opsbot.charting import announcing, charts_of
from opsbot.discovery import DESCRIBE_TOOLS
from opsbot.domain import (
    Actor,
    Answered,
    Approval,
    AssistantMessage,
    Chart,
    Conversation,
    GaveUp,
    Message,
    NeedsApproval,
    Outcome,
    Stopped,
    ToolCall,
    ToolResult,
    Usage,
    UserMessage,
    Verdict,
)
from opsbot.errors import BadArguments, BudgetSpent, ContextTooLong, ModelError, ModelMisbehaved, ToolError
from opsbot.executor import Executor
from opsbot.identity import Identify, unchanged
from opsbot.intake import Intake, as_json, error_json
from opsbot.minutes import Minutes
from opsbot.policy import PolicyRules, decide
from opsbot.ports import ChatModel, Clock, Done, ModelRequest, Store, TextDelta
from opsbot.redact import HIDDEN

log = structlog.get_logger(__name__)

_BECAUSE = re.compile(r"\bbecause\b[:,]?\s+(.*)", re.IGNORECASE | re.DOTALL)
_REASON_MAX = 300
_FINISHED = frozenset({"stop", "tool_calls"})


class _Denied(ToolError):
    """Policy refused a call."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one turn may use: model calls, tool calls, tokens (in and out together), seconds."""

    rounds: int = 8
    calls: int = 20
    tokens: int = 60_000
    turn_s: float = 300.0
    max_output_tokens: int = 2000


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

    async def ending(self, conversation: Conversation, last: AssistantMessage) -> None:
        """The words that end this turn, told before they are saved, so that a crash cannot lose them."""
        ...


Propose = Callable[[Conversation, ToolCall, Prepared, Actor], Awaitable[Approval]]


@dataclass(slots=True)
class _Spent:
    """What a turn has used so far."""

    limits: Limits
    began: float
    rounds: int = 0
    calls: int = 0
    tokens: int = 0
    tools: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)

    def check(self, now: float) -> None:
        """Raise BudgetSpent when a limit is reached, naming it."""
        seconds = now - self.began
        for name, used, limit in (
            ("model calls", self.rounds, self.limits.rounds),
            ("tool calls", self.calls, self.limits.calls),
            ("tokens", self.tokens, self.limits.tokens),
            ("seconds", seconds, self.limits.turn_s),
        ):
            if used >= limit:
                raise BudgetSpent(f"I stopped at the limit of {limit:g} {name} for one turn.")

    def summary(self) -> str:
        """Say what was looked at."""
        return f"Looked at so far: {', '.join(dict.fromkeys(self.tools))}." if self.tools else "Nothing was run yet."


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
        spent = _Spent(self.limits, self.clock.monotonic())
        while True:
            conversation, waiting = await self._settle(conversation, spent, watcher)
            if not wants_reply(conversation):
                return conversation, _rest(conversation, waiting)
            try:
                spent.check(self.clock.monotonic())
                reply = await self._ask_fitting(conversation, spent, watcher)
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
        self, conversation: Conversation, spent: _Spent, watcher: Watcher
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
        self, conversation: Conversation, call: ToolCall, approval: Approval | None, spent: _Spent, watcher: Watcher
    ) -> ToolResult | Approval:
        if approval is not None:
            return self._outcome(approval) if approval.state.final else approval
        if spent.calls >= self.limits.calls:
            limit = f"Not run: the limit of {self.limits.calls} tool calls for one turn is reached."
            spent.refused[call.call_id] = limit
            return self._failure(call, limit, untrusted=False)
        spent.calls += 1
        spent.tools.append(call.tool)
        try:
            return await self._run(conversation, call, watcher)
        except ToolError as error:
            spent.refused[call.call_id] = str(error)
            # Bad arguments name only what the model itself sent, a denial only rules; the rest may quote a host.
            return self._failure(call, str(error), untrusted=not isinstance(error, BadArguments | _Denied))

    async def _run(self, conversation: Conversation, call: ToolCall, watcher: Watcher) -> ToolResult | Approval:
        """Run a read, or open an approval. Raises ToolError for whatever the model should know."""
        if call.tool == DESCRIBE_TOOLS:
            return self.intake.result(call.call_id, self._described(call), untrusted=False)
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
                text = announcing(shown, fan_out.as_json())
                failed = not fan_out.results
                return self.intake.result(call.call_id, text, failed=failed, untrusted=fan_out.untrusted)

    def _described(self, call: ToolCall) -> str:
        """Say in a line each what the tools do that were asked for; the next request holds their schemas."""
        names = _names_in(call)
        if not names:
            raise BadArguments('Name the tools, as in {"names": ["disk_usage"]}.')
        tools = [self.catalogue.registry.get(name) for name in names]
        return as_json({tool.name: tool.description.splitlines()[0] for tool in tools})

    def _outcome(self, approval: Approval) -> ToolResult:
        made = result_for_model(approval)
        return self.intake.result(made.call_id, made.content, failed=made.failed, untrusted=made.untrusted)

    def _failure(self, call: ToolCall, text: str, *, untrusted: bool) -> ToolResult:
        return self.intake.result(call.call_id, error_json(self.intake.text(text)), failed=True, untrusted=untrusted)

    # --- the model ---------------------------------------------------------------------------------------------------

    async def _ask_fitting(self, conversation: Conversation, spent: _Spent, watcher: Watcher) -> AssistantMessage:
        """Ask; a history too long for the model is asked once more without its older half."""
        try:
            return await self._ask(conversation, conversation.messages, spent, watcher)
        except ContextTooLong:
            newest = newer_half(conversation.messages)
            if len(newest) == len(conversation.messages):
                raise
            log.info("turn.trimmed", dropped=len(conversation.messages) - len(newest))
            return await self._ask(conversation, newest, spent, watcher)

    async def _ask(
        self, conversation: Conversation, messages: tuple[Message, ...], spent: _Spent, watcher: Watcher
    ) -> AssistantMessage:
        """Ask for one complete reply. Raises ModelError; nothing of an unfinished reply is kept."""
        await watcher.working("thinking")
        request = ModelRequest(
            system=self.system_prompt(),
            messages=messages,
            tools=self.catalogue.registry.shown(asked_for(conversation)),
            max_output_tokens=self.limits.max_output_tokens,
            prefix_key=f"opsbot-{conversation.place.team_id}",
            asker=last_asker(conversation).key,
            deferred=self.catalogue.registry.deferred(),
        )
        spent.rounds += 1
        text, calls, usage, done = "", [], Usage(), None
        async for event in self.model.reply(request):
            match event:
                case TextDelta():
                    text += event.text
                    await watcher.text(text)
                case ToolCall():
                    calls.append(event)
                case Usage():
                    usage = event
                case Done():
                    done = event
        spent.tokens += usage.input_tokens + usage.output_tokens
        log.info("model.replied", calls=len(calls), input_tokens=usage.input_tokens, output_tokens=usage.output_tokens)
        calls = [replace(c, tool=self.intake.exact(c.tool), arguments=self.intake.exact(c.arguments)) for c in calls]
        return _complete(conversation, self.intake.text(text), calls, usage, done)

    async def _give_up(
        self, conversation: Conversation, error: ModelError, spent: _Spent, watcher: Watcher
    ) -> tuple[Conversation, Outcome]:
        log.warning("turn.gave_up", error=str(error), rounds=spent.rounds, calls=spent.calls)
        if isinstance(error, BudgetSpent):
            text = f"{error} {spent.summary()} Say “go on” and I continue from here."
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
        after = Conversation(conversation.place, (*conversation.messages, *messages), conversation.version)
        needs_turn = wants_reply(after) or bool(after.open_calls)
        return await self.store.conversations.append(conversation, messages, needs_turn=needs_turn, entries=entries)


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


def newer_half(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """Drop about the older half, cutting only before a person's words, so that no call loses its result."""
    sizes = [len(m.text) if not isinstance(m, ToolResult) else len(m.content) for m in messages]
    cuts = [n for n, message in enumerate(messages) if isinstance(message, UserMessage) and n]
    fitting = [n for n in cuts if sum(sizes[n:]) <= sum(sizes) / 2]
    return messages[fitting[0] if fitting else cuts[-1] if cuts else 0 :]


def asked_for(conversation: Conversation) -> tuple[str, ...]:
    """Names of the deferred tools that the model asked to be shown, or has used, in the order of asking."""
    calls = (call for m in conversation.messages if isinstance(m, AssistantMessage) for call in m.calls)
    return tuple(name for call in calls for name in (_names_in(call) if call.tool == DESCRIBE_TOOLS else (call.tool,)))


def _names_in(call: ToolCall) -> tuple[str, ...]:
    """Read the names of a `describe_tools` call; none of an unreadable one."""
    try:
        names = json.loads(call.arguments)["names"]
    except (ValueError, KeyError, TypeError):
        return ()
    return tuple(name for name in names if isinstance(name, str)) if isinstance(names, list) else ()


def last_asker(conversation: Conversation) -> Actor:
    """The person whose words the newest turn answers."""
    return next(m.actor for m in reversed(conversation.messages) if isinstance(m, UserMessage))


def spoken_reason(conversation: Conversation) -> str:
    """Return the reason in the words of whoever asked: what follows `because` in their newest message, or ""."""
    said = next(m.text for m in reversed(conversation.messages) if isinstance(m, UserMessage))
    found = _BECAUSE.search(said)
    return " ".join(found.group(1).split())[:_REASON_MAX] if found else ""


def _complete(
    conversation: Conversation, text: str, calls: list[ToolCall], usage: Usage, done: Done | None
) -> AssistantMessage:
    """Turn a stream into a message, if it is whole. Raises ModelMisbehaved."""
    if done is None:
        raise ModelMisbehaved("The model's answer broke off, so I did nothing with it. Please ask again.")
    if done.reason == "length" and not calls and text:
        text += "\n\n_(cut: the answer reached its length limit; say “go on” for the rest)_"
    elif done.reason not in _FINISHED:
        raise ModelMisbehaved(f"The model's answer ended early ({done.reason}), so I did nothing with it.")
    if not text.strip() and not calls:
        raise ModelMisbehaved("The model answered with nothing. Please ask again.")
    calls = _with_unique_ids(conversation, calls)
    return AssistantMessage(text, tuple(calls), usage, done.opaque)


def _with_unique_ids(conversation: Conversation, calls: list[ToolCall]) -> list[ToolCall]:
    """Rename calls whose id is empty or taken: local servers count from `call_0` in every reply."""
    used = {c.call_id for m in conversation.messages if isinstance(m, AssistantMessage) for c in m.calls}
    unique = []
    for index, call in enumerate(calls):
        free = call.call_id and call.call_id not in used
        call_id = call.call_id if free else f"{call.call_id or 'call'}-{conversation.version}-{index}"
        used.add(call_id)
        unique.append(replace(call, call_id=call_id))
    return unique


def _rest(conversation: Conversation, waiting: tuple[str, ...]) -> Outcome:
    if waiting:
        return NeedsApproval(waiting)
    last = conversation.messages[-1] if conversation.messages else None
    return Answered(last.text if isinstance(last, AssistantMessage) else "")


def _describe(prepared: Prepared) -> str:
    hosts = prepared.action.hosts
    where = f" on {hosts[0]}" if len(hosts) == 1 else f" on {len(hosts)} hosts" if hosts else ""
    return f"running {prepared.tool.name}{where}"
