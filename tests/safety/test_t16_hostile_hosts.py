"""T16: whatever a host sends, a call ends in time, takes little memory, and other hosts answer as if nothing was."""

import asyncio
import contextlib
import gc
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any

import paramiko
import psutil
import pytest

from opsbot.actions import Catalogue
from opsbot.adapters.local import LocalShell
from opsbot.adapters.machines import HostMachines
from opsbot.adapters.ssh import ParamikoShell, PoolLimits
from opsbot.discovery import SHIPPED_TOOLS, Registry, load_tools
from opsbot.domain import Host
from opsbot.executor import Executor
from opsbot.intake import Intake
from opsbot.inventory import Inventory
from opsbot.reads import FanOut
from opsbot.redact import Redactor
from opsbot.workshop import Surroundings
from tests import ssh_answers, ssh_servers
from tests.fake_clock import FakeClock
from tests.fake_store import MemoryStore
from tests.safety.hostile_text import EVERY
from tests.scenario.house import RULES
from tests.ssh_servers import Answer, Keys, RawServer, SshServer, pin_of

pytestmark = pytest.mark.timeout(300)

DEADLINE_S = 1.0
# The executor gives a tool's thread a second after its deadline; the rest is a busy machine's.
LATEST_S = DEADLINE_S + 1.0
BUSY_S = 0.6
MEMORY_MAX = 50 * 1024 * 1024
# What a healthy host takes for its answer, beside a hostile one, on a busy machine.
HEALTHY_S = 1.5
MIB = 1024 * 1024

TOOL = '''
"""What a host says, read in the ways tools read."""

import json

from opsbot import Context, Host, tool


@tool(risk="read", timeout_s=1)
def listen(ctx: Context, host: Host) -> dict[str, object]:
    """Read what the host says, as text and as JSON."""
    result = ctx.run(host, "tell")
    try:
        data = json.loads(result.stdout)
    except (ValueError, RecursionError):
        data = None
    return {"text": result.stdout, "error": result.stderr, "cut": result.truncated, "data": data}
'''

# --- hosts that do not get as far as a command, and those that misbehave in one --------------------------------------

RAW = (
    ssh_answers.never_speaks,
    ssh_answers.hangs_in_key_exchange,
    ssh_answers.floods_greeting_lines,
    ssh_answers.floods_greeting_without_line_end,
    ssh_answers.drips_greeting,
    ssh_answers.speaks_http,
    ssh_answers.closes_at_once,
    ssh_answers.sends_endless_packet,
)
DEEP = b"[" * 200_000
WIDE = json.dumps([{"a": n} for n in range(8_000)]).encode()
ANSWERS: dict[str, Answer] = {
    "hangs": ssh_answers.hangs,
    "drips": ssh_answers.drips,
    "floods both streams": ssh_answers.floods,
    "floods standard error": ssh_answers.floods_standard_error,
    "floods byte by byte": ssh_answers.floods_tiny_pieces,
    "floods past the window": ssh_answers.floods_without_waiting,
    "rekeys for ever": ssh_answers.renegotiates_for_ever,
    "closes without status": ssh_answers.closes_without_status,
    "cuts the connection": ssh_answers.cuts_connection,
    "ends by signal": ssh_answers.ends_by_signal,
    "keeps the stream open": ssh_answers.keeps_stream_open,
    "3 MiB on both streams": ssh_answers.says(b"o" * 3 * MIB, error=b"e" * 3 * MIB),
    "ANSI, OSC 8, OSC 52": ssh_answers.says(
        b"\x1b]52;c;cm0=\x07\x1b]8;;https://evil.example\x1b\\x\x1b[2J\x9b31m" * 900
    ),
    "escapes without end": ssh_answers.says(b"\x1b]" * 30_000),
    "not UTF-8": ssh_answers.says(b"\xff\xfe\x80\xc0\xaf\xed\xa0\x80" * 6000),
    "hidden characters": ssh_answers.says("\u202e\u200b\U000e0041".encode() * 6000),
    "zero bytes": ssh_answers.says(b"\0" * 60_000),
    "one long line": ssh_answers.says(b"a" * 60_000),
    "deep JSON": ssh_answers.says(DEEP),
    "closed deep JSON": ssh_answers.says(b"[" * 900 + b"]" * 900),
    "wide JSON": ssh_answers.says(WIDE[:60_000].rpartition(b",")[0] + b"]"),
    "JSON of huge numbers": ssh_answers.says(b"[" + b"9" * 60_000 + b"]"),
    "JSON of huge exponents": ssh_answers.says(b"[1e99999, -1e99999, NaN, Infinity]"),
    "JSON with one key often": ssh_answers.says(b'{"a":1,' * 1 + b'"a":2,' * 5000 + b'"a":3}'),
    "redaction's worst": ssh_answers.says(b"password=" * 6000),
    "line breaks only": ssh_answers.says(b"\n" * 60_000),
    "every hostile text": ssh_answers.says("\n".join(EVERY).encode("utf-8", "surrogatepass")[:60_000]),
}


