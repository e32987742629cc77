"""The audit's hash chain: what is hashed, how records are chained and checked, and where the key lives."""

import hashlib
import hmac
import json
import os
import secrets
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path

import rfc8785

from opsbot.domain import AuditEntry, AuditRecord, Json
from opsbot.errors import ConfigError, StoreError

# `prev` of the first record.
GENESIS = "0" * 64
_KEY_BYTES = 32
_FIELDS = {"kind", "at", "actor", "conversation_id", "approval_id", "facts"}


def timestamp(at: datetime) -> str:
    """Write an aware time as UTC with microseconds, so that texts sort like times."""
    if at.tzinfo is None:
        raise ValueError(f"{at!r} has no time zone; records carry aware times")
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def entry_json(entry: AuditEntry) -> bytes:
    """Return the entry as canonical JSON (RFC 8785).

    Raises:
        StoreError: a fact has no canonical form (NaN, an integer beyond 2^53, a lone surrogate, not JSON).
    """
    document: dict[str, Json] = {
        "actor": entry.actor,
        "approval_id": entry.approval_id,
        "at": timestamp(entry.at),
        "conversation_id": entry.conversation_id,
        "facts": dict(entry.facts),
        "kind": entry.kind,
    }
    try:
        return rfc8785.dumps(document)
    except rfc8785.CanonicalizationError as error:
        raise StoreError(f"The audit cannot record `{entry.kind}`: {error}.") from error


def record_json(seq: int, prev: str, entry: AuditEntry) -> bytes:
    """Return what a record's hash covers, as canonical JSON: `{"entry":…,"prev":…,"seq":…}`."""
    # Put together by hand: the names are in canonical order, and this halves the cost of verifying.
    return b'{"entry":%b,"prev":%b,"seq":%d}' % (entry_json(entry), rfc8785.dumps(prev), seq)


def chain(prev: AuditRecord | None, entry: AuditEntry, key: bytes) -> AuditRecord:
    """Return the record that follows `prev` (None: the first one)."""
    seq, before = (prev.seq + 1, prev.hash) if prev else (1, GENESIS)
    return AuditRecord(seq, before, entry, sign(record_json(seq, before, entry), key))


def sign(text: bytes, key: bytes) -> str:
    """Return the hex HMAC-SHA256 of `text`."""
    return hmac.digest(key, text, hashlib.sha256).hex()


def genuine(record: AuditRecord, key: bytes) -> bool:
    """Whether the record's own hash fits its content; says nothing about its neighbours."""
    try:
        expected = sign(record_json(record.seq, record.prev, record.entry), key)
    except (StoreError, ValueError):
        return False
    return hmac.compare_digest(expected.encode(), record.hash.encode())


# --- verification ----------------------------------------------------------------------------------------------------


class Fault(StrEnum):
    """What is wrong at the first broken place."""

    EDITED = "edited"  # content and hash do not fit, or another key signed it
    MISSING = "missing"
    REORDERED = "reordered"  # genuine, but not at its place
    CUT = "cut"  # the chain ends before the head that was noted elsewhere


@dataclass(frozen=True, slots=True)
class VerifyResult:
    """What a check of the chain found. `count` records are good; `head` is the last good (seq, hash)."""

    count: int
    head: tuple[int, str]
    fault: Fault | None = None
    broken_seq: int | None = None

    @property
    def ok(self) -> bool:
        return self.fault is None

    def __str__(self) -> str:
        if self.fault is None:
            return f"{self.count} records, unbroken; head {self.head[0]} {self.head[1][:12]}"
        return f"record {self.broken_seq} is {self.fault}; the {self.count} before it are unbroken"


def verify(records: Iterable[AuditRecord], key: bytes, *, expected_head: tuple[int, str] | None = None) -> VerifyResult:
    """Check a whole chain from its first record, in one pass.

    `expected_head` is a (seq, hash) noted elsewhere earlier: the chain must contain it, and may go on behind it.
    Without it a cut tail cannot be seen.
    """
    stream = iter(records)
    seq, prev = 0, GENESIS
    for record in stream:
        fault = _fault(record, seq + 1, prev, stream, key)
        if fault is None and expected_head is not None and record.seq == expected_head[0]:
            fault = None if record.hash == expected_head[1] else Fault.EDITED
        if fault is not None:
            return VerifyResult(seq, (seq, prev), fault, seq + 1)
        seq, prev = record.seq, record.hash
    if expected_head is not None and seq < expected_head[0]:
        return VerifyResult(seq, (seq, prev), Fault.CUT, seq + 1)
    return VerifyResult(seq, (seq, prev))


def _fault(record: AuditRecord, seq: int, prev: str, rest: Iterator[AuditRecord], key: bytes) -> Fault | None:
    """Compare a record with its place; `rest` is consumed only when it stands elsewhere."""
    if record.seq != seq:
        moved = record.seq < seq or any(later.seq == seq for later in rest)
        return Fault.REORDERED if moved else Fault.MISSING
    if not genuine(record, key):
        return Fault.EDITED
    return None if record.prev == prev else Fault.REORDERED


# --- reading what was written ----------------------------------------------------------------------------------------


def parse_json(text: str) -> Json:
    """Read canonical JSON so that writing it again gives the same text. Raises ValueError."""
    value: Json = json.loads(text, parse_int=_number)
    return value


def _number(digits: str) -> int | float:
    # The canonical form of the float 1e16 has neither point nor exponent.
    return int(digits) if len(digits) < 16 or abs(int(digits)) < 2**53 else float(digits)


def parse_entry(document: Json) -> AuditEntry:
    """Rebuild an entry from its JSON. Raises ValueError when a part is missing or of the wrong kind."""
    if not isinstance(document, dict) or document.keys() != _FIELDS:
        raise ValueError("not an audit entry")
    texts = {name: value for name, value in document.items() if isinstance(value, str)}
    facts = document["facts"]
    if len(texts) != len(_FIELDS) - 1 or not isinstance(facts, dict):
        raise ValueError("not an audit entry")
    at = datetime.fromisoformat(texts.pop("at"))
    return AuditEntry(at=at, facts=facts, **texts)


# --- the key ---------------------------------------------------------------------------------------------------------


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
