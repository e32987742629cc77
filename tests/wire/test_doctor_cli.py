"""`opsbot doctor` as a command: what it prints where, its exit codes, secrets that stay secret, and Ctrl-C."""

import io
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from rich.console import Console

from opsbot.adapters.doctor_terminal import console_for_findings, show
from opsbot.diagnosis import Area, Check, Finding, Subject
from tests.ssh_answers import never_speaks, speaks_http
from tests.ssh_servers import Exec, Keys, RawServer, SshServer, pin_of

ROOT = Path(__file__).resolve().parents[2]
SECRET = "sk-canary-0123456789abcdef"
LIMIT_S = 60


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Keys:
    return Keys.make(tmp_path_factory.mktemp("keys"))


class Desk:
    """A folder with a configuration, and the command."""

    def __init__(self, folder: Path, keys: Keys) -> None:
        self.folder = folder
        self.path = folder / "config.yaml"
        self.keys = keys
        self.environ = {"COLUMNS": "200", "PATH": os.environ["PATH"]}

    def write(self, text: str = "", **ports: int) -> None:
        pin = json.dumps(pin_of(self.keys.host_key))
        hosts = "".join(
            f"  {name}: {{address: 127.0.0.1, port: {port}, host_key: {pin}}}\n" for name, port in ports.items()
        )
        defaults = f"defaults: {{user: bot, key: {self.keys.key_file}, sudo: false}}\n"
        self.path.write_text(f"{defaults}hosts:\n{hosts}{text}" if ports else f"hosts: {{}}\n{text}")

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "opsbot", "doctor", *words, "--config", str(self.path)]

    def run(self, *words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            self.command(*words), cwd=ROOT, capture_output=True, text=True, timeout=LIMIT_S, env=self.environ
        )

    def findings(self, *words: str) -> tuple[int, dict[tuple[str, str], dict[str, str]]]:
        ended = self.run(*words, "--json")
        found = json.loads(ended.stdout)["findings"]
        return ended.returncode, {(each["area"], each["check"]): each for each in found}


@pytest.fixture
def desk(tmp_path: Path, keys: Keys) -> Desk:
    return Desk(tmp_path, keys)


def well(exec_: Exec) -> int:
    exec_.say(f"@@time {int(time.time())}\n@@user bot\n@@os Debian GNU/Linux 12 (bookworm)\n@@journal open\n")
    return 0


# --- runbooks ---------------------------------------------------------------------------------------------------------


def test_runbooks_are_read_and_the_first_fault_is_named(desk: Desk) -> None:
    (desk.folder / "books").mkdir()
    desk.write("runbooks: {folder: books, backend: none}\n")
    assert desk.findings()[1]["configuration", "runbooks"]["status"] == "warn"
    (desk.folder / "books" / "a.md").write_text("# A\ntext\n")
    found = desk.findings()[1]["configuration", "runbooks"]
    assert (found["status"], found["said"]) == ("ok", "1 runbooks, 1 passages, vectors by none")
    (desk.folder / "books" / "b.md").write_text("---\ntags: {}\n---\n# B\ntext\n")
    found = desk.findings()[1]["configuration", "runbooks"]
    assert found["status"] == "warn"
    assert "b.md:2: front matter: tags must be a list" in found["said"]


def test_missing_weights_fail_and_say_how_to_provide_them(desk: Desk) -> None:
    (desk.folder / "books").mkdir()
    desk.write("runbooks: {folder: books, backend: wordllama, weights: empty}\n")
    code, found = desk.findings()
    assert code == 2
    assert "nothing is downloaded" in found["configuration", "runbooks"]["said"]


# --- exit codes and areas --------------------------------------------------------------------------------------------


def test_without_slack_and_model_it_says_so_and_ends_well(desk: Desk) -> None:
    desk.write()
    code, found = desk.findings()
    assert code == 0
    assert found["slack", "all checks"]["said"] == "no `slack:` section: terminal only"
    assert "keyless" in found["model", "all checks"]["said"]
    assert found["hosts", "all checks"]["said"] == "no hosts are configured"
    assert found["store", "opens"]["status"] == "ok"
    assert [path.name for path in desk.folder.iterdir()] == ["config.yaml"]


def test_before_the_first_start_there_is_no_folder_for_a_stop_file_and_that_is_well(desk: Desk) -> None:
    desk.write(f'store: {{url: "sqlite:///{desk.folder}/not/yet/opsbot.db"}}\n')
    _, found = desk.findings()
    stop = found["configuration", "stop file"]
    assert (stop["status"], stop["said"].endswith("is not there, nor its folder yet")) == ("ok", True)
    (desk.folder / "not" / "yet" / "opsbot.stop").mkdir(parents=True)
    _, found = desk.findings()
    assert found["configuration", "stop file"]["status"] == "warn"


