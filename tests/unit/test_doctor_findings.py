"""What `opsbot doctor` makes of what it saw: every finding, well and ill, with its remedy."""

import json
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from opsbot.adapters.doctor_host_script import (
    Look,
    RootCommand,
    line_for,
    needs_password,
    parse_look,
    root_commands_of,
    script_for,
)
from opsbot.adapters.doctor_hosts import HostDoctor, certificates, containers, health, journal, sudo, units
from opsbot.diagnosis import Area, Finding, Status, Subject, as_json, exit_code, in_order, summary
from opsbot.domain import (
    CertificateReport,
    CheckResult,
    CommandResult,
    Connection,
    Host,
    HostVerb,
    ServiceManager,
    UnitFacts,
    UnitVerb,
)
from opsbot.sudoers import lines_for
from tests.fake_machines import FakeMachines

DB = Subject(Area.HOSTS, "db-1")
HOST = Host("db-1", user="bot", address="192.0.2.7", units=("a.service",), actions=("restart", "stop"))
LISTED = "User bot may run the following commands on db-1:\n"


def brief(findings):
    return [(finding.check, str(finding.status), finding.said, finding.remedy) for finding in findings]


def statuses(findings):
    return {finding.check: str(finding.status) for finding in findings}


# --- findings in all -------------------------------------------------------------------------------------------------


def test_the_exit_code_tells_configuration_from_everything_else():
    store, config = Subject(Area.STORE, "db"), Subject(Area.CONFIGURATION, "config.yaml")
    well, ill, unsure = store.ok("a", "x"), store.fail("a", "x", "y"), store.warn("a", "x", "y")
    assert [exit_code([]), exit_code([well, unsure, store.skipped("a", "b")])] == [0, 0]
    assert exit_code([well, ill]) == 1
    assert exit_code([ill, config.fail("file", "x", "y")]) == 2


def test_findings_are_sorted_by_area_and_the_worst_subject_first():
    one, two = Subject(Area.HOSTS, "a-1"), Subject(Area.HOSTS, "b-1")
    slack = Subject(Area.SLACK, "slack")
    found = in_order([one.ok("x", ""), two.ok("y", ""), two.fail("z", "", ""), slack.ok("token", "")])
    assert [(each.subject, each.check) for each in found] == [
        ("slack", "token"),
        ("b-1", "y"),
        ("b-1", "z"),
        ("a-1", "x"),
    ]


def test_the_summary_counts_in_words():
    found = [DB.ok("a", ""), DB.warn("b", "", ""), DB.fail("c", "", ""), DB.fail("d", "", ""), DB.skipped("e", "")]
    assert summary(found) == "5 checks: 1 ok, 1 warning, 2 failures, 1 skipped."
    assert summary(found[:1]) == "1 check: 1 ok."


def test_the_summary_says_how_many_of_several_hosts_are_well():
    two, three = Subject(Area.HOSTS, "db-2"), Subject(Area.HOSTS, "db-3")
    found = [DB.ok("a", ""), two.ok("a", ""), two.warn("b", "", ""), three.skipped("c", "")]
    assert summary(found) == "4 checks: 2 ok, 1 warning, 1 skipped. 1 of 3 hosts are well."


def test_the_document_has_every_field_and_says_when_it_is_not_whole():
    document = as_json([DB.fail("sudo", "no", "do", took_s=0.25), DB.ok("x", "y")], complete=True)
    assert json.loads(json.dumps(document)) == {
        "version": 1,
        "complete": True,
        "exit_code": 1,
        "counts": {"ok": 1, "warn": 0, "fail": 1, "skipped": 0},
        "findings": [
            {
                "area": "hosts",
                "subject": "db-1",
                "check": "sudo",
                "status": "fail",
                "said": "no",
                "remedy": "do",
                "duration_ms": 250,
            },
            {
                "area": "hosts",
                "subject": "db-1",
                "check": "x",
                "status": "ok",
                "said": "y",
                "remedy": None,
                "duration_ms": 0,
            },
        ],
    }
    assert as_json([], complete=False)["exit_code"] == 130


