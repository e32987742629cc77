"""The model and the embedder that the configuration chooses."""

from dataclasses import dataclass

from opsbot.adapters.clock import SystemClock
from opsbot.adapters.embedders import chosen_embedder, embeds_by_service, endpoint_of
from opsbot.adapters.keyless import KeylessModel
from opsbot.assembly import NoPrices
from opsbot.condensing import WINDOW_TOKENS
from opsbot.embedding_usage import EmbeddingUsage
from opsbot.ground import Ground
from opsbot.passage_ports import Embedder
from opsbot.ports import ChatModel, Prices


@dataclass(frozen=True, slots=True)
class Mind:
    """The model, what kind of endpoint it is behind, what it costs and how much it can read."""

    model: ChatModel
    endpoint: str
    prices: Prices
    context_tokens: int = WINDOW_TOKENS


def mind_of(ground: Ground) -> Mind:
    """Return the model, as configured."""
    settings = ground.config.model
    if settings.keyless:
        catalogue = ground.catalogue
        model = KeylessModel(lambda: tuple(catalogue.inventory.hosts.values()), lambda: catalogue.inventory.groups)
        return Mind(model, "none", NoPrices())
    # Deferred: importing openai takes more than a second of CPU, which a bot without a model must not pay.
    from opsbot.adapters.openai_model import ModelSettings, OpenAIModel  # noqa: PLC0415
    from opsbot.adapters.prices import KnownPrices, context_tokens  # noqa: PLC0415

    key = ground.secrets.model_api_key
    found = ModelSettings(
        model=settings.name,
        base_url=settings.base_url or "",
        api_key=key.reveal() if key else "",
        api=settings.api,
        max_output_tokens=settings.max_output_tokens,
        temperature=settings.temperature,
        reasoning_effort=settings.reasoning_effort,
        salvage=settings.salvage,
        vision=settings.vision,
    )
    reads = settings.context_tokens or context_tokens(settings.name, found.url) or WINDOW_TOKENS
    return Mind(
        OpenAIModel(found, memory=ground.store.endpoints),
        found.kind,
        KnownPrices(found.url, ground.config.prices()),
        reads,
    )


def embedder_of(ground: Ground) -> Embedder | None:
    """Return what finds passages by their meaning; None: nothing does. Raises ConfigError, as `chosen_embedder`."""
    if not embeds_by_service(ground.config):
        return chosen_embedder(ground.config, ground.secrets)
    # Deferred, as in `mind_of`.
    from opsbot.adapters.openai_endpoint import ModelSettings  # noqa: PLC0415
    from opsbot.adapters.prices import KnownPrices  # noqa: PLC0415

    base_url, _ = endpoint_of(ground.config, ground.secrets)
    asked = ModelSettings(ground.config.settings.runbooks.model, base_url)
    prices = KnownPrices(asked.url, ground.config.prices())
    usage = EmbeddingUsage(ground.store.usage, prices, SystemClock(), asked.model, asked.kind)
    return chosen_embedder(ground.config, ground.secrets, took=usage.took)
