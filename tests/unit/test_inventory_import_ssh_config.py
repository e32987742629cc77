"""OpenSSH's configuration: the same answers as `ssh -G NAME` gives, and nothing run on the way."""

from pathlib import Path

import pytest

from opsbot.errors import ConfigError
from opsbot.importing.findings import Files, Findings, Hop
from opsbot.importing.settled import Wanted, settle
from opsbot.importing.ssh_config import read_ssh_config

FIXTURES = Path(__file__).parents[1] / "inventories"


def read(folder: Path, text: str, **others: str) -> Findings:
    for name, content in others.items():
        (folder / name).write_text(content)
    (folder / "config").write_text(text)
    return read_ssh_config(folder / "config", Files())


# What `ssh -G -F tests/inventories/ssh/config NAME` of OpenSSH 9.2 says: host name, port, user, first key, jump.
RECORDED = {
    "gate": ("192.0.2.1", 2222, "ops", "~/.ssh/gate", ""),
    "inner": ("inner.example.net", 22, "admin", "~/.ssh/all", "gate"),
    "inner.example.net": ("inner.example.net", 22, "admin", "~/.ssh/all", "gate"),
    "deep": ("10.0.0.3", 22, "admin", "~/.ssh/all", "gate,inner"),
    "quoted": ("192.0.2.4", 2200, "first", "/keys/with space", ""),
    "direct": ("192.0.2.5", 22, "admin", "~/.ssh/all", ""),
    "lab-1": ("lab-1.lab.example.net", 22, "lab", "~/.ssh/all", "gate"),
    "lab-2": ("lab-2.lab.example.net", 22, "admin", "~/.ssh/all", ""),
    "Cased": ("192.0.2.6", 22, "admin", "~/.ssh/all", ""),
    "over-command": ("192.0.2.7", 22, "admin", "~/.ssh/all", "ops@gate:2222"),
}


def test_hosts_are_what_openssh_says():
    findings = read_ssh_config(FIXTURES / "ssh" / "config", Files())
    found = {
        host.name: (host.address, host.port, host.user, host.key, ",".join(_text(hop) for hop in host.jump))
        for host in findings.hosts.values()
    }
    assert found == RECORDED


def _text(hop: Hop) -> str:
    return (f"{hop.user}@" if hop.user else "") + hop.host + (f":{hop.port}" if hop.port else "")


def test_everything_else_is_named_with_its_line():
    findings = read_ssh_config(FIXTURES / "ssh" / "config", Files())
    assert [(each.what, Path(each.where).name, each.why) for each in findings.remarks] == [
        ("Include", "config:41", "names a file that is not there"),
        ("Match", "config:42", "is a block that depends on more than the name; it was not applied"),
        ("odd", "config:46", "is reached by a ProxyJump or ProxyCommand that is no plain jump"),
        ("tokens", "config:49", "has a HostName with something to be filled in"),
        ("ported", "config:52", "has a Port that is no number"),
    ]


def test_further_names_of_one_machine_are_left_out():
    findings = read_ssh_config(FIXTURES / "ssh" / "config", Files())
    imported = settle(findings, Wanted("bot", "/k"), one_name_each=True)
    assert [host.name for host in imported.hosts] == sorted(RECORDED.keys() - {"inner.example.net"})


def test_match_exec_runs_nothing(tmp_path):
    ran = tmp_path / "ran"
    findings = read(tmp_path, f'Match exec "touch {ran}"\n  User evil\nHost a\n  ProxyCommand touch {ran}\n')
    assert not ran.exists()
    assert findings.hosts == {}
    assert [remark.what for remark in findings.remarks] == ["Match", "a"]


@pytest.mark.parametrize(
    ("patterns", "fits"),
    [
        ("a*c", True), ("a?c", True), ("abc", True), ("ABC", False), ("*", True), ("ab", False), ("abcd", False),
        ("* !abc", False), ("!x *", True), ("!x", False), ("**a**c**", True), ("?", False), ("a*b", False),
        ("*b*", True), ("[a]bc", False),
    ],
)  # fmt: skip
def test_patterns_fit_as_openssh_has_it(tmp_path, patterns, fits):
    findings = read(tmp_path, f"Host {patterns}\n  User fits\nHost abc\n  User other\n")
    assert findings.hosts["abc"].user == ("fits" if fits else "other")


def test_hostile_pattern_costs_little(tmp_path):
    name = "a" * 60
    findings = read(tmp_path, f"Host {'*a' * 30}b\n  User x\n" * 50 + f"Host {name}\n  User y\n")
    assert findings.hosts[name].user == "y"


def test_include_stands_under_the_conditions_around_it(tmp_path):
    findings = read(
        tmp_path, "Host a b\n  Include more\n  Port 7\nHost c\n", more="User in\nHost b\n  Port 5\nHost z\n  Port 6\n"
    )
    found = {host.name: (host.user, host.port) for host in findings.hosts.values()}
    assert found == {"a": ("in", 7), "b": ("in", 5), "c": ("", 22)}


def test_includes_without_end_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="more than 16 files deep"):
        read(tmp_path, "Include config config\n")


def test_includes_are_globs_beside_the_file(tmp_path):
    (tmp_path / "conf.d").mkdir()
    for name in "ab":
        (tmp_path / "conf.d" / f"{name}.conf").write_text(f"Host {name}\n")
    findings = read(tmp_path, "Include conf.d/*.conf none/*.conf\nInclude %d/x\n")
    assert [*findings.hosts] == ["a", "b"]
    assert [remark.why for remark in findings.remarks] == ["has something to be filled in; it was not read"]


@pytest.mark.parametrize(
    "text", ["", "\n#\n", "Host\n", 'Host "a\n', "Host =\n", "HostName x\n", "Host a\x00b", "Host a\n  Port\n"]
)
def test_garbage_is_survived(tmp_path, text):
    try:
        findings = read(tmp_path, text)
    except ConfigError:
        return
    assert len(findings.hosts) <= 1
