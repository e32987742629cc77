"""T32: with the key that looks, a real sshd refuses everything that acts, and every look goes through."""

import random
import shlex
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

import paramiko
import pytest

from opsbot.__main__ import main
from opsbot.adapters.doctor_hosts import HostDoctor
from opsbot.adapters.local import LocalShell
from opsbot.adapters.machines import HostMachines
from opsbot.adapters.ssh import ParamikoShell
from opsbot.adapters.ssh_keys import public_key_of
from opsbot.adapters.ssh_pool import LinkPool
from opsbot.context import Context
from opsbot.diagnosis import Check, Finding, Status
from opsbot.domain import CommandResult, Host, HostVerb, Risk, ServiceManager, UnitVerb
from opsbot.errors import OpsbotError, ToolError
from opsbot.gate import PATH, gate_for, key_line
from opsbot.root_commands import container_restart, kill_command, reboot_command, unit_command
from opsbot.sudoers import lines_for
from opsbot.tooling import Container, Tool, Unit
from tests.fake_machines import FakeMachines
from tests.real_sshd import StartSshd, needs_sshd, start_sshd
from tests.safety.conftest import Figures, Scale
from tests.safety.gates import REFUSED, REGISTRY, Gate, by_machines, each_heard, recorded_looks
from tests.safety.hostile_names import hostile
from tests.scenario.house import ALICE, BOB, HOSTS, House, World
from tests.ssh_servers import new_key
from tests.tools.test_every_tool_recorded import HOST

__all__ = ["start_sshd"]

UNITS = ("nginx.service", "redis-server.service", "brittle.service")
ACTING_HOST = replace(HOST, actions=(*UnitVerb, *HostVerb), units=UNITS)
SHELLS = ("dash", "bash", "busybox sh")


def acting_lines() -> list[str]:
    """Every line that does something: as the bot sends it, as root or not, and as people write it."""
    commands = [
        *(unit_command(verb, unit) for verb in UnitVerb for unit in UNITS),
        *(container_restart(engine, "web") for engine in ("docker", "podman")),
        *(kill_command(signal, 4242) for signal in ("TERM", "KILL")),
        reboot_command(),
        *(("supervisorctl", verb, "web") for verb in ("start", "stop", "restart")),
        *(("systemctl", verb, "nginx") for verb in ("restart", "stop", "start", "kill", "edit", "mask", "disable")),
        *(("docker", verb, "web") for verb in ("restart", "stop", "kill", "rm", "run", "exec")),
        ("reboot",),
        ("shutdown", "-r", "now"),
        ("kill", "-9", "1"),
        ("sh",),
        ("exec", "sh"),
        ("sh", "-c", "true"),
        ("sh", "-c", "# opsbot: disk usage\nreboot\n", "sh", ""),
        ("bash", "-i"),
        ("true",),
    ]
    return [shlex.join((*root, *words)) for words in commands for root in ((), ("sudo", "-n"), ("sudo",))]


