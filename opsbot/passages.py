"""What can be searched: documents in passages, one below each heading, and incidents that were written down. Pure."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import TypeAlias

from opsbot.readable import plain_line, plain_text

# As people read it in an answer: `disk-full.md › What may be deleted`.
ARROW = " › "
_TITLE_CHARS = 200
_INCIDENT_CHARS = 2000
# Words of a question that are looked up; more are no better.
_WORDS_MAX = 24
_WORD = re.compile(r"[^\W_]+")
# They stand in every text, so that demanding them would find nothing.
_COMMON = frozenset(
    re.findall(
        "[a-z]+",
        """
a about after all also am an and any are as at be because been before but by can could did do does for from
get had has have help how i if in into is it its me my no not of on or our out please should show so some than
that the their them then there these they this to too up us was we were what when where which while who why
will with would you your runbook runbooks
""",
    )
)

# Unit length, so that a product is the cosine.
Vector: TypeAlias = Sequence[float]


class Kind(StrEnum):
    """What a document is."""

    RUNBOOK = "runbook"
    INCIDENT = "incident"


@dataclass(frozen=True, slots=True)
class Passage:
    """Text below one heading. `headings`: the path to it from the top; `line`: where it begins in its file, from 1."""

    headings: tuple[str, ...]
    line: int
    text: str


@dataclass(frozen=True, slots=True)
class Document:
    """A runbook by its path in the folder, or an incident by its id. `labels`: services, hosts and tags it is about.

    `digest` changes with anything in it.
    """

    kind: Kind
    name: str
    title: str
    digest: str
    labels: tuple[str, ...] = ()
    passages: tuple[Passage, ...] = ()

    def heading(self, passage: Passage) -> str:
        """Return the path of headings, without the top one that only repeats the title."""
        path = passage.headings
        if len(path) > 1 and path[0].casefold() == self.title.casefold():
            path = path[1:]
        return ARROW.join(path) or self.title

    def embedded_text(self, passage: Passage) -> str:
        """Return what is turned into a vector: the text with what it is about."""
        return f"{self.title}: {self.heading(passage)}\n{' '.join(self.labels)}\n{passage.text}"


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a file of runbooks. `left_out`: nothing of it can be found."""

    file: str
    line: int
    said: str
    left_out: bool = True

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.said}"


@dataclass(frozen=True, slots=True)
class Shelved:
    """What a folder of runbooks holds. Not `whole`: the folder itself cannot be read, so nothing is known of it."""

    documents: tuple[Document, ...] = ()
    faults: tuple[Fault, ...] = ()
    whole: bool = True


@dataclass(frozen=True, slots=True)
class Found:
    """A passage that was found. `score`: higher is better; comparable within one ranking only."""

    id: int
    kind: Kind
    document: str
    title: str
    heading: str
    line: int
    text: str
    score: float

    @property
    def cite(self) -> str:
        """Return what an answer cites."""
        return f"{self.document}{ARROW}{self.heading}"


@dataclass(frozen=True, slots=True)
class Searched:
    """What a search found. `note`: why it is less than it could be, "" if it is not. `documents`: how many there are.

    `by_meaning`: vectors ranked it, else words alone did.
    """

    found: tuple[Found, ...]
    documents: int
    by_meaning: bool = False
    note: str = ""


@dataclass(frozen=True, slots=True)
class Shelf:
    """How many there are of a kind, and how many of its passages have a vector of the present model."""

    documents: int = 0
    passages: int = 0
    embedded: int = 0


@dataclass(frozen=True, slots=True)
class Incident:
    """A report of an incident that is over. `markdown`: the report in full; `causes`: the likely ones, first first."""

    id: str
    title: str
    closed_at: datetime
    summary: str
    services: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    causes: tuple[str, ...] = ()
    markdown: str = field(default="", repr=False)

    def as_document(self) -> Document:
        """Return what of it is searched."""
        title = plain_line(self.title, limit=_TITLE_CHARS)
        text = plain_text("\n".join([self.summary, *(f"Cause: {cause}" for cause in self.causes)]))[:_INCIDENT_CHARS]
        labels = tuple(plain_line(name, limit=_TITLE_CHARS) for name in (*self.services, *self.hosts))
        passage = Passage((title,), 1, text)
        return Document(Kind.INCIDENT, self.id, title, digest_of(title, labels, text), labels, (passage,))


def digest_of(*parts: object) -> str:
    """Return a digest of these values."""
    return hashlib.sha256(json.dumps(parts, ensure_ascii=True, default=list).encode()).hexdigest()


def words_of(question: str) -> tuple[str, ...]:
    """Return the telling words of a question, each once: no common ones, unless there are no others."""
    words = tuple(dict.fromkeys(_WORD.findall(question.lower())))
    return (tuple(word for word in words if word not in _COMMON) or words)[:_WORDS_MAX]
