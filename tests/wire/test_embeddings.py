"""Vectors from an endpoint of the OpenAI kind, over real sockets: batches, retries, rubbish, when to leave it be."""

import json
from dataclasses import replace

import pytest

from opsbot.adapters.embedders import chosen_embedder, endpoint_of
from opsbot.adapters.embedding_openai import BATCH, EmbeddingSettings, OpenAIEmbedder, unit
from opsbot.adapters.openai_breaker import MAX_FAILURES
from opsbot.config import Config, parse
from opsbot.errors import ConfigError, ModelMisbehaved, ModelUnavailable
from tests.fake_clock import FakeClock
from tests.model_servers import Hang, ModelServer, Raw, Status, Vectors

KEY = "sk-test-0123456789abcdef"


class Asked:
    """An embedder, its server, and the waits it made."""

    def __init__(self, server: ModelServer, **settings) -> None:
        self.server = server
        self.clock = FakeClock()
        self.waits: list[float] = []
        chosen = EmbeddingSettings("compatible", "e5", server.base_url, KEY, timeout_s=5.0)
        self.settings = replace(chosen, **settings)
        self.embedder = OpenAIEmbedder(self.settings, sleep=self.sleep, monotonic=self.clock.monotonic)

    async def sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.clock.advance(seconds)


@pytest.fixture
async def server():
    async with ModelServer() as running:
        yield running


async def test_every_text_gets_its_vector_of_unit_length_in_its_place(server: ModelServer) -> None:
    server.add(Vectors(order=-1))
    asked = Asked(server)
    vectors = await asked.embedder.embed(["disk full", "disk full disk full", "no route"])
    assert [sum(n * n for n in vector) for vector in vectors] == pytest.approx([1.0] * 3)
    assert vectors[0] == pytest.approx(vectors[1])
    assert vectors[0] != pytest.approx(vectors[2])
    assert asked.embedder.dimensions == 16


async def test_what_each_request_took_is_told_and_estimated_where_the_server_does_not_say(server: ModelServer) -> None:
    told: list[tuple[int, bool]] = []

    async def took(tokens: int, *, estimated: bool) -> None:
        told.append((tokens, estimated))

    server.add(Status(503), Vectors(tokens=9), Vectors(tokens=0))
    asked = Asked(server)
    counted = OpenAIEmbedder(asked.settings, took=took, sleep=asked.sleep, monotonic=asked.clock.monotonic)
    await counted.embed(["disk full"])
    await counted.embed(["disk full"])
    assert told == [(9, False), (7, True)]
    await counted.close()


async def test_what_is_sent_is_what_any_server_takes(server: ModelServer) -> None:
    server.add(Vectors(), Vectors())
    await Asked(server).embedder.embed(["a"])
    await Asked(server, dimensions=256).embedder.embed(["a"])
    plain, sized = server.bodies
    assert plain == {"input": ["a"], "model": "e5", "encoding_format": "float"}
    assert sized["dimensions"] == 256
    assert server.requests[0].path == "/v1/embeddings"
    assert server.requests[0].headers["Authorization"] == f"Bearer {KEY}"


async def test_many_texts_go_in_batches(server: ModelServer) -> None:
    server.add(*[Vectors()] * 3)
    vectors = await Asked(server).embedder.embed([f"text {n}" for n in range(2 * BATCH + 1)])
    assert len(vectors) == 2 * BATCH + 1
    assert [len(body["input"]) for body in server.bodies] == [BATCH, BATCH, 1]


async def test_an_overloaded_service_is_asked_again_when_it_says(server: ModelServer) -> None:
    server.add(Status(429, headers={"Retry-After": "7"}), Status(503), Vectors())
    asked = Asked(server)
    assert len(await asked.embedder.embed(["a"])) == 1
    assert asked.waits[0] == 7
    assert len(server.requests) == 3


async def test_three_tries_are_made_and_no_more(server: ModelServer) -> None:
    server.add(*[Status(500)] * 5)
    with pytest.raises(ModelUnavailable, match=r"failing \(500\)"):
        await Asked(server).embedder.embed(["a"])
    assert len(server.requests) == 3


@pytest.mark.parametrize("status", [400, 401, 403, 404])
async def test_a_refusal_is_not_repeated(server: ModelServer, status: int) -> None:
    server.add(Status(status))
    with pytest.raises(ModelUnavailable):
        await Asked(server).embedder.embed(["a"])
    assert len(server.requests) == 1


async def test_a_service_that_stays_broken_is_left_alone_for_a_while(server: ModelServer) -> None:
    server.add(*[Status(500)] * MAX_FAILURES, Vectors())
    asked = Asked(server)
    for _ in range(3):
        with pytest.raises(ModelUnavailable):
            await asked.embedder.embed(["a"])
    assert len(server.requests) == MAX_FAILURES
    asked.clock.advance(3600)
    assert await asked.embedder.embed(["a"])


def answer(*items: object) -> Raw:
    return Raw(
        json.dumps({"object": "list", "model": "m", "data": list(items)}).encode(), content_type="application/json"
    )


def item(embedding: object, index: object = 0) -> dict[str, object]:
    return {"object": "embedding", "index": index, "embedding": embedding}


