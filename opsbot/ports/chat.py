"""The chat service, who people are there, and what takes its events in."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from opsbot.domain import (
    Actor,
    Chart,
    Content,
    IncidentCard,
    Incoming,
    IncomingReportEdit,
    Membership,
    MessageRef,
    Place,
    TextFile,
)
from opsbot.threads import Thread


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
