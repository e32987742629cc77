"""Commands that start the bot: run, demo, ask, chat."""

import argparse
import asyncio
import sys
from dataclasses import replace

from opsbot import bootstrap
from opsbot.cli_config import config_of
from opsbot.config import Config
from opsbot.demo import run_demo
from opsbot.errors import ConfigError


def run(options: argparse.Namespace) -> int:
    """Run the Slack bot until SIGINT or SIGTERM."""
    asyncio.run(bootstrap.serve(config_of(options)))
    return 0


def demo(options: argparse.Namespace) -> int:
    """Run the bot, a workbench and a small service on this machine."""
    if not 0 <= options.port <= 65535:
        raise ConfigError(f"--port {options.port}: use 0 (any) to 65535.")
    asyncio.run(run_demo(options.port, options.data))
    return 0


def ask(options: argparse.Namespace) -> int:
    """Answer one question in the terminal."""
    return asyncio.run(bootstrap.converse(_quiet(config_of(options)), question=" ".join(options.question)))


def chat(options: argparse.Namespace) -> int:
    """Talk in the terminal until `exit` or the end of input."""
    sys.stderr.write("Ask in plain words, or type `!help` for commands; `exit` leaves.\n")
    return asyncio.run(bootstrap.converse(_quiet(config_of(options)), question=None))


def _quiet(config: Config) -> Config:
    """Keep routine log lines out of the conversation; `log.level: debug` brings them back."""
    if config.log.level != "info":
        return config
    log = config.log.model_copy(update={"level": "warning"})
    return replace(config, settings=config.settings.model_copy(update={"log": log}))
