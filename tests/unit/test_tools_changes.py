"""Timers and cron, changes, comparisons: what is said first, what is never said, and what is admitted as unknown."""

import json
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opsbot_tools.compare_hosts import compare_hosts, parse_facts
from opsbot_tools.timers_and_cron import command_name, parse_timers_and_cron, timers_and_cron
from opsbot_tools.whats_changed import parse_changes, whats_changed

from opsbot.context import Context
from opsbot.domain import CommandResult, Host
from opsbot.errors import BadArguments
from tests.fake_machines import FakeMachines

NOW = datetime(2026, 11, 23, 12, 0, tzinfo=UTC)
EPOCH = int(NOW.timestamp())
HOST = Host("box-1")


class Said(FakeMachines):
    """Every command gets this answer."""

    def __init__(self, stdout: str, *, truncated: bool = False) -> None:
        super().__init__()
        self._said = (stdout, truncated)

    def run(self, host, argv, *, timeout_s, max_bytes=65536, stdin=""):
        self.commands.append((host.name, tuple(argv)))
        return CommandResult(tuple(argv), 0, self._said[0], truncated=self._said[1])


# --- timers ----------------------------------------------------------------------------------------------------------


def timer(name: str, *, state: str = "active", next_at: str = "", last: str = "", monotonic: str = "") -> str:
    return (
        f"Id={name}.timer\nUnit={name}.service\nActiveState={state}\nSubState=waiting\nResult=success\n"
        f"NextElapseUSecRealtime={next_at}\nNextElapseUSecMonotonic={monotonic}\nLastTriggerUSec={last}\n"
    )


def service(name: str, result: str = "success", state: str = "inactive") -> str:
    return f"Id={name}.service\nResult={result}\nActiveState={state}\nExecMainStatus=0\n"


def timers(listed: list[str], services: list[str], files: str = "") -> dict[str, dict]:
    text = (
        f"@@opsbot now\n{EPOCH}\n3600.5 100.0\n\n@@opsbot timers\n" + "\n".join(listed) + "@@status 0\n\n"
        "@@opsbot services\n" + "\n".join(services) + f"\n@@opsbot unit-files\n{files}\n@@opsbot end\n"
    )
    found = parse_timers_and_cron(text)
    return {each["timer"]: each for each in found["timers"]}


def test_failed_and_overdue_timers_come_first():
    found = timers(
        [
            timer("fine", next_at="Mon 2026-11-23 13:00:00 UTC", last="Mon 2026-11-23 11:00:00 UTC"),
            timer("late", next_at="Mon 2026-11-23 11:00:00 UTC"),
            timer("broken", next_at="Mon 2026-11-23 14:00:00 UTC"),
            timer("busy", next_at="Mon 2026-11-23 11:00:00 UTC"),
            timer("boot", monotonic="1h 30min 2.5s"),
            timer("once"),
            timer("off", state="inactive"),
        ],
        [service("broken", "exit-code"), service("busy", state="activating"), service("fine")],
        "off.timer enabled enabled\nforgotten.timer enabled enabled\nmany@.timer enabled enabled",
    )
    states = {name.removesuffix(".timer"): each["state"] for name, each in found.items()}
    assert states == {
        "late": "overdue",
        "broken": "failed",
        "off": "enabled but not started",
        "forgotten": "enabled but not started",
        "busy": "running now",
        "boot": "waiting",
        "fine": "waiting",
        "once": "over",
    }
    assert [name for name in states][:2] == ["late", "broken"]
    assert (found["fine.timer"]["next_in_s"], found["fine.timer"]["last_ago_s"]) == (3600, 3600)
    # 1 h 30 min 2 s after a boot one hour ago.
    assert found["boot.timer"]["next_in_s"] == pytest.approx(1802, abs=2)
    assert found["fine.timer"]["last_result"] == "success"
    assert found["late.timer"]["last_result"] == "unknown"


@pytest.mark.parametrize("text", ["", "infinity", "1000000000000y", "x"])
def test_a_span_that_says_nothing_is_no_next_run(text):
    assert timers([timer("a", monotonic=text)], [])["a.timer"]["next_in_s"] is None


