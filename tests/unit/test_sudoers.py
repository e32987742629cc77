"""The sudo rules of a host: exactly what the inventory allows, spelled so that sudo means the same as we do."""

import re
import shutil
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opsbot_tools import reboot_host
from opsbot_tools.restart_container import restart_container

from opsbot.__main__ import main
from opsbot.adapters.services.systemd import SystemdServices
from opsbot.context import Context
from opsbot.domain import CommandResult, Host, HostVerb, ServiceManager, UnitVerb
from opsbot.errors import BadArguments, ToolError
from opsbot.root_commands import KILL_RULE, as_root, kill_command, sudoers_command, unit_command
from opsbot.sudoers import file_for, lines_for, rules_for
from opsbot.tooling import Container
from tests.fake_machines import FakeMachines

HOST_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFictionalHostKeyOfWebOneXXXXXXXXXXXXXXXXXXX"
HOSTILE = ("a:b.service", "getty@tty1.service", r"dev-disk-by\x2dlabel.service", r"a\\.service", "x.y-z_1.timer")
EVERYTHING = (*UnitVerb, *HostVerb)
HOST = Host("db-1", user="ops", units=("nginx.service",), actions=("restart", "stop"))

needs_visudo = pytest.mark.skipif(shutil.which("visudo") is None, reason="visudo is not installed here (package sudo)")


class Heard(FakeMachines):
    """Remembers what was sent by sudo; refuses the bot's own user, so that everything goes that way."""

    def run(self, host, argv, *, timeout_s, max_bytes=65536, stdin=""):
        self.reach(host, argv, timeout_s)
        if argv[0] == "sh":
            return CommandResult(tuple(argv), 0, "docker\n")
        seen = '["c","","running","","","","","","","","","","","",""]' if argv[0] == "sudo" else ""
        return CommandResult(tuple(argv), 0 if seen else 1, seen)


def spelled(argv: Sequence[str]) -> str:
    assert tuple(argv[:2]) == ("sudo", "-n")
    return f"ops ALL=(root) NOPASSWD: {sudoers_command(argv[2:])}"


# --- what is allowed -------------------------------------------------------------------------------------------------


def test_each_verb_of_each_unit_has_a_line_and_nothing_else_has():
    host = replace(HOST, units=("nginx", "app.service"))
    assert lines_for(host) == (
        "ops ALL=(root) NOPASSWD: /usr/bin/systemctl --no-pager stop -- nginx.service",
        "ops ALL=(root) NOPASSWD: /usr/bin/systemctl --no-pager restart -- nginx.service",
        "ops ALL=(root) NOPASSWD: /usr/bin/systemctl --no-pager stop -- app.service",
        "ops ALL=(root) NOPASSWD: /usr/bin/systemctl --no-pager restart -- app.service",
    )


def test_reboot_and_kill_have_lines_only_where_they_are_named():
    host = replace(HOST, units=(), actions=("reboot", "kill"))
    assert lines_for(host) == (
        "ops ALL=(root) NOPASSWD: /usr/bin/systemctl --no-pager reboot",
        r"ops ALL=(root) NOPASSWD: /usr/bin/kill ^-(TERM|KILL) -- [1-9][0-9]{0\,6}$",
    )
    assert not any("kill" in line or "reboot" in line for line in lines_for(HOST))


@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_a_container_may_be_restarted_and_looked_at_and_no_more(engine):
    host = replace(HOST, units=(), containers=("web",))
    look, log, restart = lines_for(host, engine=engine)
    assert restart == f"ops ALL=(root) NOPASSWD: /usr/bin/{engine} restart -- web"
    assert log.endswith(f"/usr/bin/{engine} logs --timestamps --tail 15 -- web")
    assert f"/usr/bin/{engine} container inspect --format" in look
    assert "Env" not in look
    assert look.endswith(" -- web")
    assert lines_for(replace(host, actions=("start",))) == ()


def test_the_lines_are_what_the_tools_really_send():
    host = replace(HOST, containers=("web",), actions=EVERYTHING)
    allowed = set(lines_for(host))
    heard = Heard()
    for verb in UnitVerb:
        SystemdServices(host, heard).act(verb, "nginx.service", timeout_s=5)
    restart_container.function(Context(heard, timeout_s=5), host, Container("web"))
    with suppress(ToolError):  # it was never up
        reboot_host.reboot_host.function(Context(heard, timeout_s=5, sleep=lambda seconds: None), host)
    sent = [argv for _, argv in heard.commands if argv[0] == "sudo"]
    assert len(sent) == len(UnitVerb) + 3
    assert {spelled(argv) for argv in sent} <= allowed


@pytest.mark.parametrize("signal", ["TERM", "KILL"])
def test_the_rule_for_kill_fits_what_is_sent_and_no_group_or_other_signal(signal):
    path, pattern = KILL_RULE.split(" ", 1)
    fits = re.compile(pattern.replace("\\,", ",")).fullmatch
    assert kill_command(signal, 2**22)[0] == path
    assert all(fits(" ".join(kill_command(signal, pid)[1:])) for pid in (2, 77, 2**22))
    for other in ("-TERM -- -1", "-TERM -- 0", "-TERM -- 1 2", "-HUP -- 7", "-TERM 7", "-KILL -- 12345678"):
        assert not fits(other)