def test_a_wrong_configuration_is_exit_code_2_with_every_fault(desk: Desk) -> None:
    desk.path.write_text("hosts: 5\nlog: {level: loud}\n")
    ended = desk.run("--json")
    document = json.loads(ended.stdout)
    assert (ended.returncode, document["exit_code"]) == (2, 2)
    assert len([each for each in document["findings"] if each["status"] == "fail"]) == 2


def test_a_tool_file_that_is_broken_is_named(desk: Desk) -> None:
    (desk.folder / "tools").mkdir()
    (desk.folder / "tools" / "mine.py").write_text("def broken(:\n")
    (desk.folder / "tools" / "mine.py").chmod(0o644)
    desk.write("tools: {folders: [tools]}\n")
    code, found = desk.findings("--only", "store")
    assert (code, found["configuration", "tools"]["status"]) == (2, "fail")
    assert "mine.py" in found["configuration", "tools"]["said"]


@pytest.mark.parametrize("words", [["nobody"], ["--only", "moon"], ["--timeout", "0"], ["--timeout", "9999"]])
def test_a_command_line_that_makes_no_sense_is_exit_code_2(desk: Desk, words: list[str]) -> None:
    desk.write()
    ended = desk.run(*words)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("opsbot: ")


def test_missing_secrets_are_the_configuration_s_fault_and_hosts_are_tried_all_the_same(desk: Desk, keys: Keys) -> None:
    with SshServer(keys, well) as server:
        desk.write("slack: {}\npolicy: {askers: {users: ['*']}}\n", box=server.port)
        code, found = desk.findings()
        alone, _ = desk.findings("--only", "hosts")
    assert (code, found["configuration", "secrets"]["status"]) == (2, "fail")
    assert found["slack", "all checks"]["status"] == found["store", "all checks"]["status"] == "skipped"
    assert found["hosts", "connection"]["status"] == "ok"
    assert alone == 0


def test_names_look_at_these_hosts_alone(desk: Desk, keys: Keys) -> None:
    with SshServer(keys, well) as server:
        desk.write(box=server.port, other=1)
        code, found = desk.findings("box")
    assert (code, {area for area, _ in found}) == (0, {"configuration", "hosts"})


def test_warnings_alone_are_exit_code_0(desk: Desk, keys: Keys) -> None:
    def late(exec_: Exec) -> int:
        exec_.say(f"@@time {int(time.time()) - 30}\n")
        return 0

    with SshServer(keys, late) as server:
        desk.write(box=server.port)
        code, found = desk.findings("box")
    assert (code, found["hosts", "clock"]["status"]) == (0, "warn")


# --- secrets and hostile hosts ---------------------------------------------------------------------------------------


def test_secrets_are_never_printed(desk: Desk, keys: Keys) -> None:
    """Even where a host says one back, and in every form of output."""

    def tells(exec_: Exec) -> int:
        exec_.say(f"@@time {int(time.time())}\n@@os {SECRET}\n")
        return 0

    with SshServer(keys, tells) as server, RawServer(never_speaks) as silent:
        desk.environ["OPENAI_API_KEY"] = SECRET
        desk.write(f"model: {{base_url: 'http://127.0.0.1:{silent.port}/v1'}}\n", box=server.port)
        for words in ((), ("--json",)):
            ended = desk.run(*words, "--timeout", "2")
            assert SECRET not in ended.stdout + ended.stderr
            assert "[redacted]" in ended.stdout


def test_a_host_cannot_write_to_the_terminal(desk: Desk, keys: Keys) -> None:
    def paints(exec_: Exec) -> int:
        exec_.say(f"@@time {int(time.time())}\n@@os \x1b[2J\x1b]0;owned\x07[bold]x\n")
        return 0

    with SshServer(keys, paints) as server:
        desk.write(box=server.port)
        for words in ((), ("--json",)):
            assert "\x1b" not in desk.run("box", *words).stdout


# --- terminals -------------------------------------------------------------------------------------------------------


FOUND = (
    Subject(Area.HOSTS, "a-1").fail("sudo", "restart x: not allowed", "Add to sudoers of a-1: " + "x" * 300),
    Subject(Area.HOSTS, "a-1").ok("connection", "192.0.2.7:22"),
    Subject(Area.STORE, "db").warn("disk space", "500 MiB free", "Free some."),
)


def drawn(findings: tuple[Finding, ...] = FOUND, **options: object) -> str:
    stream = io.StringIO()
    console = Console(file=stream, width=100, highlight=False, **options)  # type: ignore[arg-type]
    show(console, findings, complete=True)
    return stream.getvalue()