SHOW = shlex.join(("env", "TZ=UTC", "LC_ALL=C", "SYSTEMD_COLORS=0", "systemctl", "--no-pager", "show"))
CONTROL_GROUP = f"{SHOW} --property=ControlGroup --"
# Each would touch {mark} if a shell read it, or make systemctl do something else.
HOSTILE = (
    f"{CONTROL_GROUP} nginx.service\ntouch {{mark}}",
    f"{CONTROL_GROUP} 'nginx.service\ntouch {{mark}}'",
    f"{CONTROL_GROUP} '*'",
    f"{CONTROL_GROUP} *",
    f"{CONTROL_GROUP} -Hroot@evil",
    f"{CONTROL_GROUP} --root=/x",
    f"{CONTROL_GROUP} nginx.service redis.service",
    f"{CONTROL_GROUP} nginx.service;touch {{mark}}",
    f"{CONTROL_GROUP} nginx.service; touch {{mark}}",
    f"{CONTROL_GROUP} nginx.service && touch {{mark}}",
    f"{CONTROL_GROUP} nginx.service | tee {{mark}}",
    f"{CONTROL_GROUP} nginx.service > {{mark}}",
    f"{CONTROL_GROUP} nginx.service & touch {{mark}}",
    f"{CONTROL_GROUP} $(touch {{mark}})",
    f"{CONTROL_GROUP} `touch {{mark}}`",
    f"{CONTROL_GROUP} '$(touch {{mark}})'",
    f"{CONTROL_GROUP} ${{{{IFS}}}}nginx.service",
    f"{CONTROL_GROUP} nginx.service\t",
    f"{CONTROL_GROUP} nginx.service ",
    f"{CONTROL_GROUP}  nginx.service",
    f" {CONTROL_GROUP} nginx.service",
    f"{CONTROL_GROUP} 'nginx.service",
    f"{CONTROL_GROUP} nginx.service'",
    f"{CONTROL_GROUP} 'nginx'.service",
    f'{CONTROL_GROUP} "nginx.service"',
    f"{CONTROL_GROUP} nginx.servi\\ce",
    f"{CONTROL_GROUP} nginx.service #",
    f"{CONTROL_GROUP} nginx.sérvice",
    f"{CONTROL_GROUP} {'n' * 300}.service",
    f"{CONTROL_GROUP}",
    f"touch {{mark}}; {CONTROL_GROUP} nginx.service",
    f"X=$(touch {{mark}}) {CONTROL_GROUP} nginx.service",
    f"{SHOW} --property=ControlGroup nginx.service",
    f"{SHOW} -- --property=ControlGroup nginx.service",
    f"LD_PRELOAD=/tmp/x {CONTROL_GROUP} nginx.service",
    "sh -c 'touch {mark}'",
    "sh -c 'touch {mark}\n'",
    "exec sh -c 'touch {mark}\n'",
    "'sh' '-c' 'touch {mark}\n'",
    "scp -t {mark}",
    "/usr/lib/openssh/sftp-server",
    "'",
    "''",
    " ",
    "\n",
    ";",
)


# --- the gate by itself ----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gate(tmp_path_factory: pytest.TempPathFactory) -> Gate:
    return Gate(ACTING_HOST, tmp_path_factory.mktemp("gate"))


def test_every_look_that_was_recorded_on_a_real_host_goes_through(tmp_path: Path, figures: Figures) -> None:
    """Tools and gate cannot drift apart: what a tool sends and does not declare is refused here."""
    gates: dict[tuple[str, ...], Gate] = {}
    seen: set[str] = set()
    for what, host, lines in recorded_looks():
        gate = gates.get(host.units) or Gate(host, tmp_path)
        for line in lines - seen:
            assert gate.words(line) == shlex.split(line), f"{what} is refused: {line[:200]}"
        seen |= lines
    figures.note(recorded_looks_let_through=f"{len(seen)} of {len(seen)}")
    assert len(seen) > 30


def test_every_look_of_supervisord_goes_through(tmp_path: Path) -> None:
    host = replace(
        HOST,
        service_manager=ServiceManager.SUPERVISORD,
        service_command=("/opt/v env/supervisorctl", "-c", "/etc/s.conf"),
    )
    gate = Gate(host, tmp_path)
    control = ("/opt/v env/supervisorctl", "-c", "/etc/s.conf")
    for words in (
        ("status",),
        ("status", "web"),
        ("tail", "-2000", "web", "stdout"),
        ("tail", "-2000", "web", "stderr"),
    ):
        assert gate.words(shlex.join((*control, *words))) == [*control, *words]
    for words in (("restart", "web"), ("stop", "web"), ("status", "web", "api"), ("tail", "-f", "web"), ("shutdown",)):
        assert gate.words(shlex.join((*control, *words))) is None


def test_every_acting_line_is_refused(gate: Gate, figures: Figures) -> None:
    lines = acting_lines()
    assert [line for line in lines if gate.words(line) is not None] == []
    figures.note(acting_lines_refused_by_the_gate=f"{len(lines)} of {len(lines)}")


