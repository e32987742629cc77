"""WordLlama as a backend: from its wheel or a folder, never from the network, and refused in words if it is away."""

import socket
import sys
from pathlib import Path

import pytest

from opsbot.adapters import wordllama_weights
from opsbot.adapters.embedding_wordllama import WordLlamaEmbedder
from opsbot.adapters.wordllama_weights import FILES, check_weights, load_weights, wheel_folder
from opsbot.errors import ConfigError


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


async def test_what_means_the_same_is_near_without_the_network(no_network: None) -> None:
    embedder = WordLlamaEmbedder()
    vectors = await embedder.embed(["the disk is full", "no space left on the volume", "a birthday party"])
    assert {len(vector) for vector in vectors} == {embedder.dimensions}
    assert [sum(n * n for n in vector) for vector in vectors] == pytest.approx([1.0] * 3, abs=1e-3)
    full, space, party = vectors
    near = sum(a * b for a, b in zip(full, space, strict=True))
    far = sum(a * b for a, b in zip(full, party, strict=True))
    assert near > embedder.floor
    assert near > far


def test_weights_may_lie_in_a_folder_of_one_s_own(tmp_path: Path, no_network: None) -> None:
    wheel = wheel_folder()
    assert wheel is not None
    for name in FILES:
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).symlink_to(wheel / name)
    assert check_weights(tmp_path) == tmp_path
    assert load_weights(tmp_path).embed(["text"]).shape == (1, 256)


@pytest.mark.parametrize("missing", FILES)
def test_missing_weights_are_refused_before_anything_is_loaded(tmp_path: Path, missing: str, no_network: None) -> None:
    for name in FILES:
        (tmp_path / name).parent.mkdir()
        if name != missing:
            (tmp_path / name).write_bytes(b"x")
    with pytest.raises(ConfigError, match=r"nothing is downloaded.*runbooks\.weights"):
        WordLlamaEmbedder(tmp_path)


def test_without_the_package_the_way_to_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wordllama_weights, "wheel_folder", lambda: None)
    with pytest.raises(ConfigError, match=r"opsbot\[router\]"):
        check_weights()


def test_making_one_loads_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "wordllama", raising=False)
    WordLlamaEmbedder()
    assert "wordllama" not in sys.modules


def test_the_floor_can_be_set() -> None:
    assert WordLlamaEmbedder(floor=0.5).floor == 0.5
