"""The policy section: roles, rules as data, rotas, tiers; the shorthand of askers and approvers."""

from typing import Annotated, Literal

from pydantic import Field

from opsbot.config_types import GroupId, Name, OneUserId, Section, UserId

# Names of rules, roles, rotas and people; exact words, never patterns or paths.
_WORDS = "[A-Za-z0-9]+([-_.][A-Za-z0-9]+)*"
Label = Annotated[str, Field(pattern=f"^{_WORDS}$", max_length=63)]
RoleName = Annotated[str, Field(pattern=rf"^(\*|{_WORDS})$", max_length=63)]
# A channel, a private channel, a direct message; or any direct message, or the bot's terminal.
ChannelId = Annotated[str, Field(pattern=r"^([CGD][A-Z0-9]{2,}|direct|terminal|\*)$")]
# Who may approve: the kind is always said, so that no name can be taken for another kind's.
Approver = Annotated[
    str, Field(pattern=f"^(user:[UW][A-Z0-9]{{2,}}|group:S[A-Z0-9]{{2,}}|(role|oncall):{_WORDS})$", max_length=80)
]
Clock = Annotated[str, Field(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]$")]
EndClock = Annotated[str, Field(pattern=r"^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$")]
Day = Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Some = Annotated[tuple[Name, ...], Field(min_length=1)]
Needed = Annotated[int, Field(ge=1, le=5)]
WEEKDAYS: tuple[Weekday, ...] = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")


class Askers(Section):
    """Who the bot works for. `*` among the users: every member of the workspace."""

    users: tuple[UserId, ...] = ()
    groups: tuple[GroupId, ...] = ()


class Approvers(Section):
    """Who approves changes to hosts of these environments (`*`: all), and how many of them must."""

    environments: Some
    users: tuple[OneUserId, ...] = ()
    groups: tuple[GroupId, ...] = ()
    needed: Needed = 1


class RoleEntry(Section):
    """People by a name, for rules. `*` among the users: every member of the workspace."""

    users: tuple[UserId, ...] = ()
    groups: tuple[GroupId, ...] = ()


class When(Section):
    """Hours of some days, in the wall-clock time of a place."""

    days: Annotated[tuple[Weekday, ...], Field(min_length=1)] = WEEKDAYS
    start: Clock = "00:00"
    end: EndClock = "24:00"
    timezone: Name


_ANY_TIME = When(timezone="UTC")


class RuleEntry(Section):
    """One rule: what it says, and what it matches. What is left out matches anything; what is left empty is a fault.

    Defaults are not validated, so () and 0 only ever stand for what is left out; of `when`, `timed` tells.
    """

    name: Label
    effect: Literal["allow", "approve", "deny"]
    roles: Annotated[tuple[RoleName, ...], Field(min_length=1)] = ()
    tools: Some = ()
    risks: Annotated[tuple[Literal["read", "change", "danger"], ...], Field(min_length=1)] = ()
    groups: Some = ()
    environments: Some = ()
    tags: Some = ()
    channels: Annotated[tuple[ChannelId, ...], Field(min_length=1)] = ()
    when: When = _ANY_TIME
    approvers: Annotated[tuple[Approver, ...], Field(min_length=1)] = ()
    needed: Needed = 0

    @property
    def timed(self) -> bool:
        """Whether hours are named."""
        return "when" in self.model_fields_set


class OverrideEntry(Section):
    """Somebody else's days: from the handover on `first` to that on `until`."""

    first: Day
    until: Day
    person: OneUserId


class RotaEntry(Section):
    """A weekly rotation: each person in turn has a week, from handover to handover."""

    people: Annotated[tuple[OneUserId, ...], Field(min_length=1)]
    starts_on: Day
    handover: Clock = "09:00"
    timezone: Name
    overrides: tuple[OverrideEntry, ...] = ()


class TierEntry(Section):
    """How many people must approve at least, by how much an action can break; from 2 on a reason is required."""

    replica: Needed = 1
    ungrouped: Needed = 1
    last_replica: Needed = 2
    danger: Annotated[int, Field(ge=2, le=5)] = 2
    data_store: Needed = 2


class Policy(Section):
    """Default deny: who is not named may not. Nothing here lets people approve what they asked for in chat."""

    askers: Askers = Askers()
    approvers: tuple[Approvers, ...] = ()
    roles: dict[Label, RoleEntry] = Field(default_factory=dict)
    rules: tuple[RuleEntry, ...] = ()
    rotas: dict[Label, RotaEntry] = Field(default_factory=dict)
    people: dict[Label, Annotated[tuple[OneUserId, ...], Field(min_length=1)]] = Field(default_factory=dict)
    tiers: TierEntry = TierEntry()
    approval_expires_s: Annotated[int, Field(ge=30, le=1800)] = 300
    read_s: Annotated[float, Field(ge=0, le=60)] = 2.0
    standing_minutes: Annotated[int, Field(ge=0, le=60)] = 0
    escalate_after_s: Annotated[int, Field(ge=0, le=900)] = 0
    escalate_to: tuple[Approver, ...] = ()
    terminal_operator: bool = False
    tainted: Literal["approve", "two", "deny"] = "approve"