def test_the_only_lines_by_sudo_are_looks_at_listed_containers(gate: Gate, tmp_path: Path) -> None:
    by_sudo = [look for look in gate.looks if "sudo" in look]
    assert {look[2:4] for look in by_sudo} <= {
        (f"/usr/bin/{engine}", verb) for engine in ("docker", "podman") for verb in ("container", "logs")
    }
    without = Gate(replace(HOST, containers=()), tmp_path)
    assert [look for look in without.looks if "sudo" in look] == []


@pytest.mark.parametrize("shell", SHELLS)
def test_no_hostile_line_goes_through_any_shell(shell: str, tmp_path: Path) -> None:
    if subprocess.run(["which", shell.split()[0]], capture_output=True).returncode:
        pytest.skip(f"there is no {shell} here")
    gate = Gate(ACTING_HOST, tmp_path, shell=shell)
    assert gate.words(f"{CONTROL_GROUP} nginx.service") is not None
    assert gate.words(f"{CONTROL_GROUP} {shlex.quote(r'dev-disk-by' + chr(92) + 'x2dlabel.service')}") is not None
    for line in HOSTILE:
        assert gate.words(line.format(mark=tmp_path / "mark")) is None, line


def mutated(line: str, luck: random.Random) -> str:
    """A line with something taken out, put in, doubled or exchanged."""
    bits = (
        "'",
        '"',
        " ",
        "\n",
        ";",
        "$(x)",
        "`x`",
        "\\",
        "*",
        "-",
        "=",
        "\t",
        "é",
        "&",
        "|",
        "x",
        "--",
        "sudo ",
        "#",
        "'\"'\"'",
    )
    at, end = sorted((luck.randrange(len(line) + 1), luck.randrange(len(line) + 1)))
    match luck.randrange(4):
        case 0:
            return line[:at] + luck.choice(bits) + line[at:]
        case 1:
            return line[:at] + line[min(end, at + 5) :]
        case 2:
            return line[:at] + luck.choice(bits) + line[at + 1 :]
        case _:
            return line[:end] + line[at:]


def test_whatever_is_let_through_is_a_look_word_by_word(gate: Gate, figures: Figures, scale: Scale) -> None:
    """Judged by grammars of the tests: what the gate runs is one of the looks, and what a shell would have read."""
    luck = random.Random(32)
    lines = sorted({line for _, _, found in recorded_looks() for line in found if len(line) < 2_000})
    tried = scale(150, 10_000)
    through = 0
    for _ in range(tried):
        line = mutated(luck.choice(lines), luck)
        if "\0" in line or not line:
            continue
        words = gate.words(line)
        if words is not None:
            through += 1
            assert gate.knows(words), line
            assert shlex.split(line) == words, line
    figures.note(mutated_looks=tried, let_through_and_a_look=through)


REAL = {"unit": "nginx.service", "container": "web", "path": "/srv", "number": "5", "time": "2h"}


@pytest.mark.parametrize("kind", list(REAL))
def test_a_slot_takes_what_its_grammar_takes(gate: Gate, kind: str, scale: Scale) -> None:
    look = next(look for look in gate.looks if kind in _slots(look))

    def line(value: str) -> str:
        return shlex.join(
            word
            if isinstance(word, str)
            else word.before + (value if word.kind == kind else REAL[word.kind]) + word.after
            for word in look
        )

    assert gate.words(line(REAL[kind])) is not None
    for value in hostile(scale(20, 600), 32, (REAL[kind],)):
        if "\0" not in value and value.encode("utf-8", "replace").decode() == value:
            ran = gate.words(line(value))
            assert ran is None or gate.knows(ran), value


def _slots(look: Sequence[object]) -> list[str]:
    return [str(word.kind) for word in look if not isinstance(word, str)]  # type: ignore[attr-defined]


def test_paths_of_any_script_go_through(gate: Gate) -> None:
    look = next(look for look in gate.looks if _slots(look) == ["path"])
    for path in ("/srv/my files", "/srv/日本", "/srv/ä", "/srv/$HOME;x", "/srv/\x81\x88"):
        line = shlex.join([word if isinstance(word, str) else path for word in look])
        assert gate.words(line) == shlex.split(line), path


