"""`opsbot doctor` on the service that makes vectors, and errors that name it."""

import asyncio

import pytest

from opsbot.adapters.doctor_embeddings import EmbeddingDoctor
from opsbot.adapters.embedding_openai import EmbeddingSettings, OpenAIEmbedder
from opsbot.diagnosis import Check, Finding, Status
from opsbot.errors import ModelError
from tests.model_servers import Hang, ModelServer, Step, Vectors
from tests.model_servers import Status as Answer


async def found(*steps: Step, timeout_s: float = 60) -> Finding:
    async with ModelServer(*steps, repeat=True) as server:
        doctor = EmbeddingDoctor(EmbeddingSettings("compatible", "tiny", server.base_url))
        (finding,) = await asyncio.to_thread(lambda: list(doctor.check(timeout_s)))
    assert finding.check == Check.EMBEDDINGS
    return finding


async def test_vectors_that_differ_are_well() -> None:
    finding = await found(Vectors(16))
    assert (finding.status, finding.said) == (Status.OK, "vectors of 16 numbers")


async def test_a_refused_key_is_told_with_the_settings_to_check() -> None:
    finding = await found(Answer(401))
    assert finding.status == Status.FAIL
    assert finding.said.startswith("The embedding service at 127.0.0.1 refused the API key")
    assert "runbooks.api_key" in finding.remedy


async def test_no_answer_is_told_in_time() -> None:
    finding = await found(Hang(), timeout_s=1.0)
    assert (finding.status, finding.said) == (Status.FAIL, "no answer within 1 s")


async def test_vectors_that_are_always_the_same_are_no_use() -> None:
    items = [{"object": "embedding", "index": n, "embedding": [1.0, 0.0]} for n in range(2)]
    import json

    finding = await found(Answer(200, json.dumps({"object": "list", "data": items, "model": "tiny"})))
    assert finding.status == Status.FAIL
    assert "the same vector" in finding.said


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (Answer(403), "The embedding service at 127.0.0.1 denies us access"),
        (Answer(404), "The operator must check `runbooks.model` and `runbooks.base_url`."),
        (Answer(302, headers={"Location": "http://127.0.0.1:1/"}), "The embedding service at 127.0.0.1 redirects"),
        (Answer(501), "The embedding service at 127.0.0.1 is failing (501)."),
        (Answer(400), "The embedding service at 127.0.0.1 refused the request (400, server_error)"),
        (Answer(400, '{"error":{"message":"exceeds the maximum context length"}}'), "A passage is longer than tiny"),
    ],
)
async def test_errors_name_the_embedding_service_and_its_settings(answer: Answer, said: str) -> None:
    async def at_once(_: float) -> None:
        return None

    async with ModelServer(answer, repeat=True) as server:
        embedder = OpenAIEmbedder(EmbeddingSettings("compatible", "tiny", server.base_url), sleep=at_once)
        with pytest.raises(ModelError) as raised:
            await embedder.embed(["x"])
        await embedder.close()
    assert said in str(raised.value)
    assert "model's service" not in str(raised.value)
    assert "reset" not in str(raised.value)
