"""One attempt at a task: the real bot on the cast, people who do what the task says, and the record of it."""

import asyncio
import json
import re
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from opsbot import bootstrap
from opsbot.config import Config, Secrets
from opsbot.discovery import SHIPPED_TOOLS, load_tools
from opsbot.domain import (
    Actor,
    Approval,
    ApprovalState,
    AssistantMessage,
    Conversation,
    Incoming,
    IncomingDecision,
    IncomingMessage,
    Json,
    Message,
    Place,
    Risk,
    ToolCall,
    ToolResult,
    UserMessage,
)
from opsbot.errors import OpsbotError
from opsbot.evaluation.chat import KeptChat, OpenDirectory
from opsbot.evaluation.grading import is_wanted
from opsbot.evaluation.record import Line, MadeCall, Proposal, Record, Took
from opsbot.evaluation.settings import ASKER, CHANNEL, OWNERS, TEAM
from opsbot.evaluation.tasks import Person, Task
from opsbot.inventory import Inventory
from opsbot.ports import Store
from opsbot.service import Service
from opsbot.spending import Split, Total

# So many times people act before an attempt is ended: decisions, and answers to questions.
_EXCHANGES = 12
_PLACE = Place(TEAM, CHANNEL, "1.0")


@dataclass(frozen=True, slots=True)
class Mind:
    """Who is evaluated: how the configuration is made in a folder, its secrets, and how long an attempt may take."""

    configure: Callable[[Path], Config]
    secrets: Secrets = field(default_factory=Secrets)
    timeout_s: float = 120.0