@pytest.mark.parametrize("sources", ['"', 'a",command="sh"', "a\nssh-ed25519 AAAA", "a\\"])
def test_no_option_can_be_smuggled_into_the_key_line(sources: str) -> None:
    with pytest.raises(OpsbotError, match="no quotes"):
        key_line(HOST, "ssh-ed25519 AAAA", sources=sources)


def test_the_key_line_restricts_everything_but_ways_to_hosts_behind() -> None:
    assert key_line(HOST, "ssh-ed25519 AAAA", sources="192.0.2.5") == (
        f'restrict,command="{PATH}",from="192.0.2.5" ssh-ed25519 AAAA'
    )
    behind = [Host("a", address="192.0.2.9", port=22), Host("b", address="2001:db8::1", port=2222)]
    assert key_line(HOST, "ssh-ed25519 AAAA", behind=behind) == (
        f'restrict,command="{PATH}",port-forwarding,permitopen="192.0.2.9:22",permitopen="[2001:db8::1]:2222" '
        "ssh-ed25519 AAAA"
    )


# --- a real sshd -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Guarded:
    """A host with a real sshd: one key acts, another looks through the gate. `logged` is what the gate told syslog."""

    host: Host
    shell: ParamikoShell
    folder: Path

    def said(self, client: paramiko.Transport, line: str) -> tuple[int, str]:
        """Send a raw line with the key that looks."""
        channel = client.open_session()
        channel.settimeout(30)
        channel.exec_command(line)
        channel.shutdown_write()
        error = channel.makefile_stderr().read().decode("utf-8", "replace")
        status = channel.recv_exit_status()
        channel.close()
        return status, error

    def client(self) -> paramiko.Transport:
        transport = paramiko.Transport((self.host.address, self.host.port))
        transport.start_client(timeout=30)
        transport.auth_publickey(self.host.login_user, paramiko.PKey.from_path(self.host.login_key_file))
        return transport

    @property
    def logged(self) -> list[str]:
        log = self.folder / "syslog"
        return log.read_text().splitlines() if log.exists() else []


@pytest.fixture
def guarded(start_sshd: StartSshd, tmp_path: Path) -> Iterator[Guarded]:
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "logger").write_text(f'#!/bin/sh\nprintf "%s\\n" "$*" >> {tmp_path}/syslog\n')
    (commands / "logger").chmod(0o755)
    real = start_sshd(f"SetEnv PATH={commands}:/usr/sbin:/usr/bin:/sbin:/bin")
    host = replace(
        ACTING_HOST,
        address=real.address,
        port=real.port,
        user=real.user,
        key_file=real.key_file,
        host_key=real.host_key,
        read_key_file=str(new_key(tmp_path / "reads")),
    )
    line = key_line(host, public_key_of(host.read_key_file)).replace(PATH, str(tmp_path / "gate"))
    (tmp_path / "gate").write_text(gate_for(host, Gate(host, tmp_path).looks, line=line))
    (tmp_path / "gate").chmod(0o755)
    with (tmp_path / "authorized_keys").open("a") as keys:
        keys.write(line + "\n")
    shell = ParamikoShell(find={host.name: host}.get)
    yield Guarded(host, shell, tmp_path)
    shell.close()


@needs_sshd
def test_a_real_sshd_refuses_every_line_that_acts_and_every_hostile_one(
    guarded: Guarded, figures: Figures, scale: Scale
) -> None:
    mark = guarded.folder / "mark"
    few = random.Random(scale.full).sample
    acting, hostile_lines = acting_lines(), [line.format(mark=mark) for line in HOSTILE]
    acting = few(acting, scale(15, len(acting)))
    hostile_lines = few(hostile_lines, scale(15, len(hostile_lines)))
    with guarded.client() as client:
        for line in (*acting, *hostile_lines):
            status, said = guarded.said(client, line)
            assert status == REFUSED, (line, said)
            assert "this key may only look" in said
    assert not mark.exists()
    assert len(guarded.logged) == len(acting) + len(hostile_lines)
    assert all(line.isprintable() and "refused for 127.0.0.1: " in line for line in guarded.logged)
    figures.note(
        acting_lines_refused_by_a_real_sshd=f"{len(acting)} of {len(acting)}",
        hostile_lines_refused_by_a_real_sshd=f"{len(hostile_lines)} of {len(hostile_lines)}",
    )


