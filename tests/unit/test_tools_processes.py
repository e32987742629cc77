"""Processes, ports, dependencies, failed units: the worst first, nothing secret, nothing invented."""

import json
import socket
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opsbot_tools.list_failed_units import list_failed_units, parse_failed_units
from opsbot_tools.network_ports import network_ports, parse_ports
from opsbot_tools.service_dependencies import parse_dependencies, service_dependencies
from opsbot_tools.top_processes import parse_processes, top_processes

from opsbot.adapters.local import LocalShell
from opsbot.adapters.machines import HostMachines
from opsbot.context import Context
from opsbot.domain import CommandResult, Host, ServiceManager, UnitFacts
from opsbot.errors import BadArguments
from tests.fake_machines import FakeMachines

HOST = Host("box-1")


class Said(FakeMachines):
    """Every command gets this answer."""

    def __init__(self, stdout: str, *, truncated: bool = False) -> None:
        super().__init__()
        self._said = (stdout, truncated)

    def run(self, host, argv, *, timeout_s, max_bytes=65536, stdin=""):
        self.commands.append((host.name, tuple(argv)))
        return CommandResult(tuple(argv), 0, self._said[0], truncated=self._said[1])


# --- processes -------------------------------------------------------------------------------------------------------


def stat(
    pid: int, name: str, *, state: str = "S", parent: int = 1, started: int = 5000, flags: int = 0, threads: int = 3
) -> str:
    """Return the lines of /proc/PID/stat as `grep -H` prints them."""
    fields = [state, parent, 1, 1, 0, -1, flags, *[0] * 8, 20, 0, threads, 0, started, 1000, 50, *[0] * 10]
    text = f"{pid} ({name}) {' '.join(map(str, fields))}"
    return "\n".join(f"/proc/{pid}/stat:{line}" for line in text.split("\n"))


def process(pid: int, name: str, *, cgroup: str = "0::/system.slice/app.service", uid: int = 33, **fields) -> str:
    comm = "\n".join(f"/proc/{pid}/comm:{line}" for line in name.split("\n"))
    return f"{stat(pid, name, **fields)}\n{comm}\n/proc/{pid}/cgroup:{cgroup}\n/proc/{pid}/status:Uid:\t{uid}\t{uid}"


SYSTEM = "ticks 100\ncpus 2\npage 4096"


def processes(
    chosen: list[str],
    files: list[str],
    *,
    totals: str = "3 1 0 0",
    shares: str = "",
    system: str = SYSTEM,
    by: str = "cpu",
) -> dict:
    lines = "\n".join(chosen)
    details = "\n".join(files)
    return parse_processes(
        f"\n@@opsbot system\n{system}\n@@opsbot totals\n"
        "C 100 0 100 700 50 0 0 50 0 0\nU 1000.00\nC 150 0 150 760 80 0 0 60 0 0\nU 1001.00\n"
        f"T {totals}\n\n@@opsbot chosen\n{lines}\n\n@@opsbot files\n{details}\n"
        f"\n@@opsbot users\nwww-data:33\n\n@@opsbot shares\n{shares}\n\n@@opsbot end\n",
        by,
    )


def test_a_process_is_told_with_its_identity_and_unit():
    found = processes(["P 150 50 77 5000 R"], [process(77, "worker")])
    assert found["processes"] == [
        {
            "pid": 77,
            "started_ticks": 5000,
            "command": "worker",
            "unit": "app.service",
            "user": "www-data",
            "state": "running",
            "parent_pid": 1,
            "threads": 3,
            "age_s": 951,
            "cpu_percent": 150.0,
            "memory_bytes": 50 * 4096,
        }
    ]
    assert found["cpu"] == {"cpus": 2, "busy_percent": 50.0, "io_wait_percent": 15.0, "steal_percent": 5.0}
    assert found["totals"] == {"processes": 3, "running": 1, "blocked": 0, "zombies": 0}
    assert (found["interval_s"], found["not_shown"], found["not_read"]) == (1.0, 2, [])


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("a) R 1 (b", "a) R 1 (b"),
        ("(sd-pam)", "(sd-pam)"),
        ("two words", "two words"),
        ("x) S\n4242 (y", "x) S 4242 (y"),
        ("\n@@opsbot end", "@@opsbot end"),
        ("\x1b[31mred\x07", "red"),
        ("", "?"),
        ("w\u202eorker", "worker"),
    ],
)
def test_a_hostile_name_changes_nothing_but_the_name(name, shown):
    entry = processes(["P 0 50 77 5000 S"], [process(77, name)])["processes"][0]
    assert (entry["command"].split(), entry["pid"], entry["threads"]) == (shown.split(), 77, 3)
    assert entry["unit"] == "app.service"


