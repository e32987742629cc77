"""Which backend makes the vectors of runbooks, as the configuration says."""

from pathlib import Path

from opsbot.adapters.embedding_settings import EmbeddingSettings
from opsbot.adapters.embedding_wordllama import WordLlamaEmbedder
from opsbot.adapters.wordllama_weights import wheel_folder
from opsbot.config import Config, Secrets
from opsbot.config_secrets import Secret
from opsbot.passage_ports import Embedder, Took


def chosen_embedder(config: Config, secrets: Secrets, *, took: Took | None = None) -> Embedder | None:
    """Return the embedder, None: words alone. Nothing is asked or loaded yet. `took`: told what a service counted.

    Raises:
        ConfigError: WordLlama is named, and is not there.
    """
    settings = config.settings.runbooks
    weights = (config.folder / Path(settings.weights).expanduser()) if settings.weights else None
    match settings.backend:
        case "none":
            return None
        case "auto":
            return WordLlamaEmbedder(weights, settings.min_score) if wheel_folder() is not None else None
        case "wordllama":
            return WordLlamaEmbedder(weights, settings.min_score)
    # Deferred: importing openai takes more than a second of CPU, which a bot without a model must not pay.
    from opsbot.adapters.embedding_openai import OpenAIEmbedder  # noqa: PLC0415

    return OpenAIEmbedder(embedding_settings(config, secrets), took=took)


def embeds_by_service(config: Config) -> bool:
    """Whether a service makes the vectors."""
    return config.settings.runbooks.backend in ("openai", "compatible")


def embedding_settings(config: Config, secrets: Secrets) -> EmbeddingSettings:
    """Return where and how that service is asked."""
    settings = config.settings.runbooks
    base_url, key = endpoint_of(config, secrets)
    return EmbeddingSettings(
        backend="openai" if settings.backend == "openai" else "compatible",
        model=settings.model,
        base_url=base_url,
        api_key=key.reveal() if key else "",
        dimensions=settings.dimensions,
        floor=settings.min_score,
    )


def endpoint_of(config: Config, secrets: Secrets) -> tuple[str, Secret | None]:
    """Return where vectors are made, and the key for there: a key never goes to another server than its own."""
    runbooks, model = config.settings.runbooks, config.settings.model
    own = runbooks.base_url or ""
    base_url = own if runbooks.backend == "openai" else own or model.base_url or ""
    of_the_model = secrets.model_api_key if base_url == (model.base_url or "") else None
    return base_url, secrets.embedding_api_key or of_the_model
