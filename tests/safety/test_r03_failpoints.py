"""R03: the bot kills itself at a named place of an action; the next one settles it by looking, and never runs it again.

The places are those between a request and its last word: `tests.failpoints` puts them around the real process.
"""

import asyncio
import contextlib
import json
import time

import pytest

from tests.ledger import Ledger
from tests.safety.kills import UNLIMITED, People, busy_workbench
from tests.slow_services import SlowServices
from tests.whole_bot import WholeBot
from tests.zygote import Zygote

pytestmark = [pytest.mark.kill, pytest.mark.timeout(1800)]


# What is allowed to have become of the request: it ran (once), or it is said that it did not.
PLACES = {
    # the request
    "before store.inbox.accept:1": {"done"},
    "after store.inbox.accept:1": {"done"},
    "before executor.impacts:1": {"done"},
    "before store.approvals.add:1": {"done"},
    "after store.approvals.add:1": {"done"},
    "before chat.post:1": {"done"},
    "after chat.post:1": {"done"},
    "before store.outbox.sent:1": {"done"},
    "before store.inbox.finish:1": {"done"},
    # the click
    "after store.inbox.accept:2": {"done"},
    "before store.approvals.change:2": {"done"},
    "after store.approvals.change:2": {"done"},
    # the action, between its approval and its intent
    "after store.leases.take:1": {"done"},
    "before executor.recheck:1": {"done"},
    "before store.approvals.change:3": {"done"},
    "after store.approvals.change:3": {"failed"},
    "before campaign.run:1": {"failed"},
    "before store.operations.claim:1": {"failed"},
    # between intent and effect
    "after store.operations.claim:1": {"failed"},
    "before host.act:1": {"failed"},
    # between effect and outcome
    "after host.act:1": {"done"},
    "before executor.verify:1": {"done"},
    "after executor.verify:1": {"done"},
    "before store.approvals.change:4": {"done"},
    "after store.approvals.change:4": {"done"},
    "before store.approvals.change:5": {"done"},
    # between outcome and last word
    "after store.approvals.change:5": {"done"},
    "before chat.edit:2": {"done", "failed"},
    "before store.leases.drop:1": {"done"},
}
_SMALL = 4


async def one_death(folder, zygote: Zygote, place: str, store_url: str) -> tuple[str, int, float, bool]:
    """Ask for a restart and approve it, with a bot that dies at the place. Returns how it ended, how often it
    happened, how long it took from the restart, and whether the bot died at all.
    """
    services = SlowServices(folder, 1, stop_s=0.1)
    try:
        async with busy_workbench() as workbench:
            bot = WholeBot(folder, workbench, UNLIMITED + services.hosts, store_url=store_url, zygote=zygote)
            await asyncio.to_thread(bot.start, place)
            ledger = Ledger(bot.store_url)
            people = People(workbench, services, ledger, rounds=1)
            working = asyncio.create_task(people.work())
            died, began = await death_of(bot, working), time.monotonic()
            if died:
                await asyncio.to_thread(bot.start)
            book = await working
            took_s = time.monotonic() - began
            shown = [m for m in workbench.watcher.messages.values() if _is_card(m, ledger.entries()[-1].id)]
            ledger.close()
            assert await asyncio.to_thread(bot.terminate) == 0
    finally:
        services.stop()
    assert book.faults() == [], place
    assert len(shown) == 1, f"{place}: {len(shown)} cards"
    (state,) = book.ends.keys() - {"denied"}  # asked again, after an error, and turned down
    return state, services.starts(1) - 1, took_s, died


async def death_of(bot: WholeBot, working: "asyncio.Task[object]") -> bool:
    """Wait until the bot has died at its place; False if it never came by."""
    async with asyncio.timeout(120):
        while bot.alive and not working.done():
            await asyncio.sleep(0.02)
    return not bot.alive


def _is_card(message, approval_id: str) -> bool:
    text = json.dumps(message.get("blocks", []))
    return "ephemeral_for" not in message and approval_id in text and "restart_service" in text


@pytest.mark.parametrize("database", ["sqlite", "postgres"])
async def test_dying_at_any_place_is_settled_once_and_never_run_again(
    tmp_path, zygote, database, request, figures, scale
) -> None:
    server = request.getfixturevalue("postgres") if database == "postgres" else None
    places = list(PLACES)[:: 1 if scale.full else len(PLACES) // _SMALL]
    slowest_s = 0.0
    for number, place in enumerate(places):
        folder = tmp_path / str(number)
        folder.mkdir()
        with server.database() if server else contextlib.nullcontext("") as store_url:
            state, happened, took_s, died = await one_death(folder, zygote, place, store_url)
        assert died, f"the bot never came by {place}"
        assert state in PLACES[place], f"{place}: {state}"
        assert happened == (state == "done"), f"{place}: {state}, {happened} restarts"
        slowest_s = max(slowest_s, took_s)
    figures.note(
        **{
            f"places_{database}": f"{len(places)} of {len(PLACES)}: each settled by the host, 0 run again",
            f"slowest_{database}_s": round(slowest_s, 1),
        }
    )
    assert slowest_s <= 60


async def test_a_host_that_cannot_be_asked_makes_the_outcome_unknown_and_says_so(tmp_path, zygote, figures) -> None:
    services = SlowServices(tmp_path, 1, stop_s=0.1)
    async with busy_workbench() as workbench:
        bot = WholeBot(tmp_path, workbench, UNLIMITED + services.hosts, zygote=zygote)
        await asyncio.to_thread(bot.start, "after host.act:1")
        ledger = Ledger(bot.store_url)
        working = asyncio.create_task(People(workbench, services, ledger, rounds=1).work())
        assert await death_of(bot, working)
        async with asyncio.timeout(30):
            while services.starts(1) == 1:  # the service itself is a little later than supervisord's answer
                await asyncio.sleep(0.02)
        services.stop()
        await asyncio.to_thread(bot.start)
        book = await working
        card = await workbench.wait_for(lambda m: _is_card(m, ledger.entries()[0].id) and "unknown" in json.dumps(m))
        ledger.close()
        assert await asyncio.to_thread(bot.terminate) == 0
    assert dict(book.ends) == {"unknown": 1}
    assert services.starts(1) == 2
    assert "could not be asked" in json.dumps(card)
    figures.note(host_gone_too="said to be unknown, not run again")
