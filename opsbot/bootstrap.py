"""Configuration to objects: the only module that knows every class. No logic."""

import asyncio
import getpass
import signal
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import structlog

from opsbot import __version__, logs
from opsbot.actions import Catalogue
from opsbot.adapters.anchorages import chosen, newest_in
from opsbot.adapters.clock import SystemClock
from opsbot.adapters.darkroom import ProcessDarkroom
from opsbot.adapters.embedders import chosen_embedder, embeds_by_service, endpoint_of
from opsbot.adapters.environment import forget
from opsbot.adapters.keyless import KeylessModel
from opsbot.adapters.local import LocalShell
from opsbot.adapters.machines import HostMachines
from opsbot.adapters.metrics import Metrics, exposed
from opsbot.adapters.runbook_folder import RunbookFolder
from opsbot.adapters.slack.connection import SlackConnection
from opsbot.adapters.slack.settings import SlackSettings
from opsbot.adapters.ssh import ParamikoShell
from opsbot.adapters.stop_file import StopFile
from opsbot.adapters.store import SqlStore, Watch, has_audit, open_store
from opsbot.adapters.systemd import READY, STOPPING, Systemd
from opsbot.adapters.terminal import TerminalChat, TerminalDirectory
from opsbot.anchoring import Anchoring
from opsbot.assembly import NoPrices, Ports, Settings, assemble
from opsbot.audit_key import load_or_create_key, parse_key
from opsbot.checkpoint import Brakes
from opsbot.condensing import WINDOW_TOKENS, Window
from opsbot.config import Config, Secrets
from opsbot.config_watch import WatchedConfig
from opsbot.domain import (
    Actor,
    Approval,
    ApprovalState,
    Incoming,
    IncomingCommand,
    IncomingDecision,
    IncomingMessage,
    Place,
)
from opsbot.embedding_usage import EmbeddingUsage
from opsbot.errors import ConfigError, Fenced
from opsbot.passage_ports import Embedder
from opsbot.picture_ports import Attachments
from opsbot.policy import TERMINAL_TEAM
from opsbot.ports import Chat, ChatModel, Directory, Prices
from opsbot.prompts import prompt_digest
from opsbot.provenance import Provenance, record_start, tools_digest
from opsbot.redact import Redactor
from opsbot.reload import InventoryReload, InventorySource
from opsbot.replica import Replica
from opsbot.service import Service
from opsbot.sights import NO_MODEL, SWITCHED_OFF
from opsbot.spending import Spending
from opsbot.toolbox import tools_of
from opsbot.turn import Limits

log = structlog.get_logger(__name__)


async def serve(config: Config, *, ready: Callable[[], None] | None = None) -> None:
    """Run the Slack bot until SIGINT or SIGTERM; `ready` is called once events can arrive.

    Raises:
        ConfigError, StoreError, ChatError: it cannot start; the text says why and what to do.
    """
    if config.slack is None:
        raise ConfigError(f"{config.source}: there is no `slack:` section; add one, or use `opsbot chat`.")
    base = _Base.of(config, config.secrets())
    systemd = Systemd.found()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, _begin_to_stop, stop, systemd)

    def announced() -> None:
        systemd.tell(READY)
        if ready is not None:
            ready()

    async with systemd.watched():
        with _measured(base):
            await _serve(base, stop, announced)


async def _serve(base: "_Base", stop: asyncio.Event, ready: Callable[[], None]) -> None:
    config = base.config
    settings = _slack_settings(config, base.secrets)
    connection = await SlackConnection.open(settings, check=base.replica.check_sure)
    try:
        channel = config.settings.audit.anchor.channel
        anchored = _anchored(base, (connection.chat, channel) if channel else None)
        running = _running(
            base,
            connection.chat,
            connection.directory,
            sample_every_s=config.settings.history.every_s,
            attachments=connection.attachments,
        )
        async with anchored, running as service, _reloading(base):
            announcing = asyncio.create_task(_announce(connection, ready))
            await _unless_given_up(connection.serve(service, stop), service)
            announcing.cancel()
            log.info("opsbot.stopping")
    finally:
        await connection.close()


