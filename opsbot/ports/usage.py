"""What the model took, and what that costs."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from opsbot.domain import Usage
from opsbot.spending import ModelCall, Split, Sum, Totals


class UsageLog(Protocol):
    """What the model took, call by call."""

    async def add(self, calls: Sequence[ModelCall]) -> None:
        """Store them; those that are there already stay as they are."""
        ...

    async def spent(self, *, turn_id: str, conversation_id: str, person: str, since: datetime) -> Totals:
        """Return what was used in this turn and conversation, and by this person and everybody since that time."""
        ...

    async def sums(self, by: Split, *, since: datetime, slot_s: int = 0, person: str = "") -> tuple[Sum, ...]:
        """Return what was used since that time by `by`, and for each slot of so many seconds; oldest first.

        `person`: only theirs. Without slots `Sum.at` is the newest call.
        """
        ...

    async def prune(self, before: datetime) -> int:
        """Forget calls made before that time; return how many."""
        ...


class Prices(Protocol):
    """What models cost."""

    def cost_nano_usd(self, model: str, usage: Usage, at: datetime) -> int | None:
        """Return the cost in billionths of a dollar; None: no price is known."""
        ...
