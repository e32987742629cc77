"""Ansible inventories: the same hosts, groups and logins as ansible-core makes of them, and nothing run for it."""

import json
import os
import resource
import time
from pathlib import Path

import pytest

from opsbot.__main__ import main
from opsbot.errors import ConfigError
from opsbot.importing.ansible import read_ansible
from opsbot.importing.ansible_names import names_of
from opsbot.importing.findings import MAX_HOSTS, Candidate, Files, Findings, Hop
from opsbot.importing.settled import Wanted, settle
from opsbot.importing.written import inventory_text

FIXTURES = Path(__file__).parents[1] / "inventories" / "ansible"


def read(folder: Path, name: str = "hosts", text: str = "", **others: str) -> Findings:
    for path, content in {name: text, **{key.replace("__", "/"): text for key, text in others.items()}}.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(content)
    return read_ansible(folder / name, Files())


def hosts_of(findings: Findings) -> dict[str, tuple[object, ...]]:
    return {
        host.name: (host.address, host.port, host.user, host.key, host.local, host.jump, host.groups)
        for host in findings.hosts.values()
    }


def reasons(findings: Findings) -> dict[str, str]:
    return {remark.what: remark.why for remark in findings.remarks}


# --- beside ansible-core ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("recorded", ["site-list.json", "site-list.yml"])
def test_a_folder_means_what_ansible_core_says(recorded):
    """Recorded by ansible-core 2.19.14: `ansible-inventory -i site --list [--yaml]`."""
    ours = read_ansible(FIXTURES / "site", Files())
    theirs = read_ansible(FIXTURES / recorded, Files())
    assert hosts_of(ours) == hosts_of(theirs)
    assert len(ours.hosts) == 20
    assert reasons(ours) == reasons(theirs)


def test_every_recorded_variable_is_the_one_we_found():
    recorded = json.loads((FIXTURES / "site-list.json").read_text())["_meta"]["hostvars"]
    found = read_ansible(FIXTURES / "site", Files()).hosts
    assert recorded.keys() - found.keys() == {"switch", "windows", "templated", "vaulted"}
    for name, host in found.items():
        said = recorded[name]
        if host.local:
            assert said["ansible_connection"] == "local"
            continue
        user = said["ansible_user"]
        assert host.user == (user if isinstance(user, str) else user["__ansible_unsafe"])
        assert host.port == said["ansible_port"]
        assert host.address == said.get("ansible_ssh_host", said.get("ansible_host", ""))
        assert bool(host.jump) == ("ProxyJump" in said["ansible_ssh_common_args"])


def test_what_was_left_out_says_why():
    assert reasons(read_ansible(FIXTURES / "site", Files())) == {
        "switch": "is not reached by SSH but by 'network_cli'",
        "windows": "is not reached by SSH but by 'winrm'",
        "templated": "has ansible_host, which is a template to be filled in",
        "vaulted": "has ansible_host, which is encrypted",
        "worded": "has a password there; opsbot logs in with keys only",
    }


def test_no_password_is_written():
    imported = settle(read_ansible(FIXTURES / "site", Files()), Wanted())
    assert "hunter2" not in inventory_text(imported, "site")


# --- patterns --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pattern", "names", "port"),
    [
        ("web", ["web"], None),
        ("web:22", ["web"], 22),
        ("web[1:3]", ["web1", "web2", "web3"], None),
        ("web[01:03:2].x:2222", ["web01.x", "web03.x"], 2222),
        ("[a:c]", ["a", "b", "c"], None),
        ("[y:B]", ["y", "z", "A", "B"], None),
        ("[:2]n", ["0n", "1n", "2n"], None),
        ("r[1:2]n[a:b]", ["r1na", "r1nb", "r2na", "r2nb"], None),
        ("2001:db8::1", ["2001:db8::1"], None),
        ("[2001:db8::1]:22", ["2001:db8::1"], 22),
        ("[09:10]", ["09", "10"], None),
    ],
)
def test_patterns_are_written_out(pattern, names, port):
    assert names_of(pattern, "x") == (names, port)


@pytest.mark.parametrize(
    "pattern", ["web[3:1]", "web[1:]", "web[01:100]", "web[1:2:0]", "web[a:1]", "web[]", "web[1", "[1:2", "x" * 500]
)
def test_patterns_without_sense_are_left_out(tmp_path, pattern):
    findings = read(tmp_path, text=f"{pattern}\nok\n")
    assert [*findings.hosts] == ["ok"]
    assert len(findings.remarks) == 1


@pytest.mark.parametrize(
    "pattern", ["w[1:1000000000]", "w[1:999999999999999999]", "n[0:99][0:99][0:99]", f"w[1:{MAX_HOSTS + 1}]"]
)
def test_ranges_without_end_are_refused_at_once(tmp_path, pattern):
    with pytest.raises(ConfigError, match=r"hosts:1: more than 10000 hosts"):
        read(tmp_path, text=pattern)