# --- sudo ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    [
        HOST,
        Host("x", user="bot", units=("a:b.service",), containers=("web", "a.b"), actions=(*UnitVerb, *HostVerb)),
        Host("x", user="bot", units=("prog",), service_manager=ServiceManager.SUPERVISORD, actions=("reboot",)),
        Host("x", user="bot", units=("a.service",), sudo=False),
        Host("x", user="bot", containers=("web",), actions=("stop",)),
    ],
)
def test_exactly_the_lines_of_opsbot_sudoers_are_asked_about(host):
    asked = {line_for(host, each) for each in root_commands_of(host)}
    assert asked == {line for engine in ("docker", "podman") for line in lines_for(host, engine=engine)}


def look(*tried, rules="", **facts):
    return Look(may=dict(enumerate(tried)), rules=rules, **facts)


def test_all_rules_there_is_one_line():
    found = list(sudo(DB, HOST, root_commands_of(HOST), look((0, ""), (0, ""))))
    assert brief(found) == [("sudo", "ok", "all 2 commands allowed without a password", "")]


def test_a_missing_rule_names_the_line_to_add():
    found = list(sudo(DB, HOST, root_commands_of(HOST), look((1, "sudo: a password is required"), (0, ""))))
    assert brief(found) == [
        (
            "sudo",
            "fail",
            "stop a.service: not allowed (sudo: a password is required)",
            "Add to sudoers of db-1: bot ALL=(root) NOPASSWD: /usr/bin/systemctl --no-pager stop -- a.service",
        )
    ]


def test_many_missing_rules_are_one_line_that_names_the_command_for_all():
    host = Host("db-1", user="bot", units=("a.service", "b.service"), actions=tuple(UnitVerb))
    commands = root_commands_of(host)
    (found,) = sudo(DB, host, commands, look(*[(1, "")] * len(commands)))
    assert found.said == "10 commands are not allowed, first: start a.service"
    assert found.remedy.startswith("`opsbot sudoers db-1` prints all rules; the first: bot ALL=(root) NOPASSWD: ")


def test_a_rule_that_wants_a_password_is_found_though_sudo_lists_it():
    rules = (
        f"Matching Defaults entries for bot on db-1:\n    env_reset, use_pty\n\n{LISTED}"
        "    (root) NOPASSWD: /usr/bin/systemctl --no-pager stop -- a.service, PASSWD:\n"
        "        /bin/true\n    (root) /usr/bin/systemctl --no-pager restart -- a.service\n"
    )
    found = list(sudo(DB, HOST, root_commands_of(HOST), look((0, ""), (0, ""), rules=rules)))
    assert [(each.said, each.status) for each in found] == [
        ("restart a.service: allowed, but with a password, which nobody types", Status.FAIL)
    ]


@pytest.mark.parametrize(
    ("rules", "secret"),
    [
        (f"{LISTED}    (ALL : ALL) ALL\n", True),
        (f"{LISTED}    (ALL : ALL) NOPASSWD: ALL\n", False),
        (f"{LISTED}    (ALL : ALL) ALL\n    (root) NOPASSWD: /bin/a b\n", False),
        (f"{LISTED}    (root) NOPASSWD: /bin/a b\n    (ALL : ALL) ALL\n", True),
        (f"{LISTED}    (root) NOPASSWD: /bin/x, /bin/a b, PASSWD: /bin/c\n", False),
        (f"{LISTED}    (root) NOPASSWD: /bin/x, PASSWD: /bin/a b\n", True),
        (f"{LISTED}    (root) SETENV: NOPASSWD: /bin/a b\n", False),
        (f"Matching Defaults entries for bot on db-1:\n    !authenticate\n\n{LISTED}    (ALL) ALL\n", False),
        ("", False),
        ("garbage (ALL) ALL\n", False),
    ],
)
def test_the_last_rule_of_the_listing_decides_about_the_password(rules, secret):
    assert needs_password(rules, "/bin/a b") is secret


