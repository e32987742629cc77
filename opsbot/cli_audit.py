"""Commands on the audit log."""

import argparse
import os
import re
import sys

from opsbot.adapters.store import has_audit, noted_head, read_lines
from opsbot.audit import verify as verify_chain
from opsbot.audit_key import load_or_create_key, parse_key
from opsbot.cli_config import config_of
from opsbot.config import Config, Secrets
from opsbot.errors import ConfigError

_HEAD = re.compile(r"(\d{1,18}):([0-9a-f]{64})")


def verify(options: argparse.Namespace) -> int:
    """Check the whole chain; 0 if it is unbroken, else 1 with the first broken place on stderr."""
    config = config_of(options)
    secrets = config.secrets(os.environ, slack=False)
    url = config.store_url(secrets)
    if not has_audit(url):
        sys.stdout.write("There are no audit records yet.\n")
        return 0
    noted = _head(options.head) if options.head else noted_head(url)
    result = verify_chain(read_lines(url), audit_key(config, secrets), expected_head=noted)
    if result.ok:
        sys.stdout.write(f"{result}\nHead to note elsewhere: {result.head[0]}:{result.head[1]}\n")
        return 0
    sys.stderr.write(f"opsbot: the audit log is broken: {result}. Keep the database as it is and look who wrote it.\n")
    return 1


def audit_key(config: Config, secrets: Secrets) -> bytes:
    """Return the key that signs the chain, for a database that has records."""
    path = config.audit_key_file()
    if path is not None:
        return load_or_create_key(path, has_records=True)
    return parse_key(secrets.audit_key.reveal() if secrets.audit_key else "", "store.audit_key")


def _head(text: str) -> tuple[int, str]:
    match = _HEAD.fullmatch(text)
    if match is None:
        raise ConfigError(
            f"--head {text[:80]!a}: write SEQ:HASH with all 64 digits, as `opsbot audit verify` prints it."
        )
    return int(match[1]), match[2]