@pytest.mark.parametrize(
    "rubbish",
    [
        answer(),
        answer(item([1.0, 0.0]), item([1.0, 0.0], 1)),
        answer(item([1.0], 5)),
        answer(item([0.0, 0.0])),
        answer(item(["a"])),
        answer(item("AACAPw==")),
        answer(item([])),
        answer(item([1.0] * 10_000)),
        answer(item(None)),
        answer({"nothing": 1}),
        answer("text"),
        Raw(b'{"data": [{"index": 0, "embedding": [NaN]}]}', content_type="application/json"),
        Raw(b"<html>log in</html>", content_type="text/html"),
        Raw(b"{", content_type="application/json"),
        Raw(b'{"choices": []}', content_type="application/json"),
    ],
)
async def test_rubbish_is_never_taken_for_a_vector(server: ModelServer, rubbish: Raw) -> None:
    server.add(*[rubbish] * 3)
    with pytest.raises((ModelMisbehaved, ModelUnavailable)):
        await Asked(server).embedder.embed(["a"])


async def test_vectors_of_two_sizes_in_one_answer_are_refused(server: ModelServer) -> None:
    server.add(*[answer(item([1.0, 0.0]), item([1.0], 1))] * 3)
    with pytest.raises(ModelMisbehaved):
        await Asked(server).embedder.embed(["a", "b"])


async def test_a_redirect_is_not_followed(server: ModelServer) -> None:
    server.add(Status(302, headers={"Location": f"{server.base_url}/elsewhere"}))
    with pytest.raises(ModelUnavailable):
        await Asked(server).embedder.embed(["a"])
    assert len(server.requests) == 1


async def test_silence_ends_with_the_time_out(server: ModelServer) -> None:
    server.add(*[Hang()] * 3)
    with pytest.raises(ModelUnavailable, match="in time"):
        await Asked(server, timeout_s=0.1).embedder.embed(["a"])


async def test_the_key_is_in_no_error_and_no_repr(server: ModelServer) -> None:
    body = json.dumps({"error": {"message": f"Incorrect API key provided: {KEY}", "code": "invalid_api_key"}})
    server.add(Status(401, body))
    asked = Asked(server)
    with pytest.raises(ModelUnavailable) as caught:
        await asked.embedder.embed(["a"])
    assert KEY not in str(caught.value)
    assert KEY not in repr(EmbeddingSettings("openai", "m", api_key=KEY))


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        (EmbeddingSettings("openai", "text-embedding-3-small"), "text-embedding-3-small"),
        (EmbeddingSettings("openai", "m", dimensions=256), "m, 256 dimensions"),
        (EmbeddingSettings("compatible", "e5", "http://127.0.0.1:1/v1"), "e5 at 127.0.0.1"),
    ],
)
def test_the_name_differs_where_vectors_do(settings: EmbeddingSettings, name: str) -> None:
    assert OpenAIEmbedder(settings).name == name


@pytest.mark.parametrize("numbers", [None, [], "x", [float("nan")], [float("inf")], [0.0], [1e308, 1e308], [None]])
def test_what_has_no_direction_is_no_vector(numbers: object) -> None:
    assert unit(numbers) is None


# --- which backend, and which key goes where -------------------------------------------------------------------------


def configured(runbooks: str, model: str = "{}") -> Config:
    return parse(f"runbooks: {runbooks}\nmodel: {model}\n", environ={})


@pytest.mark.parametrize(
    ("runbooks", "model", "said"),
    [
        ("{backend: openai}", "{}", "runbooks.api_key"),
        ("{backend: openai}", "{base_url: 'http://127.0.0.1:1/v1', api_key: {env: K}}", "runbooks.api_key"),
        ("{backend: compatible}", "{}", "runbooks.base_url"),
        ("{backend: magic}", "{}", "runbooks.backend"),
        ("{dimensions: 1}", "{}", "runbooks.dimensions"),
    ],
)
def test_a_backend_that_cannot_work_is_a_fault_of_the_configuration(runbooks: str, model: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        configured(runbooks, model)


@pytest.mark.parametrize(
    ("runbooks", "model", "url", "key"),
    [
        ("{backend: openai, api_key: {env: OWN}}", "{}", "", "own"),
        ("{backend: openai}", "{api_key: {env: MODEL}}", "", "model"),
        ("{backend: compatible}", "{base_url: 'http://m/v1', api_key: {env: MODEL}}", "http://m/v1", "model"),
        (
            "{backend: compatible, base_url: 'http://e/v1'}",
            "{base_url: 'http://m/v1', api_key: {env: MODEL}}",
            "http://e/v1",
            "",
        ),
        ("{backend: compatible, base_url: 'http://e/v1'}", "{api_key: {env: MODEL}}", "http://e/v1", ""),
        ("{backend: compatible, base_url: 'http://e/v1', api_key: {env: OWN}}", "{}", "http://e/v1", "own"),
    ],
)
def test_a_key_goes_to_its_own_server_only(runbooks: str, model: str, url: str, key: str) -> None:
    config = configured(runbooks, model)
    found = endpoint_of(config, config.secrets({"OWN": "own", "MODEL": "model"}))
    assert (found[0], found[1].reveal() if found[1] else "") == (url, key)


def test_no_backend_means_words_alone() -> None:
    config = configured("{backend: none}")
    assert chosen_embedder(config, config.secrets({})) is None


def test_the_keys_of_backends_are_secrets() -> None:
    config = configured("{backend: openai, api_key: {env: OWN}}")
    assert config.secrets({"OWN": "own-key"}).values() == ("own-key",)
    assert "OWN" in config.secret_variables()
