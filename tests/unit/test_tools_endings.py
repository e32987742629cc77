"""Rebooting hosts and ending processes: what is refused, what drifts, and how each end is judged."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from opsbot_tools import kill_process as kill
from opsbot_tools import reboot_host as reboot

from opsbot.context import Context
from opsbot.domain import CommandResult, Connection, Host, Impact, Result, Vitals
from opsbot.errors import BadArguments, CommandTimedOut, HostUnreachable, OutcomeUnknown, ToolError
from tests.fake_machines import FakeMachines, FakeUnit, server_facts, vitals_of

HOST = Host("box-1", address="192.0.2.1", user="bot", units=("web.service", "db.service"), actions=("reboot", "kill"))
OLD, NEW = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"


class Clock:
    """Time that passes by waiting only."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class Bench(FakeMachines):
    """A host that boots, dies and answers as a test says. `boots`: what each look meets; the last one stays."""

    def __init__(self, boots: Sequence[str | Exception] = (OLD,), state: str = "running") -> None:
        super().__init__({"box-1": ["web", FakeUnit("db", active_state="inactive", sub_state="dead"), "other"]})
        self.boots = [*boots]
        self.state = state
        self.before = ""
        self.sent: list[tuple[str, ...]] = []
        self.on_send: CommandResult | Exception = CommandResult((), 0, "")
        self.process: list[str] = []

    def vitals(self, host: Host, *, timeout_s: float) -> Vitals:
        boot = self.boots.pop(0) if len(self.boots) > 1 else self.boots[0]
        if isinstance(boot, Exception):
            raise boot
        return replace(vitals_of(server_facts(host.name)), boot_id=boot)

    def run(
        self, host: Host, argv: Sequence[str], *, timeout_s: float, max_bytes: int = 65536, stdin: str = ""
    ) -> CommandResult:
        script = argv[2] if tuple(argv[:2]) == ("sh", "-c") else ""
        if "before a reboot" in script:
            return CommandResult(tuple(argv), 0, self.before)
        if "how far a start" in script:
            return CommandResult(tuple(argv), 0, f"{self.state}\n")
        if "one process\nLC_ALL" in script:
            seen = self.process.pop(0) if len(self.process) > 1 else self.process[0]
            return CommandResult(tuple(argv), 0, seen)
        if "end one process" in script or "reboot" in argv:
            self.sent.append(tuple(argv))
            if isinstance(self.on_send, Exception):
                raise self.on_send
            return self.on_send
        return super().run(host, argv, timeout_s=timeout_s, max_bytes=max_bytes, stdin=stdin)


def context(machines: Bench, timeout_s: float = 90, hosts: Sequence[Host] = (HOST,)) -> Context:
    clock = Clock()
    return Context(machines, timeout_s=timeout_s, hosts=hosts, monotonic=clock.monotonic, sleep=clock.sleep)


# --- reboot ----------------------------------------------------------------------------------------------------------

BEFORE = (
    "\n@@opsbot users\nalice pts/0 2026\nalice pts/1 2026\nbob tty1 2026\n@@opsbot inhibitors\n"
    "Unattended Upgrades 0 root 412 python3 shutdown Stop ongoing upgrades block\n@@opsbot required\nyes\n"
    "@@opsbot scheduled\nUSEC=1\n@@opsbot packages\n2\n"
)
WAS = Impact((("services that run", "web.service"),), {"boot_id": OLD})


def test_the_card_says_who_would_notice_and_what_is_in_the_way():
    bench = Bench()
    bench.before = BEFORE
    hosts = (HOST, Host("inner", jump="box-1"), Host("far", jump="else"))
    found = reboot.impact(context(bench, hosts=hosts), HOST)
    facts = dict(found.facts)
    assert facts["services that run"] == "web.service"
    assert facts["people logged in"] == "3 (alice, bob)"
    assert facts["cut off meanwhile"] == "inner (reached through it)"
    assert "Unattended Upgrades" in facts["in the way"]
    assert "half installed" in facts["warning"]
    assert "scheduled" in facts["note"]
    assert found.fingerprint == {"boot_id": OLD}


def test_the_bots_own_machine_and_one_without_a_boot_id_are_refused():
    with pytest.raises(BadArguments, match="opsbot runs on"):
        reboot.impact(context(Bench()), replace(HOST, connection=Connection.LOCAL))
    with pytest.raises(ToolError, match="boot id"):
        reboot.impact(context(Bench([""])), HOST)


DOWN = HostUnreachable("box-1: no answer.")