def test_rules_sudo_had_no_time_for_are_counted():
    found = list(sudo(DB, HOST, root_commands_of(HOST), look((0, ""), None)))
    assert [(each.status, each.said) for each in found] == [
        (Status.WARN, "1 of 2 rules were not asked about in time, first: restart a.service")
    ]


# --- what a host says ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text", ["", "@@", "@@time x\n@@may a b\n@@may 1\n@@may\n@@rules", "\x1b[31m@@time 5\x00", "@@may 1 9999"]
)
def test_garbage_is_unknown(text):
    found = parse_look(text)
    assert (found.time, found.may, found.user) == (None, {}, "")


def test_what_a_host_says_is_stripped_of_control_characters():
    assert parse_look("@@os Debian\x1b[2J 12\x07\n").os == "Debian 12"


def test_the_script_quotes_every_word(tmp_path):
    """Run for real: a word that would end the quoting makes no file."""
    hostile = f"a'; touch {tmp_path}/made; '.service"
    host = Host("x", user="bot", containers=(hostile,))
    text = script_for(host, [RootCommand("x", ("/usr/bin/systemctl", hostile), "")], 5)
    done = subprocess.run(["sh", "-c", text], capture_output=True, text=True, check=True)
    assert parse_look(done.stdout).may.keys() == {0}
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("said", "status"), [("open", Status.OK), ("none", Status.WARN), ("closed", Status.FAIL), ("", Status.FAIL)]
)
def test_the_journal_must_be_readable(said, status):
    found = journal(DB, HOST, Look(journal=said, user="bot"))
    assert found.status is status
    if status is Status.FAIL:
        assert found.remedy == "On db-1: `usermod -aG systemd-journal bot`."


def test_units_that_are_not_there_are_named():
    states = {"a.service": "not-found", "b.service": "masked", "c.service": "bad-setting", "d.service": ""}
    known = {unit: UnitFacts(unit, load_state=state) for unit, state in states.items()}
    host = Host("db-1", units=tuple(states))
    assert [(said, remedy) for _, _, said, remedy in brief(units(DB, host, known, 0.1))] == [
        ("a.service does not exist there", "Correct `units` of db-1, or install it there."),
        (
            "b.service is masked: nobody can start it",
            "On db-1: `systemctl unmask b.service`; or take it off `units`.",
        ),
        (
            "c.service cannot be used: bad-setting",
            "On db-1: `systemctl status c.service` says what is wrong with it; or take it off `units`.",
        ),
        (
            "d.service cannot be used: unknown",
            "On db-1: `systemctl status d.service` says what is wrong with it; or take it off `units`.",
        ),
    ]
    there = {name: UnitFacts(name, load_state="loaded") for name in host.units}
    assert brief(units(DB, host, there, 0.1)) == [("units", "ok", "all 4 exist", "")]


def test_a_health_check_that_fails_is_a_warning():
    results = {"a.service": CheckResult("192.0.2.7:80", failure="refused"), "b.service": CheckResult("192.0.2.7:81")}
    assert statuses(health(DB, results)) == {"health of a.service": "warn", "health of b.service": "ok"}


def test_a_certificate_that_cannot_be_read_says_who_must_be_let():
    reports = [
        CertificateReport("/etc/x.pem", failure="no right"),
        CertificateReport("192.0.2.7:443", failure="shut"),
        CertificateReport("/ok.pem"),
    ]
    found = brief(certificates(DB, HOST, reports))
    assert found[0] == (
        "certificate /etc/x.pem",
        "fail",
        "no right",
        "Correct `certificates` of db-1, or let bot read /etc/x.pem there.",
    )
    assert found[1][3] == "Check that 192.0.2.7:443 can be reached from here by TLS."
    assert found[2][1] == "ok"


CONTAINERS = Host("db-1", user="bot", containers=("web",))