def test_a_pid_that_was_given_to_another_process_is_not_described_by_it():
    entry = processes(["P 0 50 77 5000 S"], [process(77, "other", started=6000)])["processes"][0]
    assert (entry["command"], entry["unit"], entry["user"]) == ("ended meanwhile", None, "unknown")


@pytest.mark.parametrize(
    ("cgroup", "unit"),
    [
        ("0::/system.slice/app.service/worker", "app.service"),
        ("0::/user.slice/user-1.slice/user@1.service/app.slice/own.service", "user@1.service"),
        ("0::/machine.slice/m.scope/system.slice/inner.service", "m.scope"),
        ("0::/", None),
        ("nonsense", None),
        ("9:pids:/system.slice/wrong.service\n/proc/77/cgroup:1:name=systemd:/system.slice/v1.service", "v1.service"),
    ],
)
def test_the_unit_is_the_outermost_of_the_control_group(cgroup, unit):
    assert processes(["P 0 50 77 5000 S"], [process(77, "a", cgroup=cgroup)])["processes"][0]["unit"] == unit


def test_a_kernel_thread_says_so():
    entry = processes(["P 0 0 9 1 I"], [process(9, "kworker/0:1", flags=0x208060, started=1, cgroup="0::/")])
    assert (entry["processes"][0]["unit"], entry["processes"][0]["state"]) == ("kernel", "idle")


def test_stuck_processes_are_flagged_and_summed_up_in_the_table():
    found = processes(
        ["P 10 50 1 5 R", "P 0 90 4 5 S", "P 0 50 2 5 D", "P 0 0 3 5 Z"],
        [process(pid, "app", started=5) for pid in (1, 2, 3, 4)],
        totals="40 1 1 1",
    )
    table = top_processes.table({"box-1": found})
    assert [row[-1] for row in table.rows] == ["running", "BLOCKED", "ZOMBIE", "sleeping"]
    assert table.title == ("box-1: 40 processes, 1 running, 1 blocked, 1 zombie; CPU 50% busy, 15% I/O wait, 5% stolen")


def test_the_table_sorts_all_servers_by_what_was_asked_for():
    small = processes(["P 90 10 1 5 R"], [process(1, "cruncher", started=5)], by="memory")
    large = processes(["P 1 9000 2 5 S"], [process(2, "cache", started=5)], by="memory")
    table = top_processes.table({"a": small, "b": large})
    assert [row[2] for row in table.rows] == ["cache", "cruncher"]
    assert table.rows[0][5:7] == ("1%", "35 MiB")


def test_the_fair_share_is_told_where_it_may_be_read():
    files = [process(7, "a"), process(8, "b")]
    shares = "/proc/7/smaps_rollup:Pss:                 331 kB"
    found = processes(["P 0 50 7 5000 S", "P 0 40 8 5000 S"], files, shares=shares, by="memory")["processes"]
    assert [entry["share_bytes"] for entry in found] == [331 * 1024, None]


def test_without_a_page_size_the_memory_is_unknown_and_the_rest_stands():
    entry = processes(["P 150 50 77 5000 R"], [process(77, "worker")], system="ticks \ncpus 2\npage ")["processes"][0]
    assert (entry["memory_bytes"], entry["cpu_percent"]) == (None, 150.0)


def test_hidden_processes_are_named():
    found = processes([], [], system="page 4096\n@@hidden")
    assert found["not_read"] == ["processes of other users: the server hides them (hidepid)"]


def test_an_answer_without_proc_is_unknown():
    found = processes([], [], totals="0 0 0 0")
    assert found["totals"] is None
    assert top_processes.table({"box-1": found}).rows[0][2:] == (
        "not read", "", "", "", "", "", "", "processes: the server's /proc cannot be read",
    )  # fmt: skip


def test_this_machine_is_read_and_a_busy_loop_is_first():
    # Before others where that is allowed: this test may share the processors with many.
    loop = subprocess.Popen(["nice", "-n", "-15", "python3", "-c", "while True: pass", "hunter2"])
    machines = HostMachines(LocalShell(), LocalShell())
    try:
        found = top_processes.function(Context(machines, timeout_s=15), HOST)
    finally:
        loop.kill()
        loop.wait()
        machines.close()
    mine = next(entry for entry in found["processes"] if entry["pid"] == loop.pid)
    assert mine["command"].startswith("python3")
    assert (mine["threads"], mine["state"]) == (1, "running")
    assert mine["cpu_percent"] > 1
    assert mine["age_s"] < 60
    assert "hunter2" not in json.dumps(found)
    assert len(found["processes"]) <= 35


@given(st.text(max_size=200), st.integers(0, 700), st.integers(0, 700))
def test_any_damage_to_the_readings_is_read_or_named(junk, start, end):
    text = f"\n@@opsbot totals\nU 1\nT 3 1 0 0\n@@opsbot chosen\nP 1 2 77 5000 S\n@@opsbot files\n{process(77, 'a')}\n"
    found = parse_processes(text[:start] + junk + text[end:], "cpu")
    json.dumps(found, allow_nan=False)
    assert "the rest: the server's answer ends early" in found["not_read"] or "@@opsbot end" in junk


