"""The key of the audit chain: made on first use, refused when others may know it."""

import os
import secrets
from pathlib import Path

from opsbot.errors import ConfigError

_KEY_BYTES = 32


def load_or_create_key(path: Path, *, has_records: bool) -> bytes:
    """Return the chain's key, made on first use (mode 0600).

    `has_records`: whether the database holds audit records already; then a missing key is not replaced.

    Raises:
        ConfigError: the key is missing, unreadable, damaged, or others may read it.
    """
    try:
        with path.open("rb") as file:
            _refuse_loose(path, os.fstat(file.fileno()))
            return parse_key(file.read(4096).decode("ascii", "replace"), f"The audit key {path}")
    except FileNotFoundError:
        if has_records:
            raise ConfigError(
                f"The audit key {path} is gone, but the database holds records signed with it. Restore the key from "
                "its backup; without it the log can be neither verified nor continued."
            ) from None
        return _create_key(path)
    except OSError as error:
        raise ConfigError(f"The audit key {path} cannot be read: {error.strerror}.") from error


def parse_key(text: str, source: str) -> bytes:
    """Read the chain's key from its hexadecimal form. Raises ConfigError naming `source`."""
    try:
        key = bytes.fromhex(text)
    except ValueError:
        key = b""
    if len(key) != _KEY_BYTES:
        raise ConfigError(
            f"{source} is damaged: expected {_KEY_BYTES * 2} hexadecimal digits. Restore it from a backup; the first "
            f"one is made with `openssl rand -hex {_KEY_BYTES}`."
        )
    return key


def _refuse_loose(path: Path, status: os.stat_result) -> None:
    if status.st_mode & 0o077:
        raise ConfigError(
            f"The audit key {path} can be read or changed by others (mode {status.st_mode & 0o777:04o}). "
            f"Run `chmod 600 {path}`, and treat the key as known if others use this machine."
        )
    if status.st_uid not in (os.geteuid(), 0):
        raise ConfigError(f"The audit key {path} belongs to another user (uid {status.st_uid}). `chown` it.")


def _create_key(path: Path) -> bytes:
    """Write a new key under a temporary name first: a crash leaves a whole key or none, and the first writer wins."""
    key = secrets.token_bytes(_KEY_BYTES)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as file:
                file.write(key.hex().encode() + b"\n")
                file.flush()
                os.fsync(descriptor)
            os.link(draft, path)
        finally:
            draft.unlink()
        _sync_directory(path.parent)
    except FileExistsError:
        return load_or_create_key(path, has_records=False)
    except OSError as error:
        raise ConfigError(f"The audit key {path} cannot be created: {error.strerror}.") from error
    return key


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
