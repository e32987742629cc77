"""What the model is shown of the shipped tools: a docstring is a prompt, so a change of it is seen in review."""

import json
from pathlib import Path

from opsbot.discovery import SHIPPED_TOOLS, load_tools
from opsbot.domain import Host
from opsbot.inventory import Inventory
from opsbot.ports import ToolSpec
from opsbot.prompts import system_prompt

SNAPSHOT = Path(__file__).with_name("shipped_tools.json")


def shown() -> list[dict[str, object]]:
    """Every shipped tool, those first that a first request holds."""
    registry = load_tools([SHIPPED_TOOLS])
    return [_json(spec) for spec in (*registry.shown(()), *registry.deferred())]


def _json(spec: ToolSpec) -> dict[str, object]:
    return {"name": spec.name, "description": spec.description, "parameters": dict(spec.schema)}


def test_the_model_sees_what_was_reviewed():
    """To accept a change: `python -m tests.unit.test_shipped_tools`."""
    assert shown() == json.loads(SNAPSHOT.read_text())


def test_no_description_names_a_host_or_service_that_could_be_real():
    said = json.dumps(shown()).lower()
    for name in ("nginx", "redis", "postgres", "web-1", "web1", "db-1", "db1", "example.com", "localhost"):
        assert name not in said


def test_the_prompt_is_the_same_bytes_every_time():
    inventory = Inventory({"alpha": Host("alpha"), "beta": Host("beta")}, {"all-of-them": ("alpha", "beta")})
    assert system_prompt(inventory) == system_prompt(Inventory(dict(inventory.hosts), dict(inventory.groups)))


if __name__ == "__main__":
    SNAPSHOT.write_text(json.dumps(shown(), indent=1, ensure_ascii=False) + "\n")
