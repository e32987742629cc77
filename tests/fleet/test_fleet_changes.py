"""Timers, changes, comparisons, checks and certificates on real hosts, healthy and broken."""

import re
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
from opsbot_tools.certificate_expiry import certificate_expiry
from opsbot_tools.checks import dns_check, http_check, tcp_check
from opsbot_tools.compare_hosts import compare_hosts
from opsbot_tools.docker import docker_containers
from opsbot_tools.timers_and_cron import timers_and_cron
from opsbot_tools.whats_changed import whats_changed

from opsbot.adapters.local import LocalShell
from opsbot.adapters.machines import HostMachines
from opsbot.adapters.ssh import ParamikoShell
from opsbot.context import Context
from opsbot.domain import HealthCheck, Host
from opsbot.errors import HostUnreachable, ToolError
from opsbot.tooling import Tool

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(300)]

Fault = Callable[..., None]


@pytest.fixture(scope="module")
def machines() -> Iterator[HostMachines]:
    machines = HostMachines(ParamikoShell(), LocalShell())
    yield machines
    machines.close()


@pytest.fixture
def ctx(machines) -> Callable[..., Context]:
    return lambda timeout_s=30.0: Context(machines, timeout_s=timeout_s)


@pytest.fixture
def hosts(fleet_hosts) -> dict[str, Host]:
    """Three hosts with health checks, files and names to look at."""
    return {
        name: replace(
            host,
            units=("nginx.service", "brittle.service"),
            health={
                "nginx.service": HealthCheck(url=f"http://{host.address}/", timeout_s=2),
                "brittle.service": HealthCheck(tcp=f"{host.address}:80", timeout_s=2),
            },
            config_files=("/etc/nginx/nginx.conf", "/etc/crontab"),
            dns_names=("localhost", "nope.invalid"),
        )
        for name, host in fleet_hosts.items()
        if name in ("h1", "h2", "h3")
    }


def everywhere(ctx: Callable[..., Context], tool: Tool, hosts: dict[str, Host]) -> tuple[dict, dict]:
    """Run a tool on all hosts side by side, as the executor does: results and errors."""

    def one(host: Host) -> object:
        try:
            return tool.function(ctx(tool.timeout_s), host)
        except ToolError as error:
            return error

    with ThreadPoolExecutor(len(hosts)) as pool:
        answers = dict(zip(hosts, pool.map(one, hosts.values()), strict=True))
    errors = {name: answer for name, answer in answers.items() if isinstance(answer, ToolError)}
    return {name: answer for name, answer in answers.items() if name not in errors}, errors


def test_equal_hosts_differ_in_what_was_changed_on_one(ctx, hosts, as_root):
    as_root(
        "h2",
        "sh",
        "-c",
        "mkdir -p /etc/systemd/system/nginx.service.d && cd /etc/systemd/system/nginx.service.d && "
        "printf '[Service]\\nLimitNOFILE=999\\n' > t.conf && systemctl daemon-reload && echo '# x' >> /etc/crontab",
    )
    try:
        results, errors = everywhere(ctx, compare_hosts, hosts)
        changes = whats_changed.function(ctx(), hosts["h2"], 1)
    finally:
        as_root(
            "h2",
            "sh",
            "-c",
            "rm -r /etc/systemd/system/nginx.service.d; systemctl daemon-reload; sed -i '/^# x$/d' /etc/crontab",
        )
    assert errors == {}
    odd = {entry["what"]: entry.get("odd", {}) for entry in compare_hosts.combine(results)["differs"]}
    assert list(odd["file /etc/crontab"]) == ["h2"]
    assert list(odd["unit nginx.service file /etc/systemd/system/nginx.service.d/t.conf"]) == ["h2"]
    assert "package systemd" not in odd
    told = " ".join(entry["what"] for entry in changes["timeline"])
    assert "/etc/crontab changed" in told
    assert "/etc/systemd/system/nginx.service.d/t.conf changed" in told