async def attempt(task: Task, mind: Mind) -> Record:
    """Ask the task's question and follow it to the end; return what is in the store then."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="opsbot-eval-") as folder:
        config = mind.configure(Path(folder))
        chat = KeptChat()
        async with bootstrap.on_chat(config, mind.secrets, chat, OpenDirectory()) as (service, store):
            ended = await _followed(_Talk(task.person, service, store, chat), task.prompt, mind.timeout_s)
            return await _recorded(store, config.inventory(), ended, began)


async def _followed(talk: "_Talk", prompt: str, timeout_s: float) -> str:
    """Return why the attempt did not come to its end, or ""."""
    try:
        async with asyncio.timeout(timeout_s):
            return await talk.follow(prompt)
    except TimeoutError:
        return f"it took more than {timeout_s:.0f} s"
    except OpsbotError as error:
        return str(error)


class _Talk:
    """The people of a task in its conversation."""

    def __init__(self, person: Person, service: Service, store: Store, chat: KeptChat) -> None:
        self._person = person
        self._service = service
        self._store = store
        self._chat = chat
        self._replies = list(person.replies)

    async def follow(self, prompt: str) -> str:
        """Ask, decide and answer until there is nothing more to do."""
        await self._say(prompt)
        for _ in range(_EXCHANGES):
            pending = [each for each in await self._approvals() if each.state is ApprovalState.PENDING]
            if pending:
                for approval in pending:
                    await self._decide(approval)
            elif said := await self._reply():
                await self._say(said)
            else:
                return ""
        return f"it went on after people had acted {_EXCHANGES} times"

    async def _say(self, text: str) -> None:
        await self._send(IncomingMessage(_PLACE, Actor(TEAM, ASKER), text, uuid.uuid4().hex))

    async def _decide(self, approval: Approval) -> None:
        """Have the owners approve what the task says they approve; everything else is denied."""
        proposal = _proposal(approval, 0)
        yes = any(is_wanted(proposal, wanted) for wanted in self._person.approve)
        for owner in OWNERS[: approval.needed if yes else 1]:
            found = self._chat.card_of(approval.id)
            if found is None:
                return
            card, shown = found
            verb = "approve" if yes else "deny"
            where = (_PLACE, Actor(TEAM, owner), approval.id, verb, shown.ref.message_id)
            await self._send(IncomingDecision(*where, seal=card.seal))

    async def _reply(self) -> str:
        """Return what the person answers to the newest words, each answer once, or ""."""
        conversation = await self._store.conversations.load(_PLACE)
        last = conversation.messages[-1] if conversation.messages else None
        text = last.text if isinstance(last, AssistantMessage) and not last.by_code else ""
        for reply in self._replies:
            if text and re.search(reply.when, text, re.IGNORECASE | re.DOTALL):
                self._replies.remove(reply)
                return reply.say
        return ""

    async def _approvals(self) -> tuple[Approval, ...]:
        return await self._store.approvals.of_conversation(_PLACE.key)

    async def _send(self, event: Incoming) -> None:
        await self._service.accept((f"eval:{uuid.uuid4().hex}",), event)
        await self._service.idle()


# --- the record ------------------------------------------------------------------------------------------------------


async def _recorded(store: Store, inventory: Inventory, ended: str, began: float) -> Record:
    conversation = await store.conversations.load(_PLACE)
    approvals = {each.call_id: each for each in await store.approvals.of_conversation(_PLACE.key)}
    calls = [call for m in conversation.messages if isinstance(m, AssistantMessage) for call in m.calls]
    tools = {call.call_id: call.tool for call in calls}
    positions = {call.call_id: number for number, call in enumerate(calls)}
    results = {m.call_id: m for m in conversation.messages if isinstance(m, ToolResult)}
    made = [
        _made_call(call, number, results[call.call_id], inventory, proposed=call.call_id in approvals)
        for number, call in enumerate(calls)
        if call.call_id in results
    ]
    return Record(
        calls=tuple(made),
        proposals=tuple(_proposal(each, positions.get(call_id, 0)) for call_id, each in approvals.items()),
        answers=tuple(_answers(conversation)),
        took=await _took(store, conversation, len(calls), time.monotonic() - began),
        transcript=tuple(line for m in conversation.messages for line in _lines(m, approvals, tools)),
        ended=ended or _closed_by_code(conversation),
    )


def _made_call(call: ToolCall, number: int, result: ToolResult, inventory: Inventory, *, proposed: bool) -> MadeCall:
    arguments = _arguments(call.arguments)
    named = arguments.get("hosts", [])
    names = [name for name in named if isinstance(name, str)] if isinstance(named, list) else []
    hosts, writes = _resolved(names, inventory), call.tool in _writing_tools()
    return MadeCall(number, call.tool, arguments, hosts, result.content, result.failed, proposed, writes)


@cache
def _writing_tools() -> frozenset[str]:
    return frozenset(tool.name for tool in load_tools([SHIPPED_TOOLS]).tools if tool.risk is not Risk.READ)


def _resolved(names: Sequence[str], inventory: Inventory) -> tuple[str, ...]:
    """Return the hosts; of names that mean none, nothing was touched."""
    try:
        return tuple(host.name for host in inventory.resolve(names))
    except OpsbotError:
        return ()


def _arguments(text: str) -> dict[str, Json]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _proposal(approval: Approval, position: int) -> Proposal:
    action = approval.action
    return Proposal(action.tool, dict(action.arguments), action.hosts, str(approval.state), position)


def _answers(conversation: Conversation) -> list[str]:
    return [m.text for m in conversation.messages if isinstance(m, AssistantMessage) and not m.calls and not m.by_code]


def _closed_by_code(conversation: Conversation) -> str:
    last = conversation.messages[-1] if conversation.messages else None
    return last.text if isinstance(last, AssistantMessage) and last.by_code else ""


async def _took(store: Store, conversation: Conversation, calls: int, seconds: float) -> Took:
    first = next((m.at for m in conversation.messages if isinstance(m, UserMessage)), None)
    sums = await store.usage.sums(Split.CONVERSATION, since=first) if first else ()
    total = sum((one.total for one in sums), Total())
    cost = None if total.unpriced else total.cost_nano_usd
    return Took(total.calls, calls, total.usage.input_tokens, total.usage.output_tokens, cost, seconds)


def _lines(message: Message, approvals: Mapping[str, Approval], tools: Mapping[str, str]) -> list[Line]:
    match message:
        case UserMessage():
            return [Line("person", message.actor.user_id, message.text)]
        case AssistantMessage():
            said = [Line("note" if message.by_code else "model", "", message.text)] if message.text else []
            return said + [Line("call", call.tool, call.arguments) for call in message.calls]
        case ToolResult():
            title = f"{tools.get(message.call_id, '')}{' (failed)' if message.failed else ''}"
            return [*_card_lines(approvals.get(message.call_id)), Line("result", title, message.content)]


def _card_lines(approval: Approval | None) -> list[Line]:
    if approval is None:
        return []
    who = ", ".join(f"{r.actor.user_id} {'approved' if r.approve else 'denied'}" for r in approval.reviews)
    arguments = " ".join(f"{name}={value}" for name, value in approval.action.arguments.items())
    return [Line("card", f"{approval.action.tool} {arguments} on {', '.join(approval.action.hosts)}", who or "nobody")]