@pytest.mark.parametrize(
    "end", [CommandResult((), 0, ""), CommandResult((), 255, ""), OutcomeUnknown("cut"), CommandTimedOut("cut")]
)
def test_a_connection_that_ends_with_the_command_is_no_failure_and_it_is_sent_once(end):
    bench = Bench([OLD, OLD, DOWN, DOWN, NEW], "stopping")
    bench.on_send = end
    answer = reboot.reboot_host.function(context(bench, 600), HOST)
    assert answer["boot_id_after"] == NEW
    assert bench.sent == [("sudo", "-n", "/usr/bin/systemctl", "--no-pager", "reboot")]


def test_what_the_host_refuses_is_raised_with_the_way_out():
    bench = Bench()
    bench.on_send = CommandResult((), 1, "", "sudo: a password is required")
    with pytest.raises(ToolError, match="opsbot sudoers box-1"):
        reboot.reboot_host.function(context(bench), HOST)
    bench.on_send = CommandResult((), 1, "", "Call to Reboot failed: Access denied")
    with pytest.raises(ToolError, match="Access denied"):
        reboot.reboot_host.function(context(bench), HOST)


def test_another_boot_with_its_services_is_done():
    outcome = reboot.verify(context(Bench([DOWN, CommandTimedOut("hung"), NEW])), HOST, WAS)
    assert (outcome.result, outcome.summary) == (
        Result.DONE,
        "rebooted, and is running again; 1 services run as before",
    )
    assert ("boot", "11111111 -> 22222222") in outcome.facts


def test_a_service_that_does_not_come_back_is_a_failure_with_its_log():
    bench = Bench([NEW], "degraded")
    bench.unit("box-1", "web").active_state = "failed"
    bench.unit("box-1", "web").log = ["bind: address in use"]
    outcome = reboot.verify(context(bench), HOST, WAS)
    assert outcome.result is Result.FAILED
    assert "not running: web.service" in outcome.summary
    assert "address in use" in outcome.evidence


def test_a_failing_health_check_is_a_failure():
    bench = Bench([NEW])
    bench.unit("box-1", "web").health = "answered 503"
    outcome = reboot.verify(context(bench), HOST, WAS)
    assert outcome.result is Result.FAILED
    assert "web.service (answered 503)" in outcome.summary


def test_a_host_that_never_comes_back_is_unknown_with_the_way_out():
    outcome = reboot.verify(context(Bench([DOWN])), HOST, WAS)
    assert outcome.result is Result.UNKNOWN
    assert "console" in outcome.summary


def test_the_same_boot_is_not_done_and_one_that_is_going_down_is_unknown():
    assert reboot.verify(context(Bench([OLD])), HOST, WAS).result is Result.NOT_DONE
    for state in ("stopping", "offline", ""):
        assert reboot.verify(context(Bench([OLD], state)), HOST, WAS).result is Result.UNKNOWN


def test_a_host_serves_if_all_its_services_run():
    bench = Bench()
    assert reboot.available(context(bench), HOST) is False
    bench.unit("box-1", "db").active_state = "active"
    assert reboot.available(context(bench), HOST) is True


# --- kill ------------------------------------------------------------------------------------------------------------

CGROUP = "12:pids:/else.slice/x.service\n1:name=systemd:/system.slice/web.service\n0::/system.slice/web.service\n"


def proc(
    *,
    name: str = "worker",
    ticks: int = 5000,
    state: str = "S",
    flags: int = 0x400000,
    cgroup: str = CGROUP,
    boot: str = OLD,
    pid: int = 77,
) -> str:
    stat = f"{pid} ({name}) {state} 1 {pid} {pid} 0 -1 {flags} 0 0 0 0 1 2 0 0 20 0 4 0 {ticks} 100 50 0"
    return (
        f"\n@@opsbot boot\n{boot}\n1000.0\n100\n\n@@opsbot stat\n{stat}\n@@opsbot status\nUid:\t33\nVmRSS:\t 2048 kB\n"
        f"Threads:\t4\n@@opsbot user\nwww-data\n@@opsbot cgroup\n{cgroup}\n@@opsbot children\n2\n@@opsbot end\n"
    )


GONE = f"\n@@opsbot boot\n{OLD}\n1000.0\n100\n\n@@opsbot stat\n\n@@opsbot end\n"
THERE = Impact((("main PID", "12"),), {"boot_id": OLD, "started_ticks": "5000", "unit": "web.service"})


def bench_with(*seen: str) -> Bench:
    bench = Bench()
    bench.process = [*seen]
    return bench


