"""T28: configuration that would execute, explode or deceive is refused, in every file that is read as one."""

import ast
import resource
import time
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsbot.config import load, parse
from opsbot.errors import ConfigError
from tests.safety.conftest import Figures

ROOT = Path(__file__).resolve().parents[2]

OBJECTS = [
    "!!python/object/apply:os.system ['touch {mark}']",
    "!!python/object/new:os.system ['touch {mark}']",
    "!!python/object/apply:subprocess.check_output [[touch, {mark}]]",
    '!!python/object/apply:builtins.eval [\'open("{mark}", "w")\']',
    "!!python/name:os.system",
    "!!python/module:os",
    "!!python/tuple [1, 2]",
    "!!python/bytes aGk=",
    "!!binary aGk=",
    "!!set {{a, b}}",
    "!!timestamp 2026-01-01",
    "!!omap [a: 1]",
    "!<tag:yaml.org,2002:python/object/apply:os.system> ['touch {mark}']",
    "!include /etc/passwd",
    "!ENV ${{HOME}}",
    "!vault secret",
]
PLACES = ["{value}", "log: {{level: {value}}}", "hosts: {{a: {{address: {value}}}}}", "? {value}\n: 1", "- {value}"]


def bombs() -> dict[str, str]:
    laughs = "a: &a [x,x,x,x,x,x,x,x,x]\n"
    for one, next_ in zip("abcdefgh", "bcdefghi", strict=True):
        laughs += f"{next_}: &{next_} [{','.join([f'*{one}'] * 9)}]\n"
    return {
        "a billion laughs": laughs,
        "an alias of itself": "a: &a [*a]",
        "merge keys": "a: &a {x: 1}\nb: {<<: *a}",
        "depth of lists": "a: " + "[" * 100_000,
        "depth of mappings": "{a: " * 20_000,
        "depth by indentation": "\n".join(" " * n + "a:" for n in range(3_000)),
        "a key of a megabyte": "? " + "x" * 2**20 + "\n: 1",
        "a million keys": "\n".join(f"k{n}: 1" for n in range(200_000)),
        "two documents": "log: {level: info}\n---\nlog: {level: debug}",
        "a number of a million digits": "store: {url: " + "9" * 1_000_000 + "}",
        "the same key twice": "log: {level: info}\nlog: {level: debug}",
        "NUL": "log: {level: 'in\0fo'}",
        "an escape": "log: {level: 'in\x1b[31mfo'}",
    }


def refused(text: str) -> str:
    with pytest.raises(ConfigError) as error:
        parse(text, environ={})
    return str(error.value)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("tag", OBJECTS)
def test_tags_make_no_objects_anywhere(tag: str, place: str, tmp_path: Path, figures: Figures) -> None:
    mark = tmp_path / "executed"
    refused(place.format(value=tag.format(mark=mark)))
    assert not mark.exists()
    figures.add(objects_refused=1)


@pytest.mark.parametrize("name", bombs())
def test_bombs_are_refused_in_little_time_and_memory(name: str, figures: Figures) -> None:
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began_s = time.thread_time()
    said = refused(bombs()[name])
    assert time.thread_time() - began_s < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb < 200_000
    assert len(said) < 20_000
    figures.add(bombs_refused=1)


@pytest.mark.parametrize("value", ["{{ 7*7 }}", "${HOME}", "$(id)", "%(here)s", "{% raise %}", "`id`", "#{7*7}"])
def test_nothing_in_a_value_is_evaluated(value: str) -> None:
    """What looks like a template stays the words it is: taken as they are, or refused as they are."""
    said = outcome(f"groups: {{web: [{value!r}]}}", environ={"HOME": "/root"})
    assert "49" not in said
    assert "/root" not in said


def outcome(text: str, environ: Mapping[str, str]) -> str:
    """What became of a configuration: its settings, or the refusal."""
    try:
        return repr(parse(text, environ=environ))
    except ConfigError as error:
        return f"config.yaml {error}"


@pytest.mark.parametrize("special", ["/dev/zero", "/dev/urandom"])
def test_a_file_without_end_is_not_read_to_its_end(special: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        load(Path(special), environ={})


def test_a_file_without_end_is_no_inventory_or_list_of_keys(tmp_path: Path) -> None:
    for setting in ("inventory: [/dev/zero]", "host_keys: /dev/zero"):
        path = tmp_path / "config.yaml"
        path.write_text(f"{setting}\nhosts: {{}}\n")
        with pytest.raises(ConfigError):
            load(path, environ={})


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=300))
def test_any_text_is_a_configuration_or_a_clear_refusal(text: str) -> None:
    assert "config.yaml" in outcome(text, environ={})


# Tool files are code, and run as the very bytes that were checked.
LOADS_TOOLS = {("opsbot/discovery.py", "compile"), ("opsbot/discovery.py", "exec")}


def test_no_code_of_opsbot_unpickles_evaluates_or_loads_objects() -> None:
    found = []
    banned = {"eval", "exec", "compile", "__import__", "yaml.load", "yaml.unsafe_load", "yaml.full_load"}
    modules = {"pickle", "marshal", "shelve", "dill", "jinja2", "cloudpickle"}
    for path in [*(ROOT / "opsbot").rglob("*.py"), *(ROOT / "tools").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            place = str(path.relative_to(ROOT))
            if isinstance(node, ast.Call) and (place, ast.unparse(node.func)) not in LOADS_TOOLS:
                found += [f"{place}:{node.lineno} {name}" for name in banned & {ast.unparse(node.func)}]
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name for alias in node.names} | {getattr(node, "module", "") or ""}
                found += [f"{path.relative_to(ROOT)}:{node.lineno} {name}" for name in names & modules]
    assert found == []