def test_a_systemd_that_did_not_answer_is_unknown_not_no_timers():
    found = parse_timers_and_cron(f"@@opsbot now\n{EPOCH}\n3600 1\n@@opsbot timers\n@@status 124\n")
    assert found["timers"] is None
    assert found["not_read"] == ["timers: systemd did not answer"]
    assert timers_and_cron.table({"box-1": found}).rows[0][5] == "timers: systemd did not answer"


# --- cron ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("/usr/bin/pg_dump -U app --password=hunter2 shop", "pg_dump"),
        ("TOKEN=hunter2 /opt/bin/sync.sh hunter2", "sync.sh"),
        ("cd /srv && ./backup hunter2 >/dev/null 2>&1", "backup"),
        ("test -x /usr/sbin/anacron || { cd / && run-parts --report /etc/cron.daily; }", "run-parts"),
        ("[ -d /x ] && curl -H 'Authorization: hunter2; hunter2' https://x | sh", "curl"),
        ("mysql -p'hunter2 && hunter2' shop", "mysql"),
        ("mysql -p'hunter2 shop", "mysql"),
        ('"hunter2 with spaces" x', "unreadable"),
        ("mail -s x%hunter2", "mail"),
        ("(sleep 5; /bin/true) &", "sleep"),
        ("echo hunter2 > /run/hunter2", "echo"),
        ("", "unreadable"),
    ],
)
def test_of_a_command_only_the_name_is_told(line, name):
    assert command_name(line) == name


@given(st.text(max_size=80))
def test_no_command_line_breaks_the_reading(line):
    name = command_name(f"/bin/tool 'quoted' {line}")
    assert name == "tool" or not set(name) & set(" '\"")


CRON = """@@opsbot cron-runs
0

@@opsbot system-crontab /etc/crontab
SHELL=/bin/sh
17 *\t* * *\troot\tcd / && run-parts /etc/cron.hourly
@reboot www-data /opt/warm hunter2
nonsense
* * * *

@@opsbot system-crontab /etc/cron.d/back.up
*/5 * * * * root /usr/bin/dump

@@opsbot system-crontab /etc/cron.d/secret
@@unreadable

@@opsbot script daily yes /etc/cron.daily/apt-compat

@@opsbot script daily no /etc/cron.daily/logrotate

@@opsbot script weekly yes /etc/cron.weekly/clean.sh

@@opsbot own-crontab bot
0 3 * * 1-5 /opt/report
@@opsbot unreadable /var/spool/cron/crontabs

@@opsbot end
"""


def test_jobs_that_never_run_come_first_with_the_reason():
    found = parse_timers_and_cron(CRON.replace("cron-runs\n0", "cron-runs\n1"))
    told = {(job["source"], job["command"]): job["problem"] for job in found["cron"]}
    assert told[("/etc/cron.d/back.up", "dump")] == "never runs: cron skips a file of such a name"
    assert told[("/etc/cron.daily", "logrotate")] == "never runs: it is not executable"
    assert told[("/etc/cron.weekly", "clean.sh")] == "never runs: run-parts skips such a name"
    assert told[("/etc/crontab", "run-parts")] == ""
    assert told[("crontab of bot", "report")] == ""
    assert sum(command == "unreadable" for _, command in told) == 1
    assert [bool(job["problem"]) for job in found["cron"]] == sorted(bool(j["problem"]) for j in found["cron"])[::-1]
    assert "/etc/cron.d/secret: the bot's user may not read it" in found["not_read"]
    assert "/var/spool/cron/crontabs: the bot's user may not read it" in found["not_read"]
    assert "hunter2" not in json.dumps(found)


def test_jobs_without_a_running_cron_say_so():
    found = parse_timers_and_cron(CRON)
    assert found["cron_runs"] is False
    assert next(job for job in found["cron"] if job["command"] == "report")["problem"] == "cron is not running"


def test_schedule_and_user_are_kept_apart():
    jobs = {job["command"]: job for job in parse_timers_and_cron(CRON)["cron"]}
    assert (jobs["warm"]["schedule"], jobs["warm"]["user"]) == ("@reboot", "www-data")
    assert (jobs["report"]["schedule"], jobs["report"]["user"]) == ("0 3 * * 1-5", "bot")


