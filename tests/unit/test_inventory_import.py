"""What an import writes: always accepted by `opsbot check`, never another host than the source means."""

import io
import sys
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from opsbot.__main__ import main
from opsbot.config import load
from opsbot.domain import Host
from opsbot.importing.findings import MAX_HOSTS, Candidate, Findings, Hop
from opsbot.importing.plain import read_plain
from opsbot.importing.settled import Imported, Wanted, settle
from opsbot.importing.written import inventory_text, rows

MAIN = """\
inventory: [imported.yaml]
host_keys: keys
defaults: {user: fallback, key: id, port: 9, jump: nowhere}
hosts: {nowhere: {address: 192.0.2.250}}
"""


def loaded(folder: Path, imported: Imported) -> dict[str, Host]:
    """Load what an import writes through the whole check, beside defaults that must not leak into it."""
    (folder / "id").write_text("-----BEGIN OPENSSH PRIVATE KEY-----")
    (folder / "id").chmod(0o600)
    (folder / "config.yaml").write_text(MAIN)
    (folder / "imported.yaml").write_text(inventory_text(imported, "test"))
    inventory = load(folder / "config.yaml", {}).inventory()
    return {name: host for name, host in inventory.hosts.items() if name != "nowhere"}


def settled(*hosts: Candidate, wanted: Wanted = Wanted(), **options: bool) -> Imported:  # noqa: B008 - frozen
    findings = Findings()
    for host in hosts:
        findings.add(host)
    return settle(findings, wanted, is_there=lambda path: path.name == "there", **options)


def reasons(imported: Imported) -> dict[str, str]:
    return {remark.what: remark.why for remark in imported.remarks}


def test_imported_hosts_are_what_their_source_says(tmp_path):
    imported = settled(
        Candidate("alpha", "s:1", "192.0.2.1", 2222, "ops", groups=("web", "eu"), tags=("edge",)),
        Candidate("beta", "s:2", "2001:db8::2", jump=(Hop("alpha"),)),
        Candidate("here", "s:3", local=True),
        Candidate("010", "s:4", "1e3", 22, "yes"),
    )
    hosts = loaded(tmp_path, imported)
    assert {name: (host.address, host.port, host.user, host.jump) for name, host in hosts.items()} == {
        "010": ("1e3", 22, "yes", ""),
        "alpha": ("192.0.2.1", 2222, "ops", ""),
        "beta": ("2001:db8::2", 22, "fallback", "alpha"),
        "here": ("", 22, "fallback", ""),
    }
    assert (hosts["alpha"].groups, hosts["alpha"].tags) == (("eu", "web"), ("edge",))
    assert hosts["here"].connection == "local"
    assert imported.remarks == ()


def test_what_the_person_says_wins(tmp_path):
    wanted = Wanted("bot", str(tmp_path / "id"), "staging")
    imported = settled(Candidate("alpha", "s:1", user="ops", key="/there"), wanted=wanted)
    (host,) = loaded(tmp_path, imported).values()
    assert (host.user, host.key_file, host.environment) == ("bot", str(tmp_path / "id"), "staging")


@pytest.mark.parametrize(
    ("host", "why"),
    [
        (Candidate("all", "s:1"), "cannot be a name"),
        (Candidate("web_", "s:1"), "cannot be a name"),
        (Candidate("w\u0435b", "s:1", "192.0.2.1"), "cannot be a name"),
        (Candidate("x" * 64, "s:1"), "cannot be a name"),
        (Candidate("fe80::", "s:1"), "cannot be a name"),
        (Candidate("a", "s:1", address="-oProxyCommand=x"), "address: does not fit"),
        (Candidate("a", "s:1", address="{{ ip }}"), "address: does not fit"),
        (Candidate("a", "s:1", port=70000), "port: should be less"),
        (Candidate("a", "s:1", user="DOM\\ops"), "user: does not fit"),
        (Candidate("a", "s:1", jump=(Hop("b"),)), "is reached through 'b', which is not in this import"),
        (Candidate("a", "s:1", jump=(Hop("a"),)), "in a loop (a → a)"),
    ],
)
def test_a_host_that_cannot_be_one_is_left_out_with_its_reason(host, why):
    imported = settled(host)
    assert imported.hosts == ()
    assert imported.left_out == 1
    assert why in imported.remarks[0].why


