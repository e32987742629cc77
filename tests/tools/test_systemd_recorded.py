"""The systemd adapter on what real hosts of two Debian releases printed (`recorded_on` in each file)."""

from datetime import UTC, datetime

import pytest

from opsbot.adapters.services.systemd import SystemdServices, parse_journal, parse_show
from opsbot.domain import Host, UnitVerb
from opsbot.errors import BadArguments, CommandFailed
from tests.recordings import ReplayShell

UNITS = ("nginx", "redis-server", "flapper", "slowstop", "stubborn", "brittle", "slowstart")
HOST = Host("h1", user="bot", units=tuple(f"{name}.service" for name in UNITS))


@pytest.fixture(params=["debian-12", "debian-13"])
def services(request) -> SystemdServices:
    return SystemdServices(HOST, ReplayShell(request.param))


def test_a_running_unit_is_read_whole(services):
    facts = services.show("nginx.service", timeout_s=5)
    assert (facts.load_state, facts.active_state, facts.sub_state) == ("loaded", "active", "running")
    assert facts.description == "A high performance web server and a reverse proxy server"
    assert facts.main_pid
    assert facts.main_pid > 1
    assert len(facts.invocation_id) == 32
    assert facts.restarts == 0
    assert facts.tasks == 3
    assert facts.active_since
    assert facts.active_since.tzinfo is UTC
    assert facts.active_since.date().isoformat() == "2026-11-22"


def test_not_set_is_unknown_and_not_a_number(services):
    # systemd prints `[not set]` here: memory accounting was off on the recorded hosts.
    assert services.show("nginx.service", timeout_s=5).memory_bytes is None


def test_a_failed_unit_has_its_result_and_no_pid(services):
    facts = services.show("brittle.service", timeout_s=5)
    assert (facts.active_state, facts.result, facts.main_pid, facts.active_since) == ("failed", "exit-code", None, None)


def test_masked_missing_and_never_started_units_differ(services):
    assert services.show("masked.service", timeout_s=5).load_state == "masked"
    assert services.show("nope.service", timeout_s=5).load_state == "not-found"
    never = services.show("slowstart.service", timeout_s=5)
    assert (never.load_state, never.active_state, never.invocation_id) == ("loaded", "inactive", "")


def test_a_unit_that_waits_for_its_automatic_restart_shows_it(services):
    facts = services.show("flapper.service", timeout_s=5)
    assert (facts.active_state, facts.sub_state, facts.exit_status, facts.restarts) == (
        "activating",
        "auto-restart",
        3,
        1,
    )


def test_an_alias_keeps_the_name_that_was_asked_for(services):
    facts = services.show("redis.service", timeout_s=5)
    assert facts.unit == "redis.service"
    assert facts.active


def test_what_triggers_a_unit_is_listed(services):
    assert services.show("dbus.service", timeout_s=5).triggered_by == ("dbus.socket",)


def test_the_listing_has_each_unit_once_and_those_that_may_be_touched(services):
    names = [facts.unit for facts in services.units(timeout_s=5)]
    assert len(names) == len(set(names))
    assert set(HOST.units) <= set(names)
    assert {"ssh.service", "worker@1.service", "latin1.service"} <= set(names)
    assert "slowstart.service" in names  # not running, yet it may be touched


def test_journal_lines_are_oldest_first_with_times_and_sources(services):
    lines = services.logs("brittle.service", lines=50, timeout_s=5)
    assert [line.at for line in lines] == sorted(line.at for line in lines if line.at)
    texts = [line.text for line in lines]
    assert texts.index("config error: /etc/brittle.conf: line 7: unknown key") < len(texts) - 1
    assert texts[-1] == "Failed to start brittle.service - Runs since boot, but a restart fails."
    assert (lines[-1].source, lines[-1].priority) == ("systemd", 3)


def test_bytes_that_are_no_utf8_and_escapes_are_made_harmless(services):
    texts = [line.text for line in services.logs("latin1.service", lines=50, timeout_s=5)]
    assert "caf\ufffd d\ufffdj\ufffd vu \ufffd\ufffd end" in texts
    assert "esc red nul-free" in texts
    assert "emoji 🔥 ok" in texts
    assert not any("\x1b" in text for text in texts)