def test_many_jobs_are_bounded_and_counted():
    lines = "".join(f"{n % 60} * * * * root /bin/job{n}\n" for n in range(190))
    found = parse_timers_and_cron(f"@@opsbot system-crontab /etc/cron.d/many\n{lines}@@opsbot end\n")
    assert (len(found["cron"]), found["cron_not_shown"]) == (60, 130)
    found["timers"] = None
    assert "130 more not shown" in timers_and_cron.table({"box-1": found}).title


def test_a_cut_answer_is_said_to_be():
    context = Context(Said(CRON, truncated=True), timeout_s=5)
    assert "the end of a very long answer" in timers_and_cron.function(context, HOST)["not_read"]


# --- whats_changed ---------------------------------------------------------------------------------------------------

STARTED, STOPPED, FAILED = (
    "39f53479d3a045ac8e11786248231fbf",
    "9d1aaa27d60140bd96365438aad20286",
    "d9b373ed55a64feb8242e02dbe79a49c",
)


def changed(*, journal: str = "", uptime: int = 90_000, readable: bool = True, hours: int = 24, **sections) -> dict:
    parts = {
        "now": f"{EPOCH}\n{uptime}.5 10.0",
        "journal": f"{journal}\n@@status 0",
        "readable": "journal" if readable else "",
        **{name.replace("_", "-"): text for name, text in sections.items()},
        "end": "",
    }
    text = "".join(f"\n@@opsbot {name}\n{body}\n" for name, body in parts.items())
    return parse_changes(text, hours, NOW)


def line(count: int, first: int, last: int, kind: str, what: str) -> str:
    """Seconds before now."""
    return f"{count}\t{EPOCH - first}\t{EPOCH - last}\t{kind}\t{what}"


def what(result: dict, kind: str) -> list[str]:
    return [entry["what"] for entry in result["timeline"] if entry["kind"] == kind]


def test_service_events_are_told_with_counts_newest_first():
    journal = "\n".join(
        [
            line(1, 7200, 7200, STOPPED, "shop.service"),
            line(312, 9000, 60, FAILED, "flaky.service"),
            line(1, 7100, 7100, STARTED, "shop.service"),
            line(5, 900, 30, "8d45620c1a4348dbb17410da57c60c66", "deploy"),
            line(9, 900, 30, STARTED, "session-12.scope"),
            line(1, 90_000, 90_000, STARTED, "old.service"),
            "garbage",
            "1\tx\ty\tz\tw",
        ]
    )
    result = changed(journal=journal)
    assert what(result, "service") == ["flaky.service failed", "shop.service started", "shop.service stopped"]
    assert result["timeline"][0]["count"] == 312
    assert result["timeline"][0]["at"] == "2026-11-23 11:59:00 UTC"
    assert result["logins"] == {"deploy": 5}
    assert result["not_read"] == []
    row = whats_changed.table({"box-1": result}).rows[0]
    assert row[3] == "flaky.service failed (312 times since 2026-11-23 09:30:00 UTC)"


def test_a_reboot_takes_its_usual_starts_with_it_and_hides_no_failure():
    up = 3600
    journal = "\n".join(
        [
            *(line(1, up - 5, up - 5, STARTED, f"s{n}.service") for n in range(50)),
            *(line(1, up + 20, up + 20, STOPPED, f"s{n}.service") for n in range(50)),
            line(1, up - 6, up - 6, FAILED, "shop.service"),
            line(4, up - 6, up - 6, STARTED, "busy.service"),
        ]
    )
    result = changed(journal=journal, uptime=up)
    assert what(result, "reboot") == ["the server booted; 100 usual starts and stops with it"]
    assert set(what(result, "service")) == {"shop.service failed", "busy.service started"}


