"""How well runbooks are found: recall@1, 3 and 5 and MRR over the cases of runbook_cases.py, by words and by meaning.

.venv/bin/python benchmarks/runbooks.py                       words alone, and WordLlama if it is installed
OPENAI_API_KEY=… .venv/bin/python benchmarks/runbooks.py --model text-embedding-3-small [--base-url URL]
.venv/bin/python benchmarks/runbooks.py --details             each case that is not found first
"""

import argparse
import asyncio
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runbook_cases import MEANING, NOWHERE, WORDS

from opsbot.adapters.clock import SystemClock
from opsbot.adapters.embedding_wordllama import WordLlamaEmbedder
from opsbot.adapters.runbook_folder import RunbookFolder
from opsbot.adapters.store import SqlStore, open_store
from opsbot.adapters.wordllama_weights import wheel_folder
from opsbot.passage_ports import Embedder
from opsbot.passages import Kind
from opsbot.shelves import Shelves
from opsbot.shelving import Shelving

FOLDER = Path(__file__).resolve().parents[1] / "opsbot/example_runbooks"
LIMIT = 5
# Every third case is held out: nothing is chosen by it.
HELD_OUT = 3


@dataclass(frozen=True, slots=True)
class Figures:
    """Ranks of the expected passages; 0: not among the first five."""

    ranks: tuple[int, ...]

    def __str__(self) -> str:
        count = len(self.ranks)
        recalls = [sum(0 < rank <= most for rank in self.ranks) for most in (1, 3, 5)]
        mrr = sum(1 / rank for rank in self.ranks if rank) / count
        return "  ".join(f"{found:3d}/{count}" for found in recalls) + f"  {mrr:.3f}"


def main(argv: Sequence[str] | None = None) -> int:
    """Index the example runbooks with each backend and print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", help="a model of an endpoint of the OpenAI kind")
    parser.add_argument("--base-url", default="")
    parser.add_argument("--details", action="store_true")
    options = parser.parse_args(argv)
    print(f"{'':28}{'@1':>7}{'@3':>8}{'@5':>8}{'MRR':>7}")
    for name, embedder in _backends(options):
        with tempfile.TemporaryDirectory(prefix="opsbot-runbooks-") as folder:
            asyncio.run(_measure(name, embedder, f"sqlite:///{folder}/opsbot.db", details=options.details))
    return 0


def _backends(options: argparse.Namespace) -> list[tuple[str, Embedder | None]]:
    backends: list[tuple[str, Embedder | None]] = [("words", None)]
    if wheel_folder() is not None:
        backends.append(("words + wordllama", WordLlamaEmbedder()))
    if options.model:
        # Deferred: importing openai takes more than a second.
        from opsbot.adapters.embedding_openai import EmbeddingSettings, OpenAIEmbedder  # noqa: PLC0415

        backend = "compatible" if options.base_url else "openai"
        key = os.environ.get("OPENAI_API_KEY", "")
        settings = EmbeddingSettings(backend, options.model, options.base_url, key)
        backends.append((f"words + {options.model}"[:26], OpenAIEmbedder(settings)))
    return backends


async def _measure(name: str, embedder: Embedder | None, url: str, *, details: bool) -> None:
    store: SqlStore = open_store(url, audit_key=bytes(32))
    try:
        shelves = Shelves(store.passages, store.incidents, embedder)
        shelving = Shelving(store.passages, shelves, SystemClock(), folder=RunbookFolder(FOLDER), embedder=embedder)
        shelves.open_in(asyncio.get_running_loop())
        began = time.process_time()
        taken = await shelving.look()
        indexed_s = time.process_time() - began
        if taken.trouble:
            sys.exit(f"{name}: {taken.trouble}")
        began = time.process_time()
        await asyncio.to_thread(_print, name, shelves, details)
        asked = len(WORDS) + len(MEANING) + len(NOWHERE)
        searched_ms = (time.process_time() - began) * 1000 / asked
        print(f"  {indexed_s:.2f} CPU-s to index {taken.put} runbooks, {searched_ms:.1f} CPU-ms a question\n")
    finally:
        await store.close()


def _print(name: str, shelves: Shelves, details: bool) -> None:
    for kind, cases in (("words in common", WORDS), ("other words", MEANING)):
        ranks = tuple(_rank(shelves, case, details) for case in cases)
        chosen = tuple(rank for number, rank in enumerate(ranks) if number % HELD_OUT != HELD_OUT - 1)
        held = ranks[HELD_OUT - 1 :: HELD_OUT]
        print(f"{name}: {kind}")
        for part, some in (("all", ranks), ("to choose by", chosen), ("held out", held)):
            print(f"  {part:26}{Figures(some)}")
    answered = [words for words in NOWHERE if (found := _search(shelves, words)) and _claims(found[0], words, details)]
    print(f"{name}: {len(NOWHERE) - len(answered)} of {len(NOWHERE)} questions without an answer get none")


def _rank(shelves: Shelves, case: tuple[str, str, str], details: bool) -> int:
    words, file, heading = case
    cites = [cite for cite, _ in _search(shelves, words)]
    wanted = f"{file} › {heading}"
    rank = cites.index(wanted) + 1 if wanted in cites else 0
    if details and rank != 1:
        print(f"    {rank}  {words!r}: wanted {wanted}, first {cites[:1]}")
    return rank


def _search(shelves: Shelves, words: str) -> list[tuple[str, float]]:
    found = shelves.search(Kind.RUNBOOK, words, limit=LIMIT, timeout_s=30).found
    return [(each.cite, each.score) for each in found]


def _claims(first: tuple[str, float], words: str, details: bool) -> bool:
    if details:
        print(f"    {words!r} gets {first}")
    return True


if __name__ == "__main__":
    sys.exit(main())