def test_a_host_that_cannot_be_reached_is_left_out_of_the_comparison(ctx, hosts, fault):
    fault("h3", "refuse")
    results, errors = everywhere(ctx, compare_hosts, hosts)
    assert set(results) == {"h1", "h2"}
    assert isinstance(errors["h3"], HostUnreachable)
    assert compare_hosts.combine(results)["compared"] == ["h1", "h2"]


def test_a_restart_that_fails_and_who_asked_for_it_are_in_the_timeline(ctx, hosts, machines, fault):
    fault("h1", "badconf")
    machines.run(
        hosts["h1"], ("sudo", "-n", "/usr/bin/systemctl", "--no-pager", "restart", "--", "nginx.service"), timeout_s=30
    )
    events = {entry["what"]: entry for entry in whats_changed.function(ctx(), hosts["h1"], 1)["timeline"]}
    assert "nginx.service failed" in events
    assert "nginx.service did not start" in events
    assert events["sudo systemctl restart nginx.service as root"]["by"] == "bot"
    failed = http_check.function(ctx(), hosts["h1"])["checks"][0]
    assert failed["failure"].endswith("cannot be reached: Connection refused")


def test_checks_follow_a_service_that_stops_and_starts(ctx, hosts, as_root):
    assert http_check.function(ctx(), hosts["h2"])["checks"][0]["status"] == 200
    assert tcp_check.function(ctx(), hosts["h2"])["checks"][0]["passed"]
    as_root("h2", "systemctl", "stop", "nginx")
    try:
        seen = [tool.function(ctx(), hosts["h2"])["checks"][0] for tool in (http_check, tcp_check)]
    finally:
        as_root("h2", "systemctl", "start", "nginx")
    assert [check["passed"] for check in seen] == [False, False]
    assert "Connection refused" in seen[0]["failure"]


def test_a_black_hole_fails_its_checks_at_their_deadline(ctx, hosts, fault):
    fault("h2", "blackhole")
    began = time.monotonic()
    (check,) = http_check.function(ctx(), hosts["h2"])["checks"]
    assert time.monotonic() - began < 3.5
    assert "did not answer within 2 s" in check["failure"] or "cannot be reached" in check["failure"]


def test_a_skewed_clock_is_told_by_comparison_and_changes(hosts, fault):
    fault("h3", "skew", "600")
    fresh = HostMachines(ParamikoShell(), LocalShell())  # connections made before keep their clock
    try:
        results, _ = everywhere(lambda seconds: Context(fresh, timeout_s=seconds), compare_hosts, hosts)
        told = whats_changed.function(Context(fresh, timeout_s=30), hosts["h3"], 1)["not_read"]
    finally:
        fresh.close()
    clock = next(entry for entry in compare_hosts.combine(results)["differs"] if entry["what"] == "clock")
    assert clock["most_have"] == "right"
    # Never more than it is; less by the seconds a busy machine takes to answer.
    assert list(clock["odd"]) == ["h3"]
    assert re.fullmatch(r"(10m 0s|9m 5\ds) ahead", clock["odd"]["h3"])
    assert any("ahead" in said for said in told)


def test_who_may_not_read_the_journal_is_told_so_and_the_rest_still_comes(ctx, hosts):
    result = whats_changed.function(ctx(), replace(hosts["h1"], user="viewer"), 24)
    assert "may not read the journal" in result["not_read"][0]
    kinds = {entry["kind"] for entry in result["timeline"]}
    assert "service" not in kinds
    assert "unit file" in kinds
    assert sum(entry["kind"] == "reboot" for entry in result["timeline"]) == 1


def test_a_slow_host_answers_later_and_within_its_time(ctx, hosts, fault):
    fault("h1", "slowcmd", "3")
    began = time.monotonic()
    results, errors = everywhere(ctx, timers_and_cron, hosts)
    assert 3 < time.monotonic() - began < timers_and_cron.timeout_s
    assert (set(results), errors) == (set(hosts), {})