# --- failed units ----------------------------------------------------------------------------------------------------

NOW_EPOCH = 1795435200  # 2026-11-23 12:00:00 UTC
AN_HOUR_AGO = "Mon 2026-11-23 11:00:00 UTC"


def unit(name: str, active: str = "active", sub: str = "running", **properties: str) -> str:
    usual = {"Id": name, "LoadState": "loaded", "ActiveState": active, "SubState": sub, "Type": "simple"}
    usual |= {"Result": "success", "NRestarts": "0", "StateChangeTimestamp": AN_HOUR_AGO, "ExecMainCode": "0"}
    return "".join(f"{key}={value}\n" for key, value in (usual | properties).items())


def failed_units(*blocks: str, logs: str = "", more: int = 0, readable: str = "journal") -> dict:
    return parse_failed_units(
        f"\n@@opsbot now\n{NOW_EPOCH}\n\n@@opsbot listed\n@@status 0\n@@more {more}\n\n@@opsbot units\n"
        + "\n".join(blocks)
        + f"\n@@shown 0\n\n@@opsbot readable\n{readable}\n{logs}\n@@opsbot end\n"
    )


def journal(pid: int, message: object, at: int = NOW_EPOCH) -> str:
    return json.dumps({"_PID": str(pid), "MESSAGE": message, "__REALTIME_TIMESTAMP": f"{at}000000"})


def test_a_failed_unit_is_told_with_reason_and_its_own_last_lines():
    lines = [journal(9, f"own {number}") for number in range(5)] + [journal(1, "Failed with result.")]
    found = failed_units(
        unit("a.service", "failed", "failed", Result="exit-code", ExecMainCode="1", ExecMainStatus="78"),
        logs="\n@@opsbot log a.service\n" + "\n".join(lines),
    )
    (entry,) = found["units"]
    assert (entry["problem"], entry["result"], entry["exit"]) == ("failed", "exit-code", "exit status 78")
    assert entry["since_s"] == 3600
    assert entry["log"] == [f"2026-11-23 12:00:00 UTC own {number}" for number in (2, 3, 4)]
    assert (found["failed"], found["not_read"], found["not_shown"]) == (1, [], 0)


def test_what_failed_comes_before_what_only_limps():
    found = failed_units(
        unit("ended.service", "active", NRestarts="7", ActiveEnterTimestamp="Mon 2026-11-23 11:59:50 UTC"),
        unit("slow.service", "activating", "start"),
        unit("down.service", "activating", "auto-restart", NRestarts="2", Result="exit-code"),
        unit("typo.service", "inactive", "dead", LoadState="bad-setting", LoadError='org.x.Y "No ExecStart"'),
        unit("gone.mount", "failed", "failed", Result="exit-code", NRestarts=""),
    )
    assert [(entry["unit"], entry["problem"], entry["note"]) for entry in found["units"]] == [
        ("gone.mount", "failed", ""),
        ("typo.service", "cannot be loaded", "No ExecStart"),
        ("down.service", "keeps restarting", "down now, waits for its next start"),
        ("ended.service", "keeps restarting", "up for 10s"),
        ("slow.service", "hangs", "does not finish its start"),
    ]
    assert found["failed"] == 1


@pytest.mark.parametrize(
    "block",
    [
        unit("old.service", NRestarts="50", ActiveEnterTimestamp="Sun 2026-11-22 11:00:00 UTC"),
        unit("once.service", NRestarts="2", ActiveEnterTimestamp="Mon 2026-11-23 11:59:50 UTC"),
        unit("job.service", "activating", "start", Type="oneshot"),
        unit("young.service", "activating", "start", StateChangeTimestamp="Mon 2026-11-23 11:59:00 UTC"),
        unit("unwanted.service", "inactive", "dead", LoadState="masked"),
        "",
        "garbage",
    ],
)
def test_what_recovered_long_ago_or_only_works_is_no_trouble(block):
    found = failed_units(block)
    assert (found["units"], found["masked_but_wanted"], found["not_read"]) == ([], [], [])
    assert list_failed_units.table({"box-1": found}).title == "Nothing failed on box-1"


def test_masked_units_somebody_wants_are_named_and_are_no_failure():
    block = unit("off.timer", "inactive", "dead", LoadState="masked", WantedBy="timers.target")
    found = failed_units(block)
    assert (found["units"], found["masked_but_wanted"]) == ([], ["off.timer"])
    table = list_failed_units.table({"box-1": found})
    assert table.title == "Nothing failed on box-1"
    assert table.rows == (("box-1", "off.timer", "masked but wanted", "", "", "", ""),)


