"""`opsbot doctor`: tries every edge the bot depends on, and says what does not work and what to do about it."""

import argparse
import json
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from opsbot import logs
from opsbot.adapters.doctor_edges import Edge, Trials
from opsbot.adapters.doctor_hosts import HostDoctor
from opsbot.adapters.doctor_store import StoreDoctor
from opsbot.adapters.doctor_terminal import console_for_findings, show
from opsbot.adapters.embedders import embedding_settings, embeds_by_service
from opsbot.adapters.environment import forget
from opsbot.adapters.local import LocalShell
from opsbot.adapters.machines import HostMachines
from opsbot.adapters.openai_endpoint import ModelSettings
from opsbot.adapters.runbook_folder import RunbookFolder
from opsbot.adapters.slack.settings import SlackSettings
from opsbot.adapters.ssh import ParamikoShell
from opsbot.adapters.stop_file import StopFile
from opsbot.adapters.store import read_learned
from opsbot.adapters.wordllama_weights import check_weights, wheel_folder
from opsbot.audit_key import load_or_create_key, parse_key
from opsbot.cli_config import config_path
from opsbot.config import Config, Secrets, load
from opsbot.config_model import Slack
from opsbot.config_secrets import Secret
from opsbot.diagnosis import Area, Check, Finding, Subject, as_json, exit_code, in_order
from opsbot.domain import Host
from opsbot.errors import ConfigError, UnknownHost
from opsbot.holds import told_why
from opsbot.readable import plain_line
from opsbot.redact import Redactor
from opsbot.spending import Unit
from opsbot.toolbox import tools_of

AREAS: Final = ("slack", "model", "store", "hosts")
_INTERRUPTED = 130
_MAX_TEXT = 2000
_UNASKED = "NOPASSWD: "
# Connections are not closed for longer than this: the process ends anyway.
_CLOSE_S = 0.5


@dataclass(frozen=True, slots=True)
class _Plan:
    """What is to be tried, and what could be said without trying."""

    edges: tuple[Edge, ...] = ()
    known: tuple[Finding, ...] = ()
    redactor: Redactor = field(default_factory=Redactor)
    close: Callable[[], None] = lambda: None


def doctor(options: argparse.Namespace) -> int:
    """Try everything; 0: all well or warnings only, 1: something failed, 2: the configuration is wrong."""
    _check_options(options)
    plan = _planned(options)
    logs.configure("auto", "error", plan.redactor)
    trials = Trials(plan.edges)
    complete = True
    try:
        with _progress(len(plan.edges)) as advance:
            for edge in trials.run():
                advance(edge)
    except KeyboardInterrupt:
        complete = False
    findings = in_order(_presentable([*plan.known, *trials.findings], plan.redactor))
    _print(findings, complete=complete, as_document=options.json)
    closing = threading.Thread(target=plan.close, daemon=True)
    closing.start()
    closing.join(_CLOSE_S)
    return exit_code(findings) if complete else _INTERRUPTED


def _check_options(options: argparse.Namespace) -> None:
    unknown = [area for area in _areas(options) if area not in AREAS]
    if unknown:
        raise ConfigError(f"--only {unknown[0][:40]!a}: choose from {', '.join(AREAS)}, with commas in between.")
    if not 1 <= options.timeout <= 600:
        raise ConfigError(f"--timeout {options.timeout:g}: give 1 to 600 seconds.")


def _areas(options: argparse.Namespace) -> tuple[str, ...]:
    """Named hosts alone are about hosts; else everything, unless --only says otherwise."""
    if options.only:
        return tuple(word.strip() for word in options.only.split(","))
    return ("hosts",) if options.names else AREAS


def _print(findings: Sequence[Finding], *, complete: bool, as_document: bool) -> None:
    if as_document:
        sys.stdout.write(json.dumps(as_json(findings, complete=complete), indent=2, ensure_ascii=False) + "\n")
    else:
        show(console_for_findings(), findings, complete=complete)


def _presentable(findings: Iterable[Finding], redactor: Redactor) -> Iterator[Finding]:
    """Take secrets and control characters out of everything, whoever said it."""
    for finding in findings:
        texts = (_redacted(text, redactor) for text in (finding.subject, finding.check, finding.said, finding.remedy))
        subject, check, said, remedy = (plain_line(text, limit=_MAX_TEXT) for text in texts)
        yield replace(finding, subject=subject, check=check, said=said, remedy=remedy)


def _redacted(text: str, redactor: Redactor) -> str:
    """Redact around sudo's own word, after which the redactor would expect a password."""
    return _UNASKED.join(map(redactor.text, text.split(_UNASKED)))


