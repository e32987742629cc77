"""Rules of the command line: instant help, exit codes, messages without tracebacks, and what a listing shows."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from opsbot.__main__ import main
from opsbot.cli_parser import build_parser

HEAVY = ("pydantic", "yaml", "rich", "structlog", "sqlalchemy", "aiohttp", "openai", "paramiko", "slack_bolt",
         "slack_sdk", "psutil", "tenacity", "asyncio", "alembic", "opsbot_tools")  # fmt: skip
HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFictionalHostKeyOfWebOneXXXXXXXXXXXXXXXXXXX"
CONFIG = f"""
policy:
  approvers: [{{environments: ["*"], users: [U0BOB]}}]
defaults: {{user: opsbot, key: id}}
hosts:
  web-1: {{address: 192.0.2.11, host_key: {HOST_KEY}, groups: [web], units: [nginx]}}
  laptop: {{connection: local}}
"""
COMMANDS = ("run", "demo", "ask", "chat", "tools", "tools pin", "hosts", "check", "audit", "manifest")


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in [name for name in os.environ if name.startswith(("OPENAI_", "OPSBOT_", "SLACK_"))]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "id").write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    (tmp_path / "id").chmod(0o600)
    path = tmp_path / "config.yaml"
    path.write_text(CONFIG)
    return path


def loaded_by(*argv: str) -> set[str]:
    code = (
        "import sys, contextlib, io\n"
        "from opsbot.__main__ import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
        f"    main({list(argv)!r})\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return {name.partition(".")[0] for name in done.stdout.split()}


@pytest.mark.parametrize("argv", [["--help"], ["--version"], *([command, "--help"] for command in COMMANDS)])
def test_help_imports_nothing_heavy(argv: list[str]) -> None:
    assert loaded_by(*argv).isdisjoint(HEAVY)


def test_listing_hosts_imports_no_model_and_no_slack(config: Path) -> None:
    heavy = {"openai", "slack_bolt", "slack_sdk", "paramiko", "sqlalchemy", "aiohttp"}
    assert loaded_by("hosts", "--config", str(config)).isdisjoint(heavy)


def test_help_is_cheap() -> None:
    """At most 70 ms of CPU on a quiet machine, where Python itself takes 26; here as a ratio, for busy ones."""

    def cpu_s(*command: str) -> float:
        best = float("inf")
        for _ in range(7):
            before = os.times()
            subprocess.run([sys.executable, *command], check=True, capture_output=True)
            after = os.times()
            best = min(
                best, after.children_user + after.children_system - before.children_user - before.children_system
            )
        return best

    assert cpu_s("-m", "opsbot", "--help") < 4 * max(cpu_s("-c", "pass"), 0.01)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself_with_examples(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    argv = [command, "verify", "--help"] if command == "audit" else [command, "--help"]
    with pytest.raises(SystemExit) as caught:
        main(argv)
    shown = capsys.readouterr().out
    assert caught.value.code == 0
    assert f"examples:\n  opsbot {command}" in shown


def test_examples_of_the_help_are_valid(capsys: pytest.CaptureFixture[str]) -> None:
    lines = build_parser().format_help().splitlines()
    for command in COMMANDS:
        with pytest.raises(SystemExit):
            main([command, "verify", "--help"] if command == "audit" else [command, "--help"])
        lines += capsys.readouterr().out.splitlines()
    examples = [line.split("  ")[1] for line in lines if line.startswith("  opsbot ")]
    assert len(examples) >= 12
    for example in examples:
        words = re.sub(r'"[^"]*"', "WORD", example.partition(" > ")[0]).split()[1:]
        assert build_parser().parse_args(words).command, example


@pytest.mark.parametrize("argv", [["nonsense"], ["hosts", "--nonsense"], ["ask"], ["audit"], ["demo", "--port", "x"]])
def test_wrong_command_line_is_one_line_and_code_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(argv)
    shown = capsys.readouterr()
    assert caught.value.code == 2
    assert shown.err.startswith("opsbot: ")
    assert shown.err.count("\n") == 1
    assert shown.out == ""


def test_no_command_shows_help_and_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "exit codes:" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert re.fullmatch(r"opsbot \d+\.\d+\.\d+\n", capsys.readouterr().out)


def test_missing_configuration_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPSBOT_CONFIG", raising=False)
    assert main(["hosts"]) == 2
    assert "try `opsbot demo`" in capsys.readouterr().err


def test_faults_are_lines_on_stderr_without_traceback(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text("limits: {rounds: 0}\nslak: 1\n")
    assert main(["hosts"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "opsbot: config.yaml:1: limits.rounds: should be greater than or equal to 1.",
        "opsbot: config.yaml:2: slak: there is no such setting; did you mean slack?",
    ]


def test_configuration_of_the_environment(
    config: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("OPSBOT_CONFIG", str(config))
    assert main(["hosts", "--json"]) == 0
    assert [host["name"] for host in json.loads(capsys.readouterr().out)] == ["laptop", "web-1"]


def test_hosts_as_table_and_json(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hosts"]) == 0
    table = capsys.readouterr().out
    assert "web-1" in table
    assert "opsbot@192.0.2.11:22" in table
    assert "this machine" in table
    assert main(["hosts", "web", "--json"]) == 0
    (host,) = json.loads(capsys.readouterr().out)
    assert (host["name"], host["units"], host["environment"]) == ("web-1", ["nginx.service"], "default")
    assert main(["hosts", "wbe-1"]) == 1
    assert "Did you mean web-1" in capsys.readouterr().err


def test_tools_as_table_and_json(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["tools"]) == 0
    assert "restart_service" in capsys.readouterr().out
    assert main(["tools", "--json"]) == 0
    found = {tool["name"]: tool for tool in json.loads(capsys.readouterr().out)}
    assert found["restart_service"]["risk"] == "change"
    assert found["restart_service"]["schema"]["required"][0] == "hosts"
    assert len(found["server_status"]["sha256"]) == 64


def test_dropped_tool_file_appears(config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").mkdir(mode=0o755)
    text = '"""Mine."""\nfrom opsbot import Context, Host, tool\n\n\n@tool(risk="read")\n'
    text += 'def mine(ctx: Context, host: Host) -> str:\n    """Say mine."""\n    return "mine"\n'
    (tmp_path / "mine" / "mine.py").write_text(text)
    (tmp_path / "mine" / "mine.py").chmod(0o644)
    config.write_text(CONFIG + "tools: {folders: [mine]}\n")
    assert main(["tools"]) == 0
    assert "mine" in capsys.readouterr().out
    (tmp_path / "mine" / "mine.py").write_text("def broken(:\n")
    assert main(["tools"]) == 2
    assert re.search(r"opsbot: .*mine\.py:1: .*; correct the syntax", capsys.readouterr().err)


def test_check_says_that_all_is_fine(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["check"]) == 0
    said = capsys.readouterr().out
    assert "config.yaml is fine: 2 hosts in 1 groups" in said
    assert "no model (keyless), terminal only" in said


def test_check_lists_faults_of_secrets_files_and_tools_at_once(
    config: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = CONFIG + "tools: {folders: [nowhere], risk: {nothing: danger}}\nslack: {}\nmodel: {api_key: {env: NOPE}}\n"
    config.write_text(text.replace("policy:\n", 'policy:\n  askers: {users: ["*"]}\n'))
    assert main(["check"]) == 2
    said = capsys.readouterr().err
    for part in ("SLACK_BOT_TOKEN is not set", "SLACK_APP_TOKEN is not set", "NOPE is not set", "nowhere",
                 "tools.risk.nothing"):  # fmt: skip
        assert part in said
    (tmp_path / "id").chmod(0o644)
    config.write_text(CONFIG)
    assert main(["check"]) == 2
    assert "chmod 600" in capsys.readouterr().err


def test_manifest_for_both_modes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["manifest"]) == 0
    socket = json.loads(capsys.readouterr().out)
    assert socket["settings"]["socket_mode_enabled"] is True
    assert main(["manifest", "--http", "https://ops.example.net/"]) == 0
    http = json.loads(capsys.readouterr().out)
    address = "https://ops.example.net/slack/events"
    assert http["settings"]["socket_mode_enabled"] is False
    assert http["settings"]["event_subscriptions"]["request_url"] == address
    assert http["settings"]["interactivity"]["request_url"] == address
    assert {command["url"] for command in http["features"]["slash_commands"]} == {address}
    assert main(["manifest", "--http", "http://ops.example.net"]) == 2


def test_listing_into_a_closed_pipe_is_quiet(config: Path) -> None:
    command = f"{sys.executable} -m opsbot tools --json --config {config} | head -c 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=True)
    assert done.stderr == ""


def test_audit_without_records(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", "verify"]) == 0
    assert "no audit records yet" in capsys.readouterr().out


def test_ask_answers_in_the_terminal_and_leaves_a_verified_audit(config: Path) -> None:
    command = [sys.executable, "-m", "opsbot", "ask", "--config", str(config), "how", "is", "laptop?"]
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OPENAI_", "OPSBOT_"))}
    done = subprocess.run(command, capture_output=True, text=True, env=environ, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"(?i)load|memory", done.stdout)
    assert "Traceback" not in done.stderr
    check = [sys.executable, "-m", "opsbot", "audit", "verify", "--config", str(config)]
    verified = subprocess.run(check, capture_output=True, text=True, env=environ, timeout=60, check=False)
    assert verified.returncode == 0, verified.stderr