@pytest.mark.parametrize(
    ("code", "status", "said"),
    [
        ("2", "9", "killed by SIGKILL"),
        ("3", "11", "killed by SIGSEGV, core dumped"),
        ("2", "99", "killed by signal 99"),
    ],
)
def test_a_signal_is_named(code, status, said):
    block = unit("a.service", "failed", "failed", Result="signal", ExecMainCode=code, ExecMainStatus=status)
    assert failed_units(block)["units"][0]["exit"] == said


def test_log_lines_of_hostile_bytes_are_plain_and_short():
    lines = [journal(9, "\x1b[2Jx\n@@opsbot end"), journal(9, [0xC3, 0x28, 300, "x"]), journal(9, None), "cut {"]
    found = failed_units(unit("a.service", "failed", "failed"), logs="\n@@opsbot log a.service\n" + "\n".join(lines))
    said = [line.partition(" UTC ")[2] for line in found["units"][0]["log"]]
    assert said == ["x @@opsbot end", "\ufffd(", "(too long to show)"]


def test_without_the_right_to_read_the_journal_the_log_is_unknown():
    found = failed_units(unit("a.service", "failed", "failed"), readable="")
    assert found["units"][0]["log"] is None
    assert found["not_read"] == ["logs: the bot's user may not read the journal"]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("\n@@opsbot now\n1\n\n@@opsbot listed\n@@status 124\n", "units: systemd did not answer"),
        ("\n@@opsbot now\n1\n\n@@opsbot listed\n@@status absent\n", "units: systemd does not run there"),
        ("", "units: no answer"),
    ],
)
def test_a_systemd_that_does_not_answer_is_not_a_healthy_one(said, why):
    found = list_failed_units.function(Context(Said(said), timeout_s=9), HOST)
    assert found["not_read"] == [why]
    table = list_failed_units.table({"box-1": found})
    assert (table.title, table.rows[0][4]) == ("", why)


def test_units_that_systemd_lists_and_does_not_describe_are_no_healthy_ones():
    found = parse_failed_units(
        f"\n@@opsbot now\n{NOW_EPOCH}\n\n@@opsbot listed\n@@status 0\n@@restarts unread\n@@more 0\n"
        "\n@@opsbot units\n@@shown 124\n\n@@opsbot end\n"
    )
    assert found["not_read"] == [
        "units: systemd listed them and did not describe them all",
        "restarts: systemd did not count them in time",
    ]
    assert "Nothing failed" not in list_failed_units.table({"box-1": found}).title


def test_many_failures_are_bounded_and_counted():
    found = failed_units(*(unit(f"u{number}.service", "failed", "failed") for number in range(30)), more=5)
    assert (len(found["units"]), found["failed"], found["not_shown"]) == (20, 30, 15)
    assert "15 more units not shown" in list_failed_units.table({"box-1": found}).title


def test_supervisord_tells_what_it_gave_up_tries_again_or_saw_ending():
    class Supervised(FakeMachines):
        def services(self, host):
            return self

        def units(self, *, timeout_s):
            return (
                UnitFacts("web", "", "loaded", "active", "running"),
                UnitFacts("done", "Nov 23 08:00 AM", "loaded", "inactive", "exited"),
                UnitFacts("again", "Exited too quickly", "loaded", "activating", "auto-restart", "Exited too quickly"),
                UnitFacts("dead", "gave up", "loaded", "failed", "failed", "gave up"),
                UnitFacts("off", "Not started", "loaded", "inactive", "dead"),
            )

    host = Host("box-1", service_manager=ServiceManager.SUPERVISORD)
    found = list_failed_units.function(Context(Supervised(), timeout_s=9), host)
    assert [(entry["unit"], entry["problem"]) for entry in found["units"]] == [
        ("dead", "failed"),
        ("again", "keeps restarting"),
        ("done", "ended"),
    ]
    assert found["units"][2]["note"] == "Nov 23 08:00 AM"


@given(st.text(max_size=200), st.integers(0, 900), st.integers(0, 900))
def test_any_damage_to_the_states_is_read_or_named(junk, start, end):
    text = f"\n@@opsbot now\n{NOW_EPOCH}\n@@opsbot listed\n@@status 0\n@@more 0\n"
    text += f"\n@@opsbot units\n{unit('a.b')}\n@@shown 0\n"
    found = parse_failed_units(text[:start] + junk + text[end:])
    json.dumps(found, allow_nan=False)
    assert found["not_read"] or "@@opsbot end" in junk


# --- dependencies ----------------------------------------------------------------------------------------------------


def dependencies(itself: str, *others: str, end: str = "end") -> dict:
    body = "\n".join(others)
    return parse_dependencies(
        f"\n@@opsbot unit\n{itself}\n@@status 0\n\n@@opsbot units\n{body}\n\n@@opsbot {end}\n", "app.service"
    )


