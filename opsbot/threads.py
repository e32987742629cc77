"""What people wrote in a thread before the bot was asked there: the newest whole, the rest in short. Pure."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

# What is told whole, in bytes: about 3,000 tokens. One message is cut beyond its share.
WHOLE_BYTES = 9_000
MESSAGE_CHARS = 1_500
# Of what is not told whole, so many people and messages are named.
_PEOPLE, _ENDS, _END_CHARS = 10, 3, 200


@dataclass(frozen=True, slots=True)
class Said:
    """One message of a thread. `author`: a person's id; `app`: a program wrote it."""

    author: str
    text: str
    at: datetime
    app: bool = False


@dataclass(frozen=True, slots=True)
class Thread:
    """What was read of a thread, oldest first, the message it began with included.

    `missing`: messages there were no calls left to read. `failure`: why reading ended early, "" if it did not.
    """

    messages: tuple[Said, ...] = ()
    missing: int = 0
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Split:
    """A thread within a budget: `first` and `newest` are told whole, `between` in short."""

    first: tuple[Said, ...]
    between: tuple[Said, ...]
    newest: tuple[Said, ...]

    @property
    def whole(self) -> int:
        """How many are told whole."""
        return len(self.first) + len(self.newest)


def split(thread: Thread, *, limit: int = WHOLE_BYTES) -> Split:
    """Keep the first message, and of the others the newest that fit into so many bytes."""
    if not thread.messages:
        return Split((), (), ())
    first, others = thread.messages[0], thread.messages[1:]
    left = limit - _bytes(line_of(first))
    kept = 0
    for message in reversed(others):
        left -= _bytes(line_of(message))
        if left < 0:
            break
        kept += 1
    cut = len(others) - kept
    return Split((first,), others[:cut], others[cut:])


def told(thread: Thread, parts: Split, prose: str) -> str:
    """Return what the model is told of a thread; `prose`: a model's words about what is not told whole."""
    lines = [_head(thread)]
    lines += [f"It began with:\n{line_of(message)}" for message in parts.first]
    if parts.between:
        lines.append(in_short(parts.between))
    if prose:
        lines.append(f"In short, what they said there:\n{prose}")
    if parts.newest:
        newest = "\n".join(map(line_of, parts.newest))
        lines.append(f"The newest {len(parts.newest)}, whole:\n{newest}")
    return "\n\n".join(lines)


def in_short(messages: Sequence[Said]) -> str:
    """Sum messages up by code: how many, by whom, from when to when, and how they begin and end."""
    people = Counter(_name(message) for message in messages)
    named = ", ".join(f"{name} ({times})" for name, times in people.most_common(_PEOPLE))
    more = f" and {len(people) - _PEOPLE} more" if len(people) > _PEOPLE else ""
    span = f"{_time(messages[0].at)} to {_time(messages[-1].at)}"
    ends = messages if len(messages) <= 2 * _ENDS else (*messages[:_ENDS], *messages[-_ENDS:])
    lines = "\n".join(_line(message, _END_CHARS) for message in ends)
    return f"Not shown whole: {len(messages)} messages by {named}{more}, {span}. How they begin and end:\n{lines}"


def line_of(message: Said) -> str:
    """Write a message as the model reads it; further lines are moved in, so that none passes for another person's."""
    return _line(message, MESSAGE_CHARS)


def report(thread: Thread, parts: Split) -> str:
    """Say to a person what was read; "" where all of it was, whole."""
    if not parts.between and not thread.missing and not thread.failure:
        return ""
    said = [f"I read the {parts.whole} newest messages of this thread whole (the first one included)"]
    if parts.between:
        said.append(f"{len(parts.between)} in between I only know summed up")
    if thread.missing:
        said.append(f"{thread.missing} I did not read")
    if thread.failure:
        said.append(f"Slack gave no more ({thread.failure})")
    return "; ".join(said) + ". Quote what matters to me if I miss it."


def _head(thread: Thread) -> str:
    count = len(thread.messages) + thread.missing
    unread = f" {thread.missing} of them could not be read." if thread.missing else ""
    failed = " Not all of it could be read." if thread.failure else ""
    return f"{count} messages, before you were asked.{unread}{failed} People wrote them to each other, not to you."


def _line(message: Said, limit: int) -> str:
    text = message.text if len(message.text) <= limit else f"{message.text[:limit]}…[cut]"
    indented = "\n  ".join(text.splitlines())
    return f"{_name(message)} {_time(message.at)}: {indented}"


def _name(message: Said) -> str:
    return "a program" if message.app else f"<@{message.author}>"


def _time(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%SZ}"


def _bytes(text: str) -> int:
    return len(text.encode("utf-8", "replace")) + 1