def _begin_to_stop(stop: asyncio.Event, systemd: Systemd) -> None:
    systemd.tell(STOPPING)
    stop.set()


async def _unless_given_up(serving: Coroutine[Any, Any, None], service: Service) -> None:
    """Serve to the end. A replica the others gave up stops where it stands: what it still had to send is theirs.

    Raises:
        Fenced: it was given up.
    """
    task = asyncio.ensure_future(serving)
    given_up = asyncio.create_task(service.given_up.wait())
    await asyncio.wait({task, given_up}, return_when=asyncio.FIRST_COMPLETED)
    given_up.cancel()
    if task.done():
        task.result()
        return
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    raise Fenced("The other replicas gave this one up after it was silent for too long. Its work is theirs now.")


async def converse(config: Config, *, question: str | None) -> int:
    """Talk on the terminal: one question, or (None) until the person leaves. Returns the exit code."""
    base = _Base.of(config, config.secrets(slack=False))
    chat = TerminalChat()
    async with _anchored(base, None), _running(base, chat, TerminalDirectory()) as service:
        talk = _TerminalTalk(base, service, chat)
        if question is not None:
            await talk.say(question)
            return 0
        while (line := await chat.read_line()) is not None:
            if line.strip():
                await talk.say(line)
    return 0


@asynccontextmanager
async def on_chat(
    config: Config, secrets: Secrets, chat: Chat, directory: Directory
) -> AsyncIterator[tuple[Service, SqlStore]]:
    """Run the whole bot on a chat service of the caller's; yield it with its store. Raises as `serve`."""
    base = _Base.of(config, secrets)
    async with _anchored(base, None), _running(base, chat, directory) as service:
        yield service, base.store


@dataclass(frozen=True, slots=True)
class _Base:
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
    def of(config: Config, secrets: Secrets) -> "_Base":
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
        return _Base(config, secrets, redactor, catalogue, store, key, anchoring, replica, switch, metrics)


@contextmanager
def _measured(base: _Base) -> Iterator[None]:
    """Let metrics be read, if the configuration says where. Raises ConfigError."""
    listen = base.config.settings.metrics.listen
    if base.metrics is None or listen is None:
        yield
        return

    async def waiting() -> dict[str, int]:
        states = (ApprovalState.PENDING, ApprovalState.APPROVED, ApprovalState.EXECUTING, ApprovalState.UNKNOWN)
        found = Counter(approval.state for approval in await base.store.approvals.in_state(*states))
        return {str(state): found[state] for state in states}

    base.metrics.tell(version=__version__, model=base.config.model.name)
    with exposed(base.metrics, listen, waiting):
        log.info("metrics.listening", listen=listen)
        yield


def _audit_key(config: Config, secrets: Secrets, url: str) -> bytes:
    if secrets.audit_key is not None:
        return parse_key(secrets.audit_key.reveal(), "store.audit_key")
    path = config.audit_key_file()
    if path is None:
        raise ConfigError(f"{config.source}: store.audit_key is missing; PostgreSQL has no folder to keep one in.")
    path.parent.mkdir(parents=True, exist_ok=True)
    return load_or_create_key(path, has_records=has_audit(url))


@asynccontextmanager
async def _anchored(base: _Base, posting: tuple[Chat, str] | None) -> AsyncIterator[None]:
    """Note heads of the audit log while it grows; `posting`: also in this channel."""
    anchorages = chosen(base.config.settings.audit.anchor.syslog, base.config.anchor_file(), posting)
    log.info("audit.anchored_in", places=[anchorage.name for anchorage in anchorages])
    running = asyncio.create_task(base.anchoring.run(anchorages))
    try:
        yield
    finally:
        await base.anchoring.end(running)


