"""How long samples are kept, and what is left of them as they grow old. Pure."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from statistics import fmean
from typing import TypeAlias

from opsbot.domain import Metric

# Every sample for two days, then means of ten minutes for two weeks (ADR 0014).
RAW_FOR = timedelta(hours=48)
KEPT_FOR = timedelta(days=14)
SLOT_S = 600

# The figures of one host at one time: by metric, and what of the host it is about.
Figures: TypeAlias = Mapping[tuple[Metric, str], float]


def slot_of(at_s: int) -> int:
    """Return the beginning of the ten minutes that a moment (seconds since 1970) is in."""
    return at_s - at_s % SLOT_S


def raw_until_s(now: datetime) -> int:
    """Samples before this moment are to be thinned: whole slots only."""
    return slot_of(int((now - RAW_FOR).timestamp()))


def kept_from_s(now: datetime) -> int:
    """Samples before this moment are forgotten."""
    return int((now - KEPT_FOR).timestamp())


def means(looks: Iterable[tuple[int, Figures]]) -> dict[int, dict[tuple[Metric, str], float]]:
    """Return one set of figures for each ten minutes, at their middle."""
    slots: dict[int, list[tuple[int, Figures]]] = defaultdict(list)
    for at_s, figures in looks:
        slots[slot_of(at_s)].append((at_s, figures))
    return {slot + SLOT_S // 2: _merged(slot + SLOT_S // 2, found) for slot, found in slots.items()}


def _merged(middle_s: int, looks: list[tuple[int, Figures]]) -> dict[tuple[Metric, str], float]:
    values: dict[tuple[Metric, str], list[tuple[int, float]]] = defaultdict(list)
    for at_s, figures in sorted(looks, key=lambda look: look[0]):
        for key, value in figures.items():
            values[key].append((at_s, value))
    return {key: _one(key[0], found, middle_s) for key, found in values.items()}


def _one(metric: Metric, found: list[tuple[int, float]], middle_s: int) -> float:
    at_s, last = found[-1]
    match metric:
        case Metric.UPTIME:
            # A mean over a reboot would be of neither boot; moved to the middle it names the same boot as before.
            return max(0.0, last - (at_s - middle_s))
        case Metric.CPUS:
            return last
        case Metric.FAILED_UNITS:
            # Half a failed unit is none; that there was one is what matters.
            return max(value for _, value in found)
    return round(fmean(value for _, value in found), 2)
