"""Samples: one row per host and look, read beside everything else, written and thinned in short transactions."""

import json
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection, Select, delete, select
from sqlalchemy.dialects import postgresql, sqlite

from opsbot import thinning
from opsbot.adapters.store import schema
from opsbot.adapters.store.database import Database
from opsbot.domain import Metric, Sample
from opsbot.thinning import SLOT_S, Figures

# How `step_s` marks what was measured, not averaged.
RAW = 0
# Rows one transaction thins at most: some milliseconds.
_THIN_ROWS = 1000
# Stored millions of times, so one letter each. Never reuse one; what is unknown is skipped on reading.
_LETTERS: Mapping[Metric, str] = {
    Metric.LOAD: "l",
    Metric.CPU: "c",
    Metric.MEMORY: "m",
    Metric.SWAP: "s",
    Metric.UPTIME: "u",
    Metric.REACHABLE: "r",
    Metric.DISK: "d",
    Metric.FAILED_UNITS: "f",
    Metric.CPUS: "n",
}
_METRICS = {letter: metric for metric, letter in _LETTERS.items()}
_rows = schema.samples.c


class SqlSamples:
    """Implements `ports.Samples`. `reader` has connections of its own, so that no reading is in the way of a write."""

    def __init__(self, database: Database, reader: Database) -> None:
        self._database = database
        self._reader = reader

    async def add(self, samples: Sequence[Sample]) -> None:
        """Store them in one transaction; a host that has samples of that very second keeps those instead."""
        looks: dict[tuple[str, int], dict[tuple[Metric, str], float]] = defaultdict(dict)
        for sample in samples:
            looks[sample.host, int(sample.at.timestamp())][sample.metric, sample.part] = sample.value
        rows = [_row(host, RAW, at_s, figures) for (host, at_s), figures in sorted(looks.items())]
        if rows:
            await self._database.write(lambda connection: _insert(connection, rows))

    def window(self, host: str, metrics: Sequence[Metric], *, since: datetime) -> tuple[Sample, ...]:
        """Return a host's samples from that time on, oldest first."""
        wanted = {_LETTERS[metric] for metric in metrics}
        from_s = int(since.timestamp())

        def work(connection: Connection) -> list[tuple[int, str]]:
            means, raw = (connection.execute(read(host, step_s, from_s)).all() for step_s in (SLOT_S, RAW))
            return [(row.at_s, row.figures) for row in (*means, *raw)]

        rows = self._reader.read_blocking(work)
        found = ((datetime.fromtimestamp(at_s, UTC), _decoded(text, wanted)) for at_s, text in rows)
        return tuple(
            Sample(host, metric, at, value, part) for at, figures in found for (metric, part), value in figures.items()
        )

    def oldest(self, host: str) -> datetime | None:
        """Return the time of the first sample kept of a host."""
        queries = [read(host, step_s, 0).limit(1) for step_s in (SLOT_S, RAW)]
        rows = self._reader.read_blocking(lambda connection: [connection.execute(query).first() for query in queries])
        return min((datetime.fromtimestamp(row.at_s, UTC) for row in rows if row is not None), default=None)

    async def thin(self, now: datetime, *, after: str = "") -> str:
        """Thin the next host's samples; see `ports.Samples`."""

        def work(connection: Connection) -> str:
            row = connection.execute(next_host(after)).first()
            if row is None:
                return ""
            host = str(row.host)
            _thin(connection, host, thinning.raw_until_s(now))
            _forget(connection, host, SLOT_S, before_s=thinning.kept_from_s(now))
            return host

        return await self._database.write(work)


def read(host: str, step_s: int, from_s: int) -> Select[tuple[int, str]]:
    """Return the query for a host's rows from that second on, in order."""
    here = (_rows.host == host) & (_rows.step_s == step_s) & (_rows.at_s >= from_s)
    return select(_rows.at_s, _rows.figures).where(here).order_by(_rows.at_s)


def next_host(after: str) -> Select[tuple[str]]:
    """Return the query for the first host after this one, which the index answers without looking at its rows."""
    return select(_rows.host).where(_rows.host > after).order_by(_rows.host).limit(1)


def _thin(connection: Connection, host: str, before_s: int) -> None:
    query = read(host, RAW, 0).where(_rows.at_s < before_s).limit(_THIN_ROWS)
    old = [(row.at_s, _decoded(row.figures)) for row in connection.execute(query)]
    if len(old) == _THIN_ROWS:
        # The last slot may go on beyond the limit; a slot alone is shorter than that.
        before_s = thinning.slot_of(old[-1][0])
        old = [look for look in old if look[0] < before_s]
    if old:
        _insert(connection, [_row(host, SLOT_S, at_s, figures) for at_s, figures in thinning.means(old).items()])
        _forget(connection, host, RAW, before_s=before_s)


def _forget(connection: Connection, host: str, step_s: int, *, before_s: int) -> None:
    here = (_rows.host == host) & (_rows.step_s == step_s) & (_rows.at_s < before_s)
    connection.execute(delete(schema.samples).where(here))


def _insert(connection: Connection, rows: Sequence[Mapping[str, object]]) -> None:
    if connection.dialect.name == "postgresql":
        connection.execute(postgresql.insert(schema.samples).on_conflict_do_nothing(), rows)
    else:
        connection.execute(sqlite.insert(schema.samples).on_conflict_do_nothing(), rows)


# --- rows ------------------------------------------------------------------------------------------------------------


def _row(host: str, step_s: int, at_s: int, figures: Figures) -> dict[str, object]:
    named = {f"{_LETTERS[metric]}{part}": _short(value) for (metric, part), value in figures.items()}
    text = json.dumps(named, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return {"host": host, "step_s": step_s, "at_s": at_s, "figures": text}


def _short(value: float) -> float | int:
    return int(value) if value == int(value) else value


def _decoded(text: str, wanted: set[str] | None = None) -> dict[tuple[Metric, str], float]:
    """Read a row's figures, those whose letter is wanted."""
    return {
        (_METRICS[name[0]], name[1:]): float(value)
        for name, value in json.loads(text).items()
        if (name[0] in _METRICS if wanted is None else name[0] in wanted)
    }
