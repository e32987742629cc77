"""Commands that hold actions back and let them go on, beside a running bot or without one."""

import argparse
import asyncio
import getpass
import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from opsbot.adapters.clock import SystemClock
from opsbot.adapters.stop_file import StopFile
from opsbot.adapters.store.beside import Beside, beside
from opsbot.cli_audit import audit_key
from opsbot.cli_config import config_of
from opsbot.config import Config
from opsbot.domain import ApprovalState
from opsbot.errors import ConfigError, StoreError
from opsbot.holdings import Holdings
from opsbot.holds import SHELL, Hold, read_scope, told_why
from opsbot.periods import read_end
from opsbot.redact import Redactor

T = TypeVar("T")
_CLOCK = SystemClock()


def stop(options: argparse.Namespace) -> int:
    """Stop every action; in the database, or by the stop file if that cannot be used."""
    config, reason = config_of(options), " ".join(options.reason)
    try:
        with _opened(config) as (store, clean):
            made = asyncio.run(Holdings(store.holds, _CLOCK).stop(_me(), reason=clean(reason)))
            _say(told_why(made))
            _say_running(store)
    except (StoreError, ConfigError) as error:
        _warn(f"The database cannot be used, so the stop file is made: {error}")
        switch = StopFile(config.stop_file())
        switch.throw(f"{reason or 'none given'} (opsbot stop, by {getpass.getuser()})")
        if switch.forced:
            _warn(f"Nothing was stopped: {switch.forced}. End the bot's process.")
            return 1
        _say(f"All actions of the bot on this machine are stopped by {switch.path}.")
    return 0


def resume(options: argparse.Namespace) -> int:
    """Let actions go on: end the stop in the database, and remove the stop file."""
    config = config_of(options)
    switch = StopFile(config.stop_file())
    with _opened(config) as (store, clean):
        ended = asyncio.run(Holdings(store.holds, _CLOCK).resume(_me(), reason=clean(" ".join(options.reason))))
    removed = switch.release()
    if (still := switch.thrown()) is not None:
        _warn(f"Actions stay stopped: {told_why(still)}. Remove {switch.path}.")
        return 1
    if not ended and not removed:
        _say("Actions are not stopped.")
        return 0
    _say(
        f"Actions go on.{f' {switch.path} is removed.' if removed else ''} What became stale has to be asked for anew."
    )
    return 0


def freeze(options: argparse.Namespace) -> int:
    """Hold changes back in a scope."""
    config = config_of(options)
    inventory = config.inventory()
    scope = read_scope(options.scope, inventory.hosts, inventory.groups)
    until = read_end(_period(options), _CLOCK.now())
    with _opened(config) as (store, clean):
        holdings = Holdings(store.holds, _CLOCK)
        made = asyncio.run(holdings.freeze(scope, _me(), reason=clean(options.reason), until=until))
        _say(told_why(made))
    return 0


def unfreeze(options: argparse.Namespace) -> int:
    """End a freeze."""

    async def lift(holdings: Holdings, reason: str) -> Hold:
        return await holdings.lift(await holdings.find(options.name), _me(), reason=reason)

    with _opened(config_of(options)) as (store, clean):
        ended = asyncio.run(lift(Holdings(store.holds, _CLOCK), clean(options.reason)))
        _say(f"Ended: freeze {ended.id} of {ended.scope}.")
    return 0


def freezes(options: argparse.Namespace) -> int:
    """List what holds actions back now, the stop file included, and what the configuration plans."""
    config = config_of(options)
    now = _CLOCK.now()
    with _opened(config) as (store, _):
        standing = asyncio.run(store.holds.standing())
    planned = config.freezes()
    every = (StopFile(config.stop_file()).thrown(), *standing, *(each.at(now) for each in planned))
    holds = [hold for hold in every if hold is not None and hold.in_force(now)]
    if options.json:
        document = {
            "in_force": [_row(hold) for hold in holds],
            "planned": [{"name": each.name, "scope": str(each.scope), "when": str(each)} for each in planned],
        }
        sys.stdout.write(json.dumps(document, indent=2, ensure_ascii=False) + "\n")
        return 0
    for hold in holds:
        _say(told_why(hold))
    if not holds:
        _say("Nothing holds actions back now.")
    for each in planned:
        _say(f"In the configuration: {each.name}, {each.scope}, {each}. Reason: {each.reason}")
    return 0


@contextmanager
def _opened(config: Config) -> Iterator[tuple[Beside, Callable[[str], str]]]:
    """Yield the database, and what takes secrets out of a reason."""
    secrets = config.secrets(os.environ, slack=False)
    with beside(config.store_url(secrets), audit_key=audit_key(config, secrets)) as store:
        yield store, Redactor(secrets.values()).text


def _say_running(store: Beside) -> None:
    running = asyncio.run(store.approvals.in_state(ApprovalState.EXECUTING))
    for approval in running:
        where = ", ".join(approval.untouched) or "no host"
        _say(f"Under way: request {approval.id}, {approval.action.tool}; without an end yet: {where}.")
    if not running:
        _say("Nothing is under way.")


def _row(hold: Hold) -> dict[str, str]:
    return {
        "id": hold.id,
        "kind": str(hold.kind),
        "scope": str(hold.scope),
        "by": hold.by,
        "at": hold.at.isoformat(),
        "until": hold.until.isoformat() if hold.until else "",
        "reason": hold.reason,
    }


def _period(options: argparse.Namespace) -> str:
    if options.for_ and options.until:
        raise ConfigError("--for and --until: name one of them.")
    return f"for {options.for_}" if options.for_ else f"until {options.until}" if options.until else ""


def _me() -> str:
    return f"{SHELL}/{getpass.getuser()}"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")


def _warn(text: str) -> None:
    sys.stderr.write(f"opsbot: {text}\n")
