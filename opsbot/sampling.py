"""Looks at every host by itself, again and again, so that there is a past to ask about; spread, and out of the way."""

import asyncio
from collections.abc import Callable, Sequence
from functools import partial

import structlog

from opsbot.domain import Host
from opsbot.errors import CommandTimedOut, HostUnreachable, OpsbotError
from opsbot.lanes import Lanes
from opsbot.ports import Clock, Machines
from opsbot.recorder import Recorder

# Disks and failed units change slowly, and reading them starts processes on the host.
FACTS_EVERY_S = 600.0
_VITALS_TIMEOUT_S, _FACTS_TIMEOUT_S = 5.0, 15.0
_GRACE_S = 1.0
# A few at once, so that a person's question never finds the processor taken; those of hosts that hang step aside.
_AT_ONCE, _MOST = 4, 32
_TICK_S = 1.0

log = structlog.get_logger(__name__)


class Sampling:
    """Looks at each of `hosts()` once in `every_s` seconds, evenly spread; every ten minutes more closely.

    Of several replicas the one that `leads` does it for all. A host is never asked twice at once. A host suspected
    down is answered for by its connection pool at once, and tried for real as rarely as by everybody else.
    """

    def __init__(
        self,
        machines: Machines,
        recorder: Recorder,
        *,
        hosts: Callable[[], Sequence[Host]],
        clock: Clock,
        every_s: float,
        leads: Callable[[], bool] = lambda: True,
    ) -> None:
        self._machines = machines
        self._recorder = recorder
        self._hosts = hosts
        self._clock = clock
        self._every_s = every_s
        self._leads = leads
        self._facts_rounds = max(1, round(FACTS_EVERY_S / every_s)) if every_s else 1
        self._lanes = Lanes(_AT_ONCE, "opsbot-sample", most=_MOST)
        self._looks: dict[str, asyncio.Task[None]] = {}
        self._rounds: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin, unless it is switched off."""
        if self._every_s:
            self._rounds = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Begin no more looks; those under way end by their own deadlines, and nobody waits for them."""
        tasks = [task for task in (self._rounds, *self._looks.values()) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._lanes.close()

    async def idle(self) -> None:
        """Wait until no look is under way."""
        while self._looks:
            await asyncio.wait(list(self._looks.values()))

    async def _run(self) -> None:
        number = 0
        while True:
            hosts = tuple(self._hosts())
            ticks = max(1, min(len(hosts), int(self._every_s / _TICK_S)))
            for tick in range(ticks):
                for position in range(tick, len(hosts), ticks):
                    self._begin(hosts[position], closely=(number + position) % self._facts_rounds == 0)
                await self._clock.sleep(self._every_s / ticks)
            number += 1

    def _begin(self, host: Host, *, closely: bool) -> None:
        if host.name in self._looks or not self._leads():
            return
        task = asyncio.create_task(self._look(host, closely=closely))
        self._looks[host.name] = task
        task.add_done_callback(lambda _: self._looks.pop(host.name, None))

    async def _look(self, host: Host, *, closely: bool) -> None:
        timeout_s = _FACTS_TIMEOUT_S if closely else _VITALS_TIMEOUT_S
        look = self._machines.facts if closely else self._machines.vitals
        try:
            await self._lanes.run(partial(look, host, timeout_s=timeout_s), timeout_s + _GRACE_S)
        except (CommandTimedOut, TimeoutError):
            self._recorder.missed(host)
        except HostUnreachable:
            log.debug("sample.unreachable", host=host.name)  # the machines have noted it
        except OpsbotError as error:
            log.debug("sample.refused", host=host.name, error=str(error))
        except Exception:
            # As for a tool's call: one host's surprise must not end the looks at all others.
            log.exception("sample.crashed", host=host.name)
