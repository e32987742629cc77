"""What a course of figures says: where it stands, when it changed, where it is going. Pure, standard library only."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from statistics import fmean
from typing import TypeAlias

# (time, figure), oldest first.
Points: TypeAlias = Sequence[tuple[datetime, float]]
Span: TypeAlias = tuple[datetime, datetime]

# A level is told from noise by this many points at least.
_LEVEL_POINTS = 3
_NOISE_FACTOR = 5.0
# In less than so many points chance makes steps.
_SHORTEST_END = 12
# A step explains so much more than a straight line, or it is none.
_STEP_AGAINST_LINE = 0.6
# Below this share of explained variation a slope says nothing.
_CLEAR_SLOPE = 0.4
# Uptime tells of another boot if it began so much later: samples are some seconds off, means of ten minutes more.
_BOOT_TOLERANCE_S = 330.0


@dataclass(frozen=True, slots=True)
class LevelStep:
    """A lasting change from one level to another; `at` is the first figure of the new level."""

    at: datetime
    before: float
    after: float


def evened(points: Points, *, most: int, merge: Callable[[Sequence[float]], float] = fmean) -> Points:
    """Return at most `most` points, each for an equal share of the time; few enough are returned as they are."""
    if len(points) <= most:
        return points
    start, end = points[0][0], points[-1][0]
    share_s = (end - start).total_seconds() / most
    found: dict[int, list[float]] = {}
    for at, value in points:
        found.setdefault(min(most - 1, int((at - start).total_seconds() / share_s)), []).append(value)
    return [(start + timedelta(seconds=(n + 0.5) * share_s), merge(values)) for n, values in found.items()]


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which this share (0 to 1) of them lies: the nearest one that was measured."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def since_when(points: Points, holds: Callable[[float], bool]) -> datetime | None:
    """Return the first time since which it has held without a break; None if it does not hold now."""
    since = None
    for at, value in reversed(points):
        if not holds(value):
            break
        since = at
    return since


def spells(points: Points, holds: Callable[[float], bool]) -> list[Span]:
    """Return from when to when it held; a spell ends at the first point at which it does not, or at the last one."""
    found: list[Span] = []
    began: datetime | None = None
    for at, value in points:
        if holds(value):
            began = began or at
        elif began is not None:
            found.append((began, at))
            began = None
    return found if began is None else [*found, (began, points[-1][0])]


def pauses(times: Sequence[datetime], *, longest_s: float) -> list[Span]:
    """Return between which times nothing was measured for longer than that."""
    return [(one, next_) for one, next_ in pairwise(times) if (next_ - one).total_seconds() > longest_s]


def reboots(uptimes: Points) -> list[datetime]:
    """Return when the machine booted, of the boots after the first point."""
    booted = [at - timedelta(seconds=value) for at, value in uptimes]
    found = []
    for before, after in pairwise(booted):
        if (after - before).total_seconds() > _BOOT_TOLERANCE_S:
            found.append(after)
    return found


def last_step(points: Points, *, least: float) -> LevelStep | None:
    """Return the last lasting change of the level, of at least that size and well above the noise; None if none is.

    Looks at ever longer ends of the course, so that what came before hides nothing: up and down again is two steps.
    """
    length = _SHORTEST_END
    while True:
        end = points[-length:]
        split = _best_split([value for _, value in end], least)
        if split is not None:
            before, after = (fmean(value for _, value in part) for part in (end[:split], end[split:]))
            return LevelStep(end[split][0], before, after)
        if length >= len(points):
            return None
        length *= 2


def slope_per_hour(points: Points) -> float | None:
    """Return by how much it clearly rises in an hour (negative: falls); None if no straight line describes it."""
    if len(points) < _LEVEL_POINTS + 1:
        return None
    hours = [(at - points[0][0]).total_seconds() / 3600 for at, _ in points]
    values = [value for _, value in points]
    middle_h, middle = fmean(hours), fmean(values)
    spread = sum((hour - middle_h) ** 2 for hour in hours)
    total = sum((value - middle) ** 2 for value in values)
    together = sum((hour - middle_h) * (value - middle) for hour, value in zip(hours, values, strict=True))
    if spread <= 0 or total <= 0 or together**2 < _CLEAR_SLOPE * spread * total:
        return None
    return together / spread


def _best_split(values: Sequence[float], least: float) -> int | None:
    """Return where two levels part these figures best, if they do: by far, beyond noise, and better than a line."""
    count = len(values)
    if count < 2 * _LEVEL_POINTS:
        return None
    total, squares = sum(values), sum(value * value for value in values)
    best, split, left = -1.0, 0, sum(values[: _LEVEL_POINTS - 1])
    for at in range(_LEVEL_POINTS, count - _LEVEL_POINTS + 1):
        left += values[at - 1]
        explained = left * left / at + (total - left) ** 2 / (count - at)
        if explained > best:
            best, split = explained, at
    apart = abs(fmean(values[split:]) - fmean(values[:split]))
    noise_squares = max(0.0, squares - best)
    noise = (noise_squares / max(1, count - 2)) ** 0.5
    if apart < max(least, _NOISE_FACTOR * noise) or noise_squares > _STEP_AGAINST_LINE * _off_line(values):
        return None
    return split


def _off_line(values: Sequence[float]) -> float:
    """Return the squares that a straight line leaves unexplained."""
    count = len(values)
    middle_at, middle = (count - 1) / 2, fmean(values)
    together = sum((at - middle_at) * (value - middle) for at, value in enumerate(values))
    spread = count * (count * count - 1) / 12
    return max(0.0, sum((value - middle) ** 2 for value in values) - together**2 / spread)
