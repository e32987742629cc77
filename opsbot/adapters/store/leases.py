"""Replicas and leases: who lives, who is at work on what, and what a dead one left behind."""

from collections.abc import Mapping

from sqlalchemy import ColumnElement, Connection, and_, delete, insert, not_, select, text, update

from opsbot.adapters.store import schema
from opsbot.adapters.store.database import Database
from opsbot.domain import Beats, Lease
from opsbot.errors import Fenced

_leases = schema.leases.c
_replicas = schema.replicas.c
_holders = select(_replicas.id).where(_replicas.id == _leases.holder)
LAPSED = select(_leases.name).where(not_(_holders.exists())).order_by(_leases.name)


class Membership:
    """One replica's part in the database, inside transactions of the other tables."""

    def __init__(self, replica: str) -> None:
        self.replica = replica

    def join(self, connection: Connection, *, alone: bool) -> None:
        """Begin, or begin anew; `alone`: no other process can be there, so whatever earlier ones held lapses."""
        if alone:
            connection.execute(delete(schema.replicas))
        connection.execute(
            schema.insert_new(connection, schema.replicas, {"id": self.replica, "beat": 0}, returning=_replicas.id)
        )

    def check(self, connection: Connection) -> None:
        """Refuse to write for a replica that was given up. Until the transaction ends it cannot be given up."""
        mine = select(_replicas.id).where(_replicas.id == self.replica).with_for_update(read=True, key_share=True)
        if connection.execute(mine).first() is None:
            raise Fenced(
                "The other replicas gave this one up, since it was silent for too long; its work is theirs now."
            )

    def take(self, connection: Connection, name: str) -> Lease | None:
        """Take the lease unless a living replica other than this one holds it. Raises Fenced."""
        self.check(connection)
        values = {"name": name, "holder": self.replica, "attempts": 1, "handed": False}
        while (
            connection.execute(schema.insert_new(connection, schema.leases, values, returning=_leases.name)).first()
            is None
        ):
            here = _leases.name == name
            query = select(_leases.holder, _leases.attempts).where(here).with_for_update()
            row = connection.execute(query).one_or_none()
            if row is None:
                continue  # dropped just now
            if row.holder != self.replica and _lives(connection, row.holder):
                return None
            taken_over = row.holder != self.replica
            attempts = row.attempts + (taken_over and row.holder != "")
            changes = {"holder": self.replica, "attempts": attempts, "handed": False}
            connection.execute(update(schema.leases).where(here).values(changes))
            return Lease(name, attempts, taken_over)
        return Lease(name)

    def drop(self, connection: Connection, name: str) -> bool:
        """End the lease if this replica holds it; return whether it did."""
        gone = connection.execute(delete(schema.leases).where(_leases.name == name, self._mine).returning(_leases.name))
        return gone.first() is not None

    @property
    def _mine(self) -> ColumnElement[bool]:
        return _leases.holder == self.replica


def _lives(connection: Connection, replica: str) -> bool:
    return connection.execute(select(_replicas.id).where(_replicas.id == replica)).first() is not None


class SqlLeases:
    """Implements `ports.Leases`."""

    def __init__(self, database: Database, membership: Membership) -> None:
        self._database = database
        self._me = membership

    async def take(self, name: str) -> Lease | None:
        """Take it, or take it over from a dead replica; None while a living one has it. Raises Fenced."""
        return await self._database.write(lambda connection: self._me.take(connection, name))

    async def drop(self, name: str) -> None:
        """End it; nothing happens if it is not this replica's."""
        await self._database.write(lambda connection: self._me.drop(connection, name))

    async def hand_over(self, name: str, *, to_holder_of: str) -> bool:
        """Give a lease of this replica to the living one that holds another; False if there is none."""

        def work(connection: Connection) -> bool:
            there = select(_leases.holder).where(_leases.name == to_holder_of).with_for_update()
            holder = connection.execute(there).scalar_one_or_none()
            if holder in (None, self._me.replica) or not _lives(connection, holder):
                return False
            given = update(schema.leases).where(_leases.name == name, _leases.holder == self._me.replica)
            changed = connection.execute(given.values(holder=holder, handed=True).returning(_leases.name))
            return changed.first() is not None

        return await self._database.write(work)


class SqlReplicas:
    """Implements `ports.Replicas`. Its database has a connection of its own: a beat never waits for other work."""

    def __init__(self, database: Database, membership: Membership, *, alone: bool) -> None:
        self._database = database
        self._me = membership
        self._alone = alone

    @property
    def shared(self) -> bool:
        """Whether other replicas can be on this database."""
        return not self._alone

    async def join(self) -> None:
        """Begin, or begin anew after a silence before anything was held."""
        await self._database.write(lambda connection: self._me.join(connection, alone=self._alone))

    async def beat(self) -> Beats:
        """Show that this replica lives; return what it should know. Raises Fenced."""
        return await self._database.write(self._beat)

    def _beat(self, connection: Connection) -> Beats:
        if connection.dialect.name == "postgresql":
            # A beat lost with the server is soon made up for; a synced write each second is not free.
            connection.execute(text("SET LOCAL synchronous_commit = off"))
        self._me.check(connection)
        mine = _replicas.id == self._me.replica
        connection.execute(update(schema.replicas).where(mine).values(beat=_replicas.beat + 1))
        others = connection.execute(select(_replicas.id, _replicas.beat).where(not_(mine)))
        handed = connection.execute(
            update(schema.leases)
            .where(and_(_leases.holder == self._me.replica, _leases.handed))
            .values(handed=False)
            .returning(_leases.name)
        ).scalars()
        seen: Mapping[str, int] = {row.id: row.beat for row in others}
        lapsed = tuple(connection.execute(LAPSED).scalars())
        return Beats(self._me.replica, seen, tuple(sorted(handed)), lapsed)

    async def give_up(self, replica: str, beat: int) -> bool:
        """Count a replica as dead unless it has shown life since that beat; from now on its leases have lapsed."""
        silent = delete(schema.replicas).where(_replicas.id == replica, _replicas.beat == beat)
        statement = silent.returning(_replicas.id)
        return await self._database.write(lambda connection: connection.execute(statement).first() is not None)

    async def leave(self) -> None:
        """End in good order: what this replica still holds lapses at once, and counts as no attempt."""

        def work(connection: Connection) -> None:
            mine = _leases.holder == self._me.replica
            # Whoever writes locks the replica first and a lease after it; in another order they would deadlock.
            connection.execute(select(_replicas.id).where(_replicas.id == self._me.replica).with_for_update())
            connection.execute(update(schema.leases).where(mine).values(holder="", handed=False))
            connection.execute(delete(schema.replicas).where(_replicas.id == self._me.replica))

        await self._database.write(work)


def insert_lease(connection: Connection, membership: Membership, name: str) -> None:
    """Lease something that nobody else can know of yet, in the transaction that makes it. Raises Fenced."""
    membership.check(connection)
    values = {"name": name, "holder": membership.replica, "attempts": 1, "handed": False}
    connection.execute(insert(schema.leases).values(values))
