"""A host's gate as text: its rules come from the looks alone, and nothing in them can become a command."""

import hashlib
import shlex

import pytest

from opsbot.domain import Host
from opsbot.errors import BadArguments
from opsbot.gate import PATH, gate_for, key_line
from opsbot.looks import NUMBER, TIME, UNIT, Look

WEB = Host("web-1", user="ops", read_user="viewer")
SCRIPT = "\n# what fills the disk?\ndu -x /\n"


def rules(*looks: Look) -> list[str]:
    """Return the lines of the function that knows what may run."""
    script = gate_for(WEB, looks, line="(the line)")
    inside = script.partition("allowed() {\n")[2].partition("\n  false\n}\n")[0]
    return inside.splitlines()


def test_each_look_is_one_rule_and_its_words_are_compared_whole() -> None:
    assert rules(("uptime", "-s"), ("df", "-P")) == ["  rule =uptime =-s ||", "  rule =df =-P ||"]


def test_a_look_that_comes_twice_is_one_rule() -> None:
    assert rules(("uptime",), ("df",), ("uptime",)) == ["  rule =uptime ||", "  rule =df ||"]


def test_a_word_that_a_shell_would_read_is_quoted_in_its_rule() -> None:
    (rule,) = rules(("echo", "$(reboot)", "it's", "a b"))
    assert shlex.split(rule.strip().removesuffix("||")) == ["rule", "=echo", "=$(reboot)", "=it's", "=a b"]


def test_a_slot_is_its_kind_between_what_stands_around_it() -> None:
    assert rules(("show", UNIT)) == ["  rule =show 'unit||' ||"]
    assert rules(("tail", NUMBER.within("--lines=", "K"), TIME)) == ["  rule =tail 'number|--lines=|K' 'time||' ||"]


def test_a_script_is_known_by_its_checksum_and_told_by_its_first_line() -> None:
    checksum = hashlib.sha256(SCRIPT.encode()).hexdigest()
    assert rules(("sh", "-c", SCRIPT, "sh", UNIT)) == [
        "  # what fills the disk?",
        f"  rule =sh =-c '#{checksum}' =sh 'unit||' ||",
    ]


def test_what_is_told_of_a_script_stays_in_its_comment() -> None:
    told = rules(("sh", "-c", "# é\x1b[2J\r; reboot\n" + "x" * 300))[0]
    assert told == "  # ??[2J", "what ends a line for anybody ends what is told"
    assert rules(("sh", "-c", "# X marks it\ntrue"))[0] == "  # X marks it"
    (long, _) = rules(("sh", "-c", "# " + "x" * 300 + "\ntrue"))
    assert long == "  # " + "x" * 100


def test_a_script_of_blank_lines_is_told_by_nothing() -> None:
    (rule,) = rules(("sh", "-c", "\n \n"))
    assert rule.startswith("  rule =sh =-c '#")


def test_the_head_says_for_which_host_and_account_it_is_and_where_it_belongs() -> None:
    head = gate_for(WEB, [("uptime",)], line="restrict ssh-ed25519 AAAA").split("set -f\n")[0]
    assert head.splitlines() == [
        "#!/bin/sh",
        "# opsbot's gate for web-1: which commands the key of the account that looks (viewer) may run. Printed by",
        "# `opsbot gate web-1`; print it again after a change of the inventory or of tools, and after an upgrade of "
        "opsbot.",
        f"# Install it owned by root, mode 0755, as {PATH}, and name it in authorized_keys of viewer:",
        "#   restrict ssh-ed25519 AAAA",
        "# It takes the line sshd hands over apart into words itself, compares every word, and runs these words "
        "without any",
        "# shell in between. Whatever is not exactly one of the rules below is refused and logged (`journalctl -t "
        "opsbot-gate`).",
    ]


def test_an_account_that_also_acts_is_the_one_that_looks_where_there_is_no_other() -> None:
    assert "the account that looks (ops) may run" in gate_for(Host("web-1", user="ops"), [], line="")


def test_without_sources_or_hosts_behind_the_key_may_run_the_gate_and_nothing_else() -> None:
    assert key_line(WEB, "ssh-ed25519 AAAA") == f'restrict,command="{PATH}" ssh-ed25519 AAAA'


def test_any_key_that_ssh_prints_can_be_held_to_the_gate() -> None:
    key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5XX/+== ops@web"
    assert key_line(WEB, key, sources="*.X.example,192.0.2.0/24").endswith(f'from="*.X.example,192.0.2.0/24" {key}')


@pytest.mark.parametrize("trick", ['a"b', "a\\b", "a\nb", "a\rb", "a\x00b"])
def test_what_would_end_an_option_or_the_line_is_refused(trick: str) -> None:
    for parts in ({"sources": trick, "public_key": "k"}, {"sources": "", "public_key": trick}):
        with pytest.raises(BadArguments) as refused:
            key_line(WEB, **parts)
        assert str(refused.value) == (
            "The sources and the public key stand in one line of authorized_keys: no quotes there."
        )
