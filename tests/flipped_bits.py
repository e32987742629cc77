"""Flips single bits of stored audit records, one after the other, as a failing disk or a hand on the database would."""

import random
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_COLUMNS = ("seq", "prev", "entry", "hash", "approval_id")


@dataclass(frozen=True)
class Flip:
    """One flipped bit: of which record and column."""

    seq: int
    column: str
    stored: bytes | int
    flipped: bytes | int


def flips(path: Path, count: int, *, dice: random.Random) -> Iterator[Flip]:
    """Yield with one bit of one record flipped, each time another, and take it back before the next."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.text_factory = bytes
    (last,) = connection.execute("SELECT max(seq) FROM audit").fetchone()
    try:
        for _ in range(count):
            flip = _draw(connection, last, dice)
            _write(connection, flip.seq, flip.column, flip.flipped)
            yield flip
            here = int(flip.flipped) if flip.column == "seq" else flip.seq
            _write(connection, here, flip.column, flip.stored)
    finally:
        connection.close()


def _draw(connection: sqlite3.Connection, last: int, dice: random.Random) -> Flip:
    seq, column = dice.randint(1, last), dice.choice(_COLUMNS)
    (stored,) = connection.execute(f"SELECT {column} FROM audit WHERE seq = ?", (seq,)).fetchone()
    return Flip(seq, column, stored, _flip(stored, dice))


def _write(connection: sqlite3.Connection, seq: int, column: str, value: bytes | int) -> None:
    assignment = "seq = ?" if column == "seq" else f"{column} = CAST(? AS TEXT)"
    done = connection.execute(f"UPDATE OR REPLACE audit SET {assignment} WHERE seq = ?", (value, seq))
    assert done.rowcount == 1


def _flip(stored: bytes | int, dice: random.Random) -> bytes | int:
    if isinstance(stored, int):
        # Beyond the numbers in use, so that no other row is overwritten and the flip can be taken back.
        return stored ^ (1 << dice.randint(20, 40))
    if not stored:
        return bytes([1 << dice.randint(0, 7)])
    position = dice.randrange(len(stored))
    return stored[:position] + bytes([stored[position] ^ (1 << dice.randint(0, 7))]) + stored[position + 1 :]