def needs(itself: str, *others: str) -> list[tuple[str, str, str]]:
    return [(entry["unit"], entry["relation"], entry["problem"]) for entry in dependencies(itself, *others)["needs"]]


def test_broken_links_come_first_the_firm_before_the_wishes():
    found = needs(
        unit(
            "app.service",
            Requires="up.service gone.service masked.service off.service",
            BindsTo="data.mount",
            Wants="broken.service nice.service",
            TriggeredBy="app.socket",
        ),
        unit("up.service"),
        unit("gone.service", "inactive", "dead", LoadState="not-found"),
        unit("masked.service", "inactive", "dead", LoadState="masked"),
        unit("off.service", "inactive", "dead"),
        unit("data.mount", "failed", "failed", Result="exit-code"),
        unit("broken.service", "failed", "failed", Result="timeout"),
        unit("nice.service", "inactive", "dead", LoadState="not-found"),
        unit("app.socket", "inactive", "dead"),
    )
    assert found == [
        ("data.mount", "is bound to", "failed: exit-code"),
        ("gone.service", "requires", "not found"),
        ("masked.service", "requires", "masked"),
        ("app.socket", "is triggered by", "does not wait: it triggers nothing"),
        ("off.service", "requires", "not running"),
        ("broken.service", "wants", "failed: timeout"),
        ("up.service", "requires", ""),
        ("nice.service", "wants", ""),
    ]


@pytest.mark.parametrize(
    "block",
    [
        unit("other.service", "inactive", "dead", Type="oneshot"),
        unit("other.service", "inactive", "dead", ConditionResult="no", ConditionTimestampMonotonic="42"),
        unit("other.service", "reloading", "reload"),
        "",
    ],
)
def test_what_ended_well_or_is_not_meant_for_this_server_or_is_unknown_is_no_broken_link(block):
    assert needs(unit("app.service", Requires="other.service"), block) == [("other.service", "requires", "")]


def test_a_unit_that_was_never_tried_does_not_hide_behind_its_conditions():
    block = unit("other.service", "inactive", "dead", ConditionResult="no", ConditionTimestampMonotonic="0")
    assert needs(unit("app.service", Requires="other.service"), block)[0][2] == "not running"


def test_a_chain_is_followed_to_depth_three_and_loops_end():
    chain = [
        unit("a.service", Requires="b.service app.service"),
        unit("b.service", Requires="c.service a.service"),
        unit("c.service", Requires="d.service"),
        unit("d.service", "failed", "failed"),
    ]
    found = dependencies(unit("app.service", Requires="a.service"), *chain)
    assert [(entry["unit"], entry["via"], entry["depth"]) for entry in found["needs"]] == [
        ("a.service", "app.service", 1),
        ("b.service", "a.service", 2),
        ("c.service", "b.service", 3),
    ]


def test_a_requirement_of_a_wish_is_a_wish():
    chain = [unit("a.service", Requires="b.service"), unit("b.service", "inactive", "dead", LoadState="not-found")]
    assert needs(unit("app.service", Wants="a.service"), *chain) == [
        ("a.service", "wants", ""),
        ("b.service", "requires", ""),
    ]


def test_what_every_service_has_is_left_out_while_it_holds():
    below = unit("sysinit.target", Requires="a.mount", Wants="b.service")
    found = needs(unit("app.service", Requires="system.slice sysinit.target"), below)
    assert found == [("sysinit.target", "requires", "")]
    fallen = unit("sysinit.target", "inactive", "dead", Requires="a.mount")
    found = needs(
        unit("app.service", Requires="sysinit.target"), fallen, unit("a.mount", "failed", "failed", Result="x")
    )
    assert ("a.mount", "requires", "failed: x") in found


def test_what_needs_it_is_told_without_blame():
    found = dependencies(
        unit("app.service", RequiredBy="front.service", WantedBy="multi-user.target", ConsistsOf="part.service"),
        unit("front.service", RequiredBy="edge.service"),
        unit("edge.service"),
        unit("multi-user.target", RequiredBy="graphical.target"),
    )
    assert [(entry["unit"], entry["relation"], entry["depth"]) for entry in found["needed_by"]] == [
        ("front.service", "requires it", 1),
        ("part.service", "part of it", 1),
        ("multi-user.target", "wants it", 1),
        ("edge.service", "requires it", 2),
    ]
    assert found["needed_by"][1]["state"] == "unknown"


def test_a_start_that_waits_for_another_is_told():
    found = needs(
        unit("app.service", "inactive", "dead", After="slow.service done.service"),
        unit("slow.service", "activating", "start"),
        unit("done.service"),
    )
    assert found == [("slow.service", "starts after", "still starting")]


