"""Language models, as the core asks them."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from opsbot.answer_format import AnswerFormat
from opsbot.domain import Json, Message, ToolCall, Usage
from opsbot.pictures import Developed


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
