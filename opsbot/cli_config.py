"""Which configuration file a command means."""

import argparse
import os
from pathlib import Path

from opsbot.config import Config, load
from opsbot.errors import ConfigError


def config_path(options: argparse.Namespace) -> Path:
    """Return the file to read: --config, else $OPSBOT_CONFIG, else config.yaml here. Raises ConfigError."""
    if options.config is not None:
        return Path(options.config)
    if named := os.environ.get("OPSBOT_CONFIG"):
        return Path(named)
    here = Path("config.yaml")
    if not here.exists():
        raise ConfigError("There is no config.yaml here. Name one with --config, or try `opsbot demo` first.")
    return here


def config_of(options: argparse.Namespace) -> Config:
    """Read and check the configuration. Raises ConfigError with every fault."""
    return load(config_path(options))