def test_a_name_with_a_backslash_is_read_though_systemctl_quotes_it():
    others = unit("a\\x2db.mount", "failed", "failed", Result="x", Names='"a\\\\x2db.mount"')
    found = needs(unit("app.service", Requires='"system-a\\\\x2db.slice" "a\\\\x2db.mount"'), others)
    assert found == [("a\\x2db.mount", "requires", "failed: x")]


def test_an_alias_is_the_same_unit():
    others = unit("real.service", Names="real.service nick.service")
    assert dependencies(unit("app.service", Requires="nick.service"), others)["needs"][0]["state"] == "active (running)"


def test_many_dependencies_are_bounded_and_counted():
    names = " ".join(f"u{number}.service" for number in range(90))
    found = dependencies(unit("app.service", Requires=names, RequiredBy=names))
    assert (len(found["needs"]), len(found["needed_by"]), found["not_shown"]) == (40, 20, 120)


def test_an_unanswered_or_short_answer_is_named():
    assert parse_dependencies("\n@@opsbot unit\n\n@@status 124\n", "a")["not_read"] == [
        "dependencies: systemd did not answer"
    ]
    assert parse_dependencies("\n@@opsbot unit\n\n@@status absent\n", "a")["not_read"] == [
        "dependencies: systemd does not run there"
    ]
    assert dependencies(unit("app.service"), end="unanswered")["not_read"] == [
        "the rest: the server's answer ends early",
        "deeper dependencies: systemd did not answer in time",
    ]


def test_supervisord_has_no_dependencies_and_is_not_asked():
    machines = FakeMachines()
    host = Host("box-1", service_manager=ServiceManager.SUPERVISORD)
    found = service_dependencies.function(Context(machines, timeout_s=9), host, "app")
    assert found["not_read"] == ["dependencies: supervisord keeps none between its programs"]
    assert machines.commands == []
    assert service_dependencies.table({"box-1": found}).rows[0][4] == found["not_read"][0]


def test_a_template_is_refused_with_the_way_out():
    with pytest.raises(BadArguments, match="name an instance"):
        service_dependencies.function(Context(FakeMachines(), timeout_s=9), HOST, "app@.service")


def test_an_escaped_name_reaches_the_host_as_an_argument():
    machines = Said("")
    service_dependencies.function(Context(machines, timeout_s=9), HOST, "a\\x2db@c.service")
    ((_, argv),) = machines.commands
    assert (argv[0], argv[-1]) == ("sh", "a\\x2db@c.service")


@given(st.text(max_size=200), st.integers(0, 900), st.integers(0, 900))
def test_any_damage_to_the_dependencies_is_read_or_named(junk, start, end):
    text = (
        f"\n@@opsbot unit\n{unit('a.service', Requires='b.service')}\n@@status 0\n@@opsbot units\n{unit('b.service')}"
    )
    found = parse_dependencies(text[:start] + junk + text[end:], "a.service")
    json.dumps(found, allow_nan=False)
    assert found["not_read"] or "@@opsbot end" in junk


# --- ports -----------------------------------------------------------------------------------------------------------


def listening(
    local: str, unit: str = "app.service", *, proto: str = "tcp", queues: str = "0 128", more: str = ""
) -> str:
    state = "LISTEN" if proto == "tcp" else "UNCONN"
    return f"L {proto} {state} {queues} {local} 0.0.0.0:* {more} ino:1 sk:1 cgroup:/system.slice/{unit} <-> cgroup:/x  "


def ports(listeners: list[str], connections: list[str] | None = None, *, rest: str = "", answered: bool = True) -> dict:
    said = "\n".join([*listeners, *(["@@answered"] if answered else [])])
    counted = "\n".join(connections or [])
    return parse_ports(
        "\n@@opsbot counters\nTcpExt: SyncookiesSent ListenOverflows ListenDrops\nTcpExt: 0 7 9\n"
        f"\n@@opsbot listeners\n{said}\n\n@@opsbot connections\n{counted}\n{rest}\n"
        "\n@@opsbot users\nroot:0\nwww-data:33\n\n@@opsbot end\n"
    )


def test_a_listener_is_told_with_unit_user_reach_and_queue():
    found = ports([listening("0.0.0.0:80", more="uid:33"), listening("[::]:80", more="uid:33")])
    assert found["listeners"] == [
        {
            "proto": "tcp",
            "port": 80,
            "addresses": ["0.0.0.0", "::"],
            "reach": "all addresses",
            "unit": "app.service",
            "process": None,
            "user": "www-data",
            "waiting": 0,
            "queue": 128,
            "connections": {},
            "connected": 0,
            "addresses_connected": 0,
            "problem": "",
        }
    ]
    assert (found["overflows_since_boot"], found["not_read"]) == (7, [])


