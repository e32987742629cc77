"""The configuration of the bot under evaluation: the real one in every part, with the cast as its inventory."""

import json
from collections.abc import Mapping
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

from opsbot.config import Config, parse
from opsbot.config_model import Model
from opsbot.domain import Json
from opsbot.evaluation.fleet import Machine
from opsbot.evaluation.tasks import Cast

TEAM, CHANNEL = "T0EVAL", "C0EVAL"
ASKER = "U0ONCALL"
OWNERS = ("U0OWNER", "U0SECOND")


def evaluated(cast: Cast, machines: Mapping[str, Machine], model: Model, folder: Path) -> Config:
    """Return the configuration with its store in `folder`. Raises ConfigError with every fault of the cast."""
    settings: dict[str, Json] = {
        "store": {"url": "sqlite:///opsbot.db"},
        "policy": {
            "read_s": 0,
            "askers": {"users": [ASKER]},
            "approvers": [{"environments": ["*"], "users": [*OWNERS]}],
            "tiers": {"last_replica": 1, "data_store": 1},
        },
        "limits": {"hosts_per_action": 3, "hosts_per_action_in": {"production": 3}},
        "hosts": {name: _entry(name, cast, machines) for name in cast.hosts},
        "audit": {"anchor": {"syslog": "none"}},
        "history": {"every_s": 0},
        "runbooks": {"folder": str(files("opsbot").joinpath("example_runbooks")), "backend": "none"},
        "log": {"level": "error", "format": "console"},
    }
    config = parse(json.dumps(settings), "the cast", folder=folder, environ={})
    return replace(config, settings=config.settings.model_copy(update={"model": model}))


def _entry(name: str, cast: Cast, machines: Mapping[str, Machine]) -> dict[str, Json]:
    host = cast.hosts[name]
    machine = machines[host.machine]
    reached: dict[str, Json] = {
        "address": machine.address,
        "user": cast.user,
        "key": machine.key_file,
        "host_key": machine.host_key,
    }
    entry = json.loads(json.dumps(host.entry).replace("ADDRESS", machine.address))
    return {**entry, **reached}
