"""Conversations: messages, calls of the model and their results, and how a turn ends."""

import hashlib
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from opsbot.domain.people import Actor, Place


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
