"""The reading tools: what they return to the model, how they look to people, and that both stay bounded."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opsbot_tools.list_hosts import list_hosts
from opsbot_tools.server_status import server_status
from opsbot_tools.service_logs import journal_time, service_logs
from opsbot_tools.service_status import service_status

from opsbot.context import Context
from opsbot.domain import Disk, History, Host, Metric, Sample
from opsbot.errors import BadArguments, StoreError
from opsbot.readable import duration_text, percent_text, size_text
from opsbot.tooling import Unit
from tests.fake_machines import FakeMachines, FakeUnit, server_facts

HOST = Host("web-1", environment="production", groups=("web",), units=("nginx.service",))
HOSTS = (HOST, Host("db-1", environment="staging", groups=("db", "slow"), tags=("edge",)))


def context(machines: FakeMachines | None = None, hosts: tuple[Host, ...] = HOSTS) -> Context:
    return Context(machines or FakeMachines(), timeout_s=30, hosts=hosts)


def as_the_model_sees_it(result: object):
    """Through JSON, strictly: no NaN, no objects."""
    return json.loads(json.dumps(result, allow_nan=False))


# --- list_hosts ------------------------------------------------------------------------------------------------------


def test_hosts_are_listed_with_what_may_be_restarted():
    result = as_the_model_sees_it(list_hosts.function(context()))
    assert result["matching"] == 2
    assert result["groups"] == ["db", "slow", "web"]
    assert result["hosts"][0] == {
        "name": "web-1",
        "environment": "production",
        "groups": ["web"],
        "tags": [],
        "units_that_may_be_restarted": ["nginx.service"],
    }


def test_hosts_are_filtered_by_group_and_environment():
    assert [host["name"] for host in list_hosts.function(context(), group="db")["hosts"]] == ["db-1"]
    assert [host["name"] for host in list_hosts.function(context(), environment="production")["hosts"]] == ["web-1"]
    assert list_hosts.function(context(), group="db", environment="production")["matching"] == 0


def test_hosts_are_filtered_by_tag():
    result = list_hosts.function(context(), group="tag:edge")
    assert [(host["name"], host["tags"]) for host in result["hosts"]] == [("db-1", ["edge"])]
    assert result["tags"] == ["tag:edge"]


@pytest.mark.parametrize("filter_", [{"group": "nope"}, {"environment": "nope"}])
def test_an_unknown_filter_is_refused_with_the_names_there_are(filter_):
    with pytest.raises(BadArguments, match=r"'nope' in the inventory; there are: "):
        list_hosts.function(context(), **filter_)


def test_a_thousand_hosts_stay_a_short_answer():
    hosts = tuple(replace(HOST, name=f"web-{n}", groups=tuple(f"g{n}-{m}" for m in range(20))) for n in range(1000))
    result = list_hosts.function(context(hosts=hosts))
    assert (result["matching"], result["not_shown"]) == (1000, 950)
    assert len(json.dumps(result)) < 20_000
    table = list_hosts.table({"": result})
    assert len(table.rows) == 50
    assert table.title == "50 of 1000 servers"


# --- server_status ---------------------------------------------------------------------------------------------------


def test_a_servers_facts_have_units_in_their_names():
    result = as_the_model_sees_it(server_status.function(context(), HOST))
    assert result["memory_used_percent"] == 25.0
    assert result["load_1m"] == 0.21
    assert result["disks"][0]["used_percent"] == 90.0
    assert result["disks"][0]["inodes_used_percent"] == 6.4
    assert result["failed_units"] == []


def test_a_disk_is_full_when_users_can_write_no_more():
    machines = FakeMachines()
    full = Disk("/", 100 * 2**30, 95 * 2**30, available_bytes=0)
    machines.servers["web-1"] = replace(server_facts("web-1"), disks=(full,))
    assert server_status.function(context(machines), HOST)["disks"][0]["used_percent"] == 100.0


def test_disks_are_bounded_and_the_fullest_come_first():
    machines = FakeMachines()
    disks = tuple(Disk(f"/mnt/{n}", 100, n) for n in range(40))
    machines.servers["web-1"] = replace(server_facts("web-1"), disks=disks)
    result = server_status.function(context(machines), HOST)
    assert [disk["mount"] for disk in result["disks"][:2]] == ["/mnt/39", "/mnt/38"]
    assert (len(result["disks"]), result["disks_not_shown"]) == (12, 28)


def test_server_status_reads_well_as_a_row():
    machines = FakeMachines({"web-1": [FakeUnit("cron", active_state="failed")]})
    (row,) = server_status.table({"web-1": server_status.function(context(machines), HOST)}).rows
    assert row == (
        "web-1",
        "0.21 of 2",
        "8%",
        "25% of 4.0 GiB",
        "none",
        "/ 90%, 4.7 GiB free",
        "6%",
        "cron.service",
        "12d 4h",
    )


def test_unknown_facts_are_shown_as_unknown():
    machines = FakeMachines()
    result = server_status.function(context(machines), HOST) | {"cpu_percent": None, "failed_units": None, "disks": []}
    (row,) = server_status.table({"web-1": result}).rows
    assert (row[2], row[5], row[6], row[7]) == ("unknown", "unknown", "unknown", "unknown")


class Kept:
    """A past in which memory and the root disk of web-1 have been full for an hour, and the load is high just now."""

    def __init__(self, fault: str = "") -> None:
        self.fault = fault
        self.asked: list[set[Metric]] = []

    def history(self, host, metrics, *, hours) -> History:
        self.asked.append(set(metrics))
        if self.fault:
            raise StoreError(self.fault)
        until = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
        samples = [
            Sample(host, metric, until - timedelta(minutes=90 - n), 95.0 if n >= 30 else 50.0, part)
            for n in range(91)
            for metric, part in ((Metric.MEMORY, ""), (Metric.DISK, "/"), (Metric.DISK, "/srv"))
        ]
        samples += [Sample(host, Metric.LOAD, until - timedelta(minutes=n), 9.0 if n == 0 else 0.5) for n in (1, 0)]
        return History(tuple(one for one in samples if one.metric in metrics), until, samples[0].at, 60)


def busy() -> FakeMachines:
    machines = FakeMachines()
    facts = server_facts("web-1")
    machines.servers["web-1"] = replace(facts, memory_available_bytes=0, load=(9.0, 9.0, 9.0))
    return machines


def test_what_is_beyond_its_limit_says_since_when_if_that_was_kept():
    result = server_status.function(Context(busy(), timeout_s=30, past=Kept()), HOST)
    said = "at or above 90% since 2026-11-22 11:00 UTC"
    # The load is above the processors only in the newest sample: nobody knows more than that it is.
    assert result["since"] == {"/": said, "memory": said}
    (row,) = server_status.table({"web-1": result}).rows
    assert row[3] == f"100% of 4.0 GiB ({said})"
    assert row[5] == f"/ 90%, 4.7 GiB free ({said})"


def test_a_calm_server_costs_no_look_into_the_past():
    machines, kept = FakeMachines(), Kept()
    machines.servers["web-1"] = replace(server_facts("web-1"), disks=())
    result = server_status.function(Context(machines, timeout_s=30, past=kept), HOST)
    assert kept.asked == []
    assert "since" not in result


def test_a_past_that_cannot_be_read_costs_nobody_the_present():
    result = server_status.function(Context(busy(), timeout_s=30, past=Kept("The disk is full.")), HOST)
    assert result["memory_used_percent"] == 100.0
    assert "since" not in result


# --- service_status --------------------------------------------------------------------------------------------------


def test_one_service_is_reported_with_its_health():
    machines = FakeMachines({"web-1": [FakeUnit("nginx", health="GET / answered 503")]})
    result = as_the_model_sees_it(service_status.function(context(machines), HOST, Unit("nginx.service")))
    assert (result["active_state"], result["main_pid"], result["may_be_restarted"]) == ("active", 1001, True)
    assert result["health"] == "GET / answered 503"
    assert result["active_since"] == "2026-11-02T09:01:00+00:00"
    (row,) = service_status.table({"web-1": result}).rows
    assert row[:3] == ("web-1", "nginx.service", "active (running)")


def test_a_missing_service_comes_with_similar_names():
    machines = FakeMachines({"web-1": ["nginx", "redis-server"]})
    result = service_status.function(context(machines), HOST, Unit("ngnix.service"))
    assert (result["load_state"], result["similar"]) == ("not-found", ["nginx.service"])
    (row,) = service_status.table({"web-1": result}).rows
    assert row[2] == "not-found"


def test_the_listing_puts_failed_services_first_then_those_that_may_be_touched():
    machines = FakeMachines(
        {"web-1": ["aaa", "nginx", FakeUnit("zzz", active_state="failed"), FakeUnit("bbb", sub_state="exited")]}
    )
    result = as_the_model_sees_it(service_status.function(context(machines), HOST))
    names = [entry["unit"] for entry in result["units"]]
    assert names == ["zzz.service", "nginx.service", "aaa.service", "bbb.service"]
    assert len(service_status.table({"web-1": result}).rows) == 4


def test_the_listing_is_bounded():
    machines = FakeMachines({"web-1": [f"s{n}" for n in range(300)]})
    result = service_status.function(context(machines), HOST)
    assert (len(result["units"]), result["not_shown"]) == (25, 275)


# --- service_logs ----------------------------------------------------------------------------------------------------


def test_logs_are_lines_with_times_oldest_first():
    machines = FakeMachines({"web-1": [FakeUnit("nginx", log=["one", "two", "three"])]})
    result = as_the_model_sees_it(service_logs.function(context(machines), HOST, Unit("nginx.service"), lines=2))
    assert [line.split(": ")[1] for line in result["lines"]] == ["two", "three"]
    assert result["lines"][0].startswith("2026-11-02 09:00:00 UTC ")
    assert len(service_logs.table({"web-1": result}).rows) == 2


def test_long_logs_keep_their_newest_lines():
    machines = FakeMachines({"web-1": [FakeUnit("nginx", log=[f"{n} {'x' * 1000}" for n in range(100)])]})
    result = service_logs.function(context(machines), HOST, Unit("nginx.service"), lines=100)
    assert sum(map(len, result["lines"])) <= 12_000
    assert ": 99 " in result["lines"][-1]
    assert result["lines_left_out"] == 100 - len(result["lines"])


@pytest.mark.parametrize("lines", [0, -1, 201, 10**9])
def test_the_number_of_lines_has_bounds(lines):
    with pytest.raises(BadArguments, match="1 to 200"):
        service_logs.function(context(), HOST, Unit("nginx.service"), lines=lines)


def test_since_reaches_the_host_in_journalctls_words():
    machines = FakeMachines({"web-1": ["nginx"]})
    service_logs.function(context(machines), HOST, Unit("nginx.service"), since="15 min ago")
    assert machines.commands[-1] == ("web-1", ("logs", "nginx.service", "50", "-15min"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("15 min ago", "-15min"),
        ("15min", "-15min"),
        ("2h", "-2h"),
        ("2 Hours ago", "-2h"),
        ("3 days", "-3d"),
        ("1 week ago", "-1w"),
        ("30 s", "-30s"),
        ("90 seconds", "-90s"),
        ("5m", "-5min"),
        ("today", "today"),
        (" Yesterday ", "yesterday"),
        ("2026-11-22", "2026-11-22 00:00:00 UTC"),
        ("2026-11-22T10:00Z", "2026-11-22 10:00:00 UTC"),
        ("2026-11-22 10:00:05", "2026-11-22 10:00:05 UTC"),
        ("2026-11-22T10:00:00+02:00", "2026-11-22 08:00:00 UTC"),
    ],
)
def test_times_people_write_are_translated(text, expected):
    assert journal_time(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "--since=x",
        "-1h",
        "1 fortnight",
        "1h; reboot",
        "$(id)",
        "`id`",
        "2h\nboot",
        "now",
        "@0",
        "1hs ago ago",
        "٣h",
        "2026-13-01",
        "2026-11-22T25:00",
        "",
        " ",
        "999999h",
    ],
)
def test_anything_else_is_refused(text):
    with pytest.raises(BadArguments, match="ISO 8601"):
        journal_time(text)


@given(st.text(max_size=40))
def test_only_harmless_characters_ever_reach_the_command_line(text):
    try:
        words = journal_time(text)
    except BadArguments:
        return
    assert words.isascii()
    assert set(words) <= set("-: 0123456789abcdefghijklmnopqrstuvwxyzUTC")
    assert "--" not in words


# --- spelling --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (None, "unknown"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (3.2 * 2**30, "3.2 GiB"),
        (10 * 2**30, "10 GiB"),
        (2**30 - 1, "1.0 GiB"),
        (5 * 2**60, "5120 PiB"),
    ],
)
def test_sizes_are_spelled_in_binary_units(size, text):
    assert size_text(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "unknown"),
        (0, "0s"),
        (42.9, "42s"),
        (60, "1m 0s"),
        (3 * 3600 + 300, "3h 5m"),
        (1_051_200, "12d 4h"),
        (-5, "0s"),
    ],
)
def test_durations_are_spelled_by_two_units(seconds, text):
    assert duration_text(seconds) == text


def test_an_unknown_share_is_unknown():
    assert (percent_text(None), percent_text(90.6)) == ("unknown", "91%")