@needs_sshd
def test_the_key_opens_no_shell_no_file_transfer_no_tunnel_and_no_terminal(guarded: Guarded) -> None:
    with guarded.client() as client:
        channel = client.open_session()
        with pytest.raises(paramiko.SSHException):
            channel.get_pty()
        shell = client.open_session()
        shell.invoke_shell()
        assert shell.recv_exit_status() == REFUSED
        transfer = client.open_session()
        with suppress(paramiko.SSHException):
            transfer.invoke_subsystem("sftp")
            assert transfer.recv_exit_status() == REFUSED
        with pytest.raises(paramiko.ChannelException):
            client.open_channel("direct-tcpip", ("127.0.0.1", 22), ("127.0.0.1", 0))
        with pytest.raises(paramiko.SSHException):
            client.request_port_forward("127.0.0.1", 0)


class Watchful(HostMachines):
    """The real way to hosts; takes down what a gate refused."""

    def __init__(self, shell: ParamikoShell) -> None:
        self.refused: list[str] = []
        self.asked = 0
        super().__init__(_Watched(shell, self), LocalShell())


class _Watched:
    """A shell whose answers are looked at."""

    def __init__(self, shell: ParamikoShell, watch: Watchful) -> None:
        self._shell = shell
        self._watch = watch

    def run(self, host: Host, argv: Sequence[str], **limits: object) -> CommandResult:
        return self._seen(self._shell.run(host, argv, **limits))  # type: ignore[arg-type]

    def probe(self, host: Host, probe: object, *, timeout_s: float) -> CommandResult:
        return self._seen(self._shell.probe(host, probe, timeout_s=timeout_s))  # type: ignore[arg-type]

    def close(self) -> None:
        self._shell.close()

    def _seen(self, result: CommandResult) -> CommandResult:
        self._watch.asked += 1
        if result.exit_status == REFUSED or "opsbot-gate" in result.stderr:
            self._watch.refused.append(" ".join(result.argv)[:300])
        return result


ARGUMENTS: dict[str, object] = {
    "unit": Unit("nginx.service"),
    "container": Container("web"),
    "path": "/etc",
    "since": "2 hours ago",
    "hours": 1,
    "lines": 5,
    "pid": 1,
    "started_ticks": 1,
}


def parts_that_look(tool: Tool) -> list[Callable[..., object]]:
    return [part for part in (tool.function if tool.risk is Risk.READ else None, tool.impact, tool.available) if part]


@needs_sshd
@pytest.mark.timeout(300)
def test_every_reading_tool_works_with_the_key_that_looks(guarded: Guarded, figures: Figures, scale: Scale) -> None:
    machines = Watchful(guarded.shell)
    elsewhere = ("http_check", "tcp_check", "host_history")
    tools = [tool for tool in REGISTRY.tools if tool.takes_host and tool.name not in elsewhere][:: scale(4, 1)]
    for tool in tools:
        wanted = {parameter.name for parameter in tool.parameters}
        arguments = {name: value for name, value in ARGUMENTS.items() if name in wanted}
        for part in parts_that_look(tool):
            with suppress(ToolError):  # this machine may lack what is looked at
                part(Context(machines, timeout_s=30, hosts=(guarded.host,)), guarded.host, **arguments)
    each_heard(by_machines(machines, guarded.host))
    figures.note(looks_answered_with_the_key_that_looks=machines.asked, looks_refused=len(machines.refused))
    assert machines.refused == []
    assert guarded.logged == []
    assert machines.asked > len(tools)


