"""Commands on the audit log."""

import argparse
import os
import re
import sys
from collections.abc import Iterable, Iterator
from typing import TypeVar

from opsbot.adapters.store import has_audit, noted_head, read_lines
from opsbot.anchors import Head, find_anchors
from opsbot.audit import verify as verify_chain
from opsbot.audit_key import load_or_create_key, parse_key
from opsbot.cli_config import config_of
from opsbot.config import Config, Secrets
from opsbot.errors import ConfigError

_HEAD = re.compile(r"(\d{1,18}):([0-9a-f]{64})")
_PROGRESS_EVERY = 100_000

T = TypeVar("T")


def verify(options: argparse.Namespace) -> int:
    """Check the whole chain; 0 if it is unbroken, else 1 with the first broken place on stderr."""
    config = config_of(options)
    secrets = config.secrets(os.environ, slack=False)
    url = config.store_url(secrets)
    # Before the records: while the bot runs the log grows, and must contain what was noted earlier.
    sidecar = noted_head(url)
    heads = [_head(options.head)] if options.head else []
    if not has_audit(url) and not heads and not options.anchors:
        sys.stdout.write("There are no audit records yet.\n")
        return 0
    key = audit_key(config, secrets)
    anchored = _anchored(config, options.anchors or [], key)
    result = verify_chain(counted(read_lines(url), "checked"), key, expected_head=sidecar, anchors=[*heads, *anchored])
    if result.ok:
        where = f"; {len(anchored)} anchors fit, the newest at record {max(anchored)[0]}" if anchored else ""
        sys.stdout.write(f"{result}{where}\nHead to note elsewhere: {result.head[0]}:{result.head[1]}\n")
        return 0
    sys.stderr.write(f"opsbot: the audit log is broken: {result}. Keep the database as it is and look who wrote it.\n")
    return 1


def audit_key(config: Config, secrets: Secrets) -> bytes:
    """Return the key that signs the chain, for a database that has records."""
    path = config.audit_key_file()
    if path is not None:
        return load_or_create_key(path, has_records=True)
    return parse_key(secrets.audit_key.reveal() if secrets.audit_key else "", "store.audit_key")


def counted(items: Iterable[T], done: str) -> Iterator[T]:
    """Pass items on, and say on stderr how many it were, now and then."""
    for number, item in enumerate(items, 1):
        if number % _PROGRESS_EVERY == 0:
            sys.stderr.write(f"opsbot: {number:,} records {done}\n")
        yield item


def _anchored(config: Config, names: Iterable[str], key: bytes) -> list[Head]:
    """Collect the anchors of the files named, and of the configured one."""
    own = config.anchor_file()
    heads: list[Head] = []
    for name in [*names, *([str(own)] if own is not None and own.exists() else [])]:
        found = find_anchors(_lines(name), key)
        if not found.heads:
            seen = f"{found.foreign} of another log, or forged, are" if found.foreign else "none is"
            raise ConfigError(f"{name}: there is no anchor of this log in it ({seen}). Name the file it was noted in.")
        if found.foreign:
            sys.stderr.write(f"opsbot: {name}: {found.foreign} anchors of another log, or forged, do not count\n")
        heads += found.heads
    return heads


def _lines(name: str) -> Iterator[str]:
    if name == "-":
        yield from sys.stdin
        return
    try:
        with open(name, encoding="utf-8", errors="replace") as file:
            yield from file
    except OSError as error:
        raise ConfigError(f"--anchors {name}: cannot be read ({error.strerror}); correct it.") from error


def _head(text: str) -> Head:
    match = _HEAD.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"--head {text[:80]!a}: write SEQ:HASH with all 64 digits, as `opsbot audit verify` prints it."
        )
    return int(match[1]), match[2]