def test_earlier_boots_come_from_the_journal_and_none_is_told_twice():
    boots = (
        "IDX BOOT ID                          FIRST ENTRY                 LAST ENTRY\n"
        " -1 c2665bc4ce0a4cf9897cda1cf6788e91 Mon 2026-11-23 06:00:00 UTC Mon 2026-11-23 10:59:00 UTC\n"
        "  0 e2f84ad02791417eb4d108769b1cb365 Mon 2026-11-23 11:00:03 UTC Mon 2026-11-23 11:59:00 UTC\n"
    )
    result = changed(boots=boots, uptime=3600)
    assert [e["at"] for e in result["timeline"]] == ["2026-11-23 11:00:00 UTC", "2026-11-23 06:00:00 UTC"]
    old_style = " -1 c2665bc4ce0a4cf9897cda1cf6788e91 Mon 2026-11-23 06:00:00 UTC—Mon 2026-11-23 10:59:00 UTC\n"
    assert len(what(changed(boots=old_style, uptime=3600), "reboot")) == 2


def test_without_the_journal_nothing_is_claimed_of_it():
    """The user's own journal would show a boot that never was (seen on systemd 252)."""
    boots = "  0 e2f84ad02791417eb4d108769b1cb365 Mon 2026-11-23 11:40:00 UTC Mon 2026-11-23 11:59:00 UTC\n"
    result = changed(boots=boots, readable=False, journal=line(1, 60, 60, FAILED, "shop.service"))
    assert result["timeline"] == []
    assert "may not read the journal" in result["not_read"][0]
    rows = whats_changed.table({"box-1": result}).rows
    assert [row[2] for row in rows] == ["nothing", "not read"]


def test_a_slow_journal_is_admitted():
    text = f"{line(1, 60, 60, FAILED, 'shop.service')}\n@@lost 3"
    result = changed(journal=text)
    assert "some service changes: there are too many different ones" in result["not_read"]
    slow = parse_changes(
        f"@@opsbot now\n{EPOCH}\n90000 1\n@@opsbot journal\n@@status 124\n@@opsbot readable\njournal\n@@opsbot end\n",
        24,
        NOW,
    )
    assert "older service changes: the journal took too long" in slow["not_read"]


def sudo(seconds_ago: int, text: str) -> str:
    return json.dumps({"__REALTIME_TIMESTAMP": str((EPOCH - seconds_ago) * 1_000_000), "MESSAGE": text})


def test_sudo_tells_who_and_what_but_no_arguments():
    restart = "  bot : PWD=/ ; USER=root ; COMMAND=/usr/bin/systemctl --no-pager restart -- shop.service"
    lines = [
        sudo(100, restart),
        sudo(50, restart),
        sudo(40, "  eve : TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/usr/bin/mysql -phunter2"),
        sudo(30, "  eve : command NOT allowed ; TTY=pts/0 ; PWD=/ ; USER=root ; COMMAND=/bin/sh -c hunter2"),
        sudo(20, "pam_unix(sudo:session): session opened"),
        '{"MESSAGE": [1, 2]}',
        "{broken",
    ]
    result = changed(sudo="\n".join(lines))
    told = [(e["what"], e["by"], e["count"]) for e in result["timeline"]]
    assert told == [
        ("sudo sh (refused) as root", "eve", 1),
        ("sudo mysql as root", "eve", 1),
        ("sudo systemctl restart shop.service as root", "bot", 2),
    ]
    assert "hunter2" not in json.dumps(result)


DPKG = "\n".join(f"2026-11-23 13:{n:02}:00 upgrade lib{n}:amd64 1.{n} 2.{n}" for n in range(3))


def test_packages_are_told_in_utc_by_the_hosts_own_conversion_with_who_asked():
    times = "\n".join(str(EPOCH - 3600 + 60 * n) for n in range(3))
    apt = (
        "Start-Date: 2026-11-23  12:59:59\nCommandline: /usr/bin/apt-get -o Acquire::http::Proxy=http://u:hunter2@p "
        "upgrade\nRequested-By: anna (1000)"
    )
    result = changed(packages=DPKG, package_times=times, apt=apt)
    assert what(result, "package") == [
        "lib2 upgraded (1.2 to 2.2)",
        "lib1 upgraded (1.1 to 2.1)",
        "lib0 upgraded (1.0 to 2.0)",
    ]
    assert result["timeline"][0]["at"] == "2026-11-23 11:02:00 UTC"  # 13:02 where the server is
    assert result["timeline"][0]["by"] == "anna (apt-get upgrade)"
    assert "hunter2" not in json.dumps(result)


