"""Inventories in files of their own, and the file of host keys: merged, with every fault at its own file and line."""

from pathlib import Path

import pytest

from opsbot.config import load
from opsbot.errors import ConfigError
from tests.unit.test_host_keys import ED, RSA

MAIN = """\
inventory: [more/hosts.yaml, "{second}"]
host_keys: keys
defaults: {{user: bot, key: id}}
policy: {{approvers: [{{environments: ["*"], users: [U0BOB]}}]}}
groups: {{web: [own]}}
hosts:
  own: {{address: 192.0.2.1}}
"""


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "more").mkdir()
    for key in (tmp_path / "id", tmp_path / "more" / "id2"):
        key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----")
        key.chmod(0o600)
    (tmp_path / "config.yaml").write_text(MAIN.format(second="b.yaml"))
    (tmp_path / "more" / "hosts.yaml").write_text(
        "defaults: {key: id2, environment: prod, port: 2222}\ngroups: {web: [far], db: [far]}\n"
        "hosts:\n  far: {address: 192.0.2.2, tags: [edge]}\n  near:\n"
    )
    (tmp_path / "b.yaml").write_text(f"hosts:\n  third: {{user: other, jump: own, host_key: {RSA}}}\n")
    (tmp_path / "keys").write_text(f"own {ED}\nthird {ED}\ngone {ED}\n")
    return tmp_path


def faults_of(folder: Path) -> tuple[str, ...]:
    with pytest.raises(ConfigError) as error:
        load(folder / "config.yaml", {})
    return tuple(fault.replace(f"{folder}/", "") for fault in error.value.faults)


def test_files_are_one_inventory(folder):
    config = load(folder / "config.yaml", {})
    inventory = config.inventory()
    assert [*inventory.hosts] == ["far", "near", "own", "third"]
    assert dict(inventory.groups) == {"db": ("far",), "web": ("far", "own")}
    far, third = inventory.hosts["far"], inventory.hosts["third"]
    assert (far.user, far.port, far.environment, far.tags) == ("bot", 2222, "prod", ("edge",))
    assert far.key_file == str(folder / "more" / "id2")
    assert (third.user, third.key_file, third.environment) == ("other", str(folder / "id"), "default")
    assert config.inventory_sources() == tuple(
        folder / name for name in ("config.yaml", "more/hosts.yaml", "b.yaml", "keys")
    )


def test_keys_come_from_the_file_unless_they_stand_beside_the_host(folder):
    config = load(folder / "config.yaml", {})
    hosts = config.inventory().hosts
    assert (hosts["own"].host_key, hosts["third"].host_key, hosts["far"].host_key) == (ED, RSA, "")
    assert config.inline_host_keys == {"third"}
    assert config.host_keys_file() == folder / "keys"
    (folder / "keys").unlink()
    assert load(folder / "config.yaml", {}).inventory().hosts["own"].host_key == ""


def test_without_a_file_of_keys_a_host_without_one_is_a_fault(folder):
    text = (folder / "config.yaml").read_text().replace("host_keys: keys\n", "")
    (folder / "config.yaml").write_text(text)
    assert {fault.split(" ")[0] for fault in faults_of(folder)} == {
        "config.yaml:6:",
        "more/hosts.yaml:4:",
        "more/hosts.yaml:5:",
    }


@pytest.mark.parametrize(
    ("file", "text", "line", "said"),
    [
        ("b.yaml", "hosts:\n  own: {}\n", 2, "is there twice (first in"),
        ("b.yaml", "hosts: {}\nslack: {}\n", 2, "only hosts, groups, defaults stand in an inventory file"),
        ("b.yaml", "hosts:\n  x:\n    prot: 22\n", 3, "hosts.x.prot"),
        ("b.yaml", "hosts:\n  x: {jump: nowhere}\n", 2, "there is no host 'nowhere'"),
        ("b.yaml", "hosts: [x]\n", 1, "must hold settings"),
        ("b.yaml", "groups: [x]\n", 1, "must hold lists"),
        ("b.yaml", "groups:\n  web:\n    - own\n    - nobody\n", 4, "nobody"),
        ("b.yaml", "defaults:\n  port: 0\nhosts:\n  x: {}\n", 2, "hosts.x.port"),
        ("b.yaml", "hosts: &a {}\n", 1, "anchors"),
        ("keys", "own ssh-ed25519 AAAA\n", 1, "own"),
    ],
)
def test_every_fault_names_its_own_file_and_line(folder, file, text, line, said):
    (folder / file).write_text(text)
    faults = faults_of(folder)
    assert any(fault.startswith(f"{file}:{line}: ") and said in fault for fault in faults), faults


def test_a_file_that_is_not_there_is_named_where_it_is_named(folder):
    (folder / "b.yaml").unlink()
    assert faults_of(folder)[0].startswith("config.yaml:1: inventory[1]: b.yaml cannot be read")
    (folder / "b.yaml").write_bytes(b"\xff\xfe")
    assert "not UTF-8" in faults_of(folder)[0]


@pytest.mark.parametrize(
    ("jumps", "said"),
    [
        ({"a": "b", "b": "a"}, "loop (a → b → a)"),
        ({"a": "a"}, "loop (a → a)"),
        ({"a": "b", "b": "c", "c": "d", "d": "e"}, "more than 3"),
        ({"a": "here"}, "this machine"),
        ({"a": "bb"}, "there is no host 'bb'"),
    ],
)
def test_ways_that_lead_nowhere(tmp_path, jumps, said):
    (tmp_path / "id").write_text("-----BEGIN OPENSSH PRIVATE KEY-----")
    (tmp_path / "id").chmod(0o600)
    hosts = "".join(
        f"  {name}: {{address: 192.0.2.1{', jump: ' + jumps[name] if name in jumps else ''}}}\n" for name in "abcde"
    )
    text = f"host_keys: k\ndefaults: {{user: bot, key: id}}\nhosts:\n  here: {{connection: local}}\n{hosts}"
    (tmp_path / "config.yaml").write_text(text)
    assert any(said in fault for fault in faults_of(tmp_path))


def test_a_default_jump_host_is_reached_directly(tmp_path):
    (tmp_path / "id").write_text("-----BEGIN OPENSSH PRIVATE KEY-----")
    (tmp_path / "id").chmod(0o600)
    text = "host_keys: k\ndefaults: {user: bot, key: id, jump: gate}\nhosts: {gate: {}, a: {}, b: {jump: }}\n"
    (tmp_path / "config.yaml").write_text(text.replace("jump: }", "jump: null}"))
    hosts = load(tmp_path / "config.yaml", {}).inventory().hosts
    assert {name: host.jump for name, host in hosts.items()} == {"gate": "", "a": "gate", "b": ""}
