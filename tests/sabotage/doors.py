"""Defences about tool files, the key that looks, and where the bot connects, to take out one by one."""

from tests.sabotage.copy import Change, Sabotage

_T04 = "tests/safety/test_t04_replay.py"
_T20 = "tests/safety/test_t20_tool_files.py"
_T27 = "tests/safety/test_t27_listed_targets_only.py"
_T32 = "tests/safety/test_t32_read_key.py"


def _one(name: str, file: str, before: str, after: str, *tests: str) -> Sabotage:
    return Sabotage(name, (Change(file, before, after),), tests)


DOORS: tuple[Sabotage, ...] = (
    _one(
        "tools: changed files are loaded",
        "opsbot/pins.py",
        "            elif pinned != file.sha256:",
        "            elif False:",
        _T20,
    ),
    _one(
        "tools: unlisted files are loaded",
        "opsbot/pins.py",
        "            pinned = self.sums.get(name)\n            if pinned is None:",
        "            pinned = self.sums.get(name, file.sha256)\n            if pinned is None:",
        _T20,
    ),
    _one(
        "tools: anybody may write them",
        "opsbot/tool_files.py",
        "    if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not",
        "    if False and not",
        _T20,
    ),
    _one("tools: links are not followed", "opsbot/tool_files.py", "if at.is_symlink():", "if False:", _T20),
    _one(
        "tools: a compiled copy runs in place of the pinned file",
        "opsbot/discovery.py",
        "        exec(code, vars(module))",
        "        spec.loader.exec_module(module)",
        _T20,
    ),
    _one(
        "tools: a patched gate goes unseen",
        "opsbot/discovery.py",
        "changed = wire.changes() if wire else ()",
        "changed = ()",
        _T20,
    ),
    _one(
        "secrets: they stay in the environment",
        "opsbot/adapters/environment.py",
        "        os.environ.pop(name, None)",
        "        pass",
        _T20,
    ),
    _one(
        "secrets: the kernel goes on showing them",
        "opsbot/adapters/environment.py",
        "            ctypes.memset(address, 0, len(ctypes.string_at(address)))",
        "            pass",
        _T20,
    ),
    _one(
        "keys: looks log in with the key that acts",
        "opsbot/domain/hosts.py",
        "        return self.key_file if self.acting else self.read_key_file or self.key_file",
        "        return self.key_file",
        _T32,
    ),
    _one(
        "keys: one link for both log-ins",
        "opsbot/adapters/ssh_slots.py",
        "host.login_user, host.login_key_file, host.host_key",
        "host.user, host.key_file, host.host_key",
        _T32,
    ),
    _one(
        "keys: reading tools may act",
        "opsbot/workshop.py",
        "        return context if check is not None else context.looking()",
        "        return context",
        _T32,
    ),
    _one(
        "gate: more words than a look has",
        "opsbot/gate.py",
        '  [ $# -eq "$count" ] || return 1',
        "  :",
        _T32,
    ),
    _one("gate: any script", "opsbot/gate.py", '[ "$script" = "${1#?}" ]', "true", _T32),
    _one("gate: any word", "opsbot/gate.py", '  =*) [ "$2" = "${1#=}" ]; return ;;', "  =*) return ;;", _T32),
    _one(
        "gate: any unit",
        "opsbot/gate.py",
        "  case $1 in *[!A-Za-z0-9:_.@\\\\\\\\-]*|*@*@*|*@) return 1 ;;",
        "  case $1 in *@*@*) return 1 ;;",
        _T32,
    ),
    _one(
        "gate: the key is not restricted",
        "opsbot/gate.py",
        'options = ["restrict", f',
        "options = [f",
        _T32,
    ),
    _one(
        "probes: what is written to the channel is run",
        "opsbot/adapters/ssh_probe.py",
        "  *) exit 2 ;;\n  esac\ndone",
        '  *) eval "$opsbot_what" ;;\n  esac\ndone',
        "tests/wire/test_ssh_probe.py",
    ),
    _one(
        "checks: names lead anywhere",
        "opsbot/adapters/probes.py",
        "permitted(name, addresses(name, port, deadline))",
        "addresses(name, port, deadline)",
        _T27,
    ),
    _one(
        "checks: a name is looked up again to connect",
        "opsbot/adapters/probes.py",
        "            connection.connect(address)",
        "            connection.connect(addresses(name, port, deadline)[0][1])",
        _T27,
    ),
    _one(
        "checks: addresses within addresses go unseen",
        "opsbot/adapters/addresses.py",
        "    address = _innermost(ip_address(text))",
        "    address = ip_address(text)",
        _T27,
    ),
    _one(
        "commands: what cannot be seen is left out of names",
        "opsbot/service.py",
        "            grammar.check_visible(event.text)",
        "            pass",
        "tests/safety/test_r13_hostile_names.py",
    ),
    _one(
        "replays: signatures tell no repeat",
        "opsbot/adapters/slack/listeners.py",
        "(*heard.keys, *signature)",
        "heard.keys",
        _T04,
    ),
    _one(
        "replays: every event is new",
        "opsbot/adapters/store/inbox.py",
        "            if not all(mine):",
        "            if not any(mine) and not mine:",
        _T04,
    ),
    _one("replays: keys are soon forgotten", "opsbot/life.py", "timedelta(days=7)", "timedelta(minutes=10)", _T04),
    _one("replays: keys are never forgotten", "opsbot/life.py", "timedelta(days=7)", "timedelta(days=7000)", _T04),
    _one(
        "commits: a refused write stays in the shared transaction",
        "opsbot/adapters/store/database.py",
        "        with connection.begin_nested():\n            return work(connection)",
        "        return work(connection)",
        "tests/contract/test_store_together.py",
    ),
    _one(
        "commits: nobody is told that the commit failed",
        "opsbot/adapters/store/database.py",
        "return [error] * len(writes)",
        "return [None for _ in (writes, error)[0]]",
        "tests/contract/test_store_together.py",
    ),
)