def test_a_user_that_is_replaced_anyway_leaves_nobody_out():
    assert len(settled(Candidate("a", "s:1", user="DOM\\ops"), wanted=Wanted("bot")).hosts) == 1


def test_an_address_as_a_name_gets_a_name_that_says_the_same(tmp_path):
    imported = settled(
        Candidate("192.0.2.7", "s:1"), Candidate("2001:db8::7", "s:2"), Candidate("host-192-0-2-7", "s:3")
    )
    assert {name: host.address for name, host in loaded(tmp_path, imported).items()} == {
        "host-192-0-2-7": "192.0.2.7",
        "host-2001-db8--7": "2001:db8::7",
    }
    assert imported.left_out == 1


def test_ways_lead_over_hosts_of_the_import_or_nowhere():
    imported = settled(
        Candidate("gate", "s", "192.0.2.1", 2222, "ops"),
        Candidate("inner", "s", jump=(Hop("gate"),)),
        Candidate("by-address", "s", jump=(Hop("192.0.2.1", "ops", 2222),)),
        Candidate("in-a-row", "s", jump=(Hop("gate"), Hop("inner"))),
        Candidate("3", "s", jump=(Hop("in-a-row"),)),
        Candidate("4", "s", jump=(Hop("3"),)),
        Candidate("other-row", "s", jump=(Hop("inner"), Hop("gate"))),
        Candidate("other-user", "s", jump=(Hop("gate", "root"),)),
        Candidate("behind-other-user", "s", jump=(Hop("other-user"),)),
        Candidate("here", "s", local=True),
        Candidate("behind-here", "s", jump=(Hop("here"),)),
    )
    assert {host.name: [hop.host for hop in host.jump] for host in imported.hosts} == {
        "gate": [], "inner": ["gate"], "by-address": ["gate"], "in-a-row": ["inner"], "3": ["in-a-row"], "here": [],
    }  # fmt: skip
    assert reasons(imported) == {
        "4": "is behind more than 3 jump hosts",
        "other-row": "is reached through gate by another way than gate itself",
        "other-user": "is reached through gate with another user or port than gate has here",
        "behind-other-user": "is reached through other-user, which was left out",
        "behind-here": "is reached through here, which is the machine itself",
    }


def test_a_hop_that_was_left_out_is_not_another_host_with_that_address():
    imported = settled(
        Candidate("gate", "s", port=0x10000), Candidate("other", "s", "gate"), Candidate("a", "s", jump=(Hop("gate"),))
    )
    assert [host.name for host in imported.hosts] == ["other"]


def test_one_machine_keeps_the_name_that_others_jump_through():
    imported = settled(
        Candidate("a", "s", "192.0.2.1"),
        Candidate("gate", "s", "192.0.2.1"),
        Candidate("b", "s", jump=(Hop("gate"),)),
        one_name_each=True,
    )
    assert [host.name for host in imported.hosts] == ["b", "gate"]
    assert reasons(imported) == {"a": "is another name of gate"}


@pytest.mark.parametrize(
    "key", ["keys/there", "/tmp/not-here", "/x/%h/there", "/{{ x }}/there", "/there.pub", "~nobody/x"]
)
def test_a_key_that_cannot_be_used_is_reported_and_the_host_stays(key):
    imported = settled(Candidate("a", "s:1", key=key))
    assert [host.key for host in imported.hosts] == [""]
    assert "`defaults`" in reasons(imported)[key]


def test_a_key_that_is_there_is_kept():
    assert [host.key for host in settled(Candidate("a", "s:1", key="/x/there")).hosts] == ["/x/there"]


def test_groups_and_tags_that_cannot_be_are_left_out(tmp_path):
    imported = settled(
        Candidate("a", "s:1", groups=("b", "all", "x y", "web"), tags=("edge", "x y")), Candidate("b", "s:2")
    )
    assert loaded(tmp_path, imported)["a"].groups == ("web",)
    assert sorted(reasons(imported)) == ["all", "b", "x y"]


_ANY = st.text(max_size=12)
_NAMES = st.sampled_from(["a", "b", "c", "192.0.2.1", "no", "1e3", "0x1", "22:30", "~", "x y", "a#b", "all"]) | _ANY
_CANDIDATES = st.builds(
    Candidate,
    name=_NAMES,
    where=_ANY,
    address=_NAMES,
    port=st.none() | st.integers(-1, 70000),
    user=_NAMES,
    key=_ANY.map("/{}".format),
    local=st.booleans(),
    jump=st.lists(st.builds(Hop, _NAMES), max_size=2).map(tuple),
    groups=st.lists(_NAMES, max_size=3).map(tuple),
    tags=st.lists(_NAMES, max_size=3).map(tuple),
)


