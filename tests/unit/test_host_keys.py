"""The file of pinned host keys: read with its faults, and changed without touching anybody else's line."""

import base64

import pytest

from opsbot.host_keys import host_key_fault, read_host_keys, with_host_key


def key_of(kind: str, fill: int = 1) -> str:
    blob = len(kind).to_bytes(4, "big") + kind.encode() + bytes([fill]) * 40
    return f"{kind} {base64.b64encode(blob).decode()}"


ED, RSA = key_of("ssh-ed25519"), key_of("ssh-rsa", 2)


def test_hosts_have_one_key_or_several():
    found, faults = read_host_keys(f"# header\n\na {ED}\nb {RSA} root@b\na {RSA}\n")
    assert dict(found) == {"a": (3, f"{ED}\n{RSA}"), "b": (4, f"{RSA} root@b")}
    assert faults == []


@pytest.mark.parametrize(
    "line", ["a", "a ssh-dss AAAA", "a ssh-ed25519", "a ssh-ed25519 %%%", f"a ssh-rsa {ED.split()[1]}"]
)
def test_what_is_no_key_is_a_fault_with_its_line_and_counts_for_nothing(line):
    found, faults = read_host_keys(f"b {ED}\n{line}\n")
    assert [*found] == ["b"]
    assert [number for number, _ in faults] == [2]


def test_a_fault_never_repeats_a_whole_line():
    _, faults = read_host_keys("x" * 5000 + " y\n")
    assert len(faults[0][1]) < 400


def test_a_key_is_added_to_an_empty_file_with_a_header():
    text = with_host_key("", "a", ED)
    assert text.startswith("#")
    assert text.endswith(f"a {ED}\n")
    assert read_host_keys(text) == ({"a": (2, ED)}, [])


def test_a_key_takes_the_place_of_the_hosts_own_and_of_no_other():
    before = f"# mine\na {RSA}\n\nab {ED}  # not a\na {ED}\nc {ED}"
    after = with_host_key(before, "a", ED)
    assert after == f"# mine\n\nab {ED}  # not a\nc {ED}\na {ED}\n"


def test_the_words_of_a_fault():
    assert host_key_fault(ED) == ""
    assert host_key_fault(f"{ED} comment\n{RSA}") == ""
    assert "begins with none" in host_key_fault("")
    assert "holds another kind" in host_key_fault(f"ssh-rsa {ED.split()[1]}")
