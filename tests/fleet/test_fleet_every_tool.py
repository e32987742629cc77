"""Every shipped tool on real hosts: on a healthy one with a true answer, and on hanging ones within its time limit.

A new tool without a case here fails. Actions go the whole way: asked for, approved, carried out, verified.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.x509.oid import NameOID

from opsbot.context import Context
from opsbot.discovery import SHIPPED_TOOLS, load_tools
from opsbot.domain import ApprovalState, HealthCheck, Host, HostVerb, Impact, Result, Risk, UnitVerb
from opsbot.errors import ToolError
from opsbot.tooling import Container, Tool, Unit
from tests.fleet.live_bot import BOB, CAROL, LATE_S, LiveBot

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(240)]

REGISTRY = load_tools([SHIPPED_TOOLS])
NAMES = ("h1", "h2", "h3")
NGINX, REDIS = "nginx.service", "redis-server.service"
HANGS_S = 3.0
CERTIFICATE = "/etc/opsbot-test.pem"
DAYS = 20
Found = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Reading:
    """One question, and what a true answer of a healthy host holds; `refused`: why it has no answer there.

    `asks_hosts` False: a host that hangs is no error of the tool's, since it asks others, or says so in a result.
    """

    holds: Callable[[str, Found], bool] = lambda name, result: True
    arguments: Mapping[str, Any] = field(default_factory=dict)
    refused: str = ""
    asks_hosts: bool = True


def _mounts(result: Found) -> set[str]:
    return {each["mount"] for each in result["file_systems"]}


def _units(result: Found, key: str) -> set[str]:
    return {each.get("unit") for each in result[key]}


READING = {
    "certificate_expiry": Reading(lambda name, r: r["certificates"][0]["days_left"] == DAYS - 1, asks_hosts=False),
    "compare_hosts": Reading(lambda name, r: "os" in r["facts"]),
    "disk_usage": Reading(lambda name, r: "/" in _mounts(r)),
    "dns_check": Reading(lambda name, r: "localhost" in str(r)),
    "docker_containers": Reading(refused="neither docker nor podman is installed there"),
    "docker_logs": Reading(
        arguments={"container": "web", "lines": 5}, refused="neither docker nor podman is installed there"
    ),
    "host_history": Reading(arguments={"metric": "load"}, asks_hosts=False),
    "http_check": Reading(lambda name, r: r["checks"][0]["status"] == 200, asks_hosts=False),
    "kernel_messages": Reading(lambda name, r: "no kernel messages at all" in str(r)),
    "list_failed_units": Reading(lambda name, r: "failed" in r),
    "list_hosts": Reading(asks_hosts=False),
    "network_ports": Reading(lambda name, r: NGINX in _units(r, "listeners")),
    "package_updates": Reading(lambda name, r: r["reboot_required"] is False),
    "server_status": Reading(lambda name, r: r["hostname"] == name),
    "service_dependencies": Reading(lambda name, r: r["unit"] == NGINX, {"unit": "nginx"}),
    "service_logs": Reading(lambda name, r: len(r["lines"]) > 0, {"unit": "nginx", "lines": 20}),
    "service_status": Reading(lambda name, r: r["active_state"] == "active", {"unit": "nginx"}),
    "tcp_check": Reading(lambda name, r: r["checks"][0]["passed"], asks_hosts=False),
    "timers_and_cron": Reading(lambda name, r: len(r["timers"]) > 0),
    "top_processes": Reading(lambda name, r: REDIS in _units(r, "processes"), {"by": "memory"}),
    "whats_changed": Reading(lambda name, r: "booted" in str(r["timeline"]), {"hours": 1}),
}

# What they search was written by people and stands in the store: no host can be right, late or silent.
IN_THE_STORE = {"search_runbooks", "similar_incidents"}


@pytest.fixture
def hosts(fleet_hosts: dict[str, Host]) -> dict[str, Host]:
    return {
        name: replace(
            fleet_hosts[name],
            actions=(*UnitVerb, *HostVerb),
            units=(NGINX, REDIS, "brittle.service"),
            containers=("web",),
            health={
                NGINX: HealthCheck(url=f"http://{fleet_hosts[name].address}/"),
                "ssh.service": HealthCheck(tcp=f"{fleet_hosts[name].address}:22"),
            },
            certificates=(CERTIFICATE,),
            config_files=("/etc/nginx/nginx.conf",),
            dns_names=("localhost",),
        )
        for name in NAMES
    }


@pytest_asyncio.fixture
async def bot(hosts: dict[str, Host]) -> AsyncIterator[LiveBot]:
    async with LiveBot(hosts) as bot:
        yield bot


def test_every_shipped_tool_has_a_case() -> None:
    reading = {tool.name for tool in REGISTRY.tools if tool.risk is Risk.READ}
    assert set(READING) | IN_THE_STORE == reading
    assert not any(REGISTRY.get(name).takes_host for name in IN_THE_STORE)
    assert set(WRITING) == set(REGISTRY.names) - reading


# --- reads -----------------------------------------------------------------------------------------------------------


def certificate(days: int) -> str:
    """One that signs itself, in PEM, and ends in a bit less than so many days."""
    key, name = ed25519.Ed25519PrivateKey.generate(), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "box-1")])
    now = datetime.now(UTC)
    made = x509.CertificateBuilder(name, name, key.public_key(), 1, now - timedelta(days=1), now + timedelta(days=days))
    return made.sign(key, None).public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture
def certified(as_root: Callable[..., str]) -> Iterator[None]:
    for name in NAMES:
        as_root(name, "sh", "-c", f"echo '{certificate(DAYS)}' > {CERTIFICATE}")
    yield
    for name in NAMES:
        as_root(name, "rm", CERTIFICATE)


async def test_healthy_hosts_are_told_as_they_are_by_every_reading_tool(bot: LiveBot, certified: None) -> None:
    wrong = [fault for tool in READING for fault in await faults_of(bot, tool)]
    assert wrong == []


async def faults_of(bot: LiveBot, tool: str) -> list[str]:
    """Ask one tool about all hosts; return what is wrong with its answer."""
    case = READING[tool]
    answer = await bot.ask(tool, NAMES if REGISTRY.get(tool).takes_host else (), **case.arguments)
    if case.refused:
        refused = set(answer.errors) == set(NAMES) and all(case.refused in said for said in answer.errors.values())
        return [] if refused else [f"{tool}: {answer.shown[:500]}"]
    found = [f"{tool}: {name}: {error}" for name, error in answer.errors.items()]
    found += [
        f"{tool}: {name}: {result}"[:500] for name, result in answer.results.items() if not case.holds(name, result)
    ]
    found += [] if answer.in_time else [f"{tool}: took {answer.took_s:.1f} s"]
    named = REGISTRY.get(tool).combine or all(name in answer.shown for name in NAMES)
    return found if named else [*found, f"{tool}: not every host is named: {answer.shown[:500]}"]


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("kind", ["freeze", "blackhole"])
async def test_a_hanging_host_costs_no_reading_tool_more_than_its_limit_and_no_other_host_anything(
    hosts: dict[str, Host], fault: Callable[..., None], kind: str, warm: bool
) -> None:
    async with LiveBot(hosts, timeout_s=HANGS_S, suspect_s=0) as bot:
        if warm:
            await bot.ask("server_status", NAMES)
        await asyncio.to_thread(fault, "h1", kind)
        asked = {tool: bot.ask(tool, ["h1"] if REGISTRY.get(tool).takes_host else (), **READING[tool].arguments)
                 for tool in READING}  # fmt: skip
        others = bot.ask("service_status", ["h2", "h3"], unit="nginx")
        *answers, healthy = await asyncio.gather(*asked.values(), others)
    late = {tool: answer.took_s for tool, answer in zip(asked, answers, strict=True) if not answer.in_time}
    assert late == {}
    told_inside = dict(zip(asked, answers, strict=True))["certificate_expiry"].results["h1"]["certificates"]
    assert all(each["failure"] for each in told_inside)
    silent = {tool for tool, answer in zip(asked, answers, strict=True) if set(answer.errors) == {"h1"}}
    assert silent == {tool for tool, case in READING.items() if case.asks_hosts}
    assert (healthy.errors, set(healthy.results)) == ({}, {"h2", "h3"})
    assert healthy.took_s < HANGS_S


# --- actions ---------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Acting:
    """What somebody types, who approves it, and how it ends; `refused`: why it gets no card. `words`: as arguments."""

    typed: str
    words: tuple[object, ...] = ()
    says: str = ""
    first: str = "true"
    two: bool = False
    refused: str = ""


MAKE_BRITTLE_FAIL = "systemctl stop brittle; touch /run/brittle.started; systemctl start brittle || true"
WRITING = {
    "kill_process": Acting("do kill_process h1 {process}", says="nginx.service is active", two=True),
    "reboot_host": Acting("reboot h1", says="rebooted", first="systemctl kill --signal=KILL slowstop", two=True),
    "reload_service": Acting("reload nginx h1", (Unit(NGINX),), "was reloaded; the same run goes on"),
    "reset_failed": Acting("reset-failed brittle h1", (Unit("brittle.service"),), "brittle.service", MAKE_BRITTLE_FAIL),
    "restart_container": Acting(
        "restart-container web h1", (Container("web"),), refused="neither docker nor podman is installed there"
    ),
    "restart_service": Acting("restart nginx h1", (Unit(NGINX),), "was restarted and is active (running)"),
    "start_service": Acting(
        "start redis-server h1", (Unit(REDIS),), "was started and is active (running)", "systemctl stop redis-server"
    ),
    "stop_service": Acting("stop redis-server h1", (Unit(REDIS),), "was stopped and is inactive (dead)", two=True),
}


@pytest.fixture
def as_before(as_root: Callable[..., str]) -> Iterator[None]:
    yield
    again = "rm -f /run/brittle.started; systemctl reset-failed; systemctl start brittle nginx redis-server slowstop"
    as_root("h1", "sh", "-c", again)


def worker(bot: LiveBot, host: Host) -> dict[str, int]:
    """A process of nginx that is not its main one, by the host's own count of ticks."""
    script = "pid=$(pgrep -P $(systemctl show -p MainPID --value nginx) | head -n 1); cut -d' ' -f1,22 /proc/$pid/stat"
    pid, started_ticks = bot.machines.run(host, ("sh", "-c", script), timeout_s=10).stdout.split()
    return {"pid": int(pid), "started_ticks": int(started_ticks)}


