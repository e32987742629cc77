"""What stands for a value in tasks: facts in patterns, and in scripts what a tool's newest result holds."""

import re
from collections.abc import Mapping

from opsbot.domain import Json

# A fact: a value read on a host, beside the bot.
FACT = re.compile(r"\{\{([a-z][a-z0-9_]*)\}\}")
# The first group of a pattern in the newest result of a tool.
LOOKED_UP = re.compile(r"\{\{([a-z_]+)~(.+?)\}\}(?!\})", re.DOTALL)


def with_facts(text: str, facts: Mapping[str, str], *, escape: bool = False) -> str:
    """Replace facts by their values, which are taken to the letter if `escape`. Raises KeyError for an unknown one."""
    return FACT.sub(lambda found: re.escape(facts[found[1]]) if escape else facts[found[1]], text)


def with_results(text: str, results: Mapping[str, str]) -> str:
    """Replace what a script takes from results. What is not there becomes words that no task asks for."""

    def value(found: re.Match[str]) -> str:
        match = re.search(found[2], results.get(found[1], ""), re.DOTALL)
        return (match[1] if match.re.groups else match[0]) if match else f"(not found in {found[1]})"

    return LOOKED_UP.sub(value, text)


def filled(value: Json, results: Mapping[str, str], facts: Mapping[str, str]) -> Json:
    """Replace everything in a JSON value; a text that is one placeholder for a number becomes that number."""
    if isinstance(value, list):
        return [filled(each, results, facts) for each in value]
    if isinstance(value, dict):
        return {key: filled(each, results, facts) for key, each in value.items()}
    if not isinstance(value, str):
        return value
    said = with_results(with_known_facts(value, facts), results)
    return int(said) if said != value and said.isdecimal() else said


def with_known_facts(text: str, facts: Mapping[str, str]) -> str:
    """Replace the facts that are known, and leave everything else as it stands."""
    return FACT.sub(lambda found: facts.get(found[1], found[0]), text)