def test_many_ranges_together_are_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"hosts:3: more than 10000 hosts"):
        read(tmp_path, text="a[1:4000]\nb[1:4000]\nc[1:4000]\n")


# --- INI -------------------------------------------------------------------------------------------------------------


def test_lines_that_mean_nothing_are_named(tmp_path):
    text = "a b\nc 'd\n[x:hosts:y]\nlost\n[v:vars]\nansible_user=u\n[w:odd]\nz\n[p:children]\nnowhere\n[q:vars]\nword\n"
    findings = read(tmp_path, text=text)
    assert findings.hosts == {}
    assert [(each.what, each.where.rpartition(":")[2]) for each in findings.remarks] == [
        ("a", "1"), ("c", "2"), ("[x:hosts:y]", "3"), ("[w:odd]", "7"), ("word", "12"), ("v", "5"), ("nowhere", "10"),
        ("q", "11"),
    ]  # fmt: skip


def test_a_group_may_be_declared_after_it_is_named(tmp_path):
    findings = read(tmp_path, text="[top:children]\nlow\n[low:vars]\nansible_user=u\n[low]\na\n")
    assert hosts_of(findings)["a"][2::4] == ("u", ("low", "top"))


def test_deeper_groups_win_then_priority_then_the_alphabet(tmp_path):
    text = "[a]\nh\n[b]\nh\n[z:children]\na\n"
    text += "".join(f"[{group}:vars]\nansible_user={group}\n" for group in "abz")
    assert read(tmp_path, text=text).hosts["h"].user == "a"
    flat = text.replace("[z:children]\na\n", "[z]\n")
    assert read(tmp_path, text=flat).hosts["h"].user == "b"
    assert read(tmp_path, text=flat + "[a:vars]\nansible_group_priority=2\n").hosts["h"].user == "a"


def test_files_beside_the_inventory_win_over_it_and_hosts_over_groups(tmp_path):
    text = "[web]\nh ansible_port=1\n[web:vars]\nansible_user=ini\nansible_host=ini\n"
    findings = read(tmp_path, text=text, group_vars__all="ansible_user: all", host_vars__h="ansible_port: 2")
    assert (findings.hosts["h"].user, findings.hosts["h"].port, findings.hosts["h"].address) == ("all", 2, "ini")
    findings = read(tmp_path, text=text, **{"group_vars__web.yml": "ansible_user: web"})
    assert findings.hosts["h"].user == "web"


@pytest.mark.parametrize(
    ("options", "jump", "why"),
    [
        ("-J gate", (Hop("gate"),), ""),
        ("-o ProxyCommand=\\\"ssh -W %h:%p gate\\\"", (Hop("gate"),), ""),
        ("-C -o ControlMaster=auto", (), ""),
        ("-o ProxyCommand=./run-me", None, "no plain jump"),
        ("-J {{ gate }}", None, "a template"),
        ("-p 99", None, "change the port"),
        ("-o User=x", None, "change the port, the user"),
    ],
)  # fmt: skip
def test_options_of_ssh_are_a_jump_or_a_reason(tmp_path, options, jump, why):
    findings = read(tmp_path, text=f'h ansible_ssh_common_args="{options}"\n')
    if jump is None:
        assert why in reasons(findings)["h"]
    else:
        assert findings.hosts["h"].jump == jump


@pytest.mark.parametrize("port", ["0", "-1", "1e3", "22x", "[1]", "'{{ p }}'", "010", "123456"])
def test_a_port_that_is_none_leaves_the_host_out(tmp_path, port):
    assert read(tmp_path, text=f"h ansible_port={port}\n").hosts == {}


def test_groups_in_a_circle_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="contain each other in a circle"):
        read(tmp_path, text="[a:children]\nb\n[b:children]\na\n[b]\nh\n")


# --- YAML ------------------------------------------------------------------------------------------------------------


def test_yaml_may_say_less_than_mappings(tmp_path):
    findings = read(
        tmp_path, "h.yml", "web:\n  hosts: alone\n  vars:\ndb:\n  hosts:\n    b:\n    7:\nempty:\nword: x\n"
    )
    assert [*findings.hosts] == ["alone", "b", "(7)"]
    assert reasons(findings) == {"word": "is no group: it holds no settings"}


def test_other_keys_of_a_group_are_named_with_their_line(tmp_path):
    findings = read(tmp_path, "h.yml", "web:\n  hosts: {a: }\n  host: {b: }\n")
    assert [(each.what, each.where) for each in findings.remarks] == [("host", f"{tmp_path}/h.yml:3")]


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x]\nb: *c\n",
        "a: {hosts: {b: &x {children: *x}}\n",
        "[1, 2]",
        "plugin: amazon.aws.aws_ec2\n",
        "---\na:\n---\nb:\n",
        "a: " + "[" * 100_000,
        "a:\n\tb:\n",
        '{"a": ' * 5000,
        "a: \x00",
        "a: {children: &c {b: {children: *c}}}\n",
    ],
)
def test_what_is_no_inventory_is_refused(tmp_path, text):
    with pytest.raises(ConfigError, match=r"h\.yml"):
        read(tmp_path, "h.yml", text)


