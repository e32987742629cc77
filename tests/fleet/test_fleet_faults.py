"""Every fault the fleet knows, as people meet it: the bot is right and in time, and other hosts answer as ever.

`fleet faults` lists the kinds; one without a case here fails. Time limits are short; `in time` is a second after them.
"""

import asyncio
import re
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from typing import Any

import pytest
import pytest_asyncio

from opsbot.domain import ApprovalState, HealthCheck, Host, HostOutcome, Result
from tests.fleet.conftest import FLEET
from tests.fleet.live_bot import Answer, LiveBot

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(180)]

NAMES = ("h1", "h2", "h3")
LIMIT_S = 3.0
# How long a host that failed is not tried again; in production 5.
SUSPECT_S = 2.0
PATIENCE_S = 30.0
Fault = Callable[..., None]
Test = Callable[..., Any]

COVERED: set[str] = set()


def about(*kinds: str) -> Callable[[Test], Test]:
    """Note that a test covers these faults."""
    COVERED.update(kinds)
    return lambda test: test


@dataclass(frozen=True, slots=True)
class Gone:
    """A host that cannot be asked: what is said of it, and whether a connection made before still works."""

    says: str
    warm_works: bool = False


GONE = {
    "down": Gone(r"did not accept a connection within \d|No route to host"),
    "blackhole": Gone(r"did not accept a connection within \d"),
    "refuse": Gone(r"cannot be connected to: Connection refused"),
    # The kernel limits how many such answers it gives (icmp_ratelimit).
    "icmp": Gone(r"cannot be connected to: No route to host|did not accept a connection within \d"),
    "poweroff": Gone(r"did not accept a connection within \d|No route to host"),
    "freeze": Gone(r"sent no SSH greeting within \d"),
    "hang-banner": Gone(r"sent no SSH greeting within \d", warm_works=True),
    "garbage": Gone(r"broke off the SSH handshake", warm_works=True),
    "maxstartups": Gone(r"broke off the SSH handshake", warm_works=True),
    "hostkey": Gone(r"shows another host key than the pinned one: expected SHA256:\S+, seen SHA256:", warm_works=True),
    "auth": Gone(r"refused the log-in of 'bot' with the key \S+; .*authorized_keys", warm_works=True),
    "pid1-hang": Gone(r"accepted the log-in but opened no session|had not ended after"),
}
COVERED.update(GONE)


@pytest.fixture
def hosts(fleet_hosts: dict[str, Host]) -> dict[str, Host]:
    return {
        name: replace(
            fleet_hosts[name],
            health={"nginx.service": HealthCheck(url=f"http://{fleet_hosts[name].address}/")},
        )
        for name in NAMES
    }


@pytest_asyncio.fixture
async def bot(hosts: dict[str, Host]) -> AsyncIterator[LiveBot]:
    async with LiveBot(hosts, timeout_s=LIMIT_S, suspect_s=SUSPECT_S) as bot:
        yield bot


@contextmanager
def somebody_at_the_door(host: Host, kind: str) -> Iterator[None]:
    """`maxstartups` turns people away only while somebody else has not logged in yet."""
    if kind != "maxstartups":
        yield
        return
    with closing(socket.create_connection((host.address, host.port), LIMIT_S)):
        yield


