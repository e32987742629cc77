"""What models cost and can read: the operator's own prices, else those of genai-prices. It asks nobody."""

from collections.abc import Mapping
from datetime import datetime

from genai_prices import Usage as PricedUsage
from genai_prices import calc_price
from genai_prices.data_snapshot import get_snapshot

from opsbot.domain import Usage
from opsbot.spending import NANO, Price


def context_tokens(model: str, url: str) -> int | None:
    """Return how much a model behind this address can read, as far as it is known."""
    try:
        _, found = get_snapshot().find_provider_model(model, None, None, url)
    except (LookupError, ValueError):
        return None
    return found.context_window


class KnownPrices:
    """Implements `ports.Prices` for one endpoint, by its address: a server nobody sells has no price."""

    def __init__(self, url: str, own: Mapping[str, Price]) -> None:
        self._url = url
        self._own = own

    def cost_nano_usd(self, model: str, usage: Usage, at: datetime) -> int | None:
        """Return the cost in billionths of a dollar; None: no price is known."""
        if (own := self._own.get(model)) is not None:
            return own.cost_nano_usd(usage)
        priced = PricedUsage(
            input_tokens=usage.input_tokens,
            cache_read_tokens=min(usage.cached_tokens, usage.input_tokens),
            output_tokens=usage.output_tokens,
        )
        try:
            found = calc_price(priced, model, provider_api_url=self._url, genai_request_timestamp=at)
        except (LookupError, ValueError):
            return None
        return round(found.total_price * NANO)
