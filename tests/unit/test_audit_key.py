"""The audit key: where it lies, who may touch it, and that a lost one is never replaced."""

import os

import pytest

from opsbot import audit_key
from opsbot.errors import ConfigError


def test_a_key_is_made_once_readable_by_its_owner_only(tmp_path) -> None:
    path = tmp_path / "sub" / "audit.key"
    key = audit_key.load_or_create_key(path, has_records=False)
    assert len(key) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    assert audit_key.load_or_create_key(path, has_records=True) == key
    assert [each.name for each in path.parent.iterdir()] == ["audit.key"]


def test_no_new_key_is_made_for_a_database_with_records(tmp_path) -> None:
    path = tmp_path / "audit.key"
    with pytest.raises(ConfigError, match="Restore the key"):
        audit_key.load_or_create_key(path, has_records=True)
    assert not path.exists()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o602])
def test_a_key_that_others_may_touch_is_refused(tmp_path, mode: int) -> None:
    path = tmp_path / "audit.key"
    audit_key.load_or_create_key(path, has_records=False)
    path.chmod(mode)
    with pytest.raises(ConfigError, match=f"chmod 600 {path}"):
        audit_key.load_or_create_key(path, has_records=False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_key_of_another_user_is_refused(tmp_path) -> None:
    path = tmp_path / "audit.key"
    audit_key.load_or_create_key(path, has_records=False)
    os.chown(path, 65534, 65534)
    with pytest.raises(ConfigError, match="another user"):
        audit_key.load_or_create_key(path, has_records=False)


@pytest.mark.parametrize("content", [b"", b"zz" * 32, b"ab" * 31, b"ab" * 33, b"\xff\xfe"])
def test_a_damaged_key_is_refused_and_kept(tmp_path, content: bytes) -> None:
    path = tmp_path / "audit.key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(ConfigError, match="damaged"):
        audit_key.load_or_create_key(path, has_records=False)
    assert path.read_bytes() == content


def test_a_key_that_cannot_be_read_or_made_is_explained(tmp_path) -> None:
    with pytest.raises(ConfigError, match="cannot be"):
        audit_key.load_or_create_key(tmp_path, has_records=False)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be"):
        audit_key.load_or_create_key(tmp_path / "file" / "audit.key", has_records=False)


def test_a_key_from_the_environment_is_read_like_one_from_a_file():
    assert audit_key.parse_key("ab" * 32 + "\n", "store.audit_key") == bytes.fromhex("ab" * 32)
    for text in ("", "ab", "xy" * 32, "ab" * 33):
        with pytest.raises(ConfigError, match=r"store\.audit_key is damaged"):
            audit_key.parse_key(text, "store.audit_key")
