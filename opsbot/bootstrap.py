"""Configuration to objects: the only module that knows every class. No logic."""

import asyncio
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import Any

import structlog

from opsbot import __version__
from opsbot.adapters.anchorages import chosen
from opsbot.adapters.clock import SystemClock
from opsbot.adapters.darkroom import ProcessDarkroom
from opsbot.adapters.local import LocalShell
from opsbot.adapters.machines import HostMachines
from opsbot.adapters.metrics import exposed
from opsbot.adapters.runbook_folder import RunbookFolder
from opsbot.adapters.slack.connection import SlackConnection
from opsbot.adapters.slack.settings import SlackSettings
from opsbot.adapters.ssh import ParamikoShell
from opsbot.adapters.store import SqlStore
from opsbot.adapters.systemd import READY, STOPPING, Systemd
from opsbot.adapters.terminal import TerminalChat, TerminalDirectory
from opsbot.assembly import Ports, Settings, assemble
from opsbot.checkpoint import Brakes
from opsbot.condensing import Window
from opsbot.config import Config, Secrets
from opsbot.config_watch import WatchedConfig
from opsbot.domain import (
    ApprovalState,
)
from opsbot.errors import ConfigError, Fenced
from opsbot.ground import Ground
from opsbot.mind import embedder_of, mind_of
from opsbot.picture_ports import Attachments
from opsbot.ports import Chat, Directory
from opsbot.prompts import prompt_digest
from opsbot.provenance import Provenance, record_start, tools_digest
from opsbot.reload import InventoryReload, InventorySource
from opsbot.service import Service
from opsbot.sights import NO_MODEL, SWITCHED_OFF
from opsbot.spending import Spending
from opsbot.terminal_talk import TerminalTalk
from opsbot.turn_limits import Limits

log = structlog.get_logger(__name__)


async def serve(config: Config, *, ready: Callable[[], None] | None = None) -> None:
    """Run the Slack bot until SIGINT or SIGTERM; `ready` is called once events can arrive.

    Raises:
        ConfigError, StoreError, ChatError: it cannot start; the text says why and what to do.
    """
    if config.slack is None:
        raise ConfigError(f"{config.source}: there is no `slack:` section; add one, or use `opsbot chat`.")
    ground = Ground.of(config, config.secrets())
    systemd = Systemd.found()
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, _begin_to_stop, stop, systemd)

    def announced() -> None:
        systemd.tell(READY)
        if ready is not None:
            ready()

    async with systemd.watched():
        with _measured(ground):
            await _serve(ground, stop, announced)


async def _serve(ground: Ground, stop: asyncio.Event, ready: Callable[[], None]) -> None:
    config = ground.config
    settings = _slack_settings(config, ground.secrets)
    connection = await SlackConnection.open(settings, check=ground.replica.check_sure)
    try:
        channel = config.settings.audit.anchor.channel
        anchored = _anchored(ground, (connection.chat, channel) if channel else None)
        running = _running(
            ground,
            connection.chat,
            connection.directory,
            sample_every_s=config.settings.history.every_s,
            attachments=connection.attachments,
        )
        async with anchored, running as service, _reloading(ground):
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
    ground = Ground.of(config, config.secrets(slack=False))
    chat = TerminalChat()
    async with _anchored(ground, None), _running(ground, chat, TerminalDirectory()) as service:
        talk = TerminalTalk(ground, service, chat)
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
    ground = Ground.of(config, secrets)
    async with _anchored(ground, None), _running(ground, chat, directory) as service:
        yield service, ground.store


@contextmanager
def _measured(ground: Ground) -> Iterator[None]:
    """Let metrics be read, if the configuration says where. Raises ConfigError."""
    listen = ground.config.settings.metrics.listen
    if ground.metrics is None or listen is None:
        yield
        return

    async def waiting() -> dict[str, int]:
        states = (ApprovalState.PENDING, ApprovalState.APPROVED, ApprovalState.EXECUTING, ApprovalState.UNKNOWN)
        found = Counter(approval.state for approval in await ground.store.approvals.in_state(*states))
        return {str(state): found[state] for state in states}

    ground.metrics.tell(version=__version__, model=ground.config.model.name)
    with exposed(ground.metrics, listen, waiting):
        log.info("metrics.listening", listen=listen)
        yield


