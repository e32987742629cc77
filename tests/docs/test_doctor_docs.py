"""docs/doctor.md has every check of `opsbot doctor`, in its area, and the figures of the code."""

import argparse
import ast
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest

from opsbot import cli_doctor, diagnosis
from opsbot.adapters import (
    doctor_edges,
    doctor_embeddings,
    doctor_hosts,
    doctor_model,
    doctor_reach,
    doctor_slack,
    doctor_store,
)
from opsbot.cli_parser import build_parser
from opsbot.diagnosis import CHECKS, EVERYWHERE, Area, Check, Status

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs/doctor.md").read_text(encoding="utf-8")
MADE_BY = {
    Area.CONFIGURATION: (cli_doctor,),
    Area.SLACK: (doctor_slack,),
    Area.MODEL: (doctor_model, doctor_embeddings),
    Area.STORE: (doctor_store,),
    Area.HOSTS: (doctor_hosts, doctor_reach),
}


def sections() -> dict[str, str]:
    """The text of each `## ` section, by its heading."""
    parts = re.split(r"^## (.+)$", TEXT, flags=re.MULTILINE)
    return {heading.lower(): text for heading, text in zip(parts[1::2], parts[2::2], strict=True)}


def documented(section: str) -> list[str]:
    """The checks of a section, without the placeholder of those that are made for each item of a list."""
    headings = re.findall(r"^### `([^`]+)`$", sections()[section], re.MULTILINE)
    return [re.sub(r" [A-Z]+$", "", heading) for heading in headings]


def source(module: ModuleType) -> str:
    return Path(str(module.__file__)).read_text(encoding="utf-8")


def used_in(*modules: ModuleType) -> set[Check]:
    """Return the checks these modules name in their code."""
    return {
        Check[node.attr]
        for module in modules
        for node in ast.walk(ast.parse(source(module)))
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Check"
    }


@pytest.mark.parametrize("area", list(Area))
def test_every_check_has_a_heading_in_its_area_in_this_order(area: Area) -> None:
    assert documented(area) == [str(check) for check in CHECKS[area]]


def test_what_can_be_found_anywhere_has_a_heading() -> None:
    assert documented("everywhere") == [str(check) for check in EVERYWHERE]


@pytest.mark.parametrize("area", list(Area))
def test_the_list_of_checks_is_what_the_code_makes(area: Area) -> None:
    assert used_in(*MADE_BY[area]) - set(EVERYWHERE) == set(CHECKS[area])


def test_edges_make_only_what_is_found_anywhere() -> None:
    assert used_in(doctor_edges) <= set(EVERYWHERE)


def test_every_check_belongs_somewhere() -> None:
    assert {*EVERYWHERE, *(check for checks in CHECKS.values() for check in checks)} == set(Check)


@pytest.mark.parametrize("area", list(Area))
def test_every_check_says_more_than_its_name(area: Area) -> None:
    texts = re.split(r"^### .+$", sections()[area], flags=re.MULTILINE)[1:]
    assert [text for text in texts if len(text.split()) < 5] == []


def test_statuses_and_exit_codes_are_those_of_the_code() -> None:
    text = sections()["what it prints"]
    assert re.findall(r"^\| `([a-z]+)` \|", text, re.MULTILINE) == [str(status) for status in Status]
    assert re.findall(r"^\| ([0-9]+) \|", text, re.MULTILINE) == ["0", "1", "2", str(cli_doctor._INTERRUPTED)]


def test_the_fields_of_the_json_are_listed() -> None:
    finding = diagnosis.Subject(Area.HOSTS, "a").ok(Check.SUDO, "")
    document = diagnosis.as_json([finding], complete=True)
    (listed,) = document["findings"]  # type: ignore[misc]
    for name in (*document, *listed):
        assert f"`{name}`" in sections()["what it prints"]


def test_figures_are_those_of_the_code() -> None:
    hosts, slack, store = (sections()[area] for area in ("hosts", "slack", "store"))
    assert f"A warning from {doctor_hosts.SKEW_WARN_S:g} s" in hosts
    assert f"from {doctor_hosts.SKEW_FAIL_S:g} s" in hosts
    assert f"A warning from {doctor_slack._SKEW_WARN_S:g} s, a failure from {doctor_slack._SKEW_FAIL_S:g} s" in slack
    assert f"a warning from {doctor_store._SKEW_WARN_S:g} s" in store
    assert f"newest {doctor_store.NEWEST:,} records" in store
    assert (doctor_store._DISK_WARN_BYTES, doctor_store._DISK_FAIL_BYTES) == (2**30, 100 * 2**20)
    assert doctor_hosts._RULES_ONE_BY_ONE == 3
    assert f"up to {doctor_edges.AT_ONCE} at once" in TEXT


def test_commands_it_tells_people_to_run_exist() -> None:
    """In the page, and in the remedies the code prints."""
    parser = build_parser()
    texts = [TEXT, *(source(module) for modules in MADE_BY.values() for module in modules)]
    told = {
        line
        for text in texts
        for line in re.findall(r"[`\n](opsbot (?:doctor|hosts|check|sudoers|audit)[^`\n#]*)", text)
    }
    assert len(told) > 5
    for line in told:
        words = shlex.split(re.sub(r"\{[^}]*\}", "db-1", line))[1:]
        assert isinstance(parser.parse_args(words), argparse.Namespace), line
