"""The command line: subcommands, options, help and examples. Standard library only, so that --help is instant."""

import argparse
import sys
from pathlib import Path
from typing import NoReturn, TypeAlias

EXIT_CODES = """\
exit codes:
  0    done
  1    the command found or met a problem; it is named on stderr
  2    the command line or the configuration is wrong; every fault is listed
  130  interrupted
"""
_EXAMPLES = """\
examples:
  opsbot demo                                     try everything in a browser, no account needed
  opsbot check --config /etc/opsbot/config.yaml   list every fault of the configuration
  opsbot run   --config /etc/opsbot/config.yaml   start the bot in Slack
"""


def build_parser() -> argparse.ArgumentParser:
    """Return the parser; each command's `module` and `function` say what runs it."""
    parser = _Main(
        prog="opsbot",
        description="ChatOps for plain hosts: look at servers, propose one action, ask a person, act once, verify.",
        epilog=f"{_EXAMPLES}\n{EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="store_true", help="print the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", dest="command", parser_class=_Parser)
    _add_run(commands)
    _add_demo(commands)
    _add_terminal(commands)
    _add_listings(commands)
    _add_pin(commands)
    _add_trust(commands)
    _add_import(commands)
    _add_brakes(commands)
    _add_check(commands)
    _add_doctor(commands)
    _add_sudoers(commands)
    _add_policy(commands)
    _add_gate(commands)
    _add_audit(commands)
    _add_usage(commands)
    _add_runbooks(commands)
    _add_report(commands)
    _add_eval(commands)
    _add_manifest(commands)
    return parser


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line that begins like every other message of ours."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"opsbot: {message} (`{self.prog} --help` explains)\n")


class _Main(_Parser):
    """Takes commands of two words, as `hosts trust`, beside the command of the first word alone."""

    def parse_known_args(self, args=None, namespace=None):  # type: ignore[no-untyped-def]
        """Join the two words; `opsbot hosts -- trust` lists a host of that name."""
        words = [*(sys.argv[1:] if args is None else args)]
        if " ".join(words[:2]) in _TWO_WORDS:
            words[:2] = [" ".join(words[:2])]
        return super().parse_known_args(words, namespace)


_TWO_WORDS = ("hosts trust", "hosts import", "tools pin")
_Commands: TypeAlias = "argparse._SubParsersAction[_Parser]"


def _command(commands: _Commands, name: str, does: str, run: str, examples: str, *, config: bool = True) -> "_Parser":
    """Add a subcommand that `run` ("module:function") carries out."""
    module, _, function = run.partition(":")
    parser = commands.add_parser(
        name,
        help=does,
        description=f"{does[0].upper()}{does[1:]}.",
        epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(module=f"opsbot.{module}", function=function)
    if config:
        text = "configuration file (default: $OPSBOT_CONFIG, else config.yaml here)"
        parser.add_argument("--config", type=Path, metavar="FILE", help=text)
    return parser


def _add_run(commands: _Commands) -> None:
    examples = "  opsbot run --config /etc/opsbot/config.yaml\n"
    _command(commands, "run", "start the bot in Slack, until SIGINT or SIGTERM", "cli_run:run", examples)


def _add_demo(commands: _Commands) -> None:
    examples = "  opsbot demo\n  opsbot demo --port 9000 --data /tmp/opsbot-demo\n"
    does = "try the bot in a local browser page, on this machine, without any account"
    demo = _command(commands, "demo", does, "cli_run:demo", examples, config=False)
    demo.add_argument("--port", type=int, default=8765, help="port of the page on 127.0.0.1 (default: 8765)")
    demo.add_argument("--data", type=Path, default=Path(".demo"), metavar="DIR", help="what is kept (default: .demo)")


def _add_terminal(commands: _Commands) -> None:
    examples = '  opsbot ask "how is web-1?"\n  opsbot ask --config /etc/opsbot/config.yaml what failed tonight\n'
    ask = _command(commands, "ask", "ask one question in the terminal", "cli_run:ask", examples)
    ask.add_argument("question", nargs="+", help="the question; several words need no quotes")
    examples = "  opsbot chat\n"
    _command(commands, "chat", "talk with the bot in the terminal", "cli_run:chat", examples)


def _add_listings(commands: _Commands) -> None:
    tools = _command(
        commands, "tools", "list the tools", "cli_inspect:tools", "  opsbot tools\n  opsbot tools --json\n"
    )
    examples = "  opsbot hosts\n  opsbot hosts web --json\n"
    hosts = _command(commands, "hosts", "list the inventory", "cli_inspect:hosts", examples)
    hosts.add_argument("names", nargs="*", metavar="NAME", help="hosts or groups to list (default: all)")
    for parser in (tools, hosts):
        parser.add_argument("--json", action="store_true", help="print JSON, for scripts")


def _add_pin(commands: _Commands) -> None:
    does = "pin the tool files as they are now: their names and checksums, for `tools.pinned`"
    examples = "  opsbot tools pin\n  opsbot tools pin --check\n"
    pin = _command(commands, "tools pin", does, "cli_tools:pin", examples)
    pin.add_argument("--check", action="store_true", help="write nothing; exit code 1 if anything would change")


def _add_trust(commands: _Commands) -> None:
    does = "show the keys hosts offer, compare them with a second source, and pin them"
    examples = (
        "  opsbot hosts trust db-1\n"
        "  opsbot hosts trust all --compare ~/.ssh/known_hosts\n"
        "  ssh console.example.net cat db-1.fingerprint | opsbot hosts trust db-1 --compare -\n"
    )
    trust = _command(commands, "hosts trust", does, "cli_trust:trust", examples)
    trust.add_argument("names", nargs="+", metavar="NAME", help="hosts, groups, `tag:WORD` or `all`")
    text = "known_hosts, .pub lines or `ssh-keygen -lf` output fetched by another way (`-`: stdin)"
    trust.add_argument("--compare", metavar="FILE", help=text)
    trust.add_argument("--replace", action="store_true", help="also pin keys that differ from the pinned ones")
    trust.add_argument("--yes", action="store_true", help="do not ask: take what was seen where nothing contradicts")
    trust.add_argument("--timeout", type=float, default=10.0, metavar="S", help="seconds for each host (default: 10)")


def _add_import(commands: _Commands) -> None:
    does = "turn another tool's inventory into a file for `inventory:`; reads data, runs nothing"
    examples = (
        "  opsbot hosts import --from ansible inventories/production --output hosts.yaml\n"
        "  opsbot hosts import --from ssh-config ~/.ssh/config --user opsbot --key /etc/opsbot/id_ed25519\n"
        "  opsbot hosts import --from plain hosts.txt --environment staging\n"
    )
    parser = _command(commands, "hosts import", does, "cli_hosts:import_hosts", examples, config=False)
    sources = ("ansible", "plain", "ssh-config")
    parser.add_argument("--from", dest="source", choices=sources, required=True, help="what FILE is")
    parser.add_argument("file", metavar="FILE", help="the inventory: a file, a folder (ansible), or `-` for stdin")
    parser.add_argument("--output", metavar="FILE", help="where to write (default: stdout)")
    parser.add_argument("--force", action="store_true", help="replace the output file if it is there")
    parser.add_argument("--user", metavar="NAME", help="log in everywhere as this user, whatever FILE says")
    parser.add_argument("--key", metavar="PATH", help="log in everywhere with this private key, whatever FILE says")
    parser.add_argument("--environment", metavar="NAME", help="the environment of all these hosts")


def _add_brakes(commands: _Commands) -> None:
    examples = "  opsbot stop something is wrong with the network\n"
    stop = _command(commands, "stop", "stop every action at once; looking goes on", "cli_brakes:stop", examples)
    stop.add_argument("reason", nargs="*", help="why; several words need no quotes")
    examples = "  opsbot resume the network is well again\n"
    resume = _command(commands, "resume", "let actions go on after a stop", "cli_brakes:resume", examples)
    resume.add_argument("reason", nargs="*", help="why; several words need no quotes")
    examples = (
        "  opsbot freeze all --for 2h --reason 'data centre works'\n"
        "  opsbot freeze environment:production --until '2026-12-27 08:00 Europe/Berlin' --reason holidays\n"
        "  opsbot freeze nginx@web --reason 'being looked at'\n"
    )
    freeze = _command(commands, "freeze", "hold changes back in a part of the inventory", "cli_brakes:freeze", examples)
    freeze.add_argument(
        "scope", metavar="SCOPE", help="all, environment:NAME, a group, a host, or SERVICE@ one of them"
    )
    freeze.add_argument("--for", dest="for_", metavar="TIME", help="so long: 30m, 2h, 3d (default: until it is ended)")
    freeze.add_argument("--until", metavar="TIME", help="18:00, or 2026-12-24 18:00; UTC unless a zone follows")
    freeze.add_argument("--reason", required=True, help="why")
    examples = "  opsbot unfreeze F7KQ2M --reason 'works are over'\n"
    unfreeze = _command(commands, "unfreeze", "end a freeze", "cli_brakes:unfreeze", examples)
    unfreeze.add_argument("name", metavar="ID", help="its id, or its scope if there is only one")
    unfreeze.add_argument("--reason", required=True, help="why")
    examples = "  opsbot freezes\n  opsbot freezes --json\n"
    freezes = _command(commands, "freezes", "list what holds changes back now", "cli_brakes:freezes", examples)
    freezes.add_argument("--json", action="store_true", help="print JSON, for scripts")


def _add_check(commands: _Commands) -> None:
    does = "check the configuration, its secrets, key files and tools; connects to nothing"
    _command(commands, "check", does, "cli_inspect:check", "  opsbot check --config /etc/opsbot/config.yaml\n")


def _add_doctor(commands: _Commands) -> None:
    does = "try every edge for real: Slack, the model, the store and every host; changes nothing"
    examples = "  opsbot doctor\n  opsbot doctor db-1 web\n  opsbot doctor --only store,hosts --json\n"
    doctor = _command(commands, "doctor", does, "cli_doctor:doctor", examples)
    doctor.add_argument("names", nargs="*", metavar="NAME", help="hosts or groups: look at these alone (default: all)")
    doctor.add_argument("--only", metavar="AREAS", help="of slack,model,store,hosts, with commas (default: all)")
    doctor.add_argument("--json", action="store_true", help="print JSON, for scripts (docs/doctor.md)")
    doctor.add_argument("--timeout", type=float, default=10.0, metavar="S", help="seconds for each edge (default: 10)")


def _add_sudoers(commands: _Commands) -> None:
    does = "print the sudo rules a host needs for what the inventory allows there, and no others"
    examples = "  opsbot sudoers db-1 > opsbot.sudoers && visudo -cf opsbot.sudoers\n  opsbot sudoers all\n"
    sudoers = _command(commands, "sudoers", does, "cli_sudoers:sudoers", examples)
    sudoers.add_argument("names", nargs="+", metavar="HOST", help="hosts, groups or `all`")
    sudoers.add_argument("--user", metavar="NAME", help="the bot's user there (default: as the inventory says)")
    text = "what runs the containers there (default: docker)"
    sudoers.add_argument("--engine", choices=("docker", "podman"), default="docker", help=text)


def _add_policy(commands: _Commands) -> None:
    does = "ask the policy, without secrets or network"
    policy = commands.add_parser("policy", help=does, description=f"{does.capitalize()}.")
    policy.set_defaults(module="", function="")
    actions = policy.add_subparsers(title="commands", metavar="COMMAND", dest="action", required=True)
    does = "compare the policy with a file of expectations, for a CI; exit code 1 if one does not hold"
    examples = "  opsbot policy test policy-tests.yaml\n"
    test = _command(actions, "test", does, "cli_policy:test", examples)
    test.add_argument("file", metavar="FILE", help="expectations in YAML (docs/policy.md)")
    does = "say what the policy decides about one question, and how each rule fares with it"
    examples = (
        "  opsbot policy explain U0ALICE restart_service web-1 unit=nginx\n"
        "  opsbot policy explain U0BOB reboot_host web --groups S0SRE --at 2026-11-06T17:30:00+01:00\n"
    )
    explain = _command(actions, "explain", does, "cli_policy:explain", examples)
    explain.add_argument("who", metavar="WHO", help="a member ID, or `terminal`")
    explain.add_argument("tool", metavar="TOOL", help="the tool, as `opsbot tools` names it")
    explain.add_argument("words", nargs="*", metavar="HOST|NAME=VALUE", help="hosts or groups, and arguments")
    explain.add_argument("--groups", metavar="IDS", help="user groups WHO is in, with commas")
    explain.add_argument("--channel", metavar="ID", help="where it is asked: an ID, or `direct`")
    explain.add_argument("--at", metavar="TIME", help="when, with its zone (default: now)")


def _add_gate(commands: _Commands) -> None:
    does = "print the gate that locks the key which looks at a host: a forced command for its sshd"
    examples = "  opsbot gate db-1 > gate && sh -n gate\n  opsbot gate db-1 --key-line --from 192.0.2.5\n"
    gate = _command(commands, "gate", does, "cli_gate:gate", examples)
    gate.add_argument("host", metavar="HOST", help="a host of the inventory")
    gate.add_argument("--key-line", action="store_true", help="print the line for authorized_keys instead")
    text = "where the bot comes from, as sshd takes it in from= (an address, a network, several with commas)"
    gate.add_argument("--from", dest="sources", default="", metavar="ADDRESS", help=text)


def _add_audit(commands: _Commands) -> None:
    does = "work with the audit log"
    audit = commands.add_parser("audit", help=does, description=f"{does.capitalize()}.")
    audit.set_defaults(module="", function="")
    actions = audit.add_subparsers(title="commands", metavar="COMMAND", dest="action", required=True)
    examples = (
        "  opsbot audit verify\n"
        "  opsbot audit verify --head 1042:9f2c…\n"
        "  journalctl -t opsbot | opsbot audit verify --anchors -\n"
    )
    does = "check every record of the audit chain, while the bot runs or not"
    verify = _command(actions, "verify", does, "cli_audit:verify", examples)
    text = "a head noted earlier, elsewhere: shows whether records after it were cut off"
    verify.add_argument("--head", metavar="SEQ:HASH", help=text)
    text = "a syslog, journal or channel export with heads noted by the bot; `-`: stdin; may be given several times"
    verify.add_argument("--anchors", metavar="FILE", action="append", help=text)
    _add_audit_export(actions)


def _add_runbooks(commands: _Commands) -> None:
    does = "work with the folder of runbooks"
    runbooks = commands.add_parser("runbooks", help=does, description=f"{does.capitalize()}.")
    runbooks.set_defaults(module="", function="")
    actions = runbooks.add_subparsers(title="commands", metavar="COMMAND", dest="action", required=True)
    does = "read every file and list what is wrong: front matter, empty, too large, not text, links out of the folder"
    _command(actions, "check", does, "cli_runbooks:check", "  opsbot runbooks check\n")
    does = "take in what changed, and make missing vectors; a running bot does that by itself"
    _command(actions, "index", does, "cli_runbooks:index", "  opsbot runbooks index\n")
    examples = "  opsbot runbooks search disk is full\n  opsbot runbooks search --incidents queue stuck\n"
    search = _command(actions, "search", "search as the bot does", "cli_runbooks:search", examples)
    search.add_argument("words", nargs="+", help="what it is about; several words need no quotes")
    search.add_argument("--incidents", action="store_true", help="search past incidents, not runbooks")


def _add_report(commands: _Commands) -> None:
    examples = "  opsbot report 7KQ2M4AB > incident.md\n  opsbot report 7KQ2M4AB --format json | jq .words.title\n"
    does = "print an incident report, a draft or a published one, beside a running bot"
    report = _command(commands, "report", does, "cli_report:show", examples)
    report.add_argument("id", metavar="ID", help="the report's id, as on its card")
    report.add_argument("--format", choices=("md", "json"), default="md", help="what to print (default: md)")


def _add_audit_export(actions: _Commands) -> None:
    examples = (
        "  opsbot audit export --format md --approval 7KQ2M4AB > incident.md\n"
        "  opsbot audit export --format csv --since 2026-11-01 --until 2026-12-01 --output november.csv\n"
        "  opsbot audit export --format json | gzip > audit.json.gz\n"
    )
    does = "write the log, or a part of it: JSON lines, CSV, or the timeline of an incident in Markdown"
    export = _command(actions, "export", does, "cli_export:export", examples)
    export.add_argument("--format", choices=("json", "csv", "md"), required=True, help="what to write")
    which = export.add_mutually_exclusive_group()
    which.add_argument("--approval", metavar="ID", help="one request, as on its card")
    which.add_argument("--conversation", metavar="ID", help="one conversation: team/channel/thread")
    text = "from this time on: 2026-11-20, 2026-11-20T12:30 (UTC), or 90m, 24h, 7d ago"
    export.add_argument("--since", metavar="TIME", help=text)
    export.add_argument("--until", metavar="TIME", help="up to this time")
    export.add_argument("--output", metavar="FILE", help="where to write (default: stdout)")
    export.add_argument("--force", action="store_true", help="replace the output file if it is there")


def _add_usage(commands: _Commands) -> None:
    examples = "  opsbot usage\n  opsbot usage --by person --days 30\n  opsbot usage --days 7 --json\n"
    does = "show what the model took: tokens, cost, and the share read from its cache"
    usage = _command(commands, "usage", does, "cli_usage:usage", examples)
    by = ("day", "person", "conversation", "turn")
    usage.add_argument("--by", choices=by, default="day", help="what is told apart (default: day)")
    usage.add_argument("--days", type=int, default=7, metavar="N", help="so many days, today included (default: 7)")
    usage.add_argument("--json", action="store_true", help="print JSON, for scripts")


def _add_eval(commands: _Commands) -> None:
    examples = (
        "  opsbot eval --list\n"
        "  opsbot eval --base-url http://127.0.0.1:8080/v1 --model local --level 1 --html eval.html\n"
        "  opsbot eval --task disk-full-web --repeat 3\n"
        "  opsbot eval --agent reference --agent null --agent wrong     prove the tasks, without a model\n"
    )
    does = "try a model on tasks with real hosts and injected faults (docs/eval.md); needs root and a checkout"
    evaluation = _command(commands, "eval", does, "cli_eval:evaluate", examples)
    text = "the model (default), or scripts that prove the tasks; may be given several times"
    choices = ("reference", "null", "wrong", "model")
    evaluation.add_argument("--agent", choices=choices, action="append", help=text)
    text = "only this task; may be given several times"
    evaluation.add_argument("--task", metavar="ID", action="append", help=text)
    evaluation.add_argument("--level", type=int, choices=(1, 2, 3, 4), help="only tasks of this level")
    evaluation.add_argument("--list", action="store_true", help="list the tasks and exit")
    evaluation.add_argument(
        "--repeat", type=int, default=1, metavar="N", help="so many attempts of the model at a task"
    )
    text = "the model's endpoint, instead of the configured one; its key from $OPENAI_API_KEY, if it needs one"
    evaluation.add_argument("--base-url", metavar="URL", help=text)
    evaluation.add_argument("--model", metavar="NAME", help="the model's name, instead of the configured one")
    evaluation.add_argument("--json", type=Path, metavar="FILE", help="write every result and transcript as JSON")
    evaluation.add_argument(
        "--html", type=Path, metavar="FILE", help="write a report with transcripts as one HTML file"
    )
    evaluation.add_argument("--figures", type=Path, metavar="FILE", help="write the figures of docs/eval.md as JSON")
    evaluation.add_argument(
        "--tasks", type=Path, metavar="DIR", help="folder of tasks (default: evals of the checkout)"
    )
    text = "the tool that makes the hosts (default: tests/fleet/fleet of the checkout)"
    evaluation.add_argument("--fleet", type=Path, metavar="PATH", help=text)
    evaluation.add_argument("--keep", action="store_true", help="leave the hosts running at the end")


def _add_manifest(commands: _Commands) -> None:
    does = "print the manifest to create the Slack app from"
    examples = "  opsbot manifest > manifest.json\n  opsbot manifest --http https://ops.example.net\n"
    manifest = _command(commands, "manifest", does, "cli_inspect:manifest", examples, config=False)
    manifest.add_argument("--http", metavar="URL", help="for mode http: the public address of the bot")
