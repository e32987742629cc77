"""The probe channel: one shell per host, asked one fixed question at a time, and given up at the first oddity."""

import re
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import paramiko
import psutil
import pytest

from opsbot.adapters import ssh_probe
from opsbot.adapters.hostfacts import MAX_BYTES, Probe
from opsbot.adapters.local import LocalShell
from opsbot.adapters.machines import HostMachines
from opsbot.adapters.ssh import ParamikoShell, PoolLimits
from opsbot.adapters.ssh_probe import PROBE_WORDS
from opsbot.domain import Host
from opsbot.errors import CommandTimedOut, HostUnreachable, ToolError
from tests import ssh_answers
from tests.ssh_answers import PROBE, RealShell, splits
from tests.ssh_servers import Answer, Exec, Keys, SshServer

TIMEOUT_S = 20.0
LATE_S = 1.5
MIB = 1024 * 1024
MEMORY_BYTES = psutil.virtual_memory().total


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys.make(tmp_path_factory.mktemp("keys"))


@pytest.fixture
def shell() -> Iterator[ParamikoShell]:
    shell = ParamikoShell(PoolLimits(suspect_s=0))
    yield shell
    shell.close()


@pytest.fixture
def machines(shell: ParamikoShell) -> HostMachines:
    return HostMachines(shell, LocalShell())


def wait_until(holds: Callable[[], bool], limit_s: float = TIMEOUT_S) -> bool:
    end_at = time.monotonic() + limit_s
    while not holds():
        if time.monotonic() > end_at:
            return False
        time.sleep(0.02)
    return True


def starts(server: SshServer) -> list[str]:
    """What was run, in order: a probe channel, or a command."""
    return ["channel" if line == PROBE else line.split()[0].decode() for line in server.commands]


# --- as it should be -------------------------------------------------------------------------------------------------


def test_questions_share_one_channel_and_run_no_command(machines: HostMachines, keys: Keys) -> None:
    with SshServer(keys, RealShell()) as server:
        seen = [machines.vitals(server.host(), timeout_s=TIMEOUT_S) for _ in range(5)]
        facts = machines.facts(server.host(), timeout_s=TIMEOUT_S)
        assert starts(server) == ["channel"]
        assert server.connections == 1
    assert {each.memory_total_bytes for each in seen} == {MEMORY_BYTES} == {facts.memory_total_bytes}
    assert {each.boot_id for each in seen} == {facts.boot_id}
    assert facts.disks
    assert facts.os


def test_vitals_start_no_process_on_the_host(machines: HostMachines, keys: Keys, tmp_path: Path) -> None:
    real = RealShell(path=str(tmp_path))  # no command can be found
    with SshServer(keys, real) as server:
        for _ in range(3):
            assert machines.vitals(server.host(), timeout_s=TIMEOUT_S).memory_total_bytes == MEMORY_BYTES
        assert starts(server) == ["channel"]
        assert psutil.Process(real.processes[0].pid).children() == []


def test_the_cpu_is_compared_with_the_look_before(machines: HostMachines, keys: Keys) -> None:
    with SshServer(keys, RealShell()) as server:
        assert machines.vitals(server.host(), timeout_s=TIMEOUT_S).cpu_percent is None
        assert wait_until(lambda: machines.vitals(server.host(), timeout_s=TIMEOUT_S).cpu_percent is not None, 4)
        facts = machines.facts(server.host(), timeout_s=TIMEOUT_S)
    assert facts.cpu_percent is not None
    assert 0 <= facts.cpu_percent <= 100


def test_a_command_that_reads_its_input_does_not_eat_the_next_question(
    machines: HostMachines, keys: Keys, tmp_path: Path
) -> None:
    (tmp_path / "df").write_text("#!/bin/sh\nexec cat\n")
    (tmp_path / "df").chmod(0o755)
    with SshServer(keys, RealShell(path=f"{tmp_path}:/usr/bin:/bin")) as server, ThreadPoolExecutor(4) as calls:
        asked = [calls.submit(machines.facts, server.host(), timeout_s=TIMEOUT_S) for _ in range(4)]
        assert [call.result().memory_total_bytes for call in asked] == [MEMORY_BYTES] * 4


