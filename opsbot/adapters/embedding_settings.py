"""Where and how a service is asked for vectors; light to import."""

from dataclasses import dataclass, field
from typing import Literal


@dataclass(frozen=True, slots=True)
class EmbeddingSettings:
    """Which model makes vectors, and where. `dimensions` None: as many as it makes by itself."""

    backend: Literal["openai", "compatible"]
    model: str
    base_url: str = ""
    api_key: str = field(default="", repr=False)
    dimensions: int | None = None
    floor: float | None = None
    timeout_s: float = 30.0
