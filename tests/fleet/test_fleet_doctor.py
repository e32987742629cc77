"""`opsbot doctor` on real hosts: all well at first, then one fault on each, named with the line that mends it."""

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from opsbot.domain import Host

pytestmark = [pytest.mark.fleet, pytest.mark.timeout(200)]

ROOT = Path(__file__).resolve().parents[2]
NAMES = ("h1", "h2", "h3")
# What a process of Python takes to load the libraries on a busy machine.
STARTS_IN_S = 8
RULES = "/etc/sudoers.d/fleet"
KEPT = "/root/sudoers-before-doctor"
Doctor = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def doctor(fleet_hosts: dict[str, Host], tmp_path: Path) -> Doctor:
    """Run the command on a configuration of h1 to h3, as an operator does."""
    entries = "".join(
        f"  {name}: {{address: {host.address}, host_key: {json.dumps(host.host_key)}, units: [nginx]}}\n"
        for name, host in fleet_hosts.items()
        if name in NAMES
    )
    (tmp_path / "config.yaml").write_text(
        f"defaults: {{user: bot, key: {fleet_hosts['h1'].key_file}, environment: test,\n"
        "  actions: [restart, start, stop, reload, reset-failed, reboot, kill]}\n"
        f"hosts:\n{entries}"
        'policy: {approvers: [{environments: ["*"], users: [U0ALICE]}]}\n'
    )

    def run(*words: str) -> "subprocess.CompletedProcess[str]":
        command = [sys.executable, "-m", "opsbot", "doctor", *words, "--config", f"{tmp_path}/config.yaml"]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, env={"COLUMNS": "250"})

    return run


@pytest.fixture
def sshd_stopped(as_root: Callable[..., str]) -> Iterator[str]:
    as_root("h3", "systemctl", "stop", "ssh.service")
    yield "h3"
    as_root("h3", "systemctl", "start", "ssh.service")


@pytest.fixture
def rule_removed(as_root: Callable[..., str]) -> Iterator[str]:
    """Without the line for one command, as if it had been forgotten."""
    as_root("h1", "cp", "-p", RULES, KEPT)
    try:
        as_root("h1", "sed", "-i", "/reset-failed -- nginx.service/d", RULES)
        as_root("h1", "visudo", "-cf", RULES)
        yield "h1"
    finally:
        as_root("h1", "cp", "-p", KEPT, RULES)
        as_root("h1", "rm", KEPT)


def test_hosts_that_are_well(doctor: Doctor) -> None:
    ended = doctor()
    assert ended.returncode == 0, ended.stdout
    for name in NAMES:
        assert f"hosts          {name}" in ended.stdout
    assert "What to do" not in ended.stdout
    assert ended.stderr == ""


def test_every_check_of_one_host_is_listed_when_it_is_named(doctor: Doctor) -> None:
    document = json.loads(doctor("h1", "--json").stdout)
    assert {each["check"]: each["status"] for each in document["findings"] if each["area"] == "hosts"} == dict.fromkeys(
        ("connection", "host key", "log-in", "clock", "system", "sudo", "units", "journal"), "ok"
    )
    sudo = next(each for each in document["findings"] if each["check"] == "sudo")
    assert sudo["said"] == "all 7 commands allowed without a password"


def test_one_fault_on_each_host_is_named_with_its_remedy(
    doctor: Doctor, rule_removed: str, sshd_stopped: str, fault: Callable[..., None], fleet_hosts: dict[str, Host]
) -> None:
    fault("h2", "hostkey")
    ended = doctor("--json", "--timeout", "8")
    document = json.loads(ended.stdout)
    assert (ended.returncode, document["exit_code"], document["complete"]) == (1, 1, True)
    failed = {each["subject"]: each for each in document["findings"] if each["status"] == "fail"}
    assert {name: each["check"] for name, each in failed.items()} == {
        "h1": "sudo",
        "h2": "host key",
        "h3": "connection",
    }
    assert failed["h1"]["said"] == "reset-failed nginx.service: not allowed"
    assert failed["h1"]["remedy"] == (
        "Add to sudoers of h1: bot ALL=(root) NOPASSWD: /usr/bin/systemctl --no-pager reset-failed -- nginx.service"
    )
    assert "`opsbot hosts trust --replace h2`" in failed["h2"]["remedy"]
    h3 = fleet_hosts["h3"]
    assert failed["h3"]["said"] == f"h3 ({h3.address}:22) cannot be connected to: Connection refused."
    assert failed["h3"]["remedy"].startswith("Refused: sshd does not run there")
    assert f"the firewalls from here to {h3.address}:22" in failed["h3"]["remedy"]
    printed = doctor("--timeout", "8")
    assert printed.returncode == 1
    assert f"{failed['h1']['remedy']}\n" in printed.stdout


@pytest.mark.parametrize(
    "wrong",
    [
        {"h1": ("refuse", "connection"), "h2": ("auth", "log-in"), "h3": ("pid1-hang", "answer")},
        {"h1": ("blackhole", "connection"), "h2": ("garbage", "connection"), "h3": ("hang-banner", "connection")},
    ],
    ids=lambda wrong: "-".join(kind for kind, _ in wrong.values()),
)
def test_the_stage_at_which_a_host_fails_is_the_check_that_is_named(
    doctor: Doctor, fault: Callable[..., None], wrong: dict[str, tuple[str, str]]
) -> None:
    for name, (kind, _) in wrong.items():
        fault(name, kind)
    began = time.monotonic()
    document = json.loads(doctor("--json", "--timeout", "3").stdout)
    assert time.monotonic() - began < STARTS_IN_S + 3 + 1
    failed = {each["subject"]: each for each in document["findings"] if each["status"] == "fail"}
    assert {name: each["check"] for name, each in failed.items()} == {name: check for name, (_, check) in wrong.items()}
    assert all(each["remedy"] for each in failed.values())


def test_a_frozen_host_costs_its_deadline_and_no_other_host_anything(
    doctor: Doctor, fault: Callable[..., None]
) -> None:
    fault("h2", "freeze")
    document = json.loads(doctor("--json", "--timeout", "3").stdout)
    (frozen,) = [each for each in document["findings"] if each["status"] == "fail"]
    assert (frozen["subject"], frozen["check"]) == ("h2", "connection")
    assert 2500 < frozen["duration_ms"] < 4000


def test_a_rule_that_is_gone_and_a_clock_that_is_off(doctor: Doctor, fault: Callable[..., None]) -> None:
    fault("h1", "sudo")
    fault("h3", "skew", 600)
    document = json.loads(doctor("--json").stdout)
    failed = {(each["subject"], each["check"]): each for each in document["findings"] if each["status"] == "fail"}
    assert set(failed) == {("h1", "sudo"), ("h3", "clock")}
    assert failed["h1", "sudo"]["said"].endswith("(sudo: a password is required)")
    assert failed["h1", "sudo"]["remedy"].startswith("`opsbot sudoers h1` prints all rules; the first: bot ALL=(root) ")
    # Never more than it is; less by the seconds a busy machine takes to answer.
    assert re.fullmatch(r"(10m 0s|9m 5\ds) ahead of the bot's", failed["h3", "clock"]["said"])
