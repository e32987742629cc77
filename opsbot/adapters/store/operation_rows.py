"""Rows of the journal of effects, inside a transaction: sealed, so that one edited past opsbot is refused."""

import hmac
import json
from collections.abc import Iterable
from datetime import datetime, timedelta

import rfc8785
from sqlalchemy import Connection, RowMapping, Select, insert, select, update

from opsbot import audit
from opsbot.adapters.store import schema
from opsbot.caps import WINDOW_S, Effect, Noted, age_s, journal_time
from opsbot.domain import Closing, Moment, Operation, Result
from opsbot.errors import StoreError
from opsbot.holds import overlap, taken

# What was noted by a clock that was behind is looked at for so long.
_UNSURE_FOR = timedelta(days=1)
# What `result` is until there is one.
OPEN = ""
_rows = schema.operations.c
_sealed = [column for column in schema.operations.c if column.name != "seal"]
_all = select(*_sealed, _rows.seal)
NEWEST = _all.order_by(_rows.claimed_at.desc()).limit(1)
OPEN_ONES = _all.where(_rows.result == OPEN)


class OperationRows:
    """Reads and writes the journal. A removed row is missed by whoever compares with the audit."""

    def __init__(self, key: bytes) -> None:
        self._key = hmac.digest(key, b"opsbot operation seal", "sha256")

    def add(self, connection: Connection, operation: Operation) -> None:
        """Insert the open row of an operation, at the journal's time."""
        noted = journal_time(operation.moment, self._newest(connection))
        row = {**_row(operation), "claimed_at": audit.timestamp(noted.moment.at), "behind": noted.behind}
        connection.execute(insert(schema.operations).values(self._with_seal(row)))

    def _newest(self, connection: Connection) -> Noted | None:
        """Return the time of the newest row."""
        found = [*self._read(connection, NEWEST)]
        return Noted(_moment(found[0]), bool(found[0]["behind"])) if found else None

    def hosts(self, connection: Connection, approval_id: str, host: str | None = None) -> frozenset[str]:
        """Return the hosts with a row, or this one if it has. Raises StoreError if such a row was tampered with."""
        query = _all.where(_rows.approval_id == approval_id)
        found = self._read(connection, query if host is None else query.where(_rows.host == host))
        return frozenset(str(row["host"]) for row in found)

    def check_free(self, connection: Connection, operation: Operation) -> None:
        """Raise TargetTaken when an open operation touches the same of the host."""
        for row in self._read(connection, OPEN_ONES.where(_rows.host == operation.host)):
            if overlap(operation.targets, json.loads(str(row["targets"]))):
                raise taken(operation.host, str(row["approval_id"]))

    def overtaken(self, connection: Connection, approval_id: str, host: str) -> str | None:
        """Return the first request that acted on the same of the host since this one did.

        One noted at the same time counts: when the clock was behind, the journal's time stood still.
        """
        for mine in self._read(connection, _all.where(_rows.approval_id == approval_id, _rows.host == host)):
            since = (_rows.approval_id != approval_id) & (_rows.claimed_at >= str(mine["claimed_at"]))
            others = _all.where(_rows.host == host, since, _rows.result != str(Result.NOT_DONE))
            for row in self._read(connection, others.order_by(_rows.claimed_at)):
                if overlap(json.loads(str(mine["targets"])), json.loads(str(row["targets"]))):
                    return str(row["approval_id"])
        return None

    def close(self, connection: Connection, approval_id: str, closing: Closing) -> bool:
        """End the operation if it is open; tell whether it was."""
        here = (_rows.approval_id == approval_id) & (_rows.host == closing.host)
        found = [*self._read(connection, OPEN_ONES.where(here))]
        for row in found:
            ended = self._with_seal({**row, "result": str(closing.result)})
            connection.execute(update(schema.operations).where(here).values(ended))
        return bool(found)

    def effects(self, connection: Connection, now: Moment) -> tuple[Effect, ...]:
        """Return the effects of the last hour."""
        found = (_effect(row, now) for row in self._read(connection, recent(now)))
        return tuple(effect for effect in found if effect.age_s < WINDOW_S)

    def seal_all(self, connection: Connection) -> None:
        """Seal rows written before there were seals, or under fewer columns."""
        for row in connection.execute(_all).mappings().all():
            here = (_rows.approval_id == row["approval_id"]) & (_rows.host == row["host"])
            connection.execute(update(schema.operations).where(here).values(self._with_seal(_without_seal(row))))

    def _read(self, connection: Connection, query: Select[*tuple[object, ...]]) -> Iterable[dict[str, object]]:
        """Yield rows without their seal. Raises StoreError if one was tampered with."""
        for found in connection.execute(query).mappings().all():
            row = _without_seal(found)
            expected = str(self._with_seal(row)["seal"])
            if not hmac.compare_digest(expected.encode(), str(found["seal"]).encode()):
                raise tampered(str(row["approval_id"]))
            yield row

    def _with_seal(self, row: dict[str, object]) -> dict[str, object]:
        said = rfc8785.dumps({name: _plain(value) for name, value in row.items()})
        return {**row, "seal": audit.sign(said, self._key)}


def recent(now: Moment) -> Select[*tuple[object, ...]]:
    """Select what may be of the last hour: by this boot's own time, or by the clock, which may have been set back."""
    since = audit.timestamp(now.at - timedelta(seconds=WINDOW_S))
    this_boot = (_rows.boot_id == now.boot_id) & (_rows.monotonic_s > now.monotonic_s - WINDOW_S)
    another = (_rows.boot_id != now.boot_id) & (_rows.claimed_at > since)
    unsure = _rows.behind & (_rows.claimed_at > audit.timestamp(now.at - _UNSURE_FOR))
    return _all.where(this_boot | another | unsure, _rows.result != str(Result.NOT_DONE))


def tampered(approval_id: str) -> StoreError:
    """Make the error of a journal that is not as opsbot wrote it."""
    return StoreError(
        f"The journal of request {approval_id} was changed by something other than opsbot, so nothing more is run for "
        "it. Look at its hosts by hand; `opsbot audit verify` and the backups show what was begun."
    )


def _row(operation: Operation) -> dict[str, object]:
    return {
        "approval_id": operation.approval.id,
        "host": operation.host,
        "claimed_at": audit.timestamp(operation.moment.at),
        "digest": operation.approval.digest,
        "requester": operation.requester,
        "targets": json.dumps(operation.targets),
        "machine": operation.moment.machine,
        "boot_id": operation.moment.boot_id,
        "monotonic_s": float(operation.moment.monotonic_s),
        "behind": False,
        "result": OPEN,
    }


def _effect(row: dict[str, object], now: Moment) -> Effect:
    return Effect(str(row["requester"]), age_s(_moment(row), now, behind=bool(row["behind"])))


def _moment(row: dict[str, object]) -> Moment:
    at = datetime.fromisoformat(str(row["claimed_at"]))
    return Moment(at, str(row["machine"]), str(row["boot_id"]), float(str(row["monotonic_s"])))


def _without_seal(row: RowMapping) -> dict[str, object]:
    return {str(name): value for name, value in row.items() if name != "seal"}


def _plain(value: object) -> str | float | bool:
    return value if isinstance(value, float | bool) else str(value)
