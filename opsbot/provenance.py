"""What this process is: digests of everything that decides how it behaves, recorded at each start."""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import datetime

import rfc8785

from opsbot.domain import AuditEntry, Json
from opsbot.ports import AuditLog
from opsbot.tooling import Tool

STARTED = "opsbot.started"


@dataclass(frozen=True, slots=True)
class Provenance:
    """Version and model by name; the rest as hex SHA-256."""

    version: str
    model: str
    prompt: str
    policy: str
    tools: str
    inventory: str


async def record_start(log: AuditLog, provenance: Provenance, at: datetime) -> tuple[str, ...]:
    """Record a start, and return what differs from the last one's.

    Raises:
        StoreError: it cannot be recorded, so nothing may be started.
    """
    last = await log.newest(STARTED)
    own: dict[str, Json] = asdict(provenance)
    before = last.entry.facts if last else own
    changed = tuple(name for name, value in own.items() if before.get(name) != value)
    await log.append(AuditEntry(STARTED, at, facts={**own, "changed": [*changed]}))
    return changed


def tools_digest(tools: Iterable[Tool]) -> str:
    """Hex SHA-256 over names, risks, descriptions and files of the tools."""
    listed: list[Json] = [[tool.name, str(tool.risk), tool.description, tool.sha256] for tool in tools]
    return hashlib.sha256(rfc8785.dumps(listed)).hexdigest()
