"""The configuration: read, checked as a whole, and turned into the core's words. It builds nothing."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import ValidationError

from opsbot.caps import Caps
from opsbot.config_brakes import caps_of, freezes_of
from opsbot.config_budget import budgets_of, price_of
from opsbot.config_checks import cross_faults, file_faults
from opsbot.config_faults import Place, fault_of
from opsbot.config_files import Sources
from opsbot.config_hosts import inventory_of
from opsbot.config_model import (
    Limits,
    Log,
    Model,
    Settings,
    Slack,
    Store,
    Tools,
)
from opsbot.config_policy import Policy
from opsbot.config_rules import rules_of
from opsbot.config_secrets import Secret, SecretRef
from opsbot.config_yaml import Document, read_file, read_yaml
from opsbot.domain import Json, Risk
from opsbot.errors import ConfigError
from opsbot.freezes import PlannedFreeze
from opsbot.incident_report import ReportRules
from opsbot.inventory import Inventory
from opsbot.pace import Pace
from opsbot.policy import PolicyRules
from opsbot.spending import Budgets, Price
from opsbot.throttle import Rates

# Environment variables that win over the file, and the settings they are.
_FROM_ENVIRONMENT: Mapping[str, tuple[str, str]] = {
    "SLACK_API_URL": ("slack", "api_url"),
    "OPENAI_BASE_URL": ("model", "base_url"),
    "OPSBOT_MODEL": ("model", "name"),
}


@dataclass(frozen=True, slots=True)
class Secrets:
    """Every secret the configuration points to, fetched. None: not configured."""

    slack_bot_token: Secret | None = None
    slack_app_token: Secret | None = None
    slack_signing_secret: Secret | None = None
    model_api_key: Secret | None = None
    store_password: Secret | None = None
    audit_key: Secret | None = None
    embedding_api_key: Secret | None = None

    def values(self) -> tuple[str, ...]:
        """Return the plain values, for the redactor."""
        found = (getattr(self, name) for name in self.__slots__)
        return tuple(secret.reveal() for secret in found if secret is not None)


@dataclass(frozen=True, slots=True)
class Config:
    """A configuration without faults. `folder` is where its relative paths start, `files` what else was read for it.

    `inline_host_keys` names the hosts whose key stands beside them, not in the file of keys.
    """

    settings: Settings
    source: str
    folder: Path
    lines: Mapping[Place, int]
    files: tuple[Path, ...] = ()
    inline_host_keys: frozenset[str] = frozenset()

    @property
    def slack(self) -> Slack | None:
        return self.settings.slack

    @property
    def model(self) -> Model:
        return self.settings.model

    @property
    def store(self) -> Store:
        return self.settings.store

    @property
    def tools(self) -> Tools:
        return self.settings.tools

    @property
    def policy(self) -> Policy:
        return self.settings.policy

    @property
    def limits(self) -> Limits:
        return self.settings.limits

    @property
    def log(self) -> Log:
        return self.settings.log

    def inventory(self) -> Inventory:
        """Return the hosts and groups."""
        return inventory_of(self.settings, self.folder)

    def rules(self) -> PolicyRules:
        """Return what decides who may do what."""
        return rules_of(self.settings)

    def where(self, place: Place) -> str:
        """Return where a setting of the main file stands, as `file:line`."""
        return f"{self.source}:{_line(self.lines, place)}"

    def pace(self) -> Pace:
        """Return how fast people may be asked for approvals, and may answer."""
        limits = self.settings.limits
        return Pace(self.settings.policy.read_s, limits.open_requests, limits.requests, limits.requests_window_s)

    def rates(self) -> Rates:
        """Return how much people may write, and how many turns work at once."""
        limits = self.settings.limits
        return Rates(
            limits.messages_per_minute,
            limits.messages_per_minute_per_person,
            limits.turns_at_once,
            limits.turns_at_once_per_person,
            limits.waiting_turns,
        )

    def budgets(self) -> Budgets:
        """Return what the model may take."""
        return budgets_of(self.settings.budget)

    def report_rules(self) -> ReportRules:
        """Return what holds for incident reports."""
        reports = self.settings.reports
        return ReportRules(channel=reports.channel or "", askers=reports.editors == "askers")

    def prices(self) -> Mapping[str, Price]:
        """Return the operator's own prices, by model."""
        return {name: price_of(price) for name, price in self.settings.model.prices.items()}

    def caps(self) -> Caps:
        """Return how much may be done."""
        return caps_of(self.settings)

    def freezes(self) -> tuple[PlannedFreeze, ...]:
        """Return the planned freezes."""
        return freezes_of(self.settings, self.inventory())

    def stop_file(self) -> Path:
        """Return the stop file: as named, else beside SQLite's file, or beside the configuration."""
        if self.settings.stop.file:
            return (self.folder / Path(self.settings.stop.file).expanduser()).absolute()
        database = self.database_file()
        return database.with_name("opsbot.stop") if database else (self.folder / "opsbot.stop").absolute()

    def risks(self) -> dict[str, Risk]:
        """Return the operator's risk overrides by tool name."""
        return {name: Risk(risk) for name, risk in self.settings.tools.risk.items()}

    def tool_folders(self) -> tuple[Path, ...]:
        """Return the operator's own tool folders."""
        return tuple(self.folder / Path(text).expanduser() for text in self.settings.tools.folders)

    def pins_file(self) -> Path:
        """Return the file in which tool files are pinned."""
        return self.folder / Path(self.settings.tools.pins).expanduser()

    def secrets(self, environ: Mapping[str, str] = os.environ, *, slack: bool = True) -> Secrets:
        """Fetch every secret that is needed; `slack=False` leaves Slack's out (terminal).

        Raises:
            ConfigError: every missing or unreadable one, with line and remedy.
        """
        found: dict[str, Secret] = {}
        faults = []
        for name, (place, reference) in self._references(slack).items():
            try:
                found[name] = reference.resolve(self.folder, environ)
            except ConfigError as error:
                faults.append(f"{self.where(place)}: {'.'.join(map(str, place))}: {error}")
        if faults:
            raise ConfigError(*faults)
        return Secrets(**found)

    def secret_variables(self) -> frozenset[str]:
        """Return the environment variables that hold secrets, to be cleared once these are fetched."""
        return frozenset(reference.env for _, reference in self._references(slack=True).values() if reference.env)

    def runbooks_folder(self) -> Path | None:
        """Return the folder of runbooks, if one is named."""
        named = self.settings.runbooks.folder
        return (self.folder / Path(named).expanduser()).absolute() if named else None

    def store_url(self, secrets: Secrets) -> str:
        """Return the database's address: SQLite with an absolute path, PostgreSQL with its password."""
        url = self.settings.store.url
        if url.startswith("sqlite:///"):
            return f"sqlite:///{self.database_file()}"
        if secrets.store_password is None:
            return url
        parts = urlsplit(url)
        login = f"{parts.username or ''}:{quote(secrets.store_password.reveal(), safe='')}"
        return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}"))

    def database_file(self) -> Path | None:
        """Return SQLite's file, or None for PostgreSQL."""
        url = self.settings.store.url
        return (self.folder / url.removeprefix("sqlite:///")).absolute() if url.startswith("sqlite:///") else None

    def inventory_sources(self) -> tuple[Path, ...]:
        """Return every file the inventory is read from."""
        return (Path(self.source), *self.files)

    def host_keys_file(self) -> Path | None:
        """Return the file of pinned host keys, which need not exist yet, or None if none is named."""
        named = self.settings.host_keys
        return self.folder / Path(named).expanduser() if named else None

    def anchor_file(self) -> Path | None:
        """Return the file in which heads of the audit log are noted, if one is named."""
        named = self.settings.audit.anchor.file
        return (self.folder / Path(named).expanduser()).absolute() if named else None

    def audit_key_file(self) -> Path | None:
        """Return the file of the audit key (made on first use), or None if the key is in `Secrets.audit_key`."""
        reference = self.settings.store.audit_key
        if reference is not None:
            return reference.path(self.folder, os.environ) if reference.file is not None else None
        database = self.database_file()
        return database.with_name("audit.key") if database is not None else None

    def _references(self, slack: bool) -> dict[str, tuple[Place, SecretRef]]:
        settings = self.settings
        found: dict[str, tuple[Place, SecretRef | None]] = {
            "model_api_key": (("model", "api_key"), settings.model.api_key),
            "embedding_api_key": (("runbooks", "api_key"), settings.runbooks.api_key),
            "store_password": (("store", "password"), settings.store.password),
            "audit_key": (("store", "audit_key"), settings.store.audit_key if self.audit_key_file() is None else None),
        }
        if slack and settings.slack is not None:
            found["slack_bot_token"] = (("slack", "bot_token"), settings.slack.bot_token)
            if settings.slack.mode == "socket":
                found["slack_app_token"] = (("slack", "app_token"), settings.slack.app_token)
            else:
                found["slack_signing_secret"] = (("slack", "signing_secret"), settings.slack.signing_secret)
        return {name: (place, reference) for name, (place, reference) in found.items() if reference is not None}