@pytest.mark.parametrize(
    "line",
    [
        "ask 0a 0b touch {mark}",
        "ask 0a 0b vitals; touch {mark}",
        "ask 0a 0b $(touch {mark})",
        "ask 0a 0b `touch {mark}`",
        "ask $(touch {mark}) 0b vitals",
        "ask 0a;touch${{IFS}}{mark} 0b vitals",
        "ask 0a 0b",
        "ask",
        "touch {mark}",
        "vitals",
        "run 0a 0b vitals",
        "facts() {{ touch {mark}; }}",
        "ask 0a 0b facts sampled more",
        "ask 0A 0b vitals",
        "",
    ],
)
def test_nothing_that_is_written_to_the_channel_is_run(line: str, tmp_path: Path) -> None:
    """It knows its questions by name, and ends at anything else."""
    mark = tmp_path / "mark"
    written = f"{line.format(mark=mark)}\nask 0a 0b vitals\n"
    done = subprocess.run(PROBE_WORDS[1:], input=written, capture_output=True, text=True, timeout=TIMEOUT_S)
    assert not mark.exists()
    assert (done.returncode, done.stdout) == (2, "")


def test_only_one_question_is_on_the_channel_at_a_time(machines: HostMachines, keys: Keys) -> None:
    questions: list[bytes] = []

    def probe(exec_: Exec) -> int:
        """A second question before the first one's answer would be in the same piece, or break the frame."""
        while exec_.wanted and (piece := exec_.channel.recv(65536)):
            questions.append(piece)
            time.sleep(0.01)
            assert not exec_.channel.recv_ready()
            begin, end = frame(piece)
            exec_.say(begin + ANSWER + end)
        return 0

    with SshServer(keys, splits(probe)) as server, ThreadPoolExecutor(8) as calls:
        list(calls.map(lambda _: machines.vitals(server.host(), timeout_s=TIMEOUT_S), range(40)))
        assert starts(server) == ["channel"]
    assert len(questions) == 40


def test_the_shell_ends_with_the_connection(shell: ParamikoShell, machines: HostMachines, keys: Keys) -> None:
    real = RealShell()
    with SshServer(keys, real) as server:
        machines.vitals(server.host(), timeout_s=TIMEOUT_S)
        assert real.processes[0].poll() is None
        shell.close()
        assert wait_until(lambda: real.processes[0].poll() is not None)


def test_an_unused_connection_is_closed_with_its_channel(keys: Keys) -> None:
    shell = ParamikoShell(PoolLimits(idle_s=0.3))
    real = RealShell()
    with SshServer(keys, real) as server:
        HostMachines(shell, LocalShell()).vitals(server.host(), timeout_s=TIMEOUT_S)
        assert wait_until(lambda: real.processes[0].poll() is not None)
    shell.close()


def test_a_connection_that_was_cut_is_replaced(machines: HostMachines, keys: Keys) -> None:
    with SshServer(keys, RealShell()) as server:
        for _ in range(3):
            assert machines.vitals(server.host(), timeout_s=TIMEOUT_S).memory_total_bytes == MEMORY_BYTES
            server.drop()
        assert server.connections == 3


def test_a_host_with_one_session_gives_it_to_commands(shell: ParamikoShell, machines: HostMachines, keys: Keys) -> None:
    with SshServer(keys, RealShell(), max_sessions=1) as server:
        machines.vitals(server.host(), timeout_s=TIMEOUT_S)
        assert shell.run(server.host(), ["echo", "hi"], timeout_s=TIMEOUT_S).stdout == "hi\n"
        machines.vitals(server.host(), timeout_s=TIMEOUT_S)
        assert starts(server) == ["channel", "echo", "sh"]
        assert server.connections == 1


def test_start_up_files_may_talk_before_the_first_answer(machines: HostMachines, keys: Keys) -> None:
    def probe(exec_: Exec) -> int:
        exec_.say("Welcome to this host!\n")
        exec_.say_error("bash: warning: setlocale: cannot change locale\n")
        time.sleep(0.05)
        return RealShell()(exec_)

    with SshServer(keys, splits(probe)) as server:
        for _ in range(2):
            assert machines.vitals(server.host(), timeout_s=TIMEOUT_S).memory_total_bytes == MEMORY_BYTES
        assert starts(server) == ["channel"]


# --- as it should not be ---------------------------------------------------------------------------------------------

ANSWER = (
    b"\n@@opsbot uptime\n99.5 1.0\n\n@@opsbot loadavg\n0.1 0.2 0.3 1/2 3\n\n@@opsbot meminfo\n"
    b"MemTotal: 1000\nMemAvailable: 500\n\n@@opsbot vitals_end\n"
)
FORGED_BYTES = 1000 * 1024


def frame(question: bytes) -> tuple[bytes, bytes]:
    """The lines around the answer to the question that ends this piece of input."""
    halves = re.findall(rb"ask ([0-9a-f]{32}) ([0-9a-f]{32}) \w+", question)[-1]
    mark = b"".join(halves)
    return mark + b" begin\n", b"\n" + mark + b" end 0\n"


def questions(exec_: Exec) -> Iterator[tuple[bytes, bytes]]:
    """The frame of each question, as it comes."""
    while exec_.wanted and (piece := exec_.channel.recv(65536)):
        yield frame(piece)


