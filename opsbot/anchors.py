"""Anchors: the head of the audit log as one line of text, noted where whoever can write the database cannot."""

import hmac
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from opsbot.audit import sign

Head: TypeAlias = tuple[int, str]

_LINE = re.compile(r"opsbot-audit-anchor ([1-9][0-9]{0,17}):([0-9a-f]{64}) ([0-9a-f]{32})(?![0-9a-f])", re.ASCII)


@dataclass(frozen=True, slots=True)
class Found:
    """Anchors of one log among other text. `foreign` counts those of other logs, and forged ones."""

    heads: tuple[Head, ...]
    foreign: int = 0

    @property
    def newest(self) -> Head | None:
        """The one with the highest number."""
        return max(self.heads, default=None)


def anchor_line(head: Head, key: bytes) -> str:
    """Write a head down, sealed so that nobody without the key can make one up."""
    seq, text = head
    return f"opsbot-audit-anchor {seq}:{text} {_seal(head, key)}"


def find_anchors(lines: Iterable[str], key: bytes) -> Found:
    """Find the anchors in a syslog, a journal, an export of a channel, or any other text."""
    heads: dict[Head, None] = {}
    foreign = 0
    for line in lines:
        for seq, text, seal in _LINE.findall(line):
            head = int(seq), text
            if hmac.compare_digest(seal, _seal(head, key)):
                heads[head] = None
            else:
                foreign += 1
    return Found(tuple(heads), foreign)


def _seal(head: Head, key: bytes) -> str:
    # A key of its own, derived: a seal can never be mistaken for a record's hash.
    derived = hmac.digest(key, b"opsbot audit anchor", "sha256")
    return sign(f"{head[0]}:{head[1]}".encode(), derived)[:32]
