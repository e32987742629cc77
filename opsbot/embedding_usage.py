"""What vectors took, counted as model calls are: on the bot itself, since nobody's question alone caused them."""

from dataclasses import dataclass
from uuid import uuid4

import structlog

from opsbot.domain import Usage
from opsbot.errors import StoreError
from opsbot.ports import Clock, Prices, UsageLog
from opsbot.spending import ModelCall

# As a person of the configuration is written, so that lists of people can name it.
OPSBOT = "person:opsbot (runbooks)"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EmbeddingUsage:
    """Takes down each request for vectors. `endpoint`: openai, azure or compatible."""

    usage: UsageLog
    prices: Prices
    clock: Clock
    model: str
    endpoint: str

    async def took(self, tokens: int, *, estimated: bool) -> None:
        """Store what one request took; what cannot be stored is logged, and nobody's search waits for it."""
        now, usage = self.clock.now(), Usage(tokens, 0)
        cost = self.prices.cost_nano_usd(self.model, usage, now)
        call = ModelCall(uuid4().hex, now, "", "", OPSBOT, self.model, self.endpoint, usage, estimated, cost)
        log.info(
            "model.used",
            input_tokens=tokens,
            cached_tokens=0,
            output_tokens=0,
            estimated=estimated,
            cost_usd=None if cost is None else cost / 1e9,
        )
        try:
            await self.usage.add([call])
        except StoreError as error:
            log.error("usage.not_written", error=str(error))
