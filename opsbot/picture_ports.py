"""What the core asks of the world about pictures that people show; each adapter implements one of these."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from opsbot.domain import Attachment, Place
from opsbot.pictures import Developed


class Attachments(Protocol):
    """The files on messages of the chat service."""

    async def of_message(self, place: Place, message_id: str) -> tuple[Attachment, ...]:
        """Ask for the files on a message. Raises ChatError."""
        ...

    async def of_thread(self, place: Place, *, before: str) -> tuple[Attachment, ...]:
        """Ask for the files on messages of people earlier in a thread, the oldest first. Raises ChatError."""
        ...

    async def download(self, attachment: Attachment) -> bytes:
        """Fetch a file's bytes, at most `pictures.MAX_BYTES`.

        Raises:
            ChatError: it cannot be had; the text says why, for the person who sent it.
        """
        ...


class Darkroom(Protocol):
    """Makes pictures out of bytes that anybody may have sent."""

    async def develop(self, raw: bytes) -> Developed:
        """Decode, scale down and encode anew.

        Raises:
            BadArguments: it is no picture that can be taken; the text says why, for the person who sent it.
        """
        ...


class Pictures(Protocol):
    """Pictures kept for conversations, by key."""

    async def put(self, key: str, picture: Developed, at: datetime) -> None:
        """Store it, unless there is one of that key."""
        ...

    async def get(self, keys: Sequence[str]) -> Mapping[str, Developed]:
        """Return those that are kept."""
        ...

    async def prune(self, before: datetime, *, max_bytes: int) -> int:
        """Forget what was stored before that time, and the oldest until the rest is small enough; return how many."""
        ...
