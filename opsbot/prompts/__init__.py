"""Texts for the model, kept in files and rendered here."""

import hashlib
from functools import lru_cache
from importlib.resources import files
from string import Template

from opsbot.inventory import Inventory

# Names listed in the prompt; a larger inventory is summarised, and `list_hosts` has the rest.
_INVENTORY_LIMIT = 40


def system_prompt(inventory: Inventory) -> str:
    """Render the system prompt: byte-identical as long as the inventory does not change."""
    return _template().substitute(inventory=inventory.summary(_INVENTORY_LIMIT))


def prompt_digest() -> str:
    """Hex SHA-256 of the prompt's file, without what the inventory adds."""
    return hashlib.sha256(_template().template.encode()).hexdigest()


@lru_cache(maxsize=1)
def _template() -> Template:
    return Template(files("opsbot.prompts").joinpath("system.txt").read_text(encoding="utf-8"))
