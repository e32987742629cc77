"""`opsbot doctor` against SSH servers on loopback: each way not to be reached has its own line and remedy."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from opsbot.adapters.doctor_edges import GRACE_S, Edge, Trials
from opsbot.adapters.doctor_hosts import HostDoctor
from opsbot.adapters.local import LocalShell
from opsbot.adapters.machines import HostMachines
from opsbot.adapters.ssh import ParamikoShell
from opsbot.diagnosis import Area, Finding, Status, Subject
from opsbot.domain import Host
from tests.ssh_answers import full_backlog, never_speaks, speaks_http
from tests.ssh_servers import Exec, Keys, RawServer, SshServer, pin_of

TIMEOUT_S = 2.0
# `nothing waits past its deadline by more than a second`
LIMIT_S = TIMEOUT_S + 1.0


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys.make(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def other_keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys.make(tmp_path_factory.mktemp("other"))


def well(exec_: Exec) -> int:
    """Answer the script as a host without any rights to check would."""
    exec_.say(f"@@time {int(time.time())}\n@@user bot\n@@os Debian GNU/Linux 12 (bookworm)\n@@journal open\n")
    return 0


def hangs(exec_: Exec) -> None:
    exec_.hold()


@contextmanager
def doctor_of(*hosts: Host) -> Iterator[Callable[[Host], list[Finding]]]:
    shell = ParamikoShell(find={host.name: host for host in hosts}.get)
    machines = HostMachines(shell, LocalShell())
    try:
        yield lambda host: list(HostDoctor(machines).check(host, timeout_s=TIMEOUT_S))
    finally:
        machines.close()


def only(host: Host, *others: Host) -> Finding:
    """Return the one finding about a host that is not reached, in time."""
    with doctor_of(host, *others) as check:
        started = time.monotonic()
        (found,) = check(host)
        assert time.monotonic() - started < LIMIT_S
    assert found.status is Status.FAIL
    return found


def test_a_host_that_is_well(keys: Keys) -> None:
    with SshServer(keys, well) as server, doctor_of() as check:
        found = check(server.host())
    assert {each.check: str(each.status) for each in found} == {
        "connection": "ok",
        "host key": "ok",
        "log-in": "ok",
        "clock": "ok",
        "system": "ok",
    }
    assert server.connections == 1


def test_a_changed_host_key(keys: Keys, other_keys: Keys) -> None:
    with SshServer(keys, well) as server:
        found = only(server.host(host_key=pin_of(other_keys.host_key)))
    assert found.check == "host key"
    assert "shows another host key than the pinned one" in found.said
    assert "`opsbot hosts trust --replace web-1`" in found.remedy


def test_a_key_that_is_not_let_in(keys: Keys, other_keys: Keys) -> None:
    with SshServer(keys, well) as server:
        found = only(server.host(key_file=str(other_keys.key_file)))
    assert found.check == "log-in"
    assert f"`ssh-keygen -yf {other_keys.key_file}`" in found.remedy
    assert "~bot/.ssh/authorized_keys" in found.remedy


def test_a_key_file_that_is_missing_or_open_to_others(keys: Keys, tmp_path: Path) -> None:
    missing = only(
        Host("db-1", address="127.0.0.1", user="bot", key_file=str(tmp_path / "no"), host_key=pin_of(keys.host_key))
    )
    assert missing.check == "key file"
    loose = tmp_path / "loose"
    loose.write_bytes(Path(keys.key_file).read_bytes())
    loose.chmod(0o644)
    found = only(Host("db-1", address="127.0.0.1", user="bot", key_file=str(loose), host_key=pin_of(keys.host_key)))
    assert "mode 0644" in found.said


def test_a_port_that_refuses(keys: Keys) -> None:
    with SshServer(keys, well) as server:
        host = server.host()
    found = only(host)
    assert (found.check, "refused" in found.said) == ("connection", True)
    assert f"127.0.0.1:{host.port}" in found.remedy


def test_an_address_that_does_not_resolve(keys: Keys) -> None:
    host = Host(
        "db-1", address="no-such-host.invalid", user="bot", key_file=str(keys.key_file), host_key=pin_of(keys.host_key)
    )
    found = only(host)
    assert (found.check, "`getent hosts no-such-host.invalid`" in found.remedy) == ("connection", True)


def test_a_black_hole(keys: Keys) -> None:
    with full_backlog() as port:
        host = Host(
            "db-1",
            address="127.0.0.1",
            port=port,
            user="bot",
            key_file=str(keys.key_file),
            host_key=pin_of(keys.host_key),
        )
        found = only(host)
    assert (found.check, "did not accept a connection within" in found.said) == ("connection", True)


@pytest.mark.parametrize("talk", [never_speaks, speaks_http])
def test_a_host_without_an_ssh_greeting(keys: Keys, talk: Callable[..., None]) -> None:
    with RawServer(talk) as raw:
        host = Host(
            "db-1",
            address="127.0.0.1",
            port=raw.port,
            user="bot",
            key_file=str(keys.key_file),
            host_key=pin_of(keys.host_key),
        )
        found = only(host)
    assert (found.check, "overloaded" in found.remedy) == ("connection", True)


@pytest.mark.parametrize(
    ("step", "check", "said"),
    [
        ("auth", "log-in", "did not finish the log-in within 2.0 s"),
        ("channel", "answer", "opened no session"),
        ("exec", "answer", "had not ended after 2.0 s"),
    ],
)
def test_a_host_that_hangs_later(keys: Keys, step: str, check: str, said: str) -> None:
    with SshServer(keys, well, blocked=frozenset({step})) as server:
        found = only(server.host())
    assert (found.check, said in found.said) == (check, True), found
    assert f"`ssh -p {server.port} bot@127.0.0.1 true`" in found.remedy


def test_a_command_that_hangs(keys: Keys) -> None:
    with SshServer(keys, hangs) as server:
        found = only(server.host())
    assert (found.check, f"`ssh -p {server.port} bot@127.0.0.1 true`" in found.remedy) == ("answer", True)


def test_a_jump_host_that_fails_is_named(keys: Keys) -> None:
    with SshServer(keys, well) as gate, SshServer(keys, well) as target:
        jump = gate.host("gate-1")
        host = target.host("db-1", jump="gate-1")
        with doctor_of(jump, host) as check:
            assert check(host)[0].said == f"127.0.0.1:{target.port} through gate-1"
    found = only(host, jump)
    assert (found.check, found.remedy) == ("jump host", "Mend the jump host first: `opsbot doctor gate-1`.")


def test_a_target_behind_a_good_jump_host_is_the_one_named(keys: Keys) -> None:
    with SshServer(keys, well) as gate:
        with SshServer(keys, well) as target:
            host = target.host("db-1", jump="gate-1")
        found = only(host, gate.host("gate-1"))
    assert (found.check, "firewalls from gate-1" in found.remedy) == ("connection", True)


def test_hung_hosts_delay_nobody(keys: Keys) -> None:
    """60 hosts that never speak beside one that is well: its answer is there long before their deadline."""
    with RawServer(never_speaks) as raw, SshServer(keys, well) as server:
        hung = [
            Host(
                f"hung-{n}",
                address="127.0.0.1",
                port=raw.port,
                user="bot",
                key_file=str(keys.key_file),
                host_key=pin_of(keys.host_key),
            )
            for n in range(60)
        ]
        shell = ParamikoShell()
        machines = HostMachines(shell, LocalShell())
        check = HostDoctor(machines).check
        edges = [
            Edge(Subject(Area.HOSTS, host.name), lambda within_s, host=host: check(host, timeout_s=within_s), TIMEOUT_S)
            for host in [*hung, server.host("well")]
        ]
        trials, ended, started = Trials(edges), {}, time.monotonic()
        for edge in trials.run():
            ended[edge.subject.name] = time.monotonic() - started
        machines.close()
    assert ended["well"] < TIMEOUT_S
    assert max(ended.values()) < LIMIT_S + GRACE_S
    assert {finding.subject for finding in trials.findings if finding.status is Status.FAIL} == {
        host.name for host in hung
    }