def test_the_card_says_whose_process_it_is():
    found = kill.impact(context(bench_with(proc())), HOST, 77, 5000)
    facts = dict(found.facts)
    assert facts["process"] == "worker (PID 77)"
    assert facts["service"].startswith("web.service, active")
    assert (facts["user"], facts["memory"], facts["running for"]) == ("www-data", "2.0 MiB", "15m 50s")
    assert found.fingerprint == {"boot_id": OLD, "started_ticks": "5000", "unit": "web.service"}


@pytest.mark.parametrize(
    ("seen", "said"),
    [
        (GONE, "has no process 77"),
        (proc(ticks=5001), "another process now"),
        (proc(flags=0x208040), "belongs to the kernel"),
        (proc(state="Z"), "has ended already"),
        (proc(cgroup="0::/system.slice/ssh.service\n"), "belongs to ssh.service"),
        (proc(cgroup="0::/user.slice/user-1000.slice/session-3.scope\n"), "session-3.scope"),
        (proc(cgroup="0::/init.scope\n"), "belongs to init.scope"),
        (proc(cgroup=""), "belongs to no service"),
    ],
)
def test_what_is_not_the_one_or_not_allowed_is_refused_before_and_at_the_kill(seen, said):
    for call in (kill.impact, kill.kill_process.function):
        bench = bench_with(seen)
        if seen is GONE and call is not kill.impact:
            assert call(context(bench), HOST, 77, 5000) == {"sent": False, "because": "it had ended already"}
        else:
            with pytest.raises(BadArguments, match=said):
                call(context(bench), HOST, 77, 5000)
        assert bench.sent == []


def test_a_name_may_hold_anything():
    found = kill.parse_process(proc(name="a) R 1 (b\nx\x1b[31m) S"))
    assert (found.ticks, found.state) == (5000, "S")
    assert "\x1b" not in found.name


def test_a_broken_answer_is_not_read_as_no_process():
    whole = proc()
    for end in range(len(whole) - 14):
        with pytest.raises(ToolError):
            kill.parse_process(whole[:end])


def test_who_it_is_and_the_kill_go_in_one_command():
    bench = bench_with(proc())
    assert kill.kill_process.function(context(bench), HOST, 77, 5000, "KILL") == {"sent": True, "output": ""}
    (argv,) = bench.sent
    assert argv[3:] == ("sh", OLD, "77", "5000", "sudo", "-n", "/usr/bin/kill", "-KILL", "--", "77")


@pytest.mark.parametrize(
    ("end", "said"),
    [
        (CommandResult((), 71, ""), "another process now; nothing was sent"),
        (CommandResult((), 1, "", "sudo: a password is required"), "opsbot sudoers box-1"),
        (CommandResult((), 1, "", "kill: Operation not permitted"), "not permitted"),
    ],
)
def test_what_the_host_refuses_at_the_kill_is_raised(end, said):
    bench = bench_with(proc())
    bench.on_send = end
    with pytest.raises(ToolError, match=said):
        kill.kill_process.function(context(bench), HOST, 77, 5000)


@pytest.mark.parametrize("after", [GONE, proc(state="Z"), proc(ticks=9999), proc(boot=NEW)])
def test_a_process_that_is_gone_is_done(after):
    outcome = kill.verify(context(bench_with(proc(), proc(), after)), HOST, THERE, 77, 5000)
    assert outcome.result is Result.DONE
    assert outcome.summary == "process 77 ended; web.service is active (running)"


def test_a_process_that_stays_is_not_done_and_says_what_would_help():
    term = kill.verify(context(bench_with(proc())), HOST, THERE, 77, 5000)
    assert (term.result, "Propose KILL" in term.summary) == (Result.NOT_DONE, True)
    blocked = kill.verify(context(bench_with(proc(state="D"))), HOST, THERE, 77, 5000, "KILL")
    assert "blocked in the kernel" in blocked.summary


def test_a_service_that_fell_with_it_is_a_failure_with_its_log():
    bench = bench_with(GONE)
    bench.unit("box-1", "web").active_state = "failed"
    bench.unit("box-1", "web").log = ["main process exited, code=killed"]
    outcome = kill.verify(context(bench), HOST, THERE, 77, 5000)
    assert outcome.result is Result.FAILED
    assert "code=killed" in outcome.evidence


def test_a_host_that_falls_silent_is_unknown():
    bench = bench_with(proc())
    bench.fault("box-1", "down")

    def run(*args: object, **kwargs: object) -> CommandResult:
        raise HostUnreachable("box-1: no answer.")

    bench.run = run
    assert kill.verify(context(bench), HOST, THERE, 77, 5000).result is Result.UNKNOWN
