"""Timers, changes and comparisons, on what real hosts of two Debian releases printed.

To record again: `python -m tests.tools.test_changes_recorded debian-12 h1` with a fleet up.
"""

import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opsbot_tools.checks import dns_check
from opsbot_tools.compare_hosts import compare_hosts, parse_facts
from opsbot_tools.timers_and_cron import parse_timers_and_cron, timers_and_cron
from opsbot_tools.whats_changed import parse_changes, whats_changed

from opsbot.adapters.machines import HostMachines
from opsbot.context import Context
from opsbot.domain import Host
from tests.recordings import RecordingShell, ReplayShell, recorded_output

RELEASES = ["debian-12-changes", "debian-13-changes"]
HOST = Host(
    "box-1",
    units=("nginx.service", "redis-server.service", "brittle.service"),
    config_files=("/etc/hosts", "/etc/nginx/nginx.conf", "/etc/nope", "/etc/shadow"),
    dns_names=("localhost", "nope.invalid"),
    certificates=("/etc/hosts", "/etc/shadow", "/etc/nope.pem"),
)
NOW = datetime(2026, 11, 23, tzinfo=UTC)


def look(machines: HostMachines, host: Host) -> dict[str, object]:
    """Run every tool once; the recording holds their commands."""

    def ctx() -> Context:
        return Context(machines, timeout_s=30)

    return {
        "timers": timers_and_cron.function(ctx(), host),
        "changes": whats_changed.function(ctx(), host, 24),
        "facts": compare_hosts.function(ctx(), host),
        "names": dns_check.function(ctx(), host),
        "certificates": machines.certificates(host, timeout_s=20),
    }


@pytest.fixture(params=RELEASES)
def seen(request) -> dict:
    shell = ReplayShell(request.param)
    return look(HostMachines(shell, shell), HOST)


def test_timers_are_read_with_next_last_and_result(seen):
    timers = {timer["timer"]: timer for timer in seen["timers"]["timers"]}
    clean = timers["systemd-tmpfiles-clean.timer"]
    assert (clean["state"], clean["last_result"]) == ("waiting", "success")
    assert clean["runs"] == "systemd-tmpfiles-clean.service"
    assert 0 < clean["next_in_s"] <= 86400 + 900
    assert clean["last_ago_s"] > 0


def test_cron_jobs_are_read_with_schedule_user_and_bare_name(seen):
    jobs = [(job["source"], job["schedule"], job["user"], job["command"]) for job in seen["timers"]["cron"]]
    assert ("/etc/crontab", "17 * * * *", "root", "run-parts") in jobs
    assert ("/etc/cron.daily", "daily", "root", "apt-compat") in jobs
    assert seen["timers"]["cron_runs"] is True
    assert seen["timers"]["not_read"] == ["/var/spool/cron/crontabs: the bot's user may not read it"]


def test_a_flapping_service_is_one_entry_with_its_count(seen):
    (entry,) = [e for e in seen["changes"]["timeline"] if e["what"] == "flapper.service failed"]
    assert entry["count"] > 50
    assert entry["first"] < entry["at"]
    assert seen["changes"]["logins"]["bot"] > 0


def test_what_starts_with_the_boot_is_part_of_the_boot(seen):
    (boot,) = [e for e in seen["changes"]["timeline"] if e["kind"] == "reboot"]
    assert "usual starts and stops with it" in boot["what"]
    assert not any(e["what"] == "cron.service started" for e in seen["changes"]["timeline"])


def test_the_timeline_is_newest_first_and_bounded(seen):
    times = [entry["at"] for entry in seen["changes"]["timeline"]]
    assert times == sorted(times, reverse=True)
    assert len(times) <= 60
    assert all(at.endswith(" UTC") for at in times)


def test_what_could_not_be_seen_is_named(seen):
    assert "packages: there is no /var/log/dpkg.log" in seen["changes"]["not_read"]
    assert "/etc/nope: there is no such file" in seen["changes"]["not_read"]
    assert "file /etc/shadow" in seen["facts"]["not_read"]


def test_a_hosts_facts_are_read_whole(seen):
    facts = seen["facts"]["facts"]
    assert seen["facts"]["complete"] is True
    assert facts["os"].startswith("Debian GNU/Linux 1")
    assert (facts["unit nginx.service state"], facts["service cron.service"]) == (
        "loaded, active, enabled",
        "active (running)",
    )
    assert facts["package nginx-common"][0] == "1"
    assert len(facts["file /etc/nginx/nginx.conf"]) == 64
    assert facts["file /etc/nope"] == "missing"
    assert "unit brittle.service file /etc/systemd/system/brittle.service" in facts


def test_two_releases_differ_in_what_they_differ():
    results = {}
    for release in RELEASES:
        shell = ReplayShell(release)
        results[release] = compare_hosts.function(Context(HostMachines(shell, shell), timeout_s=30), HOST)
    combined = compare_hosts.combine(results)
    differing = {entry["what"] for entry in combined["differs"]}
    assert {"os", "package systemd", "package libssl3", "packages, all versions"} <= differing
    assert not {"kernel", "CPUs", "memory", "unit brittle.service state", "file /etc/nope"} & differing
    assert combined["same"] > 30


def test_names_and_resolvers_are_read(seen):
    names = {entry["name"]: entry for entry in seen["names"]["names"]}
    assert names["localhost"]["in_hosts_file"]
    assert names["nope.invalid"]["failure"].startswith("no address")
    assert seen["names"]["lookup_order"].startswith("files")


def test_places_without_a_certificate_say_why(seen):
    assert [report.failure.split(",")[0] for report in seen["certificates"]] == [
        "there is no PEM certificate in it",
        "the bot's user may not read it",
        "there is no such file",
    ]


PARSERS = {
    "# opsbot: timers and cron": parse_timers_and_cron,
    "# opsbot: what changed": lambda text: parse_changes(text, 24, NOW),
    "# opsbot: facts to compare": lambda text: parse_facts(text, NOW, NOW),
}


@pytest.mark.parametrize("first_line", PARSERS)
@given(data=st.data())
def test_any_damage_to_an_output_is_read_or_named(first_line, data):
    output = recorded_output("debian-12-changes", first_line)
    start = data.draw(st.integers(0, len(output)))
    end = data.draw(st.integers(start, len(output)))
    junk = data.draw(st.text(max_size=40))
    result = PARSERS[first_line](output[:start] + junk + output[end:])
    json.dumps(result, allow_nan=False)


@pytest.mark.parametrize("first_line", PARSERS)
def test_an_empty_output_is_unknown_not_nothing(first_line):
    assert PARSERS[first_line]("")["not_read"]


def record(name: str, host: str) -> None:
    """Run the tools on a host of the fleet as the user bot, and keep what it printed."""
    from opsbot.adapters.ssh import ParamikoShell
    from tests.fleet.conftest import FLEET, _pinned_keys

    inventory = json.loads(subprocess.check_output([FLEET, "inventory"]))
    entry = next(each for each in inventory["hosts"] if each["name"] == host)
    pins = _pinned_keys(Path(inventory["known_hosts"]))
    target = replace(
        HOST, name=host, address=entry["addr"], user="bot", key_file=inventory["key"], host_key=pins[entry["addr"]]
    )
    shell = RecordingShell(ParamikoShell())
    try:
        look(HostMachines(shell, shell), target)
        release = shell.run(target, ("cat", "/etc/debian_version"), timeout_s=10).stdout.strip()
        shell.save(name, release=f"Debian {release}", user="bot")
    finally:
        shell.close()


if __name__ == "__main__":
    record(f"{sys.argv[1]}-changes", sys.argv[2])
