"""What a bot's database says of its requests, read beside the bot."""

import json
from dataclasses import dataclass

from sqlalchemy import create_engine, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import NullPool

FINAL = frozenset({"done", "failed", "unknown", "denied", "expired", "stale"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One request."""

    id: str
    state: str
    host: str


class Ledger:
    """Reads; never writes, and never waits for the bot."""

    def __init__(self, url: str) -> None:
        address = url.replace("postgresql://", "postgresql+psycopg://")
        self._engine = create_engine(address, poolclass=NullPool if address.startswith("sqlite") else None)
        # By id: what a request is about never changes.
        self._hosts: dict[str, str] = {}

    def close(self) -> None:
        self._engine.dispose()

    def entries(self, host: str = "") -> list[Entry]:
        """All requests, oldest first; or those for one host."""
        rows = self.rows("SELECT id, state FROM approvals ORDER BY created_at, id")
        found = [Entry(approval_id, state, self._host(approval_id)) for approval_id, state in rows]
        return [entry for entry in found if not host or entry.host == host]

    def get(self, approval_id: str) -> Entry:
        """One request."""
        state = self.rows(f"SELECT state FROM approvals WHERE id = '{approval_id}'")[0][0]
        return Entry(approval_id, state, self._host(approval_id))

    def _host(self, approval_id: str) -> str:
        if approval_id not in self._hosts:
            record = self.rows(f"SELECT record FROM approvals WHERE id = '{approval_id}'")[0][0]
            self._hosts[approval_id] = ",".join(json.loads(record)["value"]["action"]["hosts"])
        return self._hosts[approval_id]

    def open_events(self) -> int:
        """How many accepted events are not finished."""
        return int(self.rows("SELECT count(*) FROM inbox WHERE NOT finished")[0][0])

    def waiting_messages(self) -> int:
        """How many messages people may not see as they should be."""
        return int(self.rows("SELECT count(*) FROM outbox WHERE waiting")[0][0])

    def leases(self) -> list[str]:
        """What is being worked on."""
        return [row[0] for row in self.rows("SELECT name FROM leases ORDER BY name")]

    def gave_up_on(self, words: str) -> bool:
        """Whether the newest event with these words was given up openly."""
        rows = self.rows(f"SELECT id FROM inbox WHERE event LIKE '%{words}%' ORDER BY seq DESC LIMIT 1")
        where = f"entry LIKE '%event.abandoned%' AND entry LIKE '%{rows[0][0]}%'" if rows else "1 = 0"
        return bool(self.rows(f"SELECT seq FROM audit WHERE {where}"))

    def recorded(self, kind: str) -> int:
        """How many audit records of a kind there are."""
        return int(self.rows(f'SELECT count(*) FROM audit WHERE entry LIKE \'%"kind":"{kind}"%\'')[0][0])

    def rows(self, query: str) -> list[tuple]:
        """Run one query; an SQLite file that is being recovered is read again."""
        for _ in range(50):
            try:
                with self._engine.connect() as connection:
                    return [tuple(row) for row in connection.execute(text(query))]
            except DBAPIError as error:
                last = error
        raise last
