"""Tags in a configuration: words that `tag:WORD` can select by, and nothing else."""

import pytest

from opsbot.config import parse
from opsbot.errors import ConfigError


def test_tags_are_a_sorted_set_of_each_host():
    inventory = parse("hosts: {a: {connection: local, tags: [edge, db, edge]}, b: {connection: local}}").inventory()
    assert inventory.hosts["a"].tags == ("db", "edge")
    assert dict(inventory.tags) == {"db": ("a",), "edge": ("a",)}
    assert [host.name for host in inventory.resolve(["tag:edge"])] == ["a"]


@pytest.mark.parametrize("tag", ["two words", "-edge", "tag:edge", "e*", "\u0435dge", "x" * 64])
def test_what_no_one_could_select_by_is_a_fault_with_its_line(tag):
    with pytest.raises(ConfigError) as caught:
        parse(f"hosts:\n  a:\n    connection: local\n    tags:\n      - fine\n      - '{tag}'\n", "c.yaml")
    (fault,) = caught.value.faults
    assert fault.startswith("c.yaml:6: hosts.a.tags[1]: ")
    assert "cannot be a tag" in fault


@pytest.mark.parametrize("kind", ["groups", "hosts"])
def test_no_host_and_no_group_can_be_called_like_a_tag(kind):
    text = {
        "hosts": "hosts: {'tag:x': {connection: local}}",
        "groups": "hosts: {a: {connection: local, groups: ['tag:x']}}",
    }
    with pytest.raises(ConfigError, match="cannot be a"):
        parse(text[kind])