def seen(engine, tried, *may):
    commands = root_commands_of(CONTAINERS)
    numbers = [number for number, each in enumerate(commands) if each.engine == engine]
    return Look(engine=engine, containers={0: tried}, may=dict(zip(numbers, may, strict=False)))


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_a_container_is_reached_as_the_bot_s_user_or_by_sudo(engine):
    commands = root_commands_of(CONTAINERS)
    (own,) = containers(DB, CONTAINERS, commands, seen(engine, (0, '"abc"')))
    assert (own.status, own.said) == (Status.OK, f"there, in {engine}, as the bot's own user")
    (root,) = containers(DB, CONTAINERS, commands, seen(engine, (1, "permission denied"), (0, ""), (0, ""), (0, "")))
    assert (root.status, root.said) == (Status.OK, "all 3 commands allowed without a password")
    found = list(
        containers(DB, CONTAINERS, commands, seen(engine, (1, "permission denied"), (0, ""), (0, ""), (1, "")))
    )
    assert [each.remedy for each in found] == [
        f"Add to sudoers of db-1: bot ALL=(root) NOPASSWD: /usr/bin/{engine} restart -- web"
    ]


def test_a_host_without_an_engine_or_without_any_way_to_it_says_so():
    (found,) = containers(DB, CONTAINERS, root_commands_of(CONTAINERS), Look(engine="none"))
    assert found.said == "neither docker nor podman is installed there, but `containers` lists some"
    host = Host("db-1", user="bot", containers=("web",), sudo=False)
    (none,) = containers(DB, host, (), Look(engine="docker", containers={0: (1, "Error: No such container: web")}))
    assert (none.status, none.said) == (Status.FAIL, "docker has none of that name")
    (shut,) = containers(DB, host, (), Look(engine="docker", containers={0: (1, "permission denied")}))
    assert shut.remedy == "Let bot speak to docker, or set `sudo: true`."


# --- a whole host ----------------------------------------------------------------------------------------------------


NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
LOCAL = Host("here", connection=Connection.LOCAL, units=("a.service",), sudo=False)


class Answering(FakeMachines):
    """Answers the script as a host would whose clock is `skew_s` off."""

    def __init__(self, skew_s: float = 0.0) -> None:
        super().__init__({"here": ["a.service"]})
        self.skew_s = skew_s

    def run(self, host, argv, *, timeout_s, max_bytes=65536, stdin=""):
        self.reach(host, argv, timeout_s)
        at = int((NOW + timedelta(seconds=self.skew_s)).timestamp())
        said = f"@@time {at}\n@@user bot\n@@os Debian GNU/Linux 12 (bookworm)\n@@journal open\n@@engine none\n"
        return CommandResult(tuple(argv), 0, said)


def checked(machines, host=LOCAL):
    return list(HostDoctor(machines, now=lambda: NOW).check(host, timeout_s=5))


def test_a_host_that_is_well_has_only_good_findings():
    found = checked(Answering())
    assert statuses(found) == {"connection": "ok", "clock": "ok", "system": "ok", "units": "ok", "journal": "ok"}


@pytest.mark.parametrize(
    ("skew_s", "status", "said"),
    [
        (0, "ok", "agrees with the bot's"),
        (-5, "ok", "agrees with the bot's"),
        (5, "warn", "5s ahead of the bot's"),
        (-7, "warn", "6s behind the bot's"),
        (3600, "fail", "1h 0m ahead of the bot's"),
        (-200, "fail", "3m 19s behind the bot's"),
    ],
)
def test_a_clock_that_is_off_is_said_with_how_much(skew_s, status, said):
    (clock,) = [each for each in checked(Answering(skew_s)) if each.check == "clock"]
    assert (clock.status, clock.said) == (status, said)
    assert (clock.remedy == "") == (status == "ok")


def test_nothing_but_reading_is_sent():
    machines = Answering()
    checked(machines)
    assert [argv[:2] for _, argv in machines.commands if argv[0] == "sh"] == [("sh", "-c")]
    assert not any(word in argv for _, argv in machines.commands for word in ("restart", "stop", "start"))


def test_a_host_without_a_pinned_key_is_not_even_asked():
    machines = Answering()
    host = Host("db-1", address="192.0.2.7", user="bot", key_file="/nowhere")
    (found,) = checked(machines, host)
    assert isinstance(found, Finding)
    assert (found.check, found.remedy) == ("host key", "`opsbot hosts trust db-1` shows and pins it.")
    assert machines.commands == []