def load(path: Path, environ: Mapping[str, str] = os.environ, *, keys: bool = True) -> Config:
    """Read a configuration file and check it together with the key files it names (`keys=False`: without those).

    Raises:
        ConfigError: every fault, each as `file:line: what and the way out`.
    """
    try:
        text = read_file(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); name another with --config.") from error
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 text; save it as UTF-8.") from error
    if not text.strip():
        raise ConfigError(f"{path}: is empty; restore it, or begin with a copy of the config.yaml that ships.")
    return _checked(text, str(path), path.absolute().parent, environ, files=True, keys=keys)


def parse(
    text: str, source: str = "config.yaml", *, folder: Path | None = None, environ: Mapping[str, str] = os.environ
) -> Config:
    """Check a configuration text, without looking at the files it names. Raises ConfigError."""
    return _checked(text, source, (folder or Path()).absolute(), environ, files=False)


def _checked(
    text: str, source: str, folder: Path, environ: Mapping[str, str], *, files: bool, keys: bool = True
) -> Config:
    document = read_yaml(text)
    _apply(document, environ)
    sources = Sources.of(document, source, folder)
    if files:
        sources.add_files()
    settings, broken = _validated(sources, environ)
    hosts = document.data.get("hosts")
    names = [*hosts] if isinstance(hosts, dict) else []
    places = [*cross_faults(settings, names, broken), *(file_faults(settings, folder) if files and keys else ())]
    sources.faults.extend((*sources.where(place), said) for place, said in places)
    if sources.faults:
        raise ConfigError(*dict.fromkeys(f"{file}:{line}: {said}" for file, line, said in sorted(sources.faults)))
    return Config(settings, source, folder, document.lines, tuple(sources.files), sources.inline_host_keys)


