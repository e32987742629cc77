"""Commands on the folder of runbooks: check it, index it, search it; beside a running bot or without one."""

import argparse
import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from opsbot import logs
from opsbot.adapters.clock import SystemClock
from opsbot.adapters.embedders import chosen_embedder
from opsbot.adapters.environment import forget
from opsbot.adapters.runbook_folder import RunbookFolder
from opsbot.adapters.store.beside import Beside, beside
from opsbot.cli_audit import audit_key
from opsbot.cli_config import config_of
from opsbot.config import Config
from opsbot.errors import ConfigError
from opsbot.passage_ports import Embedder
from opsbot.passages import Kind, Searched
from opsbot.redact import Redactor
from opsbot.shelves import Shelves
from opsbot.shelving import Shelving, Taken

_SHOWN = 5
_TIMEOUT_S = 60.0


def check(options: argparse.Namespace) -> int:
    """List what is wrong with the files; 0: nothing is."""
    config = config_of(options)
    folder = _folder(config)
    shelved = RunbookFolder(folder).read()
    for fault in shelved.faults:
        left_out = " It is left out." if fault.left_out else ""
        sys.stdout.write(f"{folder / fault.file}:{fault.line}: {fault.said}{left_out}\n")
    passages = sum(len(document.passages) for document in shelved.documents)
    sys.stdout.write(f"{len(shelved.documents)} runbooks, {passages} passages, {len(shelved.faults)} faults.\n")
    return 1 if shelved.faults else 0


def index(options: argparse.Namespace) -> int:
    """Take in what changed; 0: everything could be read and has its vector."""
    config = config_of(options)
    folder = RunbookFolder(_folder(config))
    with _opened(config) as (store, embedder):
        taken = asyncio.run(_indexed(store, folder, embedder))
    for fault in taken.shelved.faults:
        sys.stderr.write(f"opsbot: {fault}\n")
    if taken.trouble:
        sys.stderr.write(f"opsbot: vectors are missing: {taken.trouble}\n")
    how = f"{taken.embedded} new vectors by {embedder.name}" if embedder else "by words alone"
    known = len(taken.shelved.documents)
    sys.stdout.write(f"{known} runbooks: {taken.put} new or changed, {taken.removed} gone; {how}.\n")
    return 1 if taken.shelved.faults or taken.trouble else 0


def search(options: argparse.Namespace) -> int:
    """Print what is found; 1: nothing is."""
    config = config_of(options)
    kind = Kind.INCIDENT if options.incidents else Kind.RUNBOOK
    with _opened(config) as (store, embedder):
        searched = asyncio.run(_searched(store, embedder, kind, " ".join(options.words)))
    if searched.note:
        sys.stderr.write(f"opsbot: {searched.note}\n")
    for found in searched.found:
        text = "\n".join(f"    {line}" for line in found.text.splitlines())
        sys.stdout.write(f"{found.cite} (line {found.line}, score {found.score:.3f})\n{text}\n\n")
    if not searched.found:
        empty = kind is Kind.RUNBOOK and not searched.documents
        hint = " `opsbot runbooks index` takes the folder in." if empty else ""
        sys.stderr.write(f"opsbot: nothing among {searched.documents} fits.{hint}\n")
    return 0 if searched.found else 1


async def _indexed(store: Beside, folder: RunbookFolder, embedder: Embedder | None) -> Taken:
    shelves = Shelves(store.passages, store.incidents, embedder)
    shelving = Shelving(store.passages, shelves, SystemClock(), folder=folder, embedder=embedder)
    try:
        return await shelving.look()
    finally:
        if embedder is not None:
            await embedder.close()


async def _searched(store: Beside, embedder: Embedder | None, kind: Kind, question: str) -> Searched:
    shelves = Shelves(store.passages, store.incidents, embedder)
    shelves.open_in(asyncio.get_running_loop())
    try:
        return await asyncio.to_thread(lambda: shelves.search(kind, question, limit=_SHOWN, timeout_s=_TIMEOUT_S))
    finally:
        if embedder is not None:
            await embedder.close()


def _folder(config: Config) -> Path:
    folder = config.runbooks_folder()
    if folder is None:
        raise ConfigError(f"{config.source}: runbooks.folder is not set; name a folder of Markdown files.")
    return folder


@contextmanager
def _opened(config: Config) -> Iterator[tuple[Beside, Embedder | None]]:
    secrets = config.secrets(slack=False)
    forget(config.secret_variables())
    logs.configure("auto", "error", Redactor(secrets.values()))
    embedder = chosen_embedder(config, secrets)
    with beside(config.store_url(secrets), audit_key=audit_key(config, secrets)) as store:
        yield store, embedder
