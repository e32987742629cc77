"""What the model took, for people: by day, person, conversation or turn, with budgets and a chart."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from opsbot.commands import ShowUsage
from opsbot.domain import Actor, Chart, Report, Series, Table
from opsbot.policy import PolicyRules, may_approve
from opsbot.ports import Clock, UsageLog
from opsbot.spending import Budgets, Scope, Split, Sum, Total, Totals, Unit, cost_text, day_of, money, share_text

_ROWS, _LINES = 20, 5
_DAY_S, _HOUR_S = 86_400, 3600
# Up to so many days the chart is by hour.
_HOURLY_DAYS = 2
_FIGURES = ("calls", "tokens in", "from cache", "tokens out", "cost")
_KEYS = {
    Split.DAY: ("day",),
    Split.PERSON: ("person",),
    Split.CONVERSATION: ("conversation", "newest"),
    Split.TURN: ("conversation", "asked"),
}


@dataclass(frozen=True, slots=True)
class UsageReports:
    """Answers `usage`. Everybody sees their own; whoever may approve something sees everybody's."""

    log: UsageLog
    rules: PolicyRules
    budgets: Budgets
    clock: Clock

    async def answer(self, wanted: ShowUsage, actor: Actor) -> Report:
        """Show what was used in the last days, today included."""
        now, me = self.clock.now(), self.rules.person(actor)
        everybody = may_approve(self.rules, actor, now)
        since, person = since_of(now, wanted.days), "" if everybody else me
        slot_s = _DAY_S if wanted.by is Split.DAY else 0
        sums = await self.log.sums(wanted.by, since=since, slot_s=slot_s, person=person)
        whose = "All people" if everybody else "You"
        when = "today" if wanted.days == 1 else f"in the last {wanted.days} days"
        budgets = await self._budgets(me, everybody=everybody)
        if not sums:
            return Report(f"{whose} used nothing of the model {when}.", tables=budgets)
        total = sum((one.total for one in sums), Total())
        text = f"{whose} {when}: {total_text(total)}."
        chart = await self._chart(wanted, since, now, person)
        return Report(text, tables=(usage_table(wanted.by, sums), *budgets), charts=(chart,))

    async def _budgets(self, me: str, *, everybody: bool) -> tuple[Table, ...]:
        """Show how much of today's budgets is used: one's own, and for who sees everybody that of all."""
        scopes = (Scope.PERSON_DAY, Scope.DAY) if everybody else (Scope.PERSON_DAY,)
        limits = [limit for limit in self.budgets.limits if limit.scope in scopes]
        if not limits:
            return ()
        today = day_of(self.clock.now())
        totals: Totals = await self.log.spent(turn_id="", conversation_id="", person=me, since=today)
        names = {Scope.PERSON_DAY: "you, today", Scope.DAY: "all people, today"}
        rows = tuple(
            (names[limit.scope], limit.said(used), limit.said(limit.most), f"{used / limit.most:.0%}")
            for limit in limits
            for used in (limit.used(totals[limit.scope]),)
        )
        return (Table(("budget of", "used", "of", "share"), rows, "Budgets"),)

    async def _chart(self, wanted: ShowUsage, since: datetime, now: datetime, person: str) -> Chart:
        """Draw the tokens over time: of the people who used most, or read and written."""
        hourly = wanted.days <= _HOURLY_DAYS
        slot_s, name = (_HOUR_S, "hour") if hourly else (_DAY_S, "day")
        by = Split.PERSON if wanted.by is Split.PERSON else Split.DAY
        sums = await self.log.sums(by, since=since, slot_s=slot_s, person=person)
        slots = _slots(since, now, slot_s)
        lines = _people(sums, slots) if by is Split.PERSON else _kinds(sums, slots)
        unit = "day" if wanted.days == 1 else f"{wanted.days} days"
        most = None if hourly or by is Split.PERSON else self._threshold(lines, person)
        return Chart(f"Tokens by {name} (UTC), last {unit}", "", lines, threshold=most)

    def _threshold(self, lines: Sequence[Series], person: str) -> float | None:
        """Return the day's budget of tokens, once it is near enough to be seen beside what was used."""
        scope = Scope.PERSON_DAY if person else Scope.DAY
        found = (limit.most for limit in self.budgets.limits if (limit.scope, limit.unit) == (scope, Unit.TOKENS))
        most = next(found, None)
        highest = max((value for line in lines for _, value in line.points), default=0.0)
        return float(most) if most is not None and highest * 4 >= most else None


