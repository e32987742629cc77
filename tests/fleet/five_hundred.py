"""A bot in a process of its own that works for hundreds of endpoints, and tells what it costs: words in, JSON out.

`python -m tests.fleet.five_hundred JOB`: a line on stdin is `cost`, `few`, `all` or `close`; the answer is JSON.
"""

import asyncio
import json
import sys
from typing import Any

import psutil

from opsbot import logs
from opsbot.domain import Host
from opsbot.redact import Redactor
from tests.fleet.live_bot import Answer, LiveBot

LIMIT_S = 10.0
# The servers' half of every handshake runs on this machine's cores too: so many new connections at once.
SLICE = 40


def cost() -> dict[str, float]:
    """What the process holds now."""
    me = psutil.Process()
    peers = [each for each in me.net_connections(kind="tcp4") if each.raddr and each.raddr.port == 22]
    return {
        "mib": me.memory_info().rss / 2**20,
        "threads": me.num_threads(),
        "descriptors": me.num_fds(),
        "connections": len(peers),
    }


async def ask(bot: LiveBot, names: list[str]) -> Answer:
    return await bot.ask("server_status", names)


async def told(bot: LiveBot, names: list[str]) -> dict[str, Any]:
    answer = await ask(bot, names)
    shown = {"answered": len(answer.results), "silent": len(answer.errors), "took_s": answer.took_s}
    return shown | cost() | {"says": sorted(set(answer.errors.values()))[:1]}


async def main(job: dict[str, Any]) -> None:
    hosts = {
        f"host-{n}": Host(f"host-{n}", address=each, user="bot", key_file=job["key_file"], host_key=job["host_key"])
        for n, each in enumerate(job["addresses"], 1)
    }
    names = list(hosts)
    async with LiveBot(hosts, timeout_s=LIMIT_S, suspect_s=0.5) as bot:
        await ask(bot, names[:1])  # modules and threads that one host needs
        while word := (await asyncio.to_thread(sys.stdin.readline)).strip():
            if word == "few":
                slices = [await told(bot, names[at : at + SLICE]) for at in range(0, len(names), SLICE)]
                said = slices[-1] | {"answered": sum(each["answered"] for each in slices)}
            elif word == "all":
                said = await told(bot, names)
            else:
                if word == "close":
                    await asyncio.to_thread(bot.shell.close)
                said = cost()
            sys.stdout.write(json.dumps(said) + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    # What it prints is its answer alone.
    logs.configure("json", "error", Redactor(()))
    asyncio.run(main(json.loads(sys.argv[1])))