def _apply(document: Document, environ: Mapping[str, str]) -> None:
    """Let environment variables win: any compatible server works without touching the file."""
    for variable, (section, setting) in _FROM_ENVIRONMENT.items():
        if environ.get(variable) and (section == "model" or section in document.data):
            _put(document.data, section, setting, environ[variable])
    model = document.data.get("model")
    if environ.get("OPENAI_API_KEY") and not (isinstance(model, dict) and "api_key" in model):
        _put(document.data, "model", "api_key", {"env": "OPENAI_API_KEY"})


def _put(data: dict[str, Json], section: str, setting: str, value: Json) -> None:
    around = data.setdefault(section, {})
    if isinstance(around, dict):
        around[setting] = value


def _validated(sources: Sources, environ: Mapping[str, str]) -> tuple[Settings, frozenset[Place]]:
    """Return the settings without their faulty parts, and which parts those are."""
    document = sources.document
    data: dict[str, Any] = json.loads(json.dumps(document.data))
    broken: set[Place] = set()
    while True:
        try:
            return Settings.model_validate_json(json.dumps(data)), frozenset(broken)
        except ValidationError as error:
            found = [fault_of(Settings, detail) for detail in error.errors(include_url=False)]
        for place, said in found:
            broken.add(_without(data, place))
            if place in document.unread:
                continue
            variable = next((name for name, to in _FROM_ENVIRONMENT.items() if to == place and environ.get(name)), "")
            said += f" (It comes from ${variable}.)" if variable else ""
            sources.faults.append((*sources.where(place), said))


def _without(data: dict[str, Any], place: Place) -> Place:
    """Take the faulty part out: one setting of a host or of the policy, one group, else the whole section."""
    depth = min(len(place), {"hosts": 3, "groups": 2, "policy": 2}.get(str(place[0]) if place else "", 1))
    around = data
    for part in place[: depth - 1]:
        around = around[str(part)]
    if depth:
        around.pop(str(place[depth - 1]), None)
    return place[:depth]


def _line(lines: Mapping[Place, int], place: Place) -> int:
    while place and place not in lines:
        place = place[:-1]
    return lines.get(place, 1)