def test_a_bomb_of_aliases_is_refused_in_time_and_memory(tmp_path):
    lines = ["v0: &v0 {hosts: {h: }}"]
    lines += [
        f"v{n}: &v{n} {{children: {{{', '.join(f'g{n}{i}: *v{n - 1}' for i in range(9))}}}}}" for n in range(1, 30)
    ]
    start, before = time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(ConfigError):
        read(tmp_path, "h.yml", "\n".join(lines))
    assert time.process_time() - start < 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


def test_merged_mappings_give_what_is_not_there_yet(tmp_path):
    text = "x: &x {ansible_user: x, ansible_port: 1}\nweb: {hosts: {a: {ansible_user: a, <<: *x}, b: {<<: [*x]}}}\n"
    found = read(tmp_path, "h.yml", text).hosts
    assert [(host.user, host.port) for host in found.values()] == [("a", 1), ("x", 1)]


# --- folders and programs --------------------------------------------------------------------------------------------


def test_programs_are_never_run_and_the_way_out_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    program = tmp_path / "dynamic.py"
    program.write_text("#!/bin/sh\ntouch RAN\n")
    program.chmod(0o755)
    with pytest.raises(ConfigError, match=r"importing runs nothing.*ansible-inventory -i .*dynamic\.py --list"):
        read_ansible(program, Files())
    (tmp_path / "plain").write_text("a\n")
    (tmp_path / "aws.yml").write_text("plugin: aws_ec2\n")
    findings = read_ansible(tmp_path, Files())
    assert [*findings.hosts] == ["a"]
    assert [remark.what for remark in findings.remarks] == ["aws.yml", "dynamic.py"]
    assert not (tmp_path / "RAN").exists()


def test_limits_of_the_whole_are_no_matter_of_one_file(tmp_path):
    (tmp_path / "a").write_text("a[1:6000]\n")
    (tmp_path / "b").write_text("b[1:6000]\n")
    with pytest.raises(ConfigError, match="more than 10000 hosts"):
        read_ansible(tmp_path, Files())


def test_folders_in_a_circle_end(tmp_path):
    (tmp_path / "a").write_text("a\n")
    for name in ("x", "y"):
        (tmp_path / name).symlink_to(tmp_path)
    with pytest.raises(ConfigError, match=r"nested more than|files and folders"):
        read_ansible(tmp_path, Files())


def test_only_a_line_break_ends_a_line(tmp_path):
    findings = read(tmp_path, text="# a\u2028evil\x0cevil\x85evil\r\nok\r\n")
    assert [(host.name, host.where.rpartition(":")[2]) for host in findings.hosts.values()] == [("ok", "2")]


def test_encrypted_and_broken_variable_files_are_not_passed_over_in_silence(tmp_path):
    findings = read(tmp_path, text="a\n", group_vars__all="$ANSIBLE_VAULT;1.1;AES256\n00\n")
    assert reasons(findings) == {"all": "is an encrypted file; what it says was not applied"}
    with pytest.raises(ConfigError, match=r"group_vars/all:[0-9]: not YAML"):
        read(tmp_path, text="a\n", group_vars__all="a: [")
    with pytest.raises(ConfigError, match="holds no variables"):
        read(tmp_path, text="a\n", group_vars__all="- a")


def test_a_fifo_does_not_hang(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ConfigError, match="is not a file"):
        read_ansible(tmp_path / "pipe", Files())


def test_names_lead_to_no_file_elsewhere(tmp_path):
    (tmp_path / "secret.yml").write_text("ansible_user: stolen\n")
    findings = read(tmp_path, "inv/hosts", "../../secret\n../secret ansible_user=own\n", inv__host_vars__x="{}")
    assert [host.user for host in findings.hosts.values()] == ["", "own"]


@pytest.mark.parametrize("text", ["", "\n\n", "# x\n", "all:\n", "{}", "---\n"])
def test_an_empty_inventory_has_no_hosts(tmp_path, text):
    assert read(tmp_path, text=text).hosts == {}


# --- size ------------------------------------------------------------------------------------------------------------


def test_ten_thousand_hosts_are_imported_in_seconds(tmp_path, capsys):
    groups = "".join(
        f"[g{n}]\n" + "".join(f"n{n}-{i} ansible_host=192.0.2.{i}\n" for i in range(100)) for n in range(100)
    )
    (tmp_path / "hosts").write_text(groups + "[all:vars]\nansible_user=ops\n")
    start = time.process_time()
    assert main(["hosts", "import", "--from", "ansible", str(tmp_path / "hosts"), "--output", str(tmp_path / "o")]) == 0
    assert time.process_time() - start < 6  # 3 s on a quiet machine
    assert "10000 hosts, 100 groups, 0 hosts left out." in capsys.readouterr().err


def test_candidates_have_their_line(tmp_path):
    findings = read(tmp_path, text="# x\n\na\n")
    assert findings.hosts["a"] == Candidate("a", f"{tmp_path}/hosts:3")
