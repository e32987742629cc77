"""A rolling restart over six real hosts, the fourth of which fails, while all six are watched from outside."""

import asyncio
import json
import threading
import urllib.request
from collections import Counter

import pytest
import pytest_asyncio

from opsbot.domain import Host
from tests.whole_bot import WholeBot

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(280)]

OPS = "C0OPS"
SAMPLE_EVERY_S = 0.02
# Six hosts in one action are more than the usual three.
LIMITS = "limits: {hosts_per_action: 6, hosts_per_action_in: {}}\n"


class Watcher:
    """Asks every host's web server all the time. `most_down`: how many did not answer at the same time."""

    def __init__(self, hosts: dict[str, Host]) -> None:
        self.samples: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.most_down = 0
        self._down: set[str] = set()
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._watch, args=(host,)) for host in hosts.values()]

    def __enter__(self) -> "Watcher":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _watch(self, host: Host) -> None:
        while not self._stop.wait(SAMPLE_EVERY_S):
            answered = answers(host)
            with self._lock:
                self.samples[host.name] += 1
                self.failures[host.name] += not answered
                (self._down.discard if answered else self._down.add)(host.name)
                self.most_down = max(self.most_down, len(self._down))


def answers(host: Host) -> bool:
    try:
        with urllib.request.urlopen(f"http://{host.address}/", timeout=2) as response:
            return response.status == 200
    except OSError:
        return False


@pytest.fixture
def rollout(request) -> dict[str, int]:
    return request.param


@pytest_asyncio.fixture
async def bot(tmp_path, workbench, six_hosts, rollout):
    hosts = {
        name: {
            "address": host.address,
            "port": host.port,
            "user": host.user,
            "key": host.key_file,
            "host_key": host.host_key,
            "environment": host.environment,
            "groups": ["six"],
            "units": ["nginx"],
            "health": {"nginx": {"url": f"http://{host.address}/"}},
        }
        for name, host in six_hosts.items()
    }
    bot = WholeBot(tmp_path, workbench, f"hosts: {json.dumps(hosts)}\nrollout: {json.dumps(rollout)}\n{LIMITS}")
    await asyncio.to_thread(bot.start)
    yield bot
    await asyncio.to_thread(bot.terminate)


def says(message) -> str:
    return json.dumps(message, ensure_ascii=False)


async def runs(as_root, hosts) -> dict[str, str]:
    """Which run of nginx each host is in; asked beside the workbench, which must go on answering the bot."""
    show = ("systemctl", "show", "-p", "InvocationID", "--value", "nginx")
    return {name: await asyncio.to_thread(as_root, name, *show) for name in hosts}


async def ask_and_approve(workbench) -> dict:
    """Ask for the restart of all six and let Bob approve it; return the card."""
    await workbench.person("alice").command(OPS, "/ops restart nginx six because of new certificates")
    card = await workbench.wait_for(lambda m: "opsbot.approve" in says(m), 60)
    assert "one canary, then" in says(card)
    await workbench.person("bob").clicks(card, "opsbot.approve")
    return card


@pytest.mark.parametrize(
    ("rollout", "done", "untouched"),
    [
        ({}, ["h1", "h2", "h3"], ["h5", "h6"]),
        ({"batch": 2, "max_unavailable": 2}, ["h1", "h2", "h3", "h5"], ["h6"]),
    ],
    indirect=["rollout"],
    ids=["one-by-one", "two-at-a-time"],
)
async def test_the_fourth_of_six_fails(bot, workbench, six_hosts, rollout, fault, as_root, done, untouched):
    fault("h4", "badconf")  # it serves until it is restarted
    before = await runs(as_root, six_hosts)
    with Watcher(six_hosts) as watcher:
        card = await ask_and_approve(workbench)
        ended = await workbench.wait_for(lambda m: m["ts"] == card["ts"] and "Failed: restart_service" in says(m), 150)
        await asyncio.sleep(1)
    after = await runs(as_root, six_hosts)

    shown = says(ended)
    assert bot.states() == ["failed"]
    for name in done:
        assert before[name] != after[name]
        assert f"{name}: done, verified on the host" in shown
    assert "h4: FAILED" in shown
    assert "bogus_option" in shown, "the journal of the failed one is the evidence"
    for name in untouched:
        assert before[name] == after[name]
    assert shown.count("[untouched]") == len(untouched)
    assert f"Not touched: {', '.join(untouched)}." in shown

    assert all(watcher.samples[name] > 20 for name in six_hosts)
    assert watcher.failures["h4"] > 0, "the watcher sees what is down"
    assert watcher.most_down <= rollout.get("max_unavailable", 1)
    assert not any(watcher.failures[name] for name in untouched)


@pytest.mark.parametrize("rollout", [{}], indirect=True)
async def test_paused_and_stopped_by_buttons(bot, workbench, six_hosts, rollout, as_root):
    before = await runs(as_root, six_hosts)
    alice, bob = workbench.person("alice"), workbench.person("bob")
    card = await ask_and_approve(workbench)
    running = await workbench.wait_for(
        lambda m: m["ts"] == card["ts"] and "opsbot.pause" in says(m) and "[running]" in says(m), 60
    )
    assert (await alice.clicks(running, "opsbot.pause"))["acknowledged"]
    paused = await workbench.wait_for(
        lambda m: m["ts"] == card["ts"] and "opsbot.resume" in says(m) and "[running]" not in says(m), 60
    )
    now = await runs(as_root, six_hosts)
    touched = [name for name in six_hosts if now[name] != before[name]]
    assert touched
    assert len(touched) < len(six_hosts)
    assert "[paused]" in says(paused)
    await asyncio.sleep(3)
    assert await runs(as_root, six_hosts) == now
    assert (await bob.clicks(paused, "opsbot.resume"))["acknowledged"]
    going = await workbench.wait_for(lambda m: m["ts"] == card["ts"] and "opsbot.pause" in says(m), 60)
    await bob.clicks(going, "opsbot.halt")
    ended = await workbench.wait_for(lambda m: m["ts"] == card["ts"] and "*Stopped* by <@U0BOB>" in says(m), 60)
    assert "[untouched]" in says(ended)
    assert (await runs(as_root, six_hosts))["h6"] == before["h6"]