@contextmanager
def hostile_hosts(keys: Keys, other_key: paramiko.PKey) -> Iterator[dict[str, Host]]:
    """Every hostile host there is a fixture for, by what it does."""
    with ExitStack() as running:
        plain = running.enter_context(SshServer(keys))
        hosts = {}
        for talk in RAW:
            raw = running.enter_context(RawServer(talk))
            hosts[talk.__name__.replace("_", " ")] = plain.host(port=raw.port)
        hosts["never accepts"] = plain.host(port=running.enter_context(ssh_answers.full_backlog()))
        with SshServer(keys) as gone:
            hosts["refuses connections"] = gone.host()
        for step in ("auth", "channel", "exec"):
            hosts[f"hangs in {step}"] = running.enter_context(SshServer(keys, blocked=frozenset({step}))).host()
        hosts["drops at the command"] = running.enter_context(SshServer(keys, drop_at_exec=True)).host()
        hosts["unknown key"] = plain.host(host_key="")
        hosts["changed key"] = plain.host(host_key=pin_of(other_key))
        hosts["no more sessions"] = running.enter_context(SshServer(keys, max_sessions=0)).host()
        for name, answer in ANSWERS.items():
            hosts[name] = running.enter_context(SshServer(keys, answer)).host()
        yield {name: _named(host, name) for name, host in hosts.items()}


def _named(host: Host, name: str) -> Host:
    return replace(host, name="".join(char if char.isalnum() else "-" for char in name.lower()).strip("-"))


class Memory:
    """The most this process takes while something runs, above what it took before; servers of the test included."""

    def __enter__(self) -> "Memory":
        gc.collect()
        self._process = psutil.Process()
        self._before = self._process.memory_info().rss
        self._over = threading.Event()
        self.most = 0
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._over.wait(0.02):
            self.most = max(self.most, self._process.memory_info().rss - self._before)


