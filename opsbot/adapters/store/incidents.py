"""Reports of incidents that are over: kept whole, and found as runbooks are."""

from sqlalchemy import Connection, insert, select, update

from opsbot.adapters.store import schema
from opsbot.adapters.store.codec import INCIDENTS
from opsbot.adapters.store.database import Database
from opsbot.adapters.store.passages import put_document
from opsbot.audit import timestamp
from opsbot.passages import Incident

_rows = schema.incidents.c


class SqlIncidents:
    """Implements `ports.Incidents`."""

    def __init__(self, database: Database, reader: Database) -> None:
        self._database = database
        self._reader = reader

    async def put(self, incident: Incident) -> None:
        """Store a report in place of the one of its id, in one transaction with what finds it."""
        await self._database.write(lambda connection: put_incident(connection, incident))

    def get(self, incident_id: str) -> Incident | None:
        """Return a report. Blocks."""
        query = select(_rows.record).where(_rows.id == incident_id)
        record = self._reader.read_blocking(lambda connection: connection.execute(query).scalar())
        return INCIDENTS.decode(record) if record is not None else None


def put_incident(connection: Connection, incident: Incident) -> None:
    """Store a report within a transaction, as `SqlIncidents.put`."""
    values = {"closed_at": timestamp(incident.closed_at), "record": INCIDENTS.encode(incident)}
    here = _rows.id == incident.id
    known = connection.execute(update(schema.incidents).where(here).values(**values).returning(_rows.id)).first()
    if known is None:
        connection.execute(insert(schema.incidents).values(id=incident.id, **values))
    put_document(connection, incident.as_document())