@needs_sshd
def test_the_probe_channel_goes_through_the_gate_and_stays_open(guarded: Guarded) -> None:
    machines = HostMachines(guarded.shell, LocalShell())
    assert machines.vitals(guarded.host, timeout_s=20).memory_total_bytes
    pool: LinkPool = guarded.shell._pool
    (link,) = pool._slots.links()
    channel = link.probe
    assert channel is not None
    assert machines.facts(guarded.host, timeout_s=20).disks is not None
    assert link.probe is channel


@needs_sshd
def test_only_the_acting_account_gets_past_the_gate(guarded: Guarded) -> None:
    """Two log-ins, one pool: an acting one is never lent to a look, nor the other way round."""
    looking, acting = guarded.host, replace(guarded.host, acting=True)
    for _ in range(3):
        assert guarded.shell.run(looking, ["true"], timeout_s=20).exit_status == REFUSED
        assert guarded.shell.run(acting, ["true"], timeout_s=20).exit_status == 0
    assert len(list(guarded.shell._pool._slots.links())) == 2


# --- who acts --------------------------------------------------------------------------------------------------------


class Accounts(FakeMachines):
    """Takes down with which account every host was reached, and for what."""

    def __init__(self, *units: object) -> None:
        super().__init__(*units)  # type: ignore[arg-type]
        self.looked: list[str] = []
        self.acted: list[str] = []

    def reach(self, host: Host, argv: Sequence[str], timeout_s: float) -> None:
        (self.acted if host.acting else self.looked).append(" ".join(argv))
        super().reach(host, argv, timeout_s)


async def test_only_an_approved_action_uses_the_account_that_acts(figures: Figures) -> None:
    hosts = {name: replace(host, read_user="viewer", read_key_file="k") for name, host in HOSTS.items()}
    machines = Accounts({"web-1": ["nginx"], "web-2": ["nginx"], "db-1": ["redis-server"], "lab-1": ["nginx"]})
    house = House(World(machines=machines, hosts=hosts))
    await house.start()
    try:
        for words in ("status all", "services web-1", "logs nginx web-1", "service nginx web-1"):
            await house.types(ALICE, words)
        await house.types(ALICE, "restart nginx web-1 because it hangs")
        assert machines.acted == [], "a card was made with looks alone"
        looks = len(machines.looked)
        await house.clicks(BOB, "approve")
        assert machines.restarts["web-1", "nginx.service"] == 1
    finally:
        await house.stop()
    assert [line for line in machines.acted if "restart" in line], machines.acted
    assert not [line for line in machines.looked if "restart" in line], machines.looked
    assert len(machines.looked) > looks, "the verdict came by the account that looks"
    figures.note(looks_by_the_account_that_acts=0)


def test_an_inventory_cannot_say_that_a_host_is_acting() -> None:
    assert all(not host.acting for host in HOSTS.values())
    host = Host("web", user="ops", key_file="a", read_user="viewer", read_key_file="b")
    assert (host.login_user, host.login_key_file) == ("viewer", "b")
    assert (replace(host, acting=True).login_user, replace(host, acting=True).login_key_file) == ("ops", "a")
    alone = Host("web", user="ops", key_file="a")
    assert (alone.login_user, alone.login_key_file, alone.reads_apart) == ("ops", "a", False)


READS_AND_ACTS = '''"""A tool that says it reads, and acts."""

from opsbot import Context, Host, UnitVerb, tool


@tool(risk="read")
def harmless(ctx: Context, host: Host) -> str:
    """Look at nothing."""
    return str(ctx.within(5).act(host, UnitVerb.RESTART, "nginx.service"))
'''


async def test_a_tool_that_says_it_reads_cannot_act(tmp_path: Path) -> None:
    (tmp_path / "harmless.py").write_text(READS_AND_ACTS)
    (tmp_path / "harmless.py").chmod(0o644)
    world = World()
    house = House(world, tools=[tmp_path])
    await house.start()
    try:
        await house.types(ALICE, "do harmless web-1")
    finally:
        await house.stop()
    assert world.machines.restarts["web-1", "nginx.service"] == 0
    assert "Only an approved action may restart a service" in house.whispered


