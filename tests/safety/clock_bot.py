"""A bot as a process of its own, on a real database and the real clock, told what people do on its standard input.

Run as `python -m tests.safety.clock_bot DATABASE LIFETIME_S BOOT_FILE`; each line in is a word, each line out is JSON.
"""

import asyncio
import json
import sys
import uuid
from itertools import count
from pathlib import Path

from opsbot.adapters.clock import SystemClock
from opsbot.adapters.store import open_store
from opsbot.domain import Approval, ApprovalState, Card
from opsbot.errors import OpsbotError
from tests.records import KEY
from tests.safety.decided import approved_only
from tests.scenario.house import ALICE, BOB, House, World

NGINX = ("web-1", "nginx.service")


class ClockBot:
    """A house whose clock is the machine's."""

    def __init__(self, database: str, lifetime_s: float, boot: str) -> None:
        clock = SystemClock(boot_id=Path(boot))
        store = open_store(f"sqlite:///{database}", audit_key=KEY)
        # Under libfaketime the system's own sleep fails once the clock was moved.
        self.world = World(store=store, clock=clock, lifetime_s=lifetime_s, sleep=_no_wait)  # type: ignore[arg-type]
        self.world.ids = count(uuid.uuid4().int)  # Slack numbers events on over processes
        self.house = House(self.world)

    async def obey(self, word: str) -> dict[str, object]:
        if word == "ask":
            await self.house.types(ALICE, "restart nginx web-1")
        elif word in ("approve", "deny", "withdraw"):
            await self.house.send(await self._click(word))
            await self.house.quiet()
        elif word == "approve_only":
            await approved_only(self.house)
        elif word == "sweep":
            await self.house.service._parts.desk.sweep()
            await self.house.quiet()
        return await self.report()

    async def _click(self, verb: str):
        posted = await self._card()
        return self.house.click(ALICE if verb == "withdraw" else BOB, verb, posted)

    async def _card(self):
        """The newest card, as it stands: it outlives processes, as Slack does."""
        newest = await self._newest()
        item = await self.world.store.outbox.get(f"card:{newest.id}")
        content = item.content
        assert isinstance(content, Card)
        for posted in self.house.cards():
            if posted.content.approval.id == newest.id:
                return posted
        await self.world.chat.post(item.place, content, key=item.key)
        posted = self.world.chat.messages[-1]
        posted.ref = item.ref
        return posted

    async def _newest(self) -> Approval:
        return (await self.world.store.approvals.in_state(*ApprovalState))[-1]

    async def report(self) -> dict[str, object]:
        found = await self.world.store.approvals.in_state(*ApprovalState)
        records = await self.world.store.audit.read()
        moment = self.world.clock.moment()
        return {
            "state": str(found[-1].state) if found else "",
            "note": found[-1].note if found else "",
            "said": self.house.whispered,
            "restarts": self.world.machines.restarts[NGINX],
            "seqs": [record.seq for record in records],
            "at": moment.at.isoformat(),
            "monotonic_s": moment.monotonic_s,
        }


def _no_wait(_: float) -> None:
    return


async def main() -> None:
    answers, sys.stdout = sys.stdout, sys.stderr  # the log goes elsewhere
    database, lifetime_s, boot = sys.argv[1:]
    bot = ClockBot(database, float(lifetime_s), boot)
    await bot.house.service._parts.delivery.recover()
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        try:
            answer = await bot.obey(line.strip())
        except OpsbotError as error:
            answer = {"error": str(error)}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    asyncio.run(main())