@asynccontextmanager
async def _running(
    base: _Base,
    chat: Chat,
    directory: Directory,
    *,
    sample_every_s: float = 0.0,
    attachments: Attachments | None = None,
) -> AsyncIterator[Service]:
    """A started service, and an orderly end of everything it uses; `sample_every_s` as `Settings` says."""
    mind = _mind(base)
    darkroom = ProcessDarkroom()
    catalogue = base.catalogue
    machines = HostMachines(ParamikoShell(find=lambda name: catalogue.inventory.hosts.get(name)), LocalShell())
    limits = base.config.limits
    settings = Settings(
        rules=base.config.rules(),
        button_key=base.key,
        pace=base.config.pace(),
        limits=Limits(limits.rounds, limits.calls, limits.tokens, limits.turn_s, base.config.model.max_output_tokens),
        lifetime_s=base.config.policy.approval_expires_s,
        threads=limits.parallel_hosts,
        rates=base.config.rates(),
        sample_every_s=sample_every_s,
        brakes=Brakes(base.config.caps(), base.config.freezes(), base.switch),
        spending=Spending(mind.endpoint, base.config.budgets()),
        reports=base.config.report_rules(),
        window=Window(mind.context_tokens, base.config.model.max_output_tokens, limits.tokens),
        unable_to_look=NO_MODEL if base.config.model.keyless else "" if base.config.model.vision else SWITCHED_OFF,
    )
    folder, embedder = base.config.runbooks_folder(), _embedder(base)
    ports = Ports(
        store=base.store,
        chat=chat,
        directory=directory,
        model=mind.model,
        machines=machines,
        clock=SystemClock(),
        replica=base.replica,
        prices=mind.prices,
        runbooks=RunbookFolder(folder) if folder else None,
        embedder=embedder,
        attachments=attachments,
        darkroom=darkroom,
    )
    service = assemble(ports, base.catalogue, base.redactor, settings)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, base.switch.throw, "SIGUSR1")
    try:
        await _record_start(base, mind.model.name)
        await service.start()
        yield service
    finally:
        await service.stop()
        await mind.model.close()
        if embedder is not None:
            await embedder.close()
        darkroom.close()
        await asyncio.to_thread(machines.close)
        await base.store.close()


async def _record_start(base: _Base, model: str) -> None:
    registry, inventory = base.catalogue.registry, base.catalogue.inventory
    provenance = Provenance(
        version=__version__,
        model=model,
        prompt=prompt_digest(),
        policy=base.config.rules().revision,
        tools=tools_digest(registry.tools),
        inventory=inventory.revision,
    )
    if changed := await record_start(base.store.audit, provenance, SystemClock().now()):
        log.warning("opsbot.changed", since_last_start=changed)


@asynccontextmanager
async def _reloading(base: _Base) -> AsyncIterator[None]:
    """Take over a changed inventory by itself, and at once on SIGHUP."""
    watched = WatchedConfig(base.config)
    source = InventorySource(watched.load, watched.stamp)
    reload = InventoryReload(source, base.catalogue, base.store.audit, SystemClock())
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload.ask)
    watching = asyncio.create_task(reload.run())
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


@dataclass(frozen=True, slots=True)
class _Mind:
    """The model, what kind of endpoint it is behind, what it costs and how much it can read."""

    model: ChatModel
    endpoint: str
    prices: Prices
    context_tokens: int = WINDOW_TOKENS


def _mind(base: _Base) -> _Mind:
    settings = base.config.model
    if settings.keyless:
        catalogue = base.catalogue
        model = KeylessModel(lambda: tuple(catalogue.inventory.hosts.values()), lambda: catalogue.inventory.groups)
        return _Mind(model, "none", NoPrices())
    # Deferred: importing openai takes more than a second of CPU, which a bot without a model must not pay.
    from opsbot.adapters.openai_model import ModelSettings, OpenAIModel  # noqa: PLC0415
    from opsbot.adapters.prices import KnownPrices, context_tokens  # noqa: PLC0415

    key = base.secrets.model_api_key
    found = ModelSettings(
        model=settings.name,
        base_url=settings.base_url or "",
        api_key=key.reveal() if key else "",
        api=settings.api,
        max_output_tokens=settings.max_output_tokens,
        temperature=settings.temperature,
        reasoning_effort=settings.reasoning_effort,
        salvage=settings.salvage,
        vision=settings.vision,
    )
    reads = settings.context_tokens or context_tokens(settings.name, found.url) or WINDOW_TOKENS
    return _Mind(
        OpenAIModel(found, memory=base.store.endpoints), found.kind, KnownPrices(found.url, base.config.prices()), reads
    )


