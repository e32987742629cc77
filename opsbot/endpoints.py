"""What was found out about a model's endpoint, as it is kept: how long it holds, and where. Pure but for the port."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

# A server may be replaced behind its address; after this time its refusals are asked for anew.
HOLDS_FOR = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Learned:
    """What one endpoint was found not to take. `endpoint` names address, model and API; `facts` are the adapter's."""

    endpoint: str
    at: datetime
    facts: str

    def holds(self, endpoint: str, now: datetime) -> bool:
        """Whether it is about that endpoint, and not too old."""
        return self.endpoint == endpoint and timedelta(0) <= now - self.at < HOLDS_FOR


class EndpointMemory(Protocol):
    """Keeps what was learned of the endpoint in use: one record, which a changed configuration does not fit."""

    async def recall(self) -> Learned | None:
        """Return what is kept."""
        ...

    async def keep(self, learned: Learned) -> None:
        """Keep it, in place of what was kept before."""
        ...
