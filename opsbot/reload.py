"""A changed inventory, taken over while the bot runs: whole and checked, or not at all."""

import asyncio
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass

import structlog

from opsbot.actions import Catalogue
from opsbot.domain import AuditEntry, Host, Json
from opsbot.errors import ConfigError, StoreError
from opsbot.inventory import Inventory
from opsbot.ports import AuditLog, Clock

log = structlog.get_logger(__name__)

# How often files are looked at. A change counts once two looks in a row agree, so that half-written files do not.
LOOK_EVERY_S = 2.0
# Names and faults an audit record lists.
_LISTED = 50


@dataclass(frozen=True, slots=True)
class Loaded:
    """An inventory without faults. `waiting`: other settings that differ from the running ones until a restart."""

    inventory: Inventory
    waiting: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class InventorySource:
    """Where inventories come from; both are blocking.

    `load` reads and checks everything anew and raises ConfigError; `stamp` is cheap and differs when a file does.
    """

    load: Callable[[], Loaded]
    stamp: Callable[[], Hashable]


class InventoryReload:
    """Watches the inventory's files and swaps the catalogue's inventory when a faultless new one is there.

    What was proposed before is bound to the hosts as they were: an approval whose hosts changed is stale. A new
    inventory counts only once the audit log has it.
    """

    def __init__(self, source: InventorySource, catalogue: Catalogue, audit: AuditLog, clock: Clock) -> None:
        self._source = source
        self._catalogue = catalogue
        self._audit = audit
        self._clock = clock
        self._asked = asyncio.Event()
        self._taken: Hashable = None
        self._seen: Hashable = None

    def ask(self) -> None:
        """Load at the next opportunity, whether or not a file looks changed (SIGHUP)."""
        self._asked.set()

    async def run(self) -> None:
        """Watch until cancelled; never raises otherwise."""
        self._taken = self._seen = await asyncio.to_thread(self._source.stamp)
        while True:
            await self._pause()
            if not await self._try():
                await self._clock.sleep(LOOK_EVERY_S)

    async def _try(self) -> bool:
        try:
            await self.look()
        except StoreError as error:
            log.error("inventory.not_taken", reason=f"the audit log cannot be written: {error}")
            return False
        except Exception:
            log.exception("inventory.reload_failed")
            return False
        return True

    async def _pause(self) -> None:
        """Wait for the next look, or until somebody asks."""
        waiting = asyncio.ensure_future(self._asked.wait())
        sleeping = asyncio.ensure_future(self._clock.sleep(LOOK_EVERY_S))
        try:
            await asyncio.wait({waiting, sleeping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            waiting.cancel()
            sleeping.cancel()

    async def look(self) -> None:
        """Look once, and take what is new and settled. Raises StoreError: nothing was taken."""
        stamp = await asyncio.to_thread(self._source.stamp)
        asked = self._asked.is_set()
        settled, self._seen = stamp == self._seen, stamp
        if not settled or (stamp == self._taken and not asked):
            return
        try:
            loaded = await asyncio.to_thread(self._source.load)
        except ConfigError as error:
            await self._refuse(error)
            self._done(stamp)
            return
        if await asyncio.to_thread(self._source.stamp) != stamp:
            return  # written to while it was read
        await self._take(loaded, asked=asked)
        self._done(stamp)

    def _done(self, stamp: Hashable) -> None:
        self._taken = stamp
        self._asked.clear()

    async def _refuse(self, error: ConfigError) -> None:
        faults = str(error).splitlines()
        log.error("inventory.refused", faults=faults[:_LISTED], kept=self._catalogue.inventory.revision[:16])
        await self._record("inventory.refused", faults=[*faults[:_LISTED]], count=len(faults))

    async def _take(self, loaded: Loaded, *, asked: bool) -> None:
        old, new = self._catalogue.inventory, loaded.inventory
        if loaded.waiting:
            log.warning("config.restart_needed", sections=loaded.waiting)
        if old.revision == new.revision:
            if asked:
                log.info("inventory.unchanged", hosts=len(new.hosts))
            return
        changes = _changes(old.hosts, new.hosts)
        counts: dict[str, Json] = {name: len(names) for name, names in changes.items()}
        listed: dict[str, Json] = {name: [*names[:_LISTED]] for name, names in changes.items()}
        facts: dict[str, Json] = {"before": old.revision, "after": new.revision, "counts": counts, **listed}
        await self._record("inventory.reloaded", **facts)
        self._catalogue.inventory = new
        log.info("inventory.reloaded", hosts=len(new.hosts), **counts)

    async def _record(self, kind: str, **facts: Json) -> None:
        await self._audit.append(AuditEntry(kind, self._clock.now(), facts=facts))


def _changes(old: Mapping[str, Host], new: Mapping[str, Host]) -> dict[str, tuple[str, ...]]:
    def named(names: Iterable[str]) -> tuple[str, ...]:
        return tuple(sorted(names))

    return {
        "added": named(new.keys() - old.keys()),
        "removed": named(old.keys() - new.keys()),
        "changed": named(name for name in old.keys() & new.keys() if _differs(old[name], new[name])),
    }


def _differs(one: Host, other: Host) -> bool:
    return one != other or dict(one.health) != dict(other.health)