def _embedder(base: _Base) -> Embedder | None:
    if not embeds_by_service(base.config):
        return chosen_embedder(base.config, base.secrets)
    # Deferred, as in `_mind`.
    from opsbot.adapters.openai_endpoint import ModelSettings  # noqa: PLC0415
    from opsbot.adapters.prices import KnownPrices  # noqa: PLC0415

    base_url, _ = endpoint_of(base.config, base.secrets)
    asked = ModelSettings(base.config.settings.runbooks.model, base_url)
    prices = KnownPrices(asked.url, base.config.prices())
    usage = EmbeddingUsage(base.store.usage, prices, SystemClock(), asked.model, asked.kind)
    return chosen_embedder(base.config, base.secrets, took=usage.took)


def _slack_settings(config: Config, secrets: Secrets) -> SlackSettings:
    slack = config.slack
    if slack is None:
        raise ConfigError(f"{config.source}: there is no `slack:` section.")
    found = {
        "bot_token": secrets.slack_bot_token,
        "app_token": secrets.slack_app_token,
        "signing_secret": secrets.slack_signing_secret,
    }
    return SlackSettings(
        mode=slack.mode,
        api_url=slack.api_url,
        http_host=slack.http.host,
        http_port=slack.http.port,
        group_ids=config.rules().group_ids,
        links=frozenset(slack.links),
        **{"bot_token": ""} | {name: secret.reveal() for name, secret in found.items() if secret is not None},
    )


async def _announce(connection: SlackConnection, ready: Callable[[], None]) -> None:
    await connection.ready.wait()
    log.info("opsbot.ready", team_id=connection.team_id)
    ready()


class _TerminalTalk:
    """One conversation with the person at the terminal."""

    def __init__(self, base: _Base, service: Service, chat: TerminalChat) -> None:
        self._base = base
        self._service = service
        self._chat = chat
        self._actor = Actor(TERMINAL_TEAM, getpass.getuser())
        self._place = Place(TERMINAL_TEAM, "terminal", uuid.uuid4().hex, direct=True)

    async def say(self, line: str) -> None:
        """Send one line, wait for everything it sets off, and ask for the decisions it calls for."""
        text = line.strip()
        command = text.removeprefix("/ops ").removeprefix("!") if text.startswith(("!", "/ops ")) else ""
        await self._send(
            IncomingCommand(self._place, self._actor, command)
            if command
            else IncomingMessage(self._place, self._actor, text, uuid.uuid4().hex)
        )
        await self._decide()

    async def _decide(self) -> None:
        for approval in await self._base.store.approvals.of_conversation(self._place.key):
            if approval.state is not ApprovalState.PENDING:
                continue
            # A key that was pressed before the card can have been read must not count.
            await asyncio.sleep(self._base.config.policy.read_s)
            await self._decide_one(approval)

    async def _decide_one(self, approval: Approval) -> None:
        """Ask for a decision, and again after each host that is left out."""
        while (answer := await self._chat.ask_decision(approval)) != "later":
            if answer in ("approve", "deny"):
                await self._send(IncomingDecision(self._place, self._actor, approval.id, answer, ""))
            else:
                await self._send(IncomingCommand(self._place, self._actor, answer))
            if not answer.startswith("leave-out"):
                return
            await asyncio.sleep(self._base.config.policy.read_s)

    async def _send(self, event: Incoming) -> None:
        await self._service.accept((f"terminal:{uuid.uuid4().hex}",), event)
        with suppress(asyncio.CancelledError):
            await self._service.idle()
