"""The living processes on one database, and who of them is at work on what."""

from typing import Protocol

from opsbot.domain import Beats, Lease


class Leases(Protocol):
    """Who is at work on what, among the replicas on one database. A lease lapses with the replica that holds it."""

    async def take(self, name: str) -> Lease | None:
        """Take the lease, or take it over if it has lapsed; None while another living replica holds it.

        Raises:
            Fenced: this replica was given up.
        """
        ...

    async def drop(self, name: str) -> None:
        """End the lease, if it is this replica's."""
        ...

    async def hand_over(self, name: str, *, to_holder_of: str) -> bool:
        """Give this replica's lease to the living replica that holds another; False: there is none, or it is this one.

        The other learns of it at its next beat.
        """
        ...


class Replicas(Protocol):
    """The living processes on one database, as they know each other. Opening the store makes a process one of them."""

    @property
    def shared(self) -> bool:
        """Whether there can be others. Where not, whatever an earlier process held has lapsed from the start."""
        ...

    async def join(self) -> None:
        """Begin anew, before anything is held."""
        ...

    async def beat(self) -> Beats:
        """Show that this replica lives, and learn of the others.

        Raises:
            Fenced: they gave this replica up.
        """
        ...

    async def give_up(self, replica: str, beat: int) -> bool:
        """Count another replica as dead, unless it has shown life since that beat: its leases lapse."""
        ...

    async def leave(self) -> None:
        """End in good order: what this replica holds lapses at once, and is not counted as an attempt."""
        ...