async def answers_again(bot: LiveBot, tool: str = "server_status") -> Answer:
    """Ask until all three hosts answer."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            answer = await bot.ask(tool, NAMES)
            if not answer.errors:
                return answer
            await asyncio.sleep(0.2)


async def asked_twice(bot: LiveBot) -> tuple[Answer, Answer]:
    """All hosts, and right afterwards the one in trouble."""
    return await bot.ask("server_status", NAMES), await bot.ask("service_status", ["h1"], unit="nginx")


def only_h1_is_missing(answer: Answer, says: str) -> None:
    assert answer.in_time, answer.took_s
    assert set(answer.results) == {"h2", "h3"}, answer.errors
    assert re.search(says, answer.errors["h1"]), answer.errors
    assert "2 of 3 hosts answered." in answer.shown
    assert "h1: " in answer.shown


def test_every_fault_of_the_fleet_has_a_case_here() -> None:
    listed = subprocess.check_output([FLEET, "faults"], text=True)
    assert set(re.findall(r"^ *([a-z0-9-]+)  ", listed, re.MULTILINE)) == COVERED


# --- hosts that cannot be asked --------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", GONE)
async def test_a_host_in_trouble_is_named_in_time_and_is_back_when_it_is(
    bot: LiveBot, hosts: dict[str, Host], fault: Fault, heal: Fault, kind: str
) -> None:
    """Asked by a bot that knows the host by an open connection, and by one that has never seen it."""
    gone = GONE[kind]
    async with LiveBot(hosts, timeout_s=LIMIT_S, suspect_s=SUSPECT_S) as acquainted:
        await answers_again(acquainted)
        await asyncio.to_thread(fault, "h1", kind)
        with somebody_at_the_door(hosts["h1"], kind):
            (cold, again), warm = await asyncio.gather(
                asked_twice(bot), acquainted.ask("service_status", NAMES, unit="nginx")
            )
        only_h1_is_missing(cold, gone.says)
        assert again.in_time
        assert re.search(gone.says, again.errors["h1"])
        if kind != "pid1-hang":  # it was reached, so it is asked each time
            assert again.took_s < 1.0, "a host that has just failed is answered for at once"
            assert "Never seen since opsbot started." in again.errors["h1"]
        if gone.warm_works:
            assert (warm.errors, warm.in_time) == ({}, True)
        else:
            only_h1_is_missing(warm, gone.says)
        await asyncio.to_thread(heal, "h1", kind)
        back = await answers_again(bot)
        assert back.results["h1"]["hostname"] == "h1"


# --- trouble in mid-answer -------------------------------------------------------------------------------------------

LOST = r"The connection was lost after `\S+` on h1 was sent|closed it without an exit status"
LATE = r"`\S+` on h1 was sent but had not ended after \d"
MID_ANSWER = {
    "cut": LOST,
    "kill-sessions": LOST,
    "freeze": LATE,
    "down": LATE,
    "blackhole": LATE,
    "poweroff": LATE,
    "reboot": f"{LOST}|{LATE}",
}
COVERED.update(MID_ANSWER)


@pytest.mark.parametrize("kind", MID_ANSWER)
async def test_a_host_lost_in_mid_answer_is_named_in_time(
    bot: LiveBot, fault: Fault, as_root: Callable[..., str], kind: str
) -> None:
    await answers_again(bot)
    await asyncio.to_thread(fault, "h1", "slowcmd", 10)
    asked = asyncio.create_task(bot.ask("service_status", NAMES, unit="nginx"))
    await asyncio.sleep(0.5)  # it was sent by now
    if kind == "reboot":  # or it takes 10 s longer
        await asyncio.to_thread(as_root, "h1", "systemctl", "kill", "--signal=KILL", "slowstop")
    await asyncio.to_thread(fault, "h1", kind)
    answer = await asked
    only_h1_is_missing(answer, MID_ANSWER[kind])
    if kind == "reboot":
        await asyncio.to_thread(as_root, "h1", "rm", "-f", "/etc/ssh/sshrc")
        await answers_again(bot)
        changes = await bot.ask("whats_changed", ["h1"], hours=1)
        assert "booted" in changes.shown


@about("cut", "kill-sessions")
@pytest.mark.parametrize("kind", ["cut", "kill-sessions"])
async def test_a_connection_that_died_between_two_questions_is_replaced_unnoticed(
    bot: LiveBot, fault: Fault, kind: str
) -> None:
    await answers_again(bot)
    await asyncio.to_thread(fault, "h1", kind)
    answer = await bot.ask("service_status", NAMES, unit="nginx")
    assert (answer.errors, answer.in_time) == ({}, True)


# --- hosts that answer, slowly or strangely --------------------------------------------------------------------------


@about("slowcmd")
@pytest.mark.parametrize(("delay_s", "answers"), [(1, True), (10, False)])
async def test_slow_commands_are_waited_for_until_the_limit(
    bot: LiveBot, fault: Fault, delay_s: int, answers: bool
) -> None:
    await asyncio.to_thread(fault, "h1", "slowcmd", delay_s)
    answer = await bot.ask("service_status", NAMES, unit="nginx")
    if answers:
        assert (answer.errors, answer.in_time) == ({}, True)
        assert answer.took_s >= delay_s
    else:
        only_h1_is_missing(answer, LATE)


@about("wire", "rate", "loss")
@pytest.mark.parametrize("words", [("wire", "100"), ("rate", "64"), ("loss", "5")], ids=lambda words: words[0])
async def test_a_bad_line_costs_time_and_no_answer(
    hosts: dict[str, Host], fault: Fault, words: tuple[str, str]
) -> None:
    await asyncio.to_thread(fault, "h1", *words)
    async with LiveBot(hosts, timeout_s=15) as bot:
        questions = (("server_status", {}), ("service_logs", {"unit": "nginx", "lines": 50}), ("top_processes", {}))
        answers = [await bot.ask(tool, NAMES, **arguments) for tool, arguments in questions]
    assert [answer.errors for answer in answers] == [{}, {}, {}]
    assert all(answer.in_time for answer in answers)
    assert {result["hostname"] for result in answers[0].results.values()} == set(NAMES)


@about("loss")
async def test_a_line_that_loses_every_fifth_packet_is_answered_for_in_time(
    hosts: dict[str, Host], fault: Fault
) -> None:
    """Each try may fail, none may hang, and some get through."""
    await asyncio.to_thread(fault, "h1", "loss", "20")
    async with LiveBot(hosts, timeout_s=6, suspect_s=0) as bot:
        answers = [await bot.ask("server_status", NAMES) for _ in range(4)]
    assert all(answer.in_time and {"h2", "h3"} <= set(answer.results) for answer in answers)
    assert any("h1" in answer.results for answer in answers)


@about("skew")
async def test_a_clock_that_is_off_is_told_and_spoils_no_other_figure(hosts: dict[str, Host], fault: Fault) -> None:
    await asyncio.to_thread(fault, "h1", "skew", 600)
    async with LiveBot(hosts) as bot:
        compared = await bot.ask("compare_hosts", NAMES)
        changes = await bot.ask("whats_changed", NAMES)
        status = await bot.ask("service_status", NAMES, unit="nginx")
    assert compared.errors == changes.errors == status.errors == {}
    assert re.search(r"clock.*h1.*(10m 0s|9m 5\ds) ahead", compared.shown, re.DOTALL), compared.shown
    assert any("whose clock is" in remark for remark in changes.results["h1"]["not_read"])
    # How long something runs is told by the host's monotonic clock.
    ages = [status.results[name]["active_for_s"] for name in NAMES]
    assert all(age >= 0 for age in ages)


@about("cpu")
async def test_what_burns_the_cpu_is_on_top_and_named_by_its_unit(bot: LiveBot, fault: Fault) -> None:
    await asyncio.to_thread(fault, "h1", "cpu", 3)
    answer = await bot.ask("top_processes", ["h1", "h2"], by="cpu")
    assert (answer.errors, answer.in_time) == ({}, True)
    busiest = [each["unit"] for each in answer.results["h1"]["processes"][:3]]
    assert all(re.fullmatch(r"burn@[012]\.service", unit) for unit in busiest), busiest
    assert not any("burn@" in (each["unit"] or "") for each in answer.results["h2"]["processes"])


@about("diskfull")
@pytest.mark.parametrize("path", ["/", "/srv/data"])
async def test_a_full_disk_is_told_and_everything_else_still_works(bot: LiveBot, fault: Fault, path: str) -> None:
    await asyncio.to_thread(fault, "h1", "diskfull", path)
    disks, status, logs = await asyncio.gather(
        bot.ask("disk_usage", NAMES), bot.ask("server_status", NAMES), bot.ask("service_logs", NAMES, unit="nginx")
    )
    assert disks.errors == status.errors == logs.errors == {}
    full = {each["mount"]: each["used_percent"] for each in disks.results["h1"]["file_systems"]}
    assert full[path] == 100
    assert all(each["used_percent"] < 100 for each in disks.results["h2"]["file_systems"])
    assert "full" in disks.shown


@about("journal")
async def test_a_flood_in_the_journal_leaves_its_newest_lines_readable_in_time(bot: LiveBot, fault: Fault) -> None:
    await asyncio.to_thread(fault, "h1", "journal", 20)
    logs, failed, changes = await asyncio.gather(
        bot.ask("service_logs", NAMES, unit="spew", lines=20),
        bot.ask("list_failed_units", NAMES),
        bot.ask("whats_changed", NAMES, hours=1),
    )
    assert all(answer.in_time for answer in (logs, failed, changes))
    assert logs.errors == {}
    seen = logs.results["h1"]
    assert len(seen["lines"]) + seen["lines_left_out"] == 20
    numbers = [int(re.search(r"fleet-unit: (\d+)", str(line))[1]) for line in seen["lines"]]  # type: ignore[index]
    assert numbers == sorted(numbers)
    assert len(logs.shown) < 10_000
    assert failed.errors == {}
    assert set(changes.results) >= {"h2", "h3"}


# --- actions ---------------------------------------------------------------------------------------------------------


def only_outcome(bot: LiveBot) -> HostOutcome:
    (outcome,) = bot.approval.outcomes
    return outcome


@about("sudo")
async def test_without_the_sudo_rule_nothing_is_done_and_the_line_to_add_is_shown(
    bot: LiveBot, fault: Fault, as_root: Callable[..., str]
) -> None:
    before = as_root("h1", "systemctl", "show", "-p", "InvocationID", "--value", "nginx")
    await asyncio.to_thread(fault, "h1", "sudo")
    ended = await bot.carried_out("restart nginx h1 because of a test")
    assert ended.state is ApprovalState.FAILED
    outcome = only_outcome(bot)
    assert outcome.result is Result.NOT_DONE
    assert "bot ALL=(root) NOPASSWD: /usr/bin/systemctl --no-pager restart -- nginx.service" in outcome.summary
    assert as_root("h1", "systemctl", "show", "-p", "InvocationID", "--value", "nginx") == before


@about("badconf")
@pytest.mark.parametrize(("verb", "words"), [("reload", "goes on as before"), ("restart", "bogus_option")])
async def test_a_broken_configuration_is_failed_with_its_journal(
    bot: LiveBot, fault: Fault, verb: str, words: str
) -> None:
    await asyncio.to_thread(fault, "h1", "badconf")
    ended = await bot.carried_out(f"{verb} nginx h1 because of a test")
    outcome = only_outcome(bot)
    assert (ended.state, outcome.result) == (ApprovalState.FAILED, Result.FAILED)
    assert words in f"{outcome.summary}\n{outcome.evidence}"
    assert "nginx" in outcome.evidence


@about("hostkey", "auth", "refuse", "garbage")
@pytest.mark.parametrize("kind", ["hostkey", "auth", "refuse", "garbage"])
async def test_what_cannot_be_examined_gets_no_card(bot: LiveBot, fault: Fault, kind: str) -> None:
    await asyncio.to_thread(fault, "h1", kind)
    said = await bot.types("restart nginx h1 because of a test")
    assert bot.chat.cards() == []
    assert "Not proposed, since the target could not be examined." in said
    assert re.search(GONE[kind].says, said)


@about("hostkey", "refuse", "reboot")
@pytest.mark.parametrize("kind", ["refuse", "hostkey"])
async def test_a_target_that_is_gone_when_it_is_approved_is_not_touched(
    bot: LiveBot, fault: Fault, as_root: Callable[..., str], kind: str
) -> None:
    await bot.types("restart nginx h1 because of a test")
    await asyncio.to_thread(fault, "h1", kind)
    await asyncio.to_thread(fault, "h1", "cut")
    await bot.approve()
    ended = await bot.ended()
    assert ended.state is ApprovalState.STALE
    assert "stale:target" in ended.note
    assert ended.outcomes == ()


@about("cut", "kill-sessions")
@pytest.mark.parametrize("kind", ["cut", "kill-sessions"])
async def test_a_connection_lost_in_mid_action_is_settled_by_looking(
    bot: LiveBot, fault: Fault, as_root: Callable[..., str], kind: str
) -> None:
    """`stubborn` takes 5 s to stop: the connection goes in the middle, the restart comes to its end on the host."""
    before = as_root("h1", "systemctl", "show", "-p", "InvocationID", "--value", "stubborn")
    started = starts(as_root, "stubborn")
    await bot.types("restart stubborn h1 because of a test")
    await bot.approve()
    await is_stopping(as_root, "stubborn")
    await asyncio.to_thread(fault, "h1", kind)
    ended = await bot.ended()
    assert ended.state is ApprovalState.DONE, ended.outcomes
    assert "connection was lost" in only_outcome(bot).summary or "without an exit status" in only_outcome(bot).summary
    assert as_root("h1", "systemctl", "show", "-p", "InvocationID", "--value", "stubborn") != before
    assert starts(as_root, "stubborn") == started + 1, "the command was sent once"


@about("poweroff")
async def test_a_host_that_loses_power_in_mid_action_and_comes_back_is_judged_by_what_runs(
    bot: LiveBot, fault: Fault, heal: Fault, as_root: Callable[..., str]
) -> None:
    await bot.types("restart stubborn h1 because of a test")
    await bot.approve()
    await is_stopping(as_root, "stubborn")
    await asyncio.to_thread(fault, "h1", "poweroff")
    await asyncio.to_thread(heal, "h1", "poweroff")
    ended = await bot.ended()
    outcome = only_outcome(bot)
    assert (ended.state, outcome.result) == (ApprovalState.DONE, Result.DONE)
    assert "was restarted and is active (running)" in outcome.summary


def starts(as_root: Callable[..., str], unit: str) -> int:
    """How often the host's journal says that the unit was started."""
    return as_root("h1", "journalctl", "--no-pager", "-o", "cat", "-u", unit).count(f"Started {unit}.service")


async def is_stopping(as_root: Callable[..., str], unit: str) -> None:
    """Wait until the unit is on its way down."""
    async with asyncio.timeout(PATIENCE_S):
        while as_root("h1", "systemctl", "show", "-p", "ActiveState", "--value", unit).strip() != "deactivating":
            await asyncio.sleep(0.05)
