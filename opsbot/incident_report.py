"""The report of an incident: what code knows, and the words of the model and of people. Frozen data."""

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

# What each part holds at most. Slack shows 3,000 characters in a text field of a form, and 48,000 in all of a card.
TITLE_MAX, SUMMARY_MAX, IMPACT_MAX = 120, 1500, 1000
CAUSES_MAX, CAUSE_MAX = 5, 400
EVIDENCE_MAX, QUOTE_MAX = 4, 300
FOLLOW_UPS_MAX, FOLLOW_UP_MAX = 8, 300
TIMELINE_MAX, DEEDS_MAX, HOSTS_MAX = 200, 50, 200


class Confidence(StrEnum):
    """How sure somebody is of a cause."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"


class ReportState(StrEnum):
    """draft → published | discarded."""

    DRAFT = "draft"
    PUBLISHED = "published"
    DISCARDED = "discarded"


@dataclass(frozen=True, slots=True)
class Evidence:
    """Words quoted for a cause. `source`: the tool in whose result they stand, looked up by code; "": in none."""

    quote: str
    source: str = ""


@dataclass(frozen=True, slots=True)
class Cause:
    """A likely cause."""

    text: str
    confidence: Confidence
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True, slots=True)
class FollowUp:
    """What is to be done next. `owner`: a person's id in the chat service, or ""."""

    text: str
    owner: str = ""


@dataclass(frozen=True, slots=True)
class Happening:
    """One line of the timeline, from the audit log. `who`: `team/user`, "" for opsbot itself."""

    at: datetime
    who: str
    what: str
    record: int


@dataclass(frozen=True, slots=True)
class Deed:
    """One request for an action and what became of it, from its record."""

    request: str
    action: str
    hosts: tuple[str, ...]
    asked_by: str
    decided_by: tuple[str, ...]
    state: str
    verdicts: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class HostsSeen:
    """The hosts an incident is about. Code knows which ones a tool saw; the model only sorts those.

    `unclear`: seen, and put to neither side. `unseen`: part of it, and not seen by any tool. `others`: how many of the
    inventory were no part of it.
    """

    affected: tuple[str, ...] = ()
    healthy: tuple[str, ...] = ()
    unclear: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()
    others: int = 0


@dataclass(frozen=True, slots=True)
class Words:
    """What people may edit."""

    title: str
    summary: str = ""
    impact: str = ""
    causes: tuple[Cause, ...] = ()
    follow_ups: tuple[FollowUp, ...] = ()


@dataclass(frozen=True, slots=True)
class Facts:
    """What code put together, and nobody edits. `left_out`: earlier lines of the timeline that were too many.

    `people`: who wrote in the thread, by id. `untrusted`: whose words the model had read.
    """

    began: datetime
    timeline: tuple[Happening, ...] = ()
    left_out: int = 0
    deeds: tuple[Deed, ...] = ()
    services: tuple[str, ...] = ()
    people: tuple[str, ...] = ()
    untrusted: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class IncidentReport:
    """The durable record of one report. `version` is bumped by every change.

    `call_id`: the command that asked for it, so that it is written once. `writer`: the model whose words these are, ""
    if there are none; `note`: why there are none. `editors`: who changed the words since. `closed_by`: who published or
    discarded it, by the event `closing`. `delivered`: everything that publishing does was done.
    """

    id: str
    conversation_id: str
    call_id: str
    requester: str
    created_at: datetime
    words: Words
    hosts: HostsSeen
    facts: Facts
    writer: str = ""
    note: str = ""
    state: ReportState = ReportState.DRAFT
    version: int = 1
    editors: tuple[str, ...] = ()
    closed_by: str = ""
    closed_at: datetime | None = None
    closing: str = ""
    delivered: bool = field(default=False)


@dataclass(frozen=True, slots=True)
class ReportRules:
    """Where published reports also go (a channel's id, or ""), and whether everybody who may ask may edit them."""

    channel: str = ""
    askers: bool = False
