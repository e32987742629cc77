"""Hosts behind other hosts: both keys checked, each link its own, the outer one kept open, every error by its hop."""

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import paramiko
import pytest

from opsbot.adapters.local import LocalShell
from opsbot.adapters.machines import HostMachines
from opsbot.adapters.ssh import ParamikoShell
from opsbot.adapters.ssh_slots import PoolLimits
from opsbot.domain import Host
from opsbot.errors import HostUnreachable, OutcomeUnknown
from tests import ssh_answers
from tests.ssh_servers import Exec, Keys, RawServer, SshServer, new_key, pin_of

TIMEOUT_S = 20.0
LATE_S = 2.0


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys.make(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def other_keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    """Of the target, so that a mix-up of records shows."""
    return Keys.make(tmp_path_factory.mktemp("other"))


class Way:
    """A jump host, a target behind it, and the shell that knows both."""

    def __init__(self, running: ExitStack, keys: Keys, other_keys: Keys, limits: PoolLimits) -> None:
        self.gate = running.enter_context(SshServer(keys))
        self.target = running.enter_context(SshServer(other_keys, says_hello))
        self.records: dict[str, Host] = {"gate": self.gate.host("gate")}
        self.host = self.target.host("inner", jump="gate")
        self.shell = ParamikoShell(limits, find=self.records.get)
        running.callback(self.shell.close)

    def run(self, timeout_s: float = TIMEOUT_S, **changes: object) -> str:
        host = self.target.host("inner", **{"jump": "gate", **changes})
        return self.shell.run(host, ["hello"], timeout_s=timeout_s).stdout

    def fails(self, timeout_s: float = TIMEOUT_S, **changes: object) -> str:
        started_at = time.monotonic()
        with pytest.raises(HostUnreachable) as caught:
            self.run(timeout_s, **changes)
        assert time.monotonic() - started_at < timeout_s + LATE_S
        assert "Nothing was run" in str(caught.value) or "did not log in" in str(caught.value)
        return str(caught.value)


def says_hello(exec_: Exec) -> int:
    exec_.say("hello from inside\n")
    return 0


@pytest.fixture
def make_way(keys: Keys, other_keys: Keys) -> Iterator[Callable[..., Way]]:
    with ExitStack() as running:
        yield lambda **limits: Way(running, keys, other_keys, PoolLimits(**{"suspect_s": 0, **limits}))


@pytest.fixture
def way(make_way: Callable[..., Way]) -> Way:
    return make_way()


def wait_until(holds: Callable[[], bool]) -> bool:
    end_at = time.monotonic() + TIMEOUT_S
    while not holds():
        if time.monotonic() > end_at:
            return False
        time.sleep(0.02)
    return True


def test_a_host_is_reached_through_its_jump_host_over_one_connection_each(way: Way) -> None:
    for _ in range(5):
        assert way.run() == "hello from inside\n"
    assert way.gate.tunnelled == [("127.0.0.1", way.target.port)]
    assert (way.gate.connections, way.target.connections) == (1, 1)
    assert way.gate.commands == []


def test_many_hosts_share_the_jump_host_s_connection(way: Way, other_keys: Keys) -> None:
    """Tunnels are no sessions: the limit of commands at once does not hold them up."""
    with ExitStack() as running, ThreadPoolExecutor(20) as calls:
        targets = [running.enter_context(SshServer(other_keys, says_hello)) for _ in range(20)]
        hosts = [target.host(f"t{n}", jump="gate") for n, target in enumerate(targets)]
        results = list(calls.map(lambda host: way.shell.run(host, ["x"], timeout_s=TIMEOUT_S), hosts))
        assert [result.exit_status for result in results] == [0] * 20
        assert way.gate.connections == 1
        assert way.gate.tunnels == 20


def test_much_data_goes_through(way: Way) -> None:
    def answer(exec_: Exec) -> int:
        exec_.say(exec_.read_stdin())
        return 0

    way.target.answer = answer
    text = "0123456789abcdef" * 65536 * 2
    host = way.target.host("inner", jump="gate")
    result = way.shell.run(host, ["cat"], timeout_s=60, max_bytes=4 * 1024 * 1024, stdin=text)
    assert result.stdout == text


def test_probes_go_through_too(way: Way) -> None:
    way.target.answer = ssh_answers.RealShell()
    machines = HostMachines(way.shell, LocalShell())
    assert machines.vitals(way.host, timeout_s=TIMEOUT_S).memory_total_bytes > 0
    assert way.target.commands == [ssh_answers.PROBE]


def test_three_jumps_work_and_four_do_not(keys: Keys) -> None:
    with ExitStack() as running:
        servers = [running.enter_context(SshServer(keys, says_hello)) for _ in range(5)]
        hosts = {f"s{n}": each.host(f"s{n}", jump=f"s{n - 1}" if n else "") for n, each in enumerate(servers)}
        shell = ParamikoShell(PoolLimits(suspect_s=0), find=hosts.get)
        running.callback(shell.close)
        assert shell.run(hosts["s3"], ["x"], timeout_s=TIMEOUT_S).exit_status == 0
        with pytest.raises(HostUnreachable, match="s4 is behind more than 3 jump hosts"):
            shell.run(hosts["s4"], ["x"], timeout_s=TIMEOUT_S)
        assert servers[4].connections == 0


def test_a_loop_is_refused_without_a_connection(way: Way) -> None:
    way.records["gate"] = way.gate.host("gate", jump="inner")
    way.records["inner"] = way.host
    assert "form a loop: inner → gate → inner" in way.fails()
    assert way.gate.connections == 0


def test_a_jump_host_that_is_not_in_the_inventory_is_named(way: Way) -> None:
    way.records.clear()
    assert "The jump host 'gate' of inner is not in the inventory" in way.fails()
    assert (way.gate.connections, way.target.connections) == (0, 0)


def test_both_host_keys_are_checked_and_the_wrong_one_is_named(way: Way, tmp_path: Path) -> None:
    wrong = pin_of(paramiko.PKey.from_path(new_key(tmp_path / "wrong")))
    text = way.fails(host_key=wrong)
    assert text.startswith(f"inner (127.0.0.1:{way.target.port} through gate) shows another host key")
    way.records["gate"] = way.gate.host("gate", host_key=wrong)
    text = way.fails()
    assert text.startswith(f"inner is reached through gate, but: gate (127.0.0.1:{way.gate.port}) shows another")
    assert way.target.commands == []


def test_each_hop_is_logged_in_to_with_its_own_record_s_key(way: Way, keys: Keys) -> None:
    text = way.fails(key_file=str(keys.key_file))
    assert text.startswith("inner (")
    assert "refused the log-in of 'bot'" in text


def test_a_jump_host_that_forbids_forwarding_is_named(way: Way) -> None:
    way.gate.forwards = False
    text = way.fails()
    assert text.startswith(f"inner (127.0.0.1:{way.target.port} through gate) cannot be connected to: gate reports: ")
    assert "prohibited" in text


def test_a_target_that_refuses_the_jump_host_is_named(way: Way) -> None:
    way.target.__exit__()
    assert "cannot be connected to: gate reports: connect failed. Nothing was run" in way.fails()


def test_a_jump_host_that_cannot_be_reached_is_the_fault(way: Way) -> None:
    way.gate.__exit__()
    text = way.fails()
    assert text.startswith("inner is reached through gate, but: gate (")
    assert "Connection refused" in text


def test_a_jump_host_that_hangs_costs_the_deadline(way: Way) -> None:
    way.gate.blocked = frozenset({"auth"})
    assert "gate (" in way.fails(1.0)


def test_a_target_the_jump_host_waits_for_costs_the_deadline_and_is_named(way: Way) -> None:
    way.gate.blocked = frozenset({"tunnel"})
    text = way.fails(1.0)
    assert text.startswith(
        f"inner (127.0.0.1:{way.target.port} through gate) cannot be connected to: gate reports: no "
    )


def test_a_target_that_hangs_behind_the_jump_host_costs_the_deadline(way: Way) -> None:
    way.target.blocked = frozenset({"auth"})
    assert way.fails(1.0).startswith("inner (")
    with RawServer(ssh_answers.never_speaks) as silent:
        assert "no SSH greeting" in way.fails(1.0, port=silent.port)
    assert wait_until(lambda: way.gate.tunnels == 0), "the jump host still holds a connection of ours"


def test_the_target_s_failures_are_not_held_against_others_nor_the_jump_host_s_against_it(
    make_way: Callable[..., Way], other_keys: Keys
) -> None:
    way = make_way(suspect_s=30.0)
    way.gate.forwards = False
    way.fails()
    assert "not tried again" in way.fails()
    way.gate.forwards = True
    with SshServer(other_keys, says_hello) as second:
        host = second.host("second", jump="gate")
        assert way.shell.run(host, ["x"], timeout_s=TIMEOUT_S).exit_status == 0
    fresh = make_way(suspect_s=30.0)
    good = fresh.records.pop("gate")
    fresh.records["gate"] = fresh.gate.host("gate", port=1)
    fresh.fails()
    fresh.records["gate"] = good
    assert fresh.run() == "hello from inside\n"


def test_the_jump_host_s_connection_stays_while_something_runs_over_it(make_way: Callable[..., Way]) -> None:
    way = make_way(idle_s=0.4)
    go_on = threading.Event()

    def answer(exec_: Exec) -> int:
        go_on.wait(TIMEOUT_S)
        return says_hello(exec_)

    way.target.answer = answer
    with ThreadPoolExecutor(1) as calls:
        running = calls.submit(way.run)
        assert wait_until(lambda: bool(way.target.commands))
        time.sleep(1.2)
        go_on.set()
        assert running.result() == "hello from inside\n"
    inner, outer = way.target.transports[0], way.gate.transports[0]
    assert wait_until(lambda: not inner.is_active())
    assert wait_until(lambda: not outer.is_active())
    assert wait_until(lambda: way.gate.tunnels == 0)


def test_a_jump_host_that_dies_in_mid_command_leaves_the_outcome_unknown(way: Way) -> None:
    way.target.answer = ssh_answers.hangs
    with ThreadPoolExecutor(1) as calls:
        running = calls.submit(way.run)
        assert wait_until(lambda: bool(way.target.commands))
        started_at = time.monotonic()
        way.gate.drop()
        assert type(running.exception()) is OutcomeUnknown
        assert time.monotonic() - started_at < 2
    assert way.target.commands == [b"hello"]


def test_after_the_jump_host_died_both_connections_are_made_anew(way: Way) -> None:
    for _ in range(3):
        assert way.run() == "hello from inside\n"
        way.gate.drop()
    assert (way.gate.connections, way.target.connections) == (3, 3)
    assert len(way.target.commands) == 3


def test_a_jump_host_that_is_used_for_commands_too_keeps_its_tunnels_when_one_times_out(way: Way) -> None:
    assert way.run() == "hello from inside\n"
    way.gate.answer = ssh_answers.hangs
    with pytest.raises(Exception, match="may still be running"):
        way.shell.run(way.records["gate"], ["sleep"], timeout_s=0.3)
    assert way.run() == "hello from inside\n"
    assert way.target.connections == 1


def test_nothing_is_left_after_closing(way: Way) -> None:
    way.run()
    way.shell.close()
    assert wait_until(lambda: way.gate.tunnels == 0)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("opsbot-ssh-pool")]