@contextlib.asynccontextmanager
async def executor_for(registry: Registry, *hosts: Host) -> AsyncIterator[Callable[[str], Any]]:
    """The real path of a read: tool, machines, SSH, intake. Yields a function that reads one host by name."""
    shell = ParamikoShell(PoolLimits(suspect_s=0))
    catalogue = Catalogue(registry, Inventory({host.name: host for host in hosts}, {}))
    executor = Executor(
        catalogue=catalogue,
        machines=HostMachines(shell, LocalShell()),
        store=MemoryStore(),
        rules=RULES,
        clock=FakeClock(),
        surroundings=Surroundings(Intake(Redactor(["canary-of-the-bot"])), threads=16),
    )

    async def read(name: str) -> FanOut:
        return await executor.read(catalogue.from_words("listen", [name], {}))

    try:
        yield read
    finally:
        executor.close()
        await asyncio.to_thread(shell.close)


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys.make(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def other_key(tmp_path_factory: pytest.TempPathFactory) -> paramiko.PKey:
    return paramiko.PKey.from_path(ssh_servers.new_key(tmp_path_factory.mktemp("other") / "key"))


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    folder = tmp_path_factory.mktemp("tools")
    (folder / "listen.py").write_text(TOOL, encoding="utf-8")
    return load_tools([SHIPPED_TOOLS, folder])


async def test_a_hostile_host_is_bounded_in_time_and_memory_and_harms_no_other(
    keys: Keys, other_key: paramiko.PKey, registry: Registry, figures: Any, scale: Any
) -> None:
    """One after the other, each beside a healthy host that is asked all the while."""
    slowest, most_memory, waits = ("", 0.0), ("", 0), []
    healthy_server = SshServer(keys, ssh_answers.says(b"all is well"))
    with healthy_server, hostile_hosts(keys, other_key) as hosts:
        healthy = _named(healthy_server.host(), "healthy")
        async with executor_for(registry, healthy, *hosts.values()) as read:
            assert (await read("healthy")).results["healthy"]["text"] == "all is well"
            chosen = list(hosts.items())[:: scale(11, 1)]
            for name, host in chosen:
                with Memory() as memory:
                    began = time.monotonic()
                    reading = asyncio.create_task(read(host.name))
                    while not reading.done():
                        waits.append(await _well(read))
                        await asyncio.sleep(0.05)
                    took_s = time.monotonic() - began
                outcome = await reading
                assert took_s <= LATEST_S + BUSY_S, (name, took_s)
                _check(name, outcome)
                slowest = max(slowest, (name, took_s), key=lambda pair: pair[1])
                most_memory = max(most_memory, (name, memory.most), key=lambda pair: pair[1])
                assert memory.most < MEMORY_MAX, (name, memory.most)
    waits.sort()
    assert waits[int(len(waits) * 0.95)] < HEALTHY_S
    figures.note(
        hostile_hosts=len(chosen),
        slowest_answer=f"{slowest[1]:.1f} s at a deadline of {DEADLINE_S:g} s ({slowest[0]})",
        most_memory=f"{most_memory[1] / MIB:.0f} MiB ({most_memory[0]})",
        healthy_host_beside_them=f"{len(waits)} answers, p95 {waits[int(len(waits) * 0.95)] * 1000:.0f} ms",
    )


async def _well(read: Callable[[str], Any]) -> float:
    began = time.monotonic()
    outcome = await read("healthy")
    assert outcome.results["healthy"]["text"] == "all is well"
    return time.monotonic() - began


def _check(name: str, outcome: FanOut) -> None:
    """Whatever came back is bounded, visible, and counted as text of a stranger."""
    text = outcome.as_json()
    assert outcome.untrusted, name
    assert len(text) < 300_000, name
    assert not any(char in text for char in "\x1b\x9b\x07\x00\u202e\u200b\U000e0041\ud800"), name
    json.dumps(json.loads(text)).encode("utf-8")
    if outcome.errors:
        (said,) = outcome.errors.values()
        assert said
        assert len(said) <= 2100


async def test_each_call_ends_within_a_second_of_its_deadline(
    keys: Keys, other_key: paramiko.PKey, registry: Registry, figures: Any
) -> None:
    """All at the same time, so that one that holds on shows."""
    late = []
    with hostile_hosts(keys, other_key) as hosts:
        async with executor_for(registry, *hosts.values()) as read:

            async def timed(name: str, host: Host) -> None:
                began = time.monotonic()
                await read(host.name)
                late.append((time.monotonic() - began - DEADLINE_S, name))

            for first in range(0, len(hosts), 8):
                await asyncio.gather(*(timed(*pair) for pair in list(hosts.items())[first : first + 8]))
    assert len(late) == len(hosts)
    assert max(late)[0] <= 1.0 + BUSY_S, sorted(late)[-5:]
    figures.note(latest_after_the_deadline=f"{max(0.0, max(late)[0]):.2f} s")
