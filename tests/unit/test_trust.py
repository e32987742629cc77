"""What a second source says of a host key, in every form people have one."""

import base64
import hashlib
import hmac

import pytest

from opsbot.domain import Host
from opsbot.errors import ConfigError
from opsbot.trust import Second, SecondSource, Standing, fingerprint_of, seen


def key_of(kind: str, fill: int) -> str:
    blob = len(kind).to_bytes(4, "big") + kind.encode() + bytes([fill]) * 40
    return f"{kind} {base64.b64encode(blob).decode()}"


ED, OTHER_ED, RSA = key_of("ssh-ed25519", 1), key_of("ssh-ed25519", 2), key_of("ssh-rsa", 3)
HOST = Host("box-1", address="192.0.2.7", port=22)
FAR = Host("box-2", address="192.0.2.8", port=2222)


def hashed(name: str) -> str:
    salt = b"salt-of-20-bytes-long"
    digest = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(digest).decode()}"


def judge(text: str, host: Host = HOST, key: str = ED, *, alone: bool = False) -> Second:
    return SecondSource.read(text, "known").judge(host, key, alone=alone)


@pytest.mark.parametrize(
    "line",
    [
        f"192.0.2.7 {ED}",
        f"box-1,192.0.2.9 {ED} a comment",
        f"{hashed('192.0.2.7')} {ED}",
        f"256 {fingerprint_of(ED)} root@box-1 (ED25519)",
        f"256 {fingerprint_of(ED)} 192.0.2.7 (ED25519)",
        f"{ED} root@box-1",
        f"# header\n\n192.0.2.7 {RSA}\n192.0.2.7 {ED}",
    ],
)
def test_every_form_that_names_the_host_agrees(line):
    assert judge(line) is Second.AGREES
    assert judge(line, key=OTHER_ED) is Second.DISAGREES


def test_a_port_other_than_22_is_part_of_the_name():
    assert judge(f"[192.0.2.8]:2222 {ED}", FAR) is Second.AGREES
    assert judge(f"{hashed('[192.0.2.8]:2222')} {ED}", FAR) is Second.AGREES
    assert judge(f"192.0.2.8 {ED}", FAR) is Second.SILENT


def test_lines_without_a_name_count_only_for_one_host():
    for line in (ED, fingerprint_of(ED), f"256 {fingerprint_of(ED)} (ED25519)"):
        assert judge(line, alone=True) is Second.AGREES
        assert judge(line, alone=False) is Second.SILENT
        assert judge(line, key=OTHER_ED, alone=True) is Second.DISAGREES


def test_a_key_of_another_type_contradicts_nothing():
    assert judge(f"192.0.2.7 {RSA}") is Second.SILENT
    assert judge(f"3072 {fingerprint_of(RSA)} box-1 (RSA)") is Second.SILENT


def test_what_is_about_another_host_says_nothing_and_revoked_is_a_no():
    assert judge(f"192.0.2.77 {ED}") is Second.SILENT
    assert judge(f"@revoked * {ED}") is Second.DISAGREES
    assert judge(f"192.0.2.7 {ED}\n@revoked 192.0.2.7 {ED}") is Second.DISAGREES


@pytest.mark.parametrize(
    "text", ["", "# nothing\n", "hello", "192.0.2.7 ssh-ed25519", "SHA256:short", "box ssh-ed25519 %%%"]
)
def test_what_is_no_key_is_named_with_its_line(text):
    with pytest.raises(ConfigError, match=r"^known"):
        SecondSource.read(text, "known")


def test_many_bad_lines_are_bounded():
    with pytest.raises(ConfigError) as error:
        SecondSource.read("x\n" * 1000, "known")
    assert len(error.value.faults) == 20


def test_standing_to_the_pinned_keys():
    pinned = Host("box-1", address="192.0.2.7", host_key=f"{RSA} comment\n{ED}\n")
    assert seen(HOST, ED, None, alone=True).standing is Standing.NEW
    assert seen(pinned, ED, None, alone=True).standing is Standing.PINNED
    assert seen(pinned, OTHER_ED, None, alone=True).standing is Standing.CHANGED


def test_what_stands_against_pinning():
    pinned = Host("box-1", address="192.0.2.7", host_key=ED)
    source = SecondSource.read(f"192.0.2.7 {ED}", "known")
    assert seen(HOST, ED, source, alone=True).obstacle(replace=False) == ""
    assert "in between" in seen(HOST, OTHER_ED, source, alone=True).obstacle(replace=True)
    assert "--replace" in seen(pinned, OTHER_ED, None, alone=True).obstacle(replace=False)
    assert seen(pinned, OTHER_ED, None, alone=True).obstacle(replace=True) == ""
