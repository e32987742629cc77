"""`opsbot report`: print an incident report, beside a running bot or without one."""

import argparse
import asyncio
import sys

from opsbot import logs
from opsbot.adapters.environment import forget
from opsbot.adapters.store.beside import beside
from opsbot.cli_audit import audit_key
from opsbot.cli_config import config_of
from opsbot.incident_files import as_json, markdown
from opsbot.redact import Redactor


def show(options: argparse.Namespace) -> int:
    """Print it; 1: there is none of this id."""
    config = config_of(options)
    secrets = config.secrets(slack=False)
    forget(config.secret_variables())
    redactor = Redactor(secrets.values())
    logs.configure("auto", "error", redactor)
    with beside(config.store_url(secrets), audit_key=audit_key(config, secrets)) as store:
        report = asyncio.run(store.reports.get(options.id.strip().upper()))
    if report is None:
        sys.stderr.write(f"opsbot: there is no report {options.id[:20]!a}; its id stands on its card\n")
        return 1
    sys.stdout.write(redactor.text(as_json(report) if options.format == "json" else markdown(report)))
    return 0