@contextmanager
def _progress(total: int) -> Iterator[Callable[[Edge], None]]:
    """Show on stderr how far it is, if a person sees it."""
    console = Console(stderr=True)
    if not console.is_terminal or total == 0:
        yield lambda edge: None
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("trying every edge", total=total)
        yield lambda edge: progress.update(task, advance=1, description=plain_line(edge.subject.name, limit=30))


# --- what is tried ---------------------------------------------------------------------------------------------------


def _planned(options: argparse.Namespace) -> _Plan:
    path = config_path(options)
    subject = Subject(Area.CONFIGURATION, str(path))
    try:
        config = load(path)
    except ConfigError as error:
        return _Plan(known=_faults(subject, Check.FILE, error))
    areas = _areas(options)
    hosts = _hosts(config, options.names) if "hosts" in areas else ()
    known = [
        subject.ok(Check.FILE, f"hosts: {len(config.inventory().hosts)}, groups: {len(config.inventory().groups)}")
    ]
    secrets, missing = _secrets(subject, config, areas)
    known += _tools(subject, config)  # after the secrets are fetched: tools find none in the environment
    known += [_stop_file(subject, config), _runbooks(subject, config)]
    known += [*missing, *(_untried(areas) if missing else _absent(config, areas))]
    edges = [*_service_edges(config, secrets, areas, options.timeout)] if not missing else []
    shell = ParamikoShell(find=config.inventory().hosts.get)
    machines = HostMachines(shell, LocalShell())
    edges += _host_edges(HostDoctor(machines), hosts, options.timeout)
    return _Plan(tuple(edges), tuple(known), Redactor(secrets.values()), machines.close)


def _stop_file(subject: Subject, config: Config) -> Finding:
    path = config.stop_file()
    if not os.path.lexists(path.parent):
        # A running bot that cannot find its folder is stopped; before the first start there is none.
        return subject.ok(Check.STOP_FILE, f"{path} is not there, nor its folder yet")
    stop = StopFile(path).thrown()
    if stop is None:
        return subject.ok(Check.STOP_FILE, f"{path} is not there")
    return subject.warn(Check.STOP_FILE, told_why(stop), "`opsbot resume` removes it, once its reason is gone.")


def _runbooks(subject: Subject, config: Config) -> Finding:
    """Read the folder as the bot does, and look whether the backend is there; no endpoint is asked."""
    folder = config.runbooks_folder()
    if folder is None:
        return subject.skipped(Check.RUNBOOKS, "runbooks.folder is not set: there is nothing to search")
    settings = config.settings.runbooks
    backend = settings.backend if settings.backend != "auto" else "wordllama" if wheel_folder() else "none"
    shelved = RunbookFolder(folder).read()
    passages = sum(len(document.passages) for document in shelved.documents)
    said = f"{len(shelved.documents)} runbooks, {passages} passages, vectors by {backend}"
    if backend == "wordllama":
        try:
            check_weights(config.folder / Path(settings.weights).expanduser() if settings.weights else None)
        except ConfigError as error:
            return subject.fail(Check.RUNBOOKS, str(error), "Install it, or choose another `runbooks.backend`.")
    if not shelved.documents:
        why = str(shelved.faults[0]) if shelved.faults else f"{folder} holds no Markdown files"
        return subject.warn(Check.RUNBOOKS, why, "Put runbooks there, or correct `runbooks.folder`.")
    if shelved.faults:
        more = f"{said}; {len(shelved.faults)} faults, the first: {shelved.faults[0]}"
        return subject.warn(Check.RUNBOOKS, more, "`opsbot runbooks check` lists them all.")
    return subject.ok(Check.RUNBOOKS, said)


def _hosts(config: Config, names: Sequence[str]) -> tuple[Host, ...]:
    inventory = config.inventory()
    try:
        return inventory.resolve(names) if names else tuple(inventory.hosts.values())
    except UnknownHost as error:
        raise ConfigError(str(error)) from error


def _faults(subject: Subject, check: Check, error: ConfigError) -> tuple[Finding, ...]:
    return tuple(subject.fail(check, fault, "`opsbot check` lists every fault; correct it.") for fault in error.faults)


def _tools(subject: Subject, config: Config) -> tuple[Finding, ...]:
    try:
        return (subject.ok(Check.TOOLS, f"all {len(tools_of(config).tools)} load"),)
    except ConfigError as error:
        return _faults(subject, Check.TOOLS, error)