@pytest.mark.parametrize(
    ("local", "address", "reach"),
    [
        ("*:80", "*", "all addresses"),
        ("127.0.0.53%lo:53", "127.0.0.53%lo", "this host only"),
        ("[::1]:80", "::1", "this host only"),
        ("[fe80::1]%eth0:546", "fe80::1%eth0", "one address"),
        ("10.1.2.3:80", "10.1.2.3", "one address"),
        ("[::ffff:127.0.0.1]:80", "127.0.0.1", "this host only"),
    ],
)
def test_who_can_reach_a_port_is_read_from_its_address(local, address, reach):
    (entry,) = ports([listening(local)])["listeners"]
    assert (entry["addresses"], entry["reach"], entry["user"]) == ([address], reach, "root")


def test_connections_are_counted_at_the_listener_of_their_address():
    found = ports(
        [listening("10.0.0.1:80", "one.service"), listening("0.0.0.0:80", "rest.service")],
        [
            "I ESTAB 10.0.0.1:80 /system.slice/one.service 5",
            "I ESTAB 10.0.0.2:80 /system.slice/rest.service 3",
            "I TIME-WAIT 10.0.0.2:80 - 9",
            "P 80 10.9.9.9 - 6",
            "P 80 [::ffff:10.9.9.8] - 2",
            "N 80 2",
            "O ESTAB 10.5.5.5:5432 /system.slice/one.service 4",
            "X 11",
        ],
    )
    assert {entry["unit"]: entry["connections"] for entry in found["listeners"]} == {
        "rest.service": {"TIME-WAIT": 9, "ESTAB": 3},
        "one.service": {"ESTAB": 5},
    }
    assert found["states"] == {"ESTAB": 12, "TIME-WAIT": 9}
    assert found["outgoing"] == [
        {"unit": "one.service", "to": "10.5.5.5 port 5432", "states": {"ESTAB": 4}, "problem": ""}
    ]
    assert found["top_peers"] == [
        {"address": "10.9.9.9", "port": 80, "connections": 6},
        {"address": "10.9.9.8", "port": 80, "connections": 2},
    ]
    assert found["listeners"][0]["addresses_connected"] == 2
    assert found["not_shown"] == 11


def test_a_connection_that_fits_no_listener_is_named_not_given_to_another():
    found = ports([listening("10.0.0.1:80")], ["I ESTAB 10.0.0.2:80 - 3"])
    assert found["listeners"][0]["connected"] == 0
    assert found["not_read"] == ["3 connections to a port that just closed"]


def test_a_full_queue_and_connections_never_closed_are_problems_and_come_first():
    found = ports(
        [
            listening("0.0.0.0:80", "busy.service"),
            listening("0.0.0.0:81", "full.service", queues="129 128"),
            listening("127.0.0.1:82", "leak.service"),
        ],
        [
            "I ESTAB 10.0.0.1:80 - 900",
            "I CLOSE-WAIT 127.0.0.1:82 - 20",
            "O CLOSE-WAIT 10.5.5.5:5432 /system.slice/pool.service 50",
            "O ESTAB 10.5.5.5:25 /system.slice/pool.service 60",
        ],
    )
    assert [(entry["unit"], entry["problem"]) for entry in found["listeners"]] == [
        ("leak.service", "20 connections the service does not close"),
        ("full.service", "queue full: 129 wait to be accepted, room is for 128"),
        ("busy.service", ""),
    ]
    assert found["outgoing"][0]["problem"] == "50 connections the service does not close"
    table = network_ports.table({"box-1": found})
    assert [row[3] for row in table.rows] == ["full.service", "leak.service", "busy.service", *["pool.service"] * 2]
    assert table.title == "box-1: 7 connections met a full queue since the boot"


def test_who_owns_a_socket_is_unknown_without_rights_and_groups():
    line = "L tcp LISTEN 0 5 0.0.0.0:80 0.0.0.0:* uid:33 ino:1 sk:1 <->"
    found = ports([line])
    assert (found["listeners"][0]["unit"], found["listeners"][0]["process"]) == (None, None)
    assert found["not_read"] == ["units: the kernel or ss does not tell whose sockets these are"]
    assert network_ports.table({"box-1": found}).rows[0][3] == "unknown"


def test_an_own_process_leads_to_its_unit_where_ss_tells_no_groups():
    line = 'L tcp LISTEN 0 5 0.0.0.0:80 0.0.0.0:* users:(("app",pid=7,fd=3),("app",pid=8,fd=3)) ino:1 sk:1 <->'
    rest = "\n@@opsbot processes\n/proc/7/cgroup:1:name=systemd:/system.slice/app.service\n/proc/7/cgroup:0::/\n"
    (entry,) = ports([line], rest=rest)["listeners"]
    assert (entry["unit"], entry["process"]) == ("app.service", "app")


