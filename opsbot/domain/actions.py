"""Actions: what is to be done, what policy says to it, what it would hit, and how it ended on each host."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from opsbot.domain.json_values import Json


class Risk(StrEnum):
    """What a tool may do to a host; configuration can raise it, never lower it."""

    READ = "read"
    CHANGE = "change"
    DANGER = "danger"


@dataclass(frozen=True, slots=True)
class Rollout:
    """How an action goes over many hosts: `canary` hosts first, then `batch` at a time, each verified before the next.

    `max_unavailable` of the action's hosts may be out of service at once. A pause of more than `pause_max_s` ends it.
    """

    canary: int = 1
    batch: int = 1
    max_unavailable: int = 1
    pause_max_s: int = 1800


@dataclass(frozen=True, slots=True)
class Action:
    """A validated intent: exactly this tool, these arguments, these hosts (sorted, non-empty for host tools).

    `arguments` holds only JSON values and no host parameter.
    """

    tool: str
    arguments: Mapping[str, Json]
    hosts: tuple[str, ...]


class Verdict(StrEnum):
    """The policy's answer."""

    ALLOW = "allow"
    NEED_APPROVAL = "need_approval"
    DENY = "deny"


class Tier(StrEnum):
    """How much an action can break, from the least to the most; computed from the inventory, see `reach.py`."""

    READ = "read"
    REPLICA = "replica"  # other hosts of the group go on serving
    UNGROUPED = "ungrouped"  # the host is in no group, so nothing is known of others
    LAST_REPLICA = "last_replica"  # no host of the group is left that is not touched
    DANGER = "danger"  # the tool itself is of risk danger
    DATA_STORE = "data_store"


@dataclass(frozen=True, slots=True)
class Reach:
    """The tier of one action on its hosts, and why, in a few words."""

    tier: Tier
    why: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """What policy decided, with the rule that decided. `needed` approvals from people matching `approvers`.

    `reach`: what the action can break. `reason_required`: it is only asked for with a person's reason.
    """

    verdict: Verdict
    rule: str
    reason: str = ""
    needed: int = 0
    approver_users: frozenset[str] = frozenset()
    approver_groups: frozenset[str] = frozenset()
    reach: Reach | None = None
    reason_required: bool = False


@dataclass(frozen=True, slots=True)
class Impact:
    """What an action would hit on one host, collected by code.

    `facts` are for the card, in order; a fact that could not be read is "unknown".
    `fingerprint` identifies the target's present state: if it differs at execution, the target drifted.
    """

    facts: tuple[tuple[str, str], ...]
    fingerprint: Mapping[str, str] = field(default_factory=dict)


class Result(StrEnum):
    """How an action on one host ended, as the host says."""

    DONE = "done"  # changed and verified
    FAILED = "failed"  # changed, but not well afterwards; or the command was refused
    NOT_DONE = "not_done"  # verified: nothing changed
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class HostOutcome:
    """The verified end of an action on one host. `evidence` is an excerpt (journal lines), untrusted text."""

    host: str
    result: Result
    summary: str
    evidence: str = ""
    facts: tuple[tuple[str, str], ...] = ()