@given(st.sets(st.sampled_from(EVERYTHING)), st.sets(st.sampled_from(["a", "b.service", "c@1.service"])))
def test_no_rule_is_for_what_the_inventory_does_not_allow(actions, units):
    host = Host("db-1", user="ops", units=tuple(units), containers=("web",), actions=tuple(actions))
    for rule in rules_for(host):
        words = rule.command.split()
        verb = {"/usr/bin/kill": "kill"}.get(words[0]) or next(
            w for w in words if w in (*EVERYTHING, "inspect", "logs")
        )
        assert verb in actions or (verb in ("inspect", "logs") and "restart" in actions)


def test_a_host_without_sudo_needs_no_lines_and_that_is_said():
    host = replace(HOST, sudo=False)
    assert lines_for(host) == ()
    assert "`sudo: false`, so the bot never calls sudo there and needs no lines" in file_for(host)


def test_a_host_where_nothing_is_allowed_says_so_and_needs_no_user():
    assert "no lines needed" in file_for(Host("db-1"))
    supervised = replace(HOST, service_manager=ServiceManager.SUPERVISORD, user="")
    assert "its rule is yours to write" in file_for(supervised)


def test_the_hosts_of_the_fleet_allow_what_would_be_printed_for_them():
    file = Path(__file__).parents[1] / "fleet/image/etc/sudoers.d/fleet"
    text = file.read_text().replace("\\\n", "")
    alias = next(line for line in text.splitlines() if line.startswith("Cmnd_Alias")).partition("=")[2]
    units = tuple({words.split()[-1] for words in alias.split(",") if words.split()[-1].endswith(".service")})
    host = Host("h1", user="bot", units=units, actions=EVERYTHING)
    printed = {rule.command for rule in rules_for(host)}
    assert {" ".join(words.split()) for words in alias.split(",")} <= printed
    (kill,) = (line for line in text.splitlines() if "/usr/bin/kill" in line)
    assert kill in lines_for(host)


# --- who -------------------------------------------------------------------------------------------------------------


def test_another_user_can_be_named():
    assert all(line.startswith("bot2 ALL=(root)") for line in lines_for(HOST, user="bot2"))


@pytest.mark.parametrize("user", ["ALL", "root", "%sudo", "#0", "a b", "a,root", "ops ALL=(ALL) ALL\n", "-x", "a" * 40])
def test_a_name_that_means_something_else_to_sudo_is_refused(user):
    with pytest.raises(BadArguments, match="is no name for the bot's user"):
        lines_for(HOST, user=user)


def test_a_host_without_a_user_asks_for_one():
    with pytest.raises(BadArguments, match="name the bot's user there with --user"):
        file_for(replace(HOST, user=""))


# --- the file --------------------------------------------------------------------------------------------------------


def test_the_file_says_where_it_goes_what_each_line_is_for_and_what_is_not_allowed():
    text = file_for(HOST)
    for words in ("/etc/sudoers.d/opsbot", "0440", "visudo -cf", "restart nginx.service", "Not allowed by these rules"):
        assert words in text


def test_what_takes_a_service_or_a_host_away_is_warned_of():
    assert "WARNING: stop may be done on this host" in file_for(HOST)
    assert "WARNING" not in file_for(replace(HOST, actions=("restart",)))


def test_special_characters_mean_themselves():
    assert sudoers_command(("/bin/x", r"a:b\c,d=e*?[f]")) == r"/bin/x a\:b\\\\c\,d\=e\\*\\?\\[f\\]"


@needs_visudo
@pytest.mark.parametrize("engine", ["docker", "podman"])
def test_visudo_takes_the_file_whatever_the_units_are_called(tmp_path, engine):
    host = Host("db-1", user="ops", units=HOSTILE, containers=("web", "a.b-c_1"), actions=EVERYTHING)
    file = tmp_path / "sudoers"
    file.write_text(file_for(host, engine=engine))
    checked = subprocess.run(["visudo", "-scf", file], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert "warning" not in (checked.stdout + checked.stderr).lower()


def test_every_command_goes_by_sudo_without_asking_for_a_password():
    assert as_root(HOST, unit_command(UnitVerb.STOP, "x.service"))[:2] == ("sudo", "-n")
    assert as_root(replace(HOST, sudo=False), ("x",)) == ("x",)


# --- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture
def config(tmp_path: Path) -> str:
    key = tmp_path / "key"
    key.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\n")
    key.chmod(0o600)
    host = f"address: 192.0.2.1, user: ops, key: {key}, host_key: {HOST_KEY}, units: [nginx]"
    path = tmp_path / "config.yaml"
    path.write_text(
        "policy: {approvers: [{environments: [default], users: [U0000000001]}]}\n"
        f"hosts:\n  db-1: {{{host}, actions: [restart, stop]}}\n  db-2: {{{host}}}\n  db-3: {{{host}, sudo: false}}\n"
    )
    path.chmod(0o600)
    return str(path)


def test_the_command_prints_one_host_ready_to_be_installed(config, capsys):
    assert main(["sudoers", "--config", config, "db-1"]) == 0
    printed = capsys.readouterr()
    assert "ops ALL=(root) NOPASSWD: /usr/bin/systemctl --no-pager stop -- nginx.service\n" in printed.out
    assert printed.err == "opsbot: warning: db-1 allows stop; read what the file says about it.\n"


def test_the_command_prints_several_hosts_apart(config, capsys):
    assert main(["sudoers", "--config", config, "--user", "bot", "all"]) == 0
    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if "=====" in line] == [f"# ===== db-{n} =====" for n in (1, 2, 3)]
    assert "bot ALL=(root)" in out
    assert "ops ALL=(root)" not in out


def test_an_unknown_host_ends_with_one_line(config, capsys):
    assert main(["sudoers", "--config", config, "db-9"]) == 1
    assert "db-9" in capsys.readouterr().err
