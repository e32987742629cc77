"""How many tokens the first request takes, counted with OpenAI's own vocabulary (o200k)."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
import quicktok

from opsbot.adapters.openai_chat import ChatWire
from opsbot.adapters.openai_endpoint import Capabilities, ModelSettings
from opsbot.adapters.openai_responses import ResponsesWire
from opsbot.config import load
from opsbot.discovery import SHIPPED_TOOLS, load_tools
from opsbot.domain import Actor, UserMessage
from opsbot.ports import ModelRequest
from opsbot.prompts import system_prompt

ROOT = Path(__file__).parents[2]
TOKENS_MAX = 1500
ASKED = UserMessage("how is web-1?", Actor("T1", "U0ALICE", "alice"), datetime(2026, 11, 28, tzinfo=UTC))
OPENAI = ModelSettings("gpt-6-luna", api_key="sk-x")
LOCAL = ModelSettings("some-model", "http://127.0.0.1:8080/v1")


def first_request(tmp_path: Path) -> ModelRequest:
    """What the simplest question of a stranger becomes: the shipped configuration's hosts, the shipped tools."""
    shutil.copy(ROOT / "config.yaml", tmp_path)
    inventory = load(tmp_path / "config.yaml", {}, keys=False).inventory()
    tools = load_tools([SHIPPED_TOOLS]).shown(())
    return ModelRequest(system_prompt(inventory), (ASKED,), tools, prefix_key="opsbot-T1-12345678", asker="T1/U0ALICE")


def tokens(body: Mapping[str, object]) -> int:
    """Tokens of what the model reads, as the JSON it is sent in; a service renders tools more tersely."""
    read = [body[part] for part in ("instructions", "input", "messages", "tools") if part in body]
    return len(quicktok.get_encoding("o200k_base").encode(json.dumps(read, separators=(",", ":"), ensure_ascii=False)))


@pytest.mark.parametrize(("wire", "settings"), [(ResponsesWire, OPENAI), (ChatWire, OPENAI), (ChatWire, LOCAL)])
def test_the_first_request_of_the_simplest_question_takes_less_than_1500_tokens(wire, settings, tmp_path):
    body = wire().body(first_request(tmp_path), settings, Capabilities(settings))
    took = tokens(body)
    assert 1000 < took < TOKENS_MAX


def test_a_large_inventory_does_not_make_the_request_grow_without_end(tmp_path):
    request = first_request(tmp_path)
    inventory = load(tmp_path / "config.yaml", {}, keys=False).inventory()
    host = inventory.hosts["web-1"]
    many = {f"machine-{n:04}": replace(host, name=f"machine-{n:04}") for n in range(2000)}
    large = replace(request, system=system_prompt(replace(inventory, hosts=many)))
    body = ChatWire().body(large, LOCAL, Capabilities(LOCAL))
    assert tokens(body) < 2 * TOKENS_MAX, tokens(body)