@asynccontextmanager
async def _anchored(ground: Ground, posting: tuple[Chat, str] | None) -> AsyncIterator[None]:
    """Note heads of the audit log while it grows; `posting`: also in this channel."""
    anchorages = chosen(ground.config.settings.audit.anchor.syslog, ground.config.anchor_file(), posting)
    log.info("audit.anchored_in", places=[anchorage.name for anchorage in anchorages])
    running = asyncio.create_task(ground.anchoring.run(anchorages))
    try:
        yield
    finally:
        await ground.anchoring.end(running)


@asynccontextmanager
async def _running(
    ground: Ground,
    chat: Chat,
    directory: Directory,
    *,
    sample_every_s: float = 0.0,
    attachments: Attachments | None = None,
) -> AsyncIterator[Service]:
    """A started service, and an orderly end of everything it uses; `sample_every_s` as `Settings` says."""
    mind = mind_of(ground)
    darkroom = ProcessDarkroom()
    catalogue = ground.catalogue
    machines = HostMachines(ParamikoShell(find=lambda name: catalogue.inventory.hosts.get(name)), LocalShell())
    limits = ground.config.limits
    settings = Settings(
        rules=ground.config.rules(),
        button_key=ground.key,
        pace=ground.config.pace(),
        limits=Limits(limits.rounds, limits.calls, limits.tokens, limits.turn_s, ground.config.model.max_output_tokens),
        lifetime_s=ground.config.policy.approval_expires_s,
        threads=limits.parallel_hosts,
        rates=ground.config.rates(),
        sample_every_s=sample_every_s,
        brakes=Brakes(ground.config.caps(), ground.config.freezes(), ground.switch),
        spending=Spending(mind.endpoint, ground.config.budgets()),
        reports=ground.config.report_rules(),
        window=Window(mind.context_tokens, ground.config.model.max_output_tokens, limits.tokens),
        unable_to_look=NO_MODEL if ground.config.model.keyless else "" if ground.config.model.vision else SWITCHED_OFF,
    )
    folder, embedder = ground.config.runbooks_folder(), embedder_of(ground)
    ports = Ports(
        store=ground.store,
        chat=chat,
        directory=directory,
        model=mind.model,
        machines=machines,
        clock=SystemClock(),
        replica=ground.replica,
        prices=mind.prices,
        runbooks=RunbookFolder(folder) if folder else None,
        embedder=embedder,
        attachments=attachments,
        darkroom=darkroom,
    )
    service = assemble(ports, ground.catalogue, ground.redactor, settings)
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, ground.switch.throw, "SIGUSR1")
    try:
        await _record_start(ground, mind.model.name)
        await service.start()
        yield service
    finally:
        await service.stop()
        await mind.model.close()
        if embedder is not None:
            await embedder.close()
        darkroom.close()
        await asyncio.to_thread(machines.close)
        await ground.store.close()


async def _record_start(ground: Ground, model: str) -> None:
    registry, inventory = ground.catalogue.registry, ground.catalogue.inventory
    provenance = Provenance(
        version=__version__,
        model=model,
        prompt=prompt_digest(),
        policy=ground.config.rules().revision,
        tools=tools_digest(registry.tools),
        inventory=inventory.revision,
    )
    if changed := await record_start(ground.store.audit, provenance, SystemClock().now()):
        log.warning("opsbot.changed", since_last_start=changed)


@asynccontextmanager
async def _reloading(ground: Ground) -> AsyncIterator[None]:
    """Take over a changed inventory by itself, and at once on SIGHUP."""
    watched = WatchedConfig(ground.config)
    source = InventorySource(watched.load, watched.stamp)
    reload = InventoryReload(source, ground.catalogue, ground.store.audit, SystemClock())
    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, reload.ask)
    watching = asyncio.create_task(reload.run())
    try:
        yield
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError):
            await watching


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