# --- what people are told --------------------------------------------------------------------------------------------


@needs_sshd
def test_doctor_tells_a_limited_key_from_one_that_may_run_anything(guarded: Guarded, tmp_path: Path) -> None:
    doctor = HostDoctor(HostMachines(guarded.shell, LocalShell()))

    def reading(host: Host) -> Finding:
        found = doctor.check(host, timeout_s=30)
        return next(each for each in found if each.check == Check.READING)

    behind = replace(guarded.host, units=(), containers=(), certificates=())
    assert (reading(behind).status, reading(behind).said) == (Status.OK, f"as {behind.user}, through the gate")
    free = replace(behind, read_key_file=str(new_key(tmp_path / "free")))
    with (tmp_path / "authorized_keys").open("a") as keys:
        keys.write(public_key_of(free.read_key_file) + "\n")
    assert reading(free).status is Status.WARN
    assert "`opsbot gate box-1` prints what limits it" in reading(free).remedy
    (tmp_path / "gate").write_text("#!/bin/sh\necho 'opsbot-gate: this key may only look' >&2; exit 126\n")
    assert (reading(behind).status, "Print it again" in reading(behind).remedy) == (Status.FAIL, True)


CONFIG = """
policy: {{askers: {{users: ["*"]}}, approvers: [{{environments: ["*"], users: [U0BOB]}}]}}
tools: {{folders: [tools]}}
defaults: {{user: opsbot, key: id, read_user: viewer, read_key: {read}}}
hosts:
  web-1: {{address: 192.0.2.11, host_key: {host_key}, units: [nginx]}}
  db-1: {{address: 192.0.2.12, host_key: {host_key}, jump: web-1}}
"""


@pytest.fixture
def written(tmp_path: Path) -> Path:
    for name in ("id", "rid"):
        new_key(tmp_path / name)
    (tmp_path / "tools").mkdir(mode=0o755)
    host_key = public_key_of(str(new_key(tmp_path / "host")))
    (tmp_path / "config.yaml").write_text(CONFIG.format(read="rid", host_key=host_key))
    return tmp_path


def test_the_command_prints_a_script_and_the_line_that_holds_the_key(
    written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = ["--config", str(written / "config.yaml")]
    assert main(["gate", "web-1", *config]) == 0
    script = capsys.readouterr().out
    assert subprocess.run(["sh", "-n"], input=script, text=True).returncode == 0
    assert main(["gate", "web-1", "--key-line", "--from", "192.0.2.5", *config]) == 0
    shown = capsys.readouterr()
    key = public_key_of(str(written / "rid"))
    assert shown.out == (
        f'restrict,command="{PATH}",port-forwarding,permitopen="192.0.2.12:22",from="192.0.2.5" {key}\n'
    )
    assert shown.err == ""
    for names in ("all", "nowhere", "--help-me"):
        with suppress(SystemExit):
            assert main(["gate", names, *config]) != 0


def test_the_command_warns_of_what_would_not_work(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = written / "config.yaml"
    config.write_text(config.read_text().replace(", read_user: viewer, read_key: rid", ""))
    (written / "tools/mine.py").write_text(READS_AND_ACTS)
    (written / "tools/mine.py").chmod(0o644)
    assert main(["gate", "web-1", "--config", str(config)]) == 0
    warned = capsys.readouterr().err
    assert "its only key could act no more" in warned
    assert "name the bot's with --from" in warned
    assert "harmless: do not say what they send" in warned


def test_the_key_file_that_looks_is_checked_like_the_other(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (written / "rid").chmod(0o644)
    assert main(["check", "--config", str(written / "config.yaml")]) == 2
    assert "defaults.read_key: " in capsys.readouterr().err


def test_sudo_allows_the_account_that_looks_to_look_and_no_more() -> None:
    host = Host("db-1", user="ops", read_user="viewer", units=("nginx.service",), containers=("web",))
    for_viewer = [line for line in lines_for(host) if line.startswith("viewer ")]
    assert len(for_viewer) == 2
    assert all(" inspect " in line or " logs " in line for line in for_viewer)
