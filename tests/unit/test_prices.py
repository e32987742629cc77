"""Prices of known models and the operator's own; none for what nobody sells; without a network."""

import socket
from datetime import UTC, datetime

import pytest

from opsbot.adapters.openai_endpoint import ModelSettings
from opsbot.adapters.prices import KnownPrices
from opsbot.domain import Usage
from opsbot.spending import NANO, Price

NOW = datetime(2026, 11, 20, tzinfo=UTC)
USED = Usage(1000, 100, 400, 20)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a price was looked for on the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def cost(base_url: str, model: str, usage: Usage = USED, **own: Price) -> int | None:
    return KnownPrices(ModelSettings(model, base_url).url, own).cost_nano_usd(model, usage, NOW)


@pytest.mark.parametrize("base_url", ["", "https://team.openai.azure.com"])
def test_a_known_model_has_its_price_with_cached_tokens_cheaper(base_url: str) -> None:
    # $0.10, $0.01 and $0.50 per million tokens read, read from the cache and written.
    assert cost(base_url, "gpt-6-luna") == 60_000 + 4_000 + 50_000
    assert cost(base_url, "gpt-6-luna", Usage(1000, 100)) == 150_000


@pytest.mark.parametrize(
    ("base_url", "model"),
    [
        ("", "a-model-nobody-knows"),
        ("http://127.0.0.1:8080/v1", "gpt-6-luna"),
        ("http://localhost:11434/v1", "llama3.2"),
        ("https://models.example.net/v1", "gpt-6-luna"),
    ],
)
def test_an_unknown_model_or_a_server_of_ones_own_has_an_unknown_price(base_url: str, model: str) -> None:
    assert cost(base_url, model) is None


def test_the_operators_price_goes_before_any_other() -> None:
    own = Price(NANO, NANO, NANO)
    prices = KnownPrices("http://127.0.0.1:1/v1", {"local": own})
    assert prices.cost_nano_usd("local", USED, NOW) == 1_100_000
    assert prices.cost_nano_usd("other", USED, NOW) is None
    assert (
        KnownPrices("https://api.openai.com/v1", {"gpt-6-luna": own}).cost_nano_usd("gpt-6-luna", USED, NOW)
        == 1_100_000
    )


def test_figures_that_contradict_each_other_still_have_a_price() -> None:
    assert cost("", "gpt-6-luna", Usage(10, 0, 99)) == 100