def talks(*pieces: Callable[[bytes, bytes], bytes]) -> Answer:
    """Answer the first questions rightly but for what these make of them; then be silent."""

    def probe(exec_: Exec) -> int:
        for make, (begin, end) in zip(pieces, questions(exec_), strict=False):
            exec_.say(make(begin, end))
        exec_.hold()
        return 0

    return probe


def right(begin: bytes, end: bytes) -> bytes:
    return begin + ANSWER + end


def echoes(exec_: Exec) -> int:
    """A forced command such as `cat`."""
    while exec_.wanted and (piece := exec_.channel.recv(65536)):
        exec_.say(piece)
    return 0


def floods_stderr(exec_: Exec) -> int:
    while exec_.wanted:
        exec_.say_error(b"e" * 32768)
    return 0


def ends(status: int | None) -> Answer:
    def probe(exec_: Exec) -> int | None:
        exec_.say_error("sh: not found\n")
        return status

    return probe


# Each must cost the probe, and nothing else: the answer comes from a command, in time.
BROKEN: dict[str, Answer] = {
    "says nothing": ssh_answers.hangs,
    "drips": ssh_answers.drips,
    "floods both streams": ssh_answers.floods,
    "floods stderr": floods_stderr,
    "echoes": echoes,
    "no shell": ends(127),
    "closes without a status": ends(None),
    "cut": ssh_answers.cuts_connection,
    "another mark": talks(lambda begin, end: right(b"0" * 64 + b" begin\n", b"\n" + b"0" * 64 + b" end 0\n")),
    "half the mark": talks(lambda begin, end: right(begin[16:], end)),
    "more after the end": talks(lambda begin, end: right(begin, end) + b"more"),
    "two answers": talks(lambda begin, end: right(begin, end) * 2),
    "no status": talks(lambda begin, end: right(begin, end[:-2] + b"x\n")),
    "a long status": talks(lambda begin, end: right(begin, end[:-2] + b"99999\n")),
    "no end": talks(lambda begin, end: begin + ANSWER),
    "too long": talks(lambda begin, end: begin + b"x" * (MAX_BYTES + 1000) + end),
    "noise without end": talks(lambda begin, end: b"x" * 20_000 + right(begin, end)),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_channel_that_is_not_right_is_replaced_by_a_command_in_time(
    machines: HostMachines, keys: Keys, name: str
) -> None:
    # A channel that began an answer has the whole deadline; where it never ends, there is no time for a command.
    hopeless = name == "no end"
    with SshServer(keys, splits(BROKEN[name])) as server:
        started_at = time.monotonic()
        if hopeless:
            with pytest.raises(CommandTimedOut, match="changes nothing"):
                machines.vitals(server.host(), timeout_s=2)
        else:
            assert machines.vitals(server.host(), timeout_s=4).memory_total_bytes == MEMORY_BYTES
        assert time.monotonic() - started_at < (2 if hopeless else 4) + LATE_S
        assert starts(server) == ["channel"] + ["sh"] * (not hopeless)
        if name != "cut":  # a lost connection says nothing about the channel
            assert machines.vitals(server.host(), timeout_s=4).memory_total_bytes == MEMORY_BYTES
            assert starts(server).count("channel") == 1, "it was tried again at once"


# After one right answer.
LATER: dict[str, Callable[[bytes, bytes], bytes]] = {
    "a byte too many before": lambda begin, end: b"\n" + right(begin, end),
    "start-up noise again": lambda begin, end: b"Welcome!\n" + right(begin, end),
    "nothing": lambda begin, end: b"",
}


@pytest.mark.parametrize("name", LATER)
def test_a_channel_that_goes_wrong_later_is_replaced_too(machines: HostMachines, keys: Keys, name: str) -> None:
    with SshServer(keys, splits(talks(right, LATER[name]))) as server:
        assert machines.vitals(server.host(), timeout_s=4).memory_total_bytes == FORGED_BYTES
        assert machines.vitals(server.host(), timeout_s=4).memory_total_bytes == MEMORY_BYTES
        assert starts(server) == ["channel", "sh"]


def test_an_answer_given_twice_is_not_taken_for_the_next_question_s(machines: HostMachines, keys: Keys) -> None:
    old: list[bytes] = []

    def probe(exec_: Exec) -> int:
        for begin, end in questions(exec_):
            old.append(right(begin, end))
            exec_.say(old[0])
        return 0

    with SshServer(keys, splits(probe)) as server:
        assert machines.vitals(server.host(), timeout_s=4).memory_total_bytes == FORGED_BYTES
        assert machines.vitals(server.host(), timeout_s=4).memory_total_bytes == MEMORY_BYTES


@pytest.mark.parametrize("answer", [ssh_answers.hangs, ssh_answers.drips, ssh_answers.floods])
def test_a_host_that_is_bad_at_everything_costs_the_deadline_and_little_memory(
    machines: HostMachines, keys: Keys, answer: Answer
) -> None:
    with SshServer(keys, answer) as server:
        before_bytes = psutil.Process().memory_info().rss
        started_at = time.monotonic()
        with pytest.raises(ToolError):
            machines.vitals(server.host(), timeout_s=2)
        assert time.monotonic() - started_at < 2 + LATE_S
        assert psutil.Process().memory_info().rss - before_bytes < 50 * MIB


def test_what_an_idle_channel_is_sent_is_bounded(machines: HostMachines, keys: Keys) -> None:
    """A host that ignores the window it was given loses its connection."""
    sent: list[int] = []
    answered = threading.Event()

    def probe(exec_: Exec) -> int:
        begin, end = next(questions(exec_))
        exec_.say(right(begin, end))
        answered.wait(TIMEOUT_S)  # else the flood would be part of the first answer
        exec_.channel.out_window_size = 2**31
        while exec_.wanted and sum(sent) < 200 * MIB:
            exec_.say(b"x" * 32000)
            sent.append(32000)
        exec_.hold()
        return 0

    with SshServer(keys, splits(probe)) as server:
        before_bytes = psutil.Process().memory_info().rss
        assert machines.vitals(server.host(), timeout_s=TIMEOUT_S).memory_total_bytes == FORGED_BYTES
        transport = server.transports[0]
        answered.set()
        assert wait_until(lambda: not transport.is_active())
        assert machines.vitals(server.host(), timeout_s=TIMEOUT_S).memory_total_bytes in (FORGED_BYTES, MEMORY_BYTES)
        assert psutil.Process().memory_info().rss - before_bytes < 50 * MIB


def test_a_stopped_shell_costs_half_the_deadline_and_a_new_connection(machines: HostMachines, keys: Keys) -> None:
    real = RealShell()
    with SshServer(keys, splits(real)) as server:
        machines.vitals(server.host(), timeout_s=TIMEOUT_S)
        psutil.Process(real.processes[0].pid).suspend()
        assert machines.vitals(server.host(), timeout_s=3).memory_total_bytes == MEMORY_BYTES
        assert starts(server) == ["channel", "sh"]
        assert server.connections == 2
        psutil.Process(real.processes[0].pid).resume()


def test_a_broken_channel_is_opened_again_after_a_while(
    machines: HostMachines, keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssh_probe, "_BROKE_S", 0.2)
    real = RealShell()
    with SshServer(keys, real) as server:
        machines.vitals(server.host(), timeout_s=TIMEOUT_S)
        real.processes[0].kill()
        real.processes[0].wait(TIMEOUT_S)
        machines.vitals(server.host(), timeout_s=TIMEOUT_S)
        assert starts(server) == ["channel", "sh"]
        time.sleep(0.2)
        machines.vitals(server.host(), timeout_s=TIMEOUT_S)
        assert starts(server) == ["channel", "sh", "channel"]


def test_a_host_without_linux_figures_is_a_failure_not_a_guess(machines: HostMachines, keys: Keys) -> None:
    probe = talks(lambda begin, end: begin + b"no\n" + end)
    with SshServer(keys, splits(probe)) as server, pytest.raises(ToolError, match="load, memory and uptime"):
        machines.vitals(server.host(), timeout_s=TIMEOUT_S)


def test_an_unreachable_host_is_unreachable_for_probes_too(shell: ParamikoShell, keys: Keys) -> None:
    with SshServer(keys) as server:
        host: Host = server.host()
    with pytest.raises(HostUnreachable, match="Connection refused"):
        shell.probe(host, Probe.VITALS, timeout_s=TIMEOUT_S)
    with pytest.raises(CommandTimedOut):
        shell.probe(host, Probe.VITALS, timeout_s=0)


def test_a_key_exchange_that_never_ends_costs_a_share_only(machines: HostMachines, keys: Keys) -> None:
    def probe(exec_: Exec) -> int:
        begin, end = next(questions(exec_))
        exec_.say(right(begin, end))
        transport = exec_.channel.get_transport()
        transport._handler_table[paramiko.common.MSG_KEXINIT] = lambda message: exec_.server.stopping.wait()
        transport._send_kex_init()
        exec_.hold()
        return 0

    with SshServer(keys, splits(probe)) as server:
        machines.vitals(server.host(), timeout_s=TIMEOUT_S)
        time.sleep(0.2)
        assert machines.vitals(server.host(), timeout_s=4).memory_total_bytes == MEMORY_BYTES
        assert server.connections == 2