@pytest.mark.usefixtures("as_before")
@pytest.mark.parametrize("tool", WRITING)
async def test_an_action_on_a_healthy_host_is_done_and_verified(
    bot: LiveBot, hosts: dict[str, Host], as_root: Callable[..., str], tool: str
) -> None:
    case = WRITING[tool]
    as_root("h1", "sh", "-c", case.first)
    process = worker(bot, hosts["h1"]) if "{process}" in case.typed else {}
    typed = case.typed.format(process=" ".join(f"{name}={value}" for name, value in process.items()))
    if case.refused:
        assert case.refused in await bot.types(f"{typed} because of a test")
        assert bot.chat.cards() == []
        return
    ended = await bot.carried_out(f"{typed} because of a test", *((BOB, CAROL) if case.two else (BOB,)))
    (outcome,) = ended.outcomes
    assert (ended.state, outcome.result) == (ApprovalState.DONE, Result.DONE), outcome
    assert case.says in outcome.summary


def timed(call: Callable[[], object]) -> tuple[object, float]:
    """What came of it, and after how many seconds."""
    began = time.monotonic()
    try:
        found: object = call()
    except ToolError as error:
        found = error
    return found, time.monotonic() - began


@pytest.mark.parametrize("kind", ["freeze", "blackhole"])
async def test_a_hanging_host_costs_no_action_more_than_its_limit(
    hosts: dict[str, Host], fault: Callable[..., None], kind: str
) -> None:
    """The card, the action itself and its verdict, of each tool at once, on a connection that was fine before."""
    async with LiveBot(hosts, suspect_s=0) as bot:
        process = tuple(worker(bot, hosts["h1"]).values())
        calls: dict[str, Callable[[], object]] = {}
        for name, case in WRITING.items():
            words = case.words or (process if name == "kill_process" else ())
            calls |= parts(REGISTRY.get(name), bot, hosts["h1"], words)
        await asyncio.to_thread(fault, "h1", kind)
        with ThreadPoolExecutor(len(calls)) as threads:
            ended = dict(zip(calls, threads.map(timed, calls.values()), strict=True))
    assert {name: took_s for name, (_, took_s) in ended.items() if took_s > HANGS_S + LATE_S} == {}
    done = {name for name, (found, _) in ended.items() if getattr(found, "result", None) not in (None, Result.UNKNOWN)}
    assert done == set(), "nothing is called done, failed or not done that nobody could look at"
    assert all(isinstance(found, ToolError) for name, (found, _) in ended.items() if not name.endswith("verdict")), (
        ended
    )


def parts(tool: Tool, bot: LiveBot, host: Host, words: tuple[object, ...]) -> dict[str, Callable[[], object]]:
    """The three parts of an action, each within its own short limit."""
    assert tool.impact is not None
    assert tool.verify is not None
    impact, verify, act = tool.impact, tool.verify, tool.function

    def ctx() -> Context:
        return Context(bot.machines, timeout_s=HANGS_S)

    try:
        before = impact(Context(bot.machines, timeout_s=15), host, *words)
    except ToolError:  # there is no container engine
        before = Impact((), {"engine": "docker"})
    return {
        f"{tool.name}: card": lambda: impact(ctx(), host, *words),
        f"{tool.name}: action": lambda: act(ctx(), host, *words),
        f"{tool.name}: verdict": lambda: verify(ctx(), host, before, *words),
    }