def since_of(now: datetime, days: int) -> datetime:
    """Return the beginning of so many days, of which today is the last."""
    return day_of(now) - timedelta(days=days - 1)


def total_text(total: Total) -> str:
    """Say what calls took, in half a sentence."""
    calls = "1 model call" if total.calls == 1 else f"{total.calls:,} model calls"
    cached = f", {share_text(total)} of what was read came from the cache" if total.usage.cached_tokens else ""
    estimated = f", of {total.estimated:,} the tokens are estimated" if total.estimated else ""
    return f"{calls}, {total.tokens:,} tokens{cached}{estimated}, cost {cost_text(total)}"


def usage_table(by: Split, sums: Sequence[Sum]) -> Table:
    """List sums: days and turns the newest first, people and conversations the largest first; the first of many."""
    newest = by in (Split.DAY, Split.TURN)
    ordered = sorted(sums, key=lambda one: (one.at.timestamp() if newest else one.total.tokens, one.key), reverse=True)
    rows = tuple((*key_words(by, one), *_figures(one.total)) for one in ordered[:_ROWS])
    left = f"; {len(ordered) - _ROWS} more are not shown" if len(ordered) > _ROWS else ""
    return Table((*_KEYS[by], *_FIGURES), rows, f"By {by}{left}")


def key_words(by: Split, one: Sum) -> tuple[str, ...]:
    """Say what a sum is of, in the columns of its table."""
    match by:
        case Split.DAY:
            return (f"{one.at:%Y-%m-%d}",)
        case Split.PERSON:
            return (person_text(one.key),)
        case Split.CONVERSATION:
            return (_thread(one.key), f"{one.at:%Y-%m-%d %H:%M}")
        case Split.TURN:
            conversation, _, asked = one.key.rpartition("@")
            return (_thread(conversation), asked[:16].replace("T", " "))


def person_text(person: str) -> str:
    """Name a person: as the configuration does, or by the account."""
    kind, _, name = person.partition(":")
    if kind == "person" and name:
        return name
    team, _, user = person.partition("/")
    # An id and no mention: nobody is called because a table is looked at.
    return f"{user} (terminal)" if team == "terminal" else user.upper()


def _thread(conversation_id: str) -> str:
    _, channel, thread = (*conversation_id.split("/"), "", "")[:3]
    return f"{channel} {thread}".strip() or "outside of threads"


def _figures(total: Total) -> tuple[str, ...]:
    usage = total.usage
    about = "~" if total.estimated else ""
    read, written = f"{about}{usage.input_tokens:,}", f"{about}{usage.output_tokens:,}"
    cost = f"≥ {money(total.cost_nano_usd)}" if 0 < total.unpriced < total.calls else cost_text(total)
    return (f"{total.calls:,}", read, share_text(total), written, cost)


def _slots(since: datetime, now: datetime, slot_s: int) -> list[datetime]:
    first, last = int(since.timestamp()) // slot_s, int(now.timestamp()) // slot_s
    return [datetime.fromtimestamp(number * slot_s, UTC) for number in range(first, last + 1)]


def _line(name: str, slots: Sequence[datetime], values: Mapping[datetime, int]) -> Series:
    return Series(name, tuple((slot, float(values.get(slot, 0))) for slot in slots))


def _kinds(sums: Sequence[Sum], slots: Sequence[datetime]) -> tuple[Series, ...]:
    usages = {one.at: one.total.usage for one in sums}
    return (
        _line("in", slots, {at: usage.input_tokens for at, usage in usages.items()}),
        _line("of it from cache", slots, {at: usage.cached_tokens for at, usage in usages.items()}),
        _line("out", slots, {at: usage.output_tokens for at, usage in usages.items()}),
    )


def _people(sums: Sequence[Sum], slots: Sequence[datetime]) -> tuple[Series, ...]:
    people: dict[str, dict[datetime, int]] = {}
    for one in sums:
        people.setdefault(one.key, {})[one.at] = one.total.tokens
    ranked = sorted(people.items(), key=lambda item: (-sum(item[1].values()), item[0]))
    return tuple(_line(person_text(person), slots, values) for person, values in ranked[:_LINES])
