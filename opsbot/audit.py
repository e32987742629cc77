"""The audit's hash chain: what is hashed, how records are chained, and how a chain is checked."""

import hashlib
import hmac
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import NamedTuple

import rfc8785

from opsbot.domain import AuditEntry, AuditRecord, Json
from opsbot.errors import StoreError

# `prev` of the first record.
GENESIS = "0" * 64
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
    return fits(line_of(record), key)


# --- lines: records as they are stored -------------------------------------------------------------------------------


class Line(NamedTuple):
    """A record as it is stored: `text` is the entry's JSON, letter for letter what the hash covers."""

    seq: int
    prev: str
    text: str
    hash: str


def line_of(record: AuditRecord) -> Line:
    """Return the record as it is stored; an entry without a canonical form has no text, which fits no hash."""
    try:
        text = entry_json(record.entry).decode()
    except (StoreError, ValueError):
        text = ""
    return Line(record.seq, record.prev, text, record.hash)


def record_of(line: Line) -> AuditRecord:
    """Rebuild the record. Raises ValueError (or RecursionError) when the text is no entry."""
    return AuditRecord(line.seq, line.prev, parse_entry(parse_json(line.text)), line.hash)


# --- verification ----------------------------------------------------------------------------------------------------


class Fault(StrEnum):
    """What is wrong at the first broken place."""

    EDITED = "edited"  # content and hash do not fit, or another key signed it
    MISSING = "missing"
    REORDERED = "reordered"  # genuine, but not at its place
    CUT = "cut"  # the chain ends before a head that was noted elsewhere
    REWRITTEN = "rewritten"  # genuine, but another one was noted elsewhere under this number


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


def verify(
    records: Iterable[AuditRecord | Line],
    key: bytes,
    *,
    expected_head: tuple[int, str] | None = None,
    anchors: Iterable[tuple[int, str]] = (),
    after: tuple[int, str] = (0, GENESIS),
) -> VerifyResult:
    """Check a whole chain from its first record, in one pass; or what comes after a head that is known to be good.

    `expected_head` and `anchors` are (seq, hash) noted elsewhere earlier: the chain must contain them all, and may go
    on behind them. Without any a cut tail, or an older file put back, cannot be seen.
    """
    noted = _noted([*anchors, *([expected_head] if expected_head else [])])
    signed = _signer(key)
    stream = (record if isinstance(record, Line) else line_of(record) for record in records)
    seq, prev = after
    for line in stream:
        if line.seq != seq + 1 or line.prev != prev or signed(_covered(line)) != line.hash:
            return VerifyResult(seq, (seq, prev), _fault(line, seq + 1, stream, signed), seq + 1)
        if noted and noted.get(line.seq, line.hash) != line.hash:
            return VerifyResult(seq, (seq, prev), Fault.REWRITTEN, seq + 1)
        seq, prev = line.seq, line.hash
    fault = Fault.CUT if any(number > seq for number in noted) else None
    return VerifyResult(seq, (seq, prev), fault, seq + 1 if fault else None)


def _noted(heads: Iterable[tuple[int, str]]) -> dict[int, str]:
    """Sort heads by number. Two different hashes of one number fit no chain: it was continued twice from there."""
    noted: dict[int, str] = {}
    for seq, text in heads:
        noted[seq] = text if noted.get(seq, text) == text else ""
    return noted


def _covered(line: Line) -> bytes:
    # By hand, in canonical order; the stored text is canonical, or it does not fit the hash.
    return b'{"entry":%b,"prev":%b,"seq":%d}' % (
        line.text.encode("utf-8", "surrogatepass"),
        _quoted(line.prev),
        line.seq,
    )


def _quoted(prev: str) -> bytes:
    return b'"%b"' % prev.encode() if prev.isalnum() and prev.isascii() else rfc8785.dumps(prev)


def _signer(key: bytes) -> Callable[[bytes], str]:
    """Return `sign` for one key and many texts, at half its cost: the key's own part is computed once."""
    ready = hmac.new(key, digestmod=hashlib.sha256)

    def signed(text: bytes) -> str:
        one = ready.copy()
        one.update(text)
        return one.hexdigest()

    return signed


def fits(line: Line, key: bytes) -> bool:
    """Whether a stored line fits its own hash; says nothing about its neighbours."""
    return _genuine(line, _signer(key))


def _genuine(line: Line, signed: Callable[[bytes], str]) -> bool:
    try:
        return hmac.compare_digest(signed(_covered(line)).encode(), line.hash.encode())
    except (StoreError, ValueError):
        return False


def _fault(line: Line, seq: int, rest: Iterator[Line], signed: Callable[[bytes], str]) -> Fault:
    """Say what is wrong with a line that is not the next one; `rest` is consumed only when it stands elsewhere."""
    if line.seq != seq:
        moved = line.seq < seq or any(later.seq == seq for later in rest)
        return Fault.REORDERED if moved else Fault.MISSING
    return Fault.REORDERED if _genuine(line, signed) else Fault.EDITED


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
