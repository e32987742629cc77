"""Commands on the bot's own machine: whole, bounded, ended at the deadline, and without the bot's secrets."""

import sys
import time

import psutil
import pytest

from opsbot.adapters import hostfacts
from opsbot.adapters.local import LocalShell, local_facts
from opsbot.adapters.machines import HostMachines
from opsbot.domain import Connection, Host
from opsbot.errors import CommandTimedOut, HostUnreachable

HERE = Host("here", connection=Connection.LOCAL)
SHELL = LocalShell()


def run(*argv: str, timeout_s: float = 60, **options):
    return SHELL.run(HERE, argv, timeout_s=timeout_s, **options)


def test_both_streams_and_the_status_are_returned():
    result = run("sh", "-c", "echo out; echo err >&2; exit 3")
    assert (result.stdout, result.stderr, result.exit_status, result.truncated) == ("out\n", "err\n", 3, False)


def test_arguments_are_passed_as_they_are():
    hostile = ["$(id)", "a b", "; reboot", "*", "", "'\"", "\n", "-n"]
    result = run(sys.executable, "-c", "import sys; print(sys.argv[1:])", *hostile)
    assert result.stdout.strip() == str(hostile)


def test_each_stream_is_capped_and_read_to_its_end():
    script = "import sys; [s.write('x' * 300_000) for s in (sys.stdout, sys.stderr)]; print('end')"
    result = run(sys.executable, "-c", script, max_bytes=1000)
    assert (len(result.stdout), len(result.stderr), result.truncated, result.exit_status) == (1000, 1000, True, 0)


def test_output_at_the_cap_is_not_called_truncated():
    assert run("printf", "12345", max_bytes=5).truncated is False


def test_bytes_that_are_no_utf8_are_replaced():
    assert run("printf", r"caf\351").stdout == "caf\ufffd"


def test_standard_input_is_given_and_ended():
    assert run("cat", stdin="déjà vu\n").stdout == "déjà vu\n"
    assert run("wc", "-c", stdin="x" * 1_000_000).stdout.strip() == "1000000"
    assert run("cat").stdout == ""


def test_a_command_that_ignores_its_input_is_not_waited_for():
    assert run("true", stdin="x" * 1_000_000).exit_status == 0


def test_a_missing_command_looks_as_it_does_in_a_shell():
    result = run("/nonexistent/command")
    assert (result.exit_status, result.stderr) == (127, "/nonexistent/command: No such file or directory")
    assert run("/").exit_status == 126


def test_what_cannot_be_started_at_all_is_unreachable():
    with pytest.raises(HostUnreachable):
        run("printf", "a\0b")


def test_the_deadline_ends_the_command_and_its_children(tmp_path):
    pids = tmp_path / "pids"
    script = f"sleep 1000 & echo $! > {pids}; echo $$ >> {pids}; trap '' TERM; wait"
    with pytest.raises(CommandTimedOut, match="did not end within"):
        run("sh", "-c", script, timeout_s=3)
    for pid in pids.read_text().split():
        _wait_until_gone(int(pid))


def test_a_daemon_that_keeps_the_output_open_does_not_hold_the_answer(tmp_path):
    pid = tmp_path / "pid"
    result = run("sh", "-c", f"sleep 1000 & echo $! > {pid}; echo started")
    psutil.Process(int(pid.read_text())).kill()
    assert (result.stdout, result.exit_status) == ("started\n", 0)
    assert result.duration_s < 30


def test_commands_get_no_secrets_of_the_bots_environment(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-canary")
    monkeypatch.setenv("SLACK_BOT_TOKEN", "xoxb-canary")
    seen = run("env").stdout
    assert "canary" not in seen
    assert "LC_ALL=C.UTF-8" in seen


def test_no_file_descriptor_is_left_open():
    process = psutil.Process()
    before = process.num_fds()
    for _ in range(20):
        run("true")
    assert process.num_fds() < before + 20


def test_psutil_and_the_script_tell_the_same_of_one_machine():
    by_psutil = local_facts(SHELL, HERE, timeout_s=30)
    by_script = hostfacts.parse(run(*hostfacts.Probe.FACTS_SAMPLED.argv, max_bytes=262144).stdout)
    for name in ("hostname", "os", "kernel", "cpus", "memory_total_bytes", "swap_total_bytes", "boot_id"):
        assert getattr(by_psutil, name) == getattr(by_script, name), name
    assert abs(by_psutil.uptime_s - by_script.uptime_s) < 60
    assert {disk.mount: disk.size_bytes for disk in by_psutil.disks} == {
        disk.mount: disk.size_bytes for disk in by_script.disks
    }
    assert by_psutil.disks
    assert all(disk.available_bytes is not None for disk in by_psutil.disks)


def test_facts_of_the_local_host_need_no_ssh():
    facts = HostMachines(_NoShell(), SHELL).facts(HERE, timeout_s=30)
    assert facts.memory_total_bytes == psutil.virtual_memory().total


class _NoShell(LocalShell):
    def run(self, host, argv, *, timeout_s, max_bytes=65536, stdin=""):
        raise AssertionError("the local host was reached over SSH")


def _wait_until_gone(pid: int) -> None:
    deadline = time.monotonic() + 30
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline, f"process {pid} is still there"
        time.sleep(0.05)