def test_a_status_is_a_word_before_it_is_a_colour() -> None:
    plain, coloured = drawn(), drawn(force_terminal=True, color_system="standard")
    assert "\x1b" not in plain
    assert "\x1b[1;31mfail [2]" in coloured
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == plain
    assert "fail [2]" in plain
    assert "warn [1]" in plain
    assert "3 checks: 1 ok, 1 warning, 1 failure." in plain


def test_lines_to_copy_are_not_broken() -> None:
    assert "x" * 300 + "\n" in drawn()


def test_colours_are_for_terminals_and_not_for_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert console_for_findings().no_color
    monkeypatch.delenv("FORCE_COLOR")
    assert console_for_findings().color_system is None


def test_many_good_hosts_are_one_line_each() -> None:
    findings = tuple(
        Subject(Area.HOSTS, f"web-{n}").ok(check, "x") for n in range(3) for check in ("connection", "log-in", "sudo")
    )
    text = drawn(findings)
    assert text.count("all 3 checks") == 3
    assert "9 checks: 9 ok. 3 of 3 hosts are well." in text


def test_what_took_long_says_so() -> None:
    slow, quick = Subject(Area.HOSTS, "web-1"), Subject(Area.HOSTS, "web-2")
    findings = (
        slow.ok(Check.CONNECTION, "192.0.2.1:22", took_s=4.25),
        slow.ok(Check.SUDO, "x"),
        quick.ok(Check.CONNECTION, "192.0.2.2:22", took_s=0.9),
    )
    text = drawn(findings)
    assert "192.0.2.1:22 (4.2 s)" in text
    assert text.count(" s)") == 1


def test_progress_is_shown_to_a_person_on_stderr_and_leaves_stdout_alone(desk: Desk, keys: Keys) -> None:
    with SshServer(keys, well) as server:
        desk.write(box=server.port)
        leader, follower = pty.openpty()
        environ = desk.environ | {"TERM": "xterm"}
        process = subprocess.Popen(
            desk.command("box", "--json"), cwd=ROOT, stdout=subprocess.PIPE, stderr=follower, env=environ, text=True
        )
        out, _ = process.communicate(timeout=LIMIT_S)
        os.close(follower)
        seen = os.read(leader, 65536).decode()
        os.close(leader)
    assert "trying every edge" in seen or "box" in seen
    assert json.loads(out)["complete"] is True


# --- interruption ----------------------------------------------------------------------------------------------------


def test_ctrl_c_prints_what_is_known_and_exits_130(desk: Desk, keys: Keys) -> None:
    with SshServer(keys, well) as server, RawServer(never_speaks) as silent:
        desk.write(box=server.port, hung=silent.port)
        words = ("--only", "hosts", "--json", "--timeout", "30")
        process = subprocess.Popen(
            desk.command(*words),
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=desk.environ,
            text=True,
            # What a shell runs in the background ignores it, and so would everything started from there.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )
        give_up_at = time.monotonic() + 20
        while not (silent.connections and server.commands) and time.monotonic() < give_up_at:
            time.sleep(0.05)
        time.sleep(0.5)  # the answer of the good host arrives
        process.send_signal(signal.SIGINT)
        started = time.monotonic()
        out, err = process.communicate(timeout=LIMIT_S)
        assert time.monotonic() - started < 5
    document = json.loads(out)
    assert (process.returncode, document["exit_code"], document["complete"]) == (130, 130, False)
    by_subject = {(each["subject"], each["check"]): each["said"] for each in document["findings"]}
    assert by_subject["box", "connection"] == f"127.0.0.1:{server.port}"
    assert by_subject["hung", "all checks"] == "interrupted"
    assert err == ""


def test_hosts_that_misbehave_leave_stderr_alone(desk: Desk, keys: Keys) -> None:
    with RawServer(never_speaks) as silent, RawServer(speaks_http) as web:
        desk.write(hung=silent.port, web=web.port)
        ended = desk.run("--only", "hosts", "--json", "--timeout", "1")
    assert (ended.returncode, ended.stderr) == (1, "")


def test_help_loads_no_heavy_library() -> None:
    code = (
        "import sys\nfrom opsbot.__main__ import main\n"
        "try:\n    main(['doctor', '--help'])\nexcept SystemExit:\n    pass\n"
        "print(sorted({'openai', 'slack_bolt', 'sqlalchemy', 'paramiko', 'rich'} & set(sys.modules)))"
    )
    ended = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ended.stdout.splitlines()[-1] == "[]"
