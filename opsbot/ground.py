"""What every way of running the bot stands on, checked before anything is opened."""

from dataclasses import dataclass

from opsbot import logs
from opsbot.actions import Catalogue
from opsbot.adapters.anchorages import newest_in
from opsbot.adapters.clock import SystemClock
from opsbot.adapters.environment import forget
from opsbot.adapters.metrics import Metrics
from opsbot.adapters.stop_file import StopFile
from opsbot.adapters.store import SqlStore, Watch, has_audit, open_store
from opsbot.anchoring import Anchoring
from opsbot.audit_key import load_or_create_key, parse_key
from opsbot.config import Config, Secrets
from opsbot.errors import ConfigError
from opsbot.redact import Redactor
from opsbot.replica import Replica
from opsbot.toolbox import tools_of


@dataclass(frozen=True, slots=True)
class Ground:
    """What both ways of talking need, checked before anything is opened."""

    config: Config
    secrets: Secrets
    redactor: Redactor
    catalogue: Catalogue
    store: SqlStore
    key: bytes
    anchoring: Anchoring
    replica: Replica
    switch: StopFile
    metrics: Metrics | None

    @staticmethod
    def of(config: Config, secrets: Secrets) -> "Ground":
        """Build it. Raises ConfigError, StoreError."""
        # Tools, their commands and libraries must not find them there.
        forget(config.secret_variables())
        redactor = Redactor(secrets.values())
        metrics = Metrics() if config.settings.metrics.listen else None
        logs.configure(config.log.format, config.log.level, redactor, counting=metrics)
        catalogue = Catalogue(tools_of(config), config.inventory())
        url = config.store_url(secrets)
        key = _audit_key(config, secrets, url)
        anchoring = Anchoring(key, SystemClock())
        store = open_store(url, audit_key=key, watch=Watch(anchoring.note, newest_in(config.anchor_file(), key)))
        replica = Replica(store.replicas, store.leases, SystemClock())
        switch = StopFile(config.stop_file())
        return Ground(config, secrets, redactor, catalogue, store, key, anchoring, replica, switch, metrics)


def _audit_key(config: Config, secrets: Secrets, url: str) -> bytes:
    if secrets.audit_key is not None:
        return parse_key(secrets.audit_key.reveal(), "store.audit_key")
    path = config.audit_key_file()
    if path is None:
        raise ConfigError(f"{config.source}: store.audit_key is missing; PostgreSQL has no folder to keep one in.")
    path.parent.mkdir(parents=True, exist_ok=True)
    return load_or_create_key(path, has_records=has_audit(url))