def test_a_failing_timer_and_a_job_that_never_runs_come_first(ctx, hosts, as_root):
    as_root(
        "h3",
        "sh",
        "-c",
        "cd /run/systemd/system && printf '[Service]\\nType=oneshot\\nExecStart=/bin/false\\n' > t-bad.service && "
        "printf '[Timer]\\nOnCalendar=*-*-* 03:00:00\\n' > t-bad.timer && systemctl daemon-reload && "
        "systemctl start t-bad.timer; systemctl start t-bad.service; "
        "echo '* * * * * root KEY=hunter2 /bin/dump hunter2' > /etc/cron.d/t.dotted",
    )
    try:
        result = timers_and_cron.function(ctx(), hosts["h3"])
    finally:
        as_root(
            "h3",
            "sh",
            "-c",
            "systemctl stop t-bad.timer; systemctl reset-failed t-bad.service; "
            "rm /run/systemd/system/t-bad.* /etc/cron.d/t.dotted; systemctl daemon-reload",
        )
    first = result["timers"][0]
    assert (first["timer"], first["state"], first["last_result"]) == ("t-bad.timer", "failed", "exit-code")
    job = next(job for job in result["cron"] if job["source"] == "/etc/cron.d/t.dotted")
    assert (job["command"], job["problem"]) == ("dump", "never runs: cron skips a file of such a name")
    assert "hunter2" not in str(result)


def test_packages_are_told_in_utc_where_the_server_has_its_own_time(ctx, hosts, as_root):
    """The host's own zone converts dpkg's local times: 12:30 two hours east of Greenwich is 10:30 UTC."""
    now = int(as_root("h1", "date", "+%s"))
    as_root(
        "h1",
        "sh",
        "-c",
        f"cp -a /etc/localtime /run/t-localtime; TZ=XXX-2 date -d @{now - 600} "
        "'+%Y-%m-%d %H:%M:%S upgrade curl:amd64 1.0 2.0' > /var/log/dpkg.log; "
        # A zone file of version 1 with one zone, two hours east: `TZif`, header, offset 7200, "XXX".
        "printf 'TZif\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0\\0"
        "\\0\\0\\0\\1\\0\\0\\0\\4\\0\\0\\034\\040\\0\\0XXX\\0' > /run/t-zone; ln -sf /run/t-zone /etc/localtime",
    )
    try:
        zone = as_root("h1", "date", "+%z").strip()
        result = whats_changed.function(ctx(), hosts["h1"], 1)
    finally:
        as_root(
            "h1",
            "sh",
            "-c",
            "rm -f /etc/localtime /var/log/dpkg.log; cp -a /run/t-localtime /etc/localtime; rm /run/t-*",
        )
    assert zone == "+0200"
    (entry,) = [entry for entry in result["timeline"] if entry["kind"] == "package"]
    assert entry["what"] == "curl upgraded (1.0 to 2.0)"
    assert entry["at"] == time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now - 600))


def test_names_are_looked_up_on_the_host(ctx, hosts):
    names = {entry["name"]: entry for entry in dns_check.function(ctx(), hosts["h1"])["names"]}
    assert names["localhost"]["addresses"] == ["127.0.0.1"]
    assert names["nope.invalid"]["failure"]


def test_certificates_and_containers_say_why_there_are_none(ctx, hosts):
    host = replace(hosts["h1"], certificates=("/etc/shadow", "/etc/hosts", f"{hosts['h1'].address}:80"))
    failures = {entry["place"]: entry["failure"] for entry in certificate_expiry.function(ctx(), host)["certificates"]}
    assert failures["/etc/shadow"] == "the bot's user may not read it"
    assert failures["/etc/hosts"] == "there is no PEM certificate in it"
    assert "TLS" in failures[f"{host.address}:80"]
    with pytest.raises(ToolError, match="neither docker nor podman is installed"):
        docker_containers.function(ctx(), host)
