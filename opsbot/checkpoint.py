"""What an action must pass beside the policy: the stop, freezes, caps. Asked for a proposal, and before each host."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from opsbot.actions import Prepared
from opsbot.caps import Caps, check_hosts, check_hour
from opsbot.domain import Host, Moment
from opsbot.errors import Held, StoreError
from opsbot.freezes import PlannedFreeze
from opsbot.holds import Hold, HoldKind, holding, told_why
from opsbot.ports import Clock, StopSwitch, Store


class NoSwitch:
    """Implements `ports.StopSwitch` where there is none beside the database."""

    def thrown(self) -> Hold | None:
        return None

    def release(self) -> bool:
        return False


@dataclass(frozen=True, slots=True)
class Brakes:
    """What the operator configured to hold actions back."""

    caps: Caps = field(default_factory=Caps)
    freezes: tuple[PlannedFreeze, ...] = ()
    switch: StopSwitch = field(default_factory=NoSwitch)


class Checkpoint:
    """Looks at all brakes together. Whatever cannot be read holds everything back."""

    def __init__(self, store: Store, clock: Clock, brakes: Brakes) -> None:
        self._store = store
        self._clock = clock
        self.brakes = brakes
        self._seen: tuple[Hold, ...] = ()
        self._began = clock.moment()

    @property
    def caps(self) -> Caps:
        return self.brakes.caps

    async def in_force(self) -> tuple[Hold, ...]:
        """Return every stop and freeze that holds now. Raises StoreError."""
        self._seen = self._all(await self._store.holds.standing())
        return self._seen

    def in_force_now(self) -> tuple[Hold, ...]:
        """As `in_force`; blocks, for worker threads."""
        return self._all(self._store.holds.standing_now())

    def _all(self, standing: Iterable[Hold]) -> tuple[Hold, ...]:
        now = self._clock.now()
        thrown = self.brakes.switch.thrown()
        planned = (freeze.at(now) for freeze in self.brakes.freezes)
        every = (thrown, *standing, *planned)
        return tuple(hold for hold in every if hold is not None and hold.in_force(now))

    async def stopped(self) -> Hold | None:
        """Return the stop in force, None: none. Raises StoreError."""
        return next((hold for hold in await self.in_force() if hold.kind is HoldKind.STOP), None)

    async def check_proposal(self, prepared: Prepared, person: str) -> None:
        """Check that this may be asked for now.

        Raises:
            Held, CapReached: it may not; the text says why and when.
        """
        await self.check(prepared.hosts, prepared.targets)
        self.check_hosts(prepared.hosts)
        moment = self.moment()
        effects = await self._store.operations.effects(moment)
        check_hour(self.caps, effects, person, more=len(prepared.hosts), now=moment.at)

    def moment(self) -> Moment:
        """Return now as effects are counted: a clock that was set back since this process began goes on from then."""
        now = self._clock.moment()
        passed = timedelta(seconds=now.monotonic_s - self._began.monotonic_s)
        return replace(now, at=max(now.at, self._began.at + passed)) if now.boot_id == self._began.boot_id else now

    def check_hosts(self, hosts: Sequence[Host]) -> None:
        """Check how many hosts are in one action. Raises CapReached."""
        check_hosts(self.caps, hosts)

    async def check(self, hosts: Sequence[Host], targets: Sequence[str]) -> None:
        """Check that nothing holds an action on these targets of these hosts back. Raises Held."""
        self._check(await self.in_force(), hosts, targets)

    def check_now(self, hosts: Sequence[Host], targets: Sequence[str]) -> None:
        """As `check`; blocks, for worker threads, right before a command is sent."""
        try:
            holds = self.in_force_now()
        except StoreError as error:
            raise Held(f"Held back, since stops and freezes cannot be read: {error}", rule=HoldKind.STOP) from error
        self._check(holds, hosts, targets)

    def _check(self, holds: Iterable[Hold], hosts: Sequence[Host], targets: Sequence[str]) -> None:
        hold = holding(holds, hosts, targets, self._clock.now())
        if hold is not None:
            raise Held(f"Held back: {told_why(hold)}", rule=hold.kind)

    def held(self, hosts: Sequence[Host], targets: Sequence[str]) -> Hold | None:
        """Return what held such an action back when brakes were last looked at; for what is shown, never to decide."""
        return holding(self._seen, hosts, targets, self._clock.now())