def test_no_lines_of_a_readable_journal_are_no_lines(services):
    assert services.logs("nope.service", lines=50, timeout_s=5) == ()


@pytest.mark.parametrize("release", ["debian-12-viewer", "debian-13-viewer"])
def test_a_journal_that_may_not_be_read_is_an_error_not_an_empty_log(release):
    services = SystemdServices(Host("h1", user="viewer"), ReplayShell(release))
    with pytest.raises(CommandFailed, match=r"viewer may not read the journal.*systemd-journal"):
        services.logs("nginx.service", lines=5, timeout_s=5)


def test_connections_are_those_of_the_units_own_control_group(services):
    def said(unit):
        return services.connections(services.show(unit, timeout_s=5), timeout_s=5)

    assert said("nginx.service") == "listens on tcp 80; 2 connections from 1 address"
    assert said("redis-server.service") == "listens on tcp 6379 (loopback); 0 connections"
    assert said("worker@1.service") == "no TCP listener of its own; 0 connections"
    assert said("brittle.service") == "not running, so no connections"


def test_a_restart_is_one_exact_command_line(services):
    result = services.act(UnitVerb.RESTART, "brittle.service", timeout_s=5)
    expected = ("sudo", "-n", "/usr/bin/systemctl", "--no-pager", "restart", "--", "brittle.service")
    assert result.argv == expected
    assert result.exit_status == 1


# --- forms the recorded hosts did not show; spelled as systemd's own sources and manuals give them --------------------


@pytest.mark.parametrize("text", ["[not set]", "[no data]", "18446744073709551615", "infinity", "", "n/a", "-1", "٣"])
def test_no_figure_is_none(text):
    (facts,) = parse_show(f"Id=a.service\nMemoryCurrent={text}\nTasksCurrent={text}\nNRestarts={text}\n")
    assert (facts.memory_bytes, facts.tasks, facts.restarts) == (None, None, None)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Sun 2026-11-22 23:22:28 UTC", datetime(2026, 11, 22, 23, 22, 28, tzinfo=UTC)),
        ("Sun 2026-11-22 23:22:28.123456 UTC", datetime(2026, 11, 22, 23, 22, 28, tzinfo=UTC)),
        ("Sun 2026-11-22 23:22:28 CET", None),
        ("n/a", None),
        ("", None),
    ],
)
def test_only_a_time_in_utc_is_a_time(text, expected):
    (facts,) = parse_show(f"Id=a.service\nActiveState=active\nActiveEnterTimestamp={text}\n")
    assert facts.active_since == expected


def test_everything_that_goes_down_with_a_unit_needs_it():
    (facts,) = parse_show("Id=db.service\nRequiredBy=a.service b.service\nBoundBy=b.service\nConsistsOf=c.service\n")
    assert facts.required_by == ("a.service", "b.service", "c.service")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ('"plain"', "plain"),
        ("[99,97,102,233]", "caf\ufffd"),
        ("null", "[a line too long to be shown]"),
        ('["first","second"]', "first"),
        ("[[104,105],[1]]", "hi"),
        ("[]", ""),
        ("17", ""),
        ('"a\\u001b]0;title\\u0007b\\u202ec\\u0000d"', "abcd"),
    ],
)
def test_every_form_of_a_journal_message_is_read(message, expected):
    (line,) = parse_journal(f'{{"MESSAGE":{message},"__REALTIME_TIMESTAMP":"1795389754100009"}}\n')
    assert line.text == expected
    assert line.at
    assert line.at.year == 2026


def test_a_line_cut_by_the_byte_cap_is_left_out():
    assert [line.text for line in parse_journal('{"MESSAGE":"whole"}\n{"MESSAGE":"cu')] == ["whole"]


@pytest.mark.parametrize("since", ["--system=x", "1h; rm", "$(id)", "a\nb", "x" * 80])
def test_a_time_outside_the_grammar_never_reaches_the_host(services, since):
    with pytest.raises(BadArguments):
        services.logs("nginx.service", lines=5, since=since, timeout_s=5)