def test_local_times_that_cannot_be_converted_are_not_guessed():
    result = changed(packages=DPKG, package_times="1")
    assert what(result, "package") == []
    assert "packages: the server cannot convert the times of its dpkg.log" in result["not_read"]


def test_a_burst_of_packages_is_one_entry():
    lines = "\n".join(f"2026-11-23 12:00:{n:02} install p{n}:all <none> 1.{n}" for n in range(40))
    times = "\n".join(str(EPOCH - 600 + n) for n in range(40))
    (told,) = what(changed(packages=lines, package_times=times), "package")
    assert told.startswith("40 packages changed, of which p0 installed (1.0); p1 installed (1.1)")


@pytest.mark.parametrize(("body", "said"), [("@@unreadable", "may not read"), ("@@missing", "there is no")])
def test_a_package_log_that_cannot_be_read_is_named(body, said):
    assert said in changed(packages=body)["not_read"][0]


def test_files_are_told_by_time_of_change_and_of_replacement():
    result = parse_changes(
        f"@@opsbot now\n{EPOCH}\n90000 1\n@@opsbot journal\n@@status 0\n@@opsbot readable\njournal\n"
        f"@@opsbot unit-files\n{EPOCH - 50}.25 /etc/systemd/system/shop.service.d/limits.conf\n"
        "find: '/etc/systemd/private': Permission denied\n"
        f"@@opsbot config /etc/shop.conf\n{EPOCH - 40} {EPOCH - 40} 12\n"
        f"@@opsbot config /etc/moved.conf\n{EPOCH - 900000} {EPOCH - 30} 12\n"
        "@@opsbot config /etc/nope\nmissing\n@@opsbot config /etc/shadow\nunreadable\n@@opsbot end\n",
        24,
        NOW,
    )
    assert [entry["what"] for entry in result["timeline"]] == [
        "/etc/moved.conf was replaced, or its rights changed",
        "/etc/shop.conf changed",
        "/etc/systemd/system/shop.service.d/limits.conf changed",
    ]
    assert result["not_read"][1:] == ["/etc/nope: there is no such file", "/etc/shadow: it cannot be read"]
    assert "Permission denied" in result["not_read"][0]


def test_a_clock_that_is_wrong_is_said_since_times_are_the_servers():
    result = parse_changes(f"@@opsbot now\n{EPOCH + 600}\n90000 1\n@@opsbot end\n", 24, NOW)
    assert "times are the server's, whose clock is 600 s ahead" in result["not_read"]


def test_a_timeline_is_bounded_and_the_rest_counted():
    journal = "\n".join(line(1, 10 * n, 10 * n, FAILED, f"s{n}.service") for n in range(300))
    result = changed(journal=journal)
    assert (len(result["timeline"]), result["not_shown"], result["by_kind"]) == (60, 240, {"service": 300})
    assert whats_changed.table({"box-1": result}).title == "240 older changes not shown"


@pytest.mark.parametrize("hours", [0, -1, 169])
def test_the_window_is_bounded(hours):
    with pytest.raises(BadArguments, match="1 to 168"):
        whats_changed.function(Context(FakeMachines(), timeout_s=5), HOST, hours)


def test_files_and_hours_are_words_of_their_own():
    machines = Said("")
    whats_changed.function(Context(machines, timeout_s=5), Host("box-1", config_files=("/etc/a b",)), 3)
    ((_, argv),) = machines.commands
    assert argv[3:] == ("sh", "3", "/etc/a b")


# --- compare_hosts ---------------------------------------------------------------------------------------------------


def facts(complete: bool = True, not_read: tuple[str, ...] = (), **values: str) -> dict:
    return {"facts": values, "not_read": list(not_read), "complete": complete}


def named(complete: bool = True, **values: str) -> dict:
    return facts(complete, **{key.replace("__", " "): value for key, value in values.items()})


def differences(results: dict) -> dict[str, dict]:
    return {entry["what"]: entry for entry in compare_hosts.combine(results)["differs"]}


