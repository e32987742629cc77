"""`opsbot hosts trust`: shows hosts' keys, compares them, and pins what a person or a second source confirms."""

import argparse
import os
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from opsbot.adapters.ssh import ParamikoShell
from opsbot.cli_config import config_of
from opsbot.config import Config
from opsbot.domain import Connection, Host
from opsbot.errors import ConfigError, HostUnreachable
from opsbot.host_keys import with_host_key
from opsbot.trust import Second, SecondSource, Seen, Standing, fingerprint_of, seen

# Hosts asked at once, each a key exchange of some 15 ms CPU.
_AT_ONCE = 32


def trust(options: argparse.Namespace) -> int:
    """Show, compare and pin host keys. Returns 1 if any host could not be asked or its key not be pinned."""
    config = config_of(options)
    hosts = [host for host in config.inventory().resolve(options.names) if host.connection is Connection.SSH]
    if not hosts:
        raise ConfigError("None of these hosts is reached by SSH, so none has a host key.")
    source = _second_source(options.compare)
    answers = _ask(config, hosts, source, options.timeout)
    _print(answers, replace=options.replace)
    found = [answer for answer in answers if isinstance(answer, Seen)]
    wanted = [each for each in found if each.standing is not Standing.PINNED or each.second is Second.DISAGREES]
    good = [each for each in wanted if not each.obstacle(replace=options.replace)]
    pinned = _pin(config, _confirmed(good, yes=options.yes))
    return 0 if len(found) == len(hosts) and pinned == len(wanted) else 1


def _second_source(path: str | None) -> SecondSource | None:
    if path is None:
        return None
    try:
        text = sys.stdin.read() if path == "-" else Path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--compare {path}: cannot be read: {error}") from error
    return SecondSource.read(text, "stdin" if path == "-" else path)


class _Unreached:
    """A host that showed no key."""

    def __init__(self, host: Host, why: str) -> None:
        self.host = host
        self.why = why


def _ask(
    config: Config, hosts: Sequence[Host], source: SecondSource | None, timeout_s: float
) -> list[Seen | _Unreached]:
    known = config.inventory().hosts
    shell = ParamikoShell(find=known.get)

    def ask(host: Host) -> Seen | _Unreached:
        try:
            key = shell.scan_host_key(host, timeout_s=timeout_s)
        except HostUnreachable as error:
            return _Unreached(host, str(error))
        return seen(host, key, source, alone=len(hosts) == 1)

    try:
        with ThreadPoolExecutor(_AT_ONCE) as threads:
            return list(threads.map(ask, hosts))
    finally:
        shell.close()


def _print(answers: Sequence[Seen | _Unreached], *, replace: bool) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for header in ("Host", "Reached as", "Type", "Fingerprint", "Pinned", "Second source", "Remark"):
        table.add_column(header, overflow="fold")
    for answer in answers:
        place = f"{answer.host.address}:{answer.host.port}"
        if isinstance(answer, _Unreached):
            table.add_row(answer.host.name, place, "", "", "", "", Text(answer.why, "red"))
            continue
        obstacle = answer.obstacle(replace=replace)
        pinned = {Standing.PINNED: "this key", Standing.NEW: "nothing", Standing.CHANGED: _others(answer.host)}
        table.add_row(
            answer.host.name,
            place,
            answer.key.split()[0],
            answer.fingerprint,
            Text(pinned[answer.standing], "red" if answer.standing is Standing.CHANGED else ""),
            Text(
                str(answer.second) or "none given",
                {Second.AGREES: "green", Second.DISAGREES: "red"}.get(answer.second, ""),
            ),
            Text(obstacle, "red"),
        )
    Console().print(table)


def _others(host: Host) -> str:
    lines = [line for line in host.host_key.splitlines() if line.strip()]
    return "another: " + ", ".join(fingerprint_of(line) for line in lines)


def _confirmed(good: Sequence[Seen], *, yes: bool) -> list[Seen]:
    """Return what a second source confirmed, and the rest if a person does."""
    sure = [each for each in good if each.second is Second.AGREES]
    rest = [each for each in good if each.second is not Second.AGREES]
    if not rest or yes:
        return [*sure, *rest]
    names = ", ".join(each.host.name for each in rest)
    if not sys.stdin.isatty():
        _say(
            f"Not pinned, since nobody is here to compare the fingerprints: {names}. Give a second source (--compare "
            "FILE: known_hosts, .pub files, or what `ssh-keygen -lf` says there), or --yes to take what was seen."
        )
        return sure
    _say(f"Compare the fingerprints with what `ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub` says on: {names}.")
    sys.stderr.write(f"Pin {len(rest)} key(s)? [y/N] ")
    sys.stderr.flush()
    return [*sure, *rest] if sys.stdin.readline().strip().lower() in ("y", "yes") else sure


def _pin(config: Config, keys: Sequence[Seen]) -> int:
    """Write the keys where the configuration keeps them; return how many are in place now."""
    path = config.host_keys_file()
    inline = [each for each in keys if each.host.name in config.inline_host_keys]
    for each in inline:
        _say(f"{each.host.name}: its `host_key` stands in the configuration; change it there to:")
        sys.stdout.write(f"{each.key}\n")
    filed = [each for each in keys if each not in inline]
    if path is None and filed:
        _say("There is no `host_keys:` file in the configuration; name one (`host_keys: host_keys`), or add by hand:")
        for each in filed:
            sys.stdout.write(f"{each.host.name}: {{host_key: {each.key}}}\n")
        return 0
    if path is None or not filed:
        return len(filed)
    _write(path, filed)
    _say(f"Pinned in {path}: {', '.join(each.host.name for each in filed)}. A running bot takes it over by itself.")
    return len(filed)


def _write(path: Path, keys: Sequence[Seen]) -> None:
    """Replace the file whole, so that nobody ever reads half of it. Raises ConfigError."""
    try:
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        for each in keys:
            text = with_host_key(text, each.host.name, each.key)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=path.parent, delete=False) as file:
            file.write(text)
            file.flush()
            os.fchmod(file.fileno(), 0o644)
            os.fsync(file.fileno())
        os.replace(file.name, path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror}); nothing was pinned.") from error


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")
