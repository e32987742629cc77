"""`opsbot usage`: what the model took, beside a running bot or without one."""

import argparse
import asyncio
import json
import os
import sys
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from opsbot.adapters.clock import SystemClock
from opsbot.adapters.store.beside import beside
from opsbot.cli_audit import audit_key
from opsbot.cli_config import config_of
from opsbot.domain import Json
from opsbot.errors import ConfigError
from opsbot.spending import KEPT_FOR, NANO, Split, Sum, Total
from opsbot.usage import key_words, since_of, total_text, usage_table

_CLOCK = SystemClock()


def usage(options: argparse.Namespace) -> int:
    """Show what was used in the last days, by day, person, conversation or turn."""
    if not 1 <= options.days <= KEPT_FOR.days:
        raise ConfigError(f"--days {options.days}: 1 to {KEPT_FOR.days}; what is older is forgotten.")
    config, by = config_of(options), Split(options.by)
    secrets = config.secrets(os.environ, slack=False)
    since = since_of(_CLOCK.now(), options.days)
    slot_s = 86_400 if by is Split.DAY else 0
    with beside(config.store_url(secrets), audit_key=audit_key(config, secrets)) as store:
        sums = asyncio.run(store.usage.sums(by, since=since, slot_s=slot_s))
    total = sum((one.total for one in sums), Total())
    if options.json:
        document = {
            "since": since.isoformat(),
            "by": str(by),
            "rows": [_row(by, one) for one in sums],
            "total": _facts(total),
        }
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        return 0
    _print(by, sums)
    sys.stdout.write(f"Since {since:%Y-%m-%d}: {total_text(total) if sums else 'nothing was used'}.\n")
    return 0


def _row(by: Split, one: Sum) -> dict[str, Json]:
    key = key_words(by, one)[0] if by is Split.DAY else one.key
    return {str(by): key, "newest_at" if by is not Split.DAY else "begins_at": one.at.isoformat(), **_facts(one.total)}


def _facts(total: Total) -> dict[str, Json]:
    """Return a total for scripts; a cost that is not known for every call is null."""
    share = total.cached_share
    return {
        "model_calls": total.calls,
        "input_tokens": total.usage.input_tokens,
        "cached_tokens": total.usage.cached_tokens,
        "output_tokens": total.usage.output_tokens,
        "reasoning_tokens": total.usage.reasoning_tokens,
        "cached_share": None if share is None else round(share, 4),
        "cost_usd": None if total.unpriced else total.cost_nano_usd / NANO,
        "known_cost_usd": total.cost_nano_usd / NANO,
        "calls_of_unknown_cost": total.unpriced,
        "calls_estimated": total.estimated,
    }


def _print(by: Split, sums: Sequence[Sum]) -> None:
    if not sums:
        return
    shown = usage_table(by, sums)
    table = Table(*shown.headers, title=shown.title, title_justify="left")
    for row in shown.rows:
        table.add_row(*row)
    Console(file=sys.stdout, soft_wrap=True, highlight=False, markup=False).print(table)