def test_the_odd_one_out_is_named_and_what_is_alike_is_a_count():
    results = {name: facts(kernel="6.1", os="12") for name in ("a", "b", "c")} | {"d": facts(kernel="5.10", os="12")}
    combined = compare_hosts.combine(results)
    assert combined == {
        "compared": ["a", "b", "c", "d"],
        "same": 1,
        "differs": [{"what": "kernel", "most_have": "6.1", "hosts_with_it": 3, "odd": {"d": "5.10"}}],
        "not_shown": 0,
    }
    assert compare_hosts.table(results).rows == (("kernel", "6.1 (3)", "d", "5.10"),)


def test_two_against_two_has_no_majority():
    results = {"a": facts(k="1"), "b": facts(k="1"), "c": facts(k="2"), "d": facts(k="2")}
    assert differences(results)["k"] == {"what": "k", "values": {"a": "1", "b": "1", "c": "2", "d": "2"}}
    assert [row[1:] for row in compare_hosts.table(results).rows] == [
        ("no majority", "a, b", "1"),
        ("no majority", "c, d", "2"),
    ]


def test_absent_is_a_difference_but_not_asked_is_none():
    results = {
        "a": named(package__curl="1", unit__x="up"),
        "b": named(package__curl="1", unit__x="up"),
        "c": named(service__y="active"),
        "cut": named(False),
    }
    found = differences(results)
    assert found["package curl"]["odd"] == {"c": "absent"}
    assert "unit x" not in found
    assert found["service y"]["odd"] == {"c": "active"}


def test_a_drop_in_that_only_one_has_is_found():
    plain = {"unit a.service state": "loaded", "unit a.service file /lib/a": "1" * 64}
    extra = plain | {"unit a.service file /etc/a.d/x.conf": "2" * 64}
    results = {"a": facts(**plain), "b": facts(**plain), "c": facts(**extra), "d": facts(kernel="1")}
    entry = differences(results)["unit a.service file /etc/a.d/x.conf"]
    assert (entry["most_have"], entry["odd"]) == ("absent", {"c": f"sha256 {'2' * 12}"})


@pytest.mark.parametrize("results", [{"a": facts(k="1")}])
def test_one_server_alone_is_not_compared(results):
    combined = compare_hosts.combine(results)
    assert combined["note"] == "Only a answered; a comparison needs two."
    assert compare_hosts.table(results).title == combined["note"]


def test_what_could_not_be_read_is_named_with_its_server():
    results = {"a": facts(k="1", not_read=("file /x",)), "b": facts(k="1")}
    assert compare_hosts.combine(results)["not_read"] == {"a": ["file /x"]}
    assert compare_hosts.table(results).rows == (("not read", "", "a", "file /x"),)


def test_five_hundred_servers_stay_a_short_answer():
    results = {f"host-{n}": facts(**{f"k{k}": str(n % 7) for k in range(120)}) for n in range(500)}
    combined = compare_hosts.combine(results)
    assert (len(combined["differs"]), combined["not_shown"]) == (60, 60)
    assert len(json.dumps(combined)) < 60_000


@pytest.mark.parametrize(
    ("offset_s", "expected"),
    [(0, "right"), (1, "right"), (-2, "right"), (600, "10m 0s ahead"), (-7200, "2h 0m behind")],
)
def test_a_clock_is_right_within_what_the_round_trip_explains(offset_s, expected):
    output = f"now\t{EPOCH + offset_s}\nend\tyes\n"
    assert parse_facts(output, NOW, NOW + timedelta(seconds=1))["facts"]["clock"] == expected


def test_equal_machines_do_not_differ_by_what_the_firmware_keeps():
    output = "memory bytes\t{}\nend\tyes\n"
    found = {parse_facts(output.format(n), NOW, NOW)["facts"]["memory"] for n in (25276063744, 25276100608)}
    assert found == {"24 GiB"}


def test_only_units_of_the_inventory_reach_the_command_line():
    machines = Said("end\tyes\n")
    host = Host("box-1", units=("shop", "cart.timer", "-x", "a b"), config_files=("/etc/a",))
    compare_hosts.function(Context(machines, timeout_s=5), host)
    ((_, argv),) = machines.commands
    assert argv[3:] == ("sh", "2", "shop.service", "cart.timer", "/etc/a")