@given(st.lists(_CANDIDATES, max_size=8), st.booleans())
def test_whatever_a_source_says_the_result_passes_the_check(tmp_path_factory, hosts, one_name_each):
    imported = settled(*hosts, one_name_each=one_name_each)
    assume(imported.hosts)  # without any, nothing is written
    found = loaded(tmp_path_factory.mktemp("import"), imported)
    assert [*found] == [host.name for host in imported.hosts]
    assert {name: host.tags for name, host in found.items()} == {host.name: host.tags for host in imported.hosts}


def test_too_many_hosts_are_refused_at_the_line():
    with pytest.raises(Exception, match=rf"list:{MAX_HOSTS + 1}: more than 10000 hosts"):
        read_plain("".join(f"n{i}\n" for i in range(MAX_HOSTS + 5)), "list")


def test_alike_reasons_are_one_row():
    findings = read_plain("".join(f"n{i} x y\n" for i in range(500)), "list")
    assert rows(findings.remarks) == [
        ("n0, n1, n2 and 497 more", "list:1", "has more than a name and an address in its line")
    ]


# --- the command -----------------------------------------------------------------------------------------------------


def test_the_command_writes_to_stdout_and_sums_up_on_stderr(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("hosts.txt").write_text("alpha 192.0.2.1\nbeta x y\n")
    assert main(["hosts", "import", "--from", "plain", "hosts.txt", "--user", "bot", "--environment", "test"]) == 0
    shown = capsys.readouterr()
    assert shown.out == (
        "# Imported by `opsbot hosts import` from plain: hosts.txt\n"
        "# For `inventory: [THIS FILE]` in config.yaml with `host_keys: FILE`, and run `opsbot hosts trust all`.\n"
        "# Hosts without key here need it under `defaults` in config.yaml.\n"
        "# Left out:\n"
        "#   beta (hosts.txt:2): has more than a name and an address in its line\n"
        "defaults: {connection: ssh, port: 22, jump: null, user: bot, environment: test}\n"
        "hosts:\n"
        '  alpha: {address: "192.0.2.1"}\n'
    )
    assert "1 host, 0 groups, 1 host left out." in shown.err
    assert "hosts.txt:2" in shown.err


def test_a_file_that_is_there_is_replaced_only_by_force(tmp_path, capsys):
    source, target = tmp_path / "hosts.txt", tmp_path / "out.yaml"
    source.write_text("alpha\n")
    target.write_text("mine\n")
    command = ["hosts", "import", "--from", "plain", str(source), "--output", str(target)]
    assert main(command) == 2
    assert target.read_text() == "mine\n"
    assert main([*command, "--force"]) == 0
    assert "alpha" in target.read_text()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hosts.txt", "out.yaml"]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("option", [["--user", "Not A User"], ["--environment", "x" * 65]])
def test_what_the_person_says_is_checked_first(tmp_path, capsys, option):
    (tmp_path / "x").write_text("a\n")
    assert main(["hosts", "import", "--from", "plain", str(tmp_path / "x"), *option]) == 2
    assert capsys.readouterr().err.startswith(f"opsbot: {option[0]}: ")


def test_standard_input_is_a_source(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"alpha\n")))
    assert main(["hosts", "import", "--from", "plain", "-"]) == 0
    assert "from plain: stdin" in capsys.readouterr().out


def test_no_host_is_a_problem(tmp_path, capsys):
    (tmp_path / "x").write_text("# none\n")
    assert main(["hosts", "import", "--from", "plain", str(tmp_path / "x")]) == 1
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("content", [b"#!/bin/sh\ntouch RAN\n", b"\x7fELF\0\0", b"\xff\xfe\xfa", None])
def test_what_is_no_text_is_refused_and_never_run(tmp_path, monkeypatch, capsys, content):
    monkeypatch.chdir(tmp_path)
    source = tmp_path / "source"
    if content is not None:
        source.write_bytes(content)
        source.chmod(0o755)
    assert main(["hosts", "import", "--from", "plain", str(source)]) == 2
    assert capsys.readouterr().err.startswith(f"opsbot: {source}: ")
    assert not (tmp_path / "RAN").exists()
