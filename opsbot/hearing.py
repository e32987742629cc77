"""A reply of the model while it arrives: put together, and whole or refused."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from opsbot.domain import AssistantMessage, Conversation, ToolCall, Usage
from opsbot.errors import ModelMisbehaved
from opsbot.notes import INTRODUCTIONS
from opsbot.ports import Done, ModelEvent, TextDelta

_FINISHED = frozenset({"stop", "tool_calls"})


@dataclass(slots=True)
class Heard:
    """What arrived so far. `usage`: what the service says it took, also for what could not be used."""

    text: str = ""
    calls: list[ToolCall] = field(default_factory=list)
    usage: Usage = field(default_factory=Usage)
    done: Done | None = None

    @property
    def anything(self) -> bool:
        """Whether the model began to answer at all."""
        return bool(self.text or self.calls or self.done) or self.usage != Usage()

    def take(self, event: ModelEvent) -> bool:
        """Take one event in; tell whether there is more text to show."""
        match event:
            case TextDelta():
                self.text += event.text
                return True
            case ToolCall():
                self.calls.append(event)
            case Usage():
                self.usage += event
            case Done():
                self.done = event
        return False


def complete(conversation: Conversation, text: str, calls: list[ToolCall], heard: Heard) -> AssistantMessage:
    """Turn what was heard into a message, if it is whole; `text` and `calls` as they were taken in.

    Raises:
        ModelMisbehaved: it is not.
    """
    done = heard.done
    if done is None:
        raise ModelMisbehaved("The model's answer broke off, so I did nothing with it. Please ask again.")
    if done.reason == "length" and not calls and text:
        text += "\n\n_(cut: the answer reached its length limit; say “go on” for the rest)_"
    elif done.reason not in _FINISHED:
        raise ModelMisbehaved(f"The model's answer ended early ({done.reason}), so I did nothing with it.")
    if not text.strip() and not calls:
        raise ModelMisbehaved("The model answered with nothing. Please ask again.")
    return AssistantMessage(text, tuple(_with_unique_ids(conversation, calls)), heard.usage, done.opaque)


def _with_unique_ids(conversation: Conversation, calls: Sequence[ToolCall]) -> list[ToolCall]:
    """Rename calls whose id is empty or taken: local servers count from `call_0` in every reply."""
    used = {c.call_id for m in conversation.messages if isinstance(m, AssistantMessage) for c in m.calls}
    used |= INTRODUCTIONS.keys()
    unique = []
    for index, call in enumerate(calls):
        free = call.call_id and call.call_id not in used
        call_id = call.call_id if free else f"{call.call_id or 'call'}-{conversation.version}-{index}"
        used.add(call_id)
        unique.append(replace(call, call_id=call_id))
    return unique