def _secrets(subject: Subject, config: Config, areas: Sequence[str]) -> tuple[Secrets, tuple[Finding, ...]]:
    """Fetch what the areas need: a look at hosts alone needs none."""
    if not set(areas) - {"hosts"}:
        return Secrets(), ()
    try:
        secrets = config.secrets(slack="slack" in areas)
    except ConfigError as error:
        return Secrets(), _faults(subject, Check.SECRETS, error)
    forget(config.secret_variables())  # commands on this machine must not find them there
    return secrets, ()


def _untried(areas: Sequence[str]) -> list[Finding]:
    said = "secrets are missing, see configuration"
    return [Subject(Area(area), area).skipped(Check.ALL, said) for area in areas if area != "hosts"]


def _host_edges(hosts_doctor: HostDoctor, hosts: Sequence[Host], timeout_s: float) -> Iterator[Edge]:
    def edge(host: Host) -> Edge:
        attempt = lambda within_s: hosts_doctor.check(host, timeout_s=within_s)  # noqa: E731 one host each
        return Edge(Subject(Area.HOSTS, host.name), attempt, timeout_s)

    yield from map(edge, hosts)


def _service_edges(config: Config, secrets: Secrets, areas: Sequence[str], timeout_s: float) -> Iterator[Edge]:
    if "slack" in areas and config.slack is not None:
        yield _slack_edge(config, config.slack, secrets, timeout_s)
    if "model" in areas and not config.model.keyless:
        # Deferred: importing openai takes more than a second of CPU, which a bot without a model must not pay.
        from opsbot.adapters.doctor_model import ModelDoctor  # noqa: PLC0415

        money = tuple(limit.setting for limit in config.budgets().limits if limit.unit is Unit.USD)
        model = ModelDoctor(
            _model_settings(config, secrets), money, config.prices(), lambda: read_learned(config.store_url(secrets))
        )
        yield Edge(model.subject, model.check, timeout_s)
    if "model" in areas and embeds_by_service(config):
        from opsbot.adapters.doctor_embeddings import EmbeddingDoctor  # noqa: PLC0415 deferred for the same reason

        vectors = EmbeddingDoctor(embedding_settings(config, secrets))
        yield Edge(vectors.subject, vectors.check, timeout_s)
    if "store" in areas:
        store = StoreDoctor(config.store_url(secrets), lambda: _audit_key(config, secrets))
        yield Edge(store.subject, store.check, timeout_s)


def _absent(config: Config, areas: Sequence[str]) -> Iterator[Finding]:
    """Say what is not tried because it is not configured."""
    if "slack" in areas and config.slack is None:
        yield Subject(Area.SLACK, "slack").skipped(Check.ALL, "no `slack:` section: terminal only")
    if "model" in areas and config.model.keyless:
        said = "no model is configured (keyless): commands and plain questions are answered without one"
        yield Subject(Area.MODEL, "no model").skipped(Check.ALL, said)
    if "hosts" in areas and not config.inventory().hosts:
        yield Subject(Area.HOSTS, "inventory").skipped(Check.ALL, "no hosts are configured")


def _slack_edge(config: Config, slack: Slack, secrets: Secrets, timeout_s: float) -> Edge:
    # Deferred, as the model's: a look at hosts needs no Slack library.
    from opsbot.adapters.doctor_slack import SlackDoctor  # noqa: PLC0415

    settings = SlackSettings(
        bot_token=_revealed(secrets.slack_bot_token),
        app_token=_revealed(secrets.slack_app_token),
        signing_secret=_revealed(secrets.slack_signing_secret),
        mode=slack.mode,
        api_url=slack.api_url,
        http_host=slack.http.host,
        http_port=slack.http.port,
        group_ids=config.rules().group_ids,
    )
    slack_doctor = SlackDoctor(settings, os.environ)
    return Edge(slack_doctor.subject, slack_doctor.check, timeout_s)


def _model_settings(config: Config, secrets: Secrets) -> ModelSettings:
    settings = config.model
    return ModelSettings(
        model=settings.name,
        base_url=settings.base_url or "",
        api_key=_revealed(secrets.model_api_key),
        api=settings.api,
        max_output_tokens=settings.max_output_tokens,
        temperature=settings.temperature,
        reasoning_effort=settings.reasoning_effort,
        salvage=settings.salvage,
    )


def _revealed(secret: Secret | None) -> str:
    return secret.reveal() if secret is not None else ""


def _audit_key(config: Config, secrets: Secrets) -> bytes:
    path = config.audit_key_file()
    if path is not None:
        return load_or_create_key(path, has_records=True)  # with records it is never made
    return parse_key(secrets.audit_key.reveal() if secrets.audit_key else "", "store.audit_key")