def test_a_socket_that_systemd_holds_is_its_socket_unit():
    line = "L tcp LISTEN 0 5 *:80 *:* ino:1 sk:1 cgroup:/init.scope <-> cgroup:/init.scope"
    rest = "\n@@opsbot sockets\n[::]:80 app.socket app.service\n/run/x y.socket y.service\n"
    assert ports([line], rest=rest)["listeners"][0]["unit"] == "app.socket"


def test_a_process_name_with_a_line_end_adds_no_listener():
    lines = [
        'L tcp LISTEN 0 5 0.0.0.0:80 0.0.0.0:* users:(("x',
        'L @@opsbot end",pid=7,fd=3)) ino:1 sk:1 cgroup:/a <->',
    ]
    found = ports([*lines, listening("0.0.0.0:81")])
    assert [entry["port"] for entry in found["listeners"]] == [80, 81]


def test_a_silent_ss_is_not_a_closed_server():
    found = ports([], answered=False)
    assert found["not_read"] == ["listeners: ss did not answer"]
    assert network_ports.table({"box-1": found}).rows[0][-1] == "listeners: ss did not answer"


def test_many_listeners_are_bounded_and_counted():
    found = ports([listening(f"0.0.0.0:{port}") for port in range(1000, 1100)])
    assert (len(found["listeners"]), found["not_shown"]) == (40, 60)


PROC_TCP = """  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:18EB 00000000:0000 0A 00000000:00000003 00:00000000 00000000   101        0 1202332 1 0 100 0 0 10 0
   1: 0100007F:18EB 0200007F:D000 01 00000000:00000000 00:00000000 00000000   101        0 1202333 1 0 100 0 0 10 0
   2: 0100000A:D001 0500000A:1538 08 00000000:00000000 00:00000000 00000000   33        0 1202334 1 0 100 0 0 10 0
   3: garbage
"""
PROC_TCP6 = """  sl  local_address                         remote_address                        st tx_queue rx_queue
   0: 00000000000000000000000000000000:0050 00000000000000000000000000000000:0000 0A 00000000:00000000 00:0 0 0 0 1 1
   1: 0000000000000000FFFF00000100000A:0050 0000000000000000FFFF00000900000A:C000 01 00000000:00000000 00:0 0 0 0 1 1
"""


def test_without_ss_the_kernel_tables_tell_all_but_the_unit():
    found = parse_ports(
        f"\n@@opsbot counters\n\n@@opsbot proc tcp\n{PROC_TCP}\n@@opsbot proc tcp6\n{PROC_TCP6}\n"
        "@@opsbot proc udp\nheader\n 0: 00000000:0044 00000000:0000 07 0:00000000 00:0 0 0 0 1\n"
        "\n@@opsbot proc udp6\n@@unreadable\n\n@@opsbot users\nredis:101\n\n@@opsbot end\n"
    )
    entries = {(entry["proto"], entry["port"]): entry for entry in found["listeners"]}
    assert set(entries) == {("tcp", 6379), ("tcp", 80), ("udp", 68)}
    redis = entries["tcp", 6379]
    assert (redis["addresses"], redis["user"], redis["waiting"], redis["queue"]) == (["127.0.0.1"], "redis", 3, None)
    assert redis["connections"] == {"ESTAB": 1}
    assert entries["tcp", 80]["connections"] == {"ESTAB": 1}
    assert found["outgoing"][0]["to"] == "10.0.0.5 port 5432"
    assert found["overflows_since_boot"] is None
    assert found["not_read"] == ["units: there is no ss on the server to tell whose sockets these are"]


def test_without_ss_and_kernel_tables_nothing_is_known():
    assert parse_ports("")["not_read"] == [
        "listeners: there is no ss, and /proc/net cannot be read",
        "the rest: the server's answer ends early",
    ]


def test_this_machines_own_listener_and_connection_are_seen():
    machines = HostMachines(LocalShell(), LocalShell())
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)) as client, server.accept()[0] as accepted:
            assert client.getpeername() == accepted.getsockname()
            try:
                found = network_ports.function(Context(machines, timeout_s=20), HOST)
            finally:
                machines.close()
    entry = next((entry for entry in found["listeners"] if entry["port"] == port), None)
    assert entry is None or entry["reach"] == "this host only"
    assert entry is not None or found["not_shown"]
    assert found["states"]["ESTAB"] >= 2


@given(st.text(max_size=200), st.integers(0, 900), st.integers(0, 900))
def test_any_damage_to_the_sockets_is_read_or_named(junk, start, end):
    text = f"\n@@opsbot listeners\n{listening('*:80')}\n@@answered\n"
    text += "\n@@opsbot connections\nI ESTAB 10.0.0.1:80 - 5\nP 80 1.1.1.1 - 5\n"
    found = parse_ports(text[:start] + junk + text[end:])
    json.dumps(found, allow_nan=False)
    assert found["not_read"] or "@@opsbot end" in junk
