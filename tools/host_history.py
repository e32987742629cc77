"""How a figure of a server went, from what was measured before."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import fmean
from typing import Annotated, Any, Literal

from pydantic import Field

from opsbot import (
    BadArguments,
    Chart,
    Context,
    History,
    Host,
    LevelStep,
    Metric,
    Series,
    Table,
    duration_text,
    evened,
    last_step,
    pauses,
    percentile,
    plain_line,
    reboots,
    since_when,
    slope_per_hour,
    spells,
    tool,
)

Word = Literal["load", "cpu", "memory", "swap", "disk", "uptime", "reachable", "failed_units"]
_POINTS = 360
_SERIES = 12
_LISTED = 5
# Servers in what the model reads; people see them all.
_SERVERS = 20
# Fewer points make no picture.
_FEW = 3
# Older samples are means of so much (`thinning`), and a missing one is told from a usual pause by a few of them.
_RAW_HOURS = 48
_PAUSE_S, _PAUSE_OF_MEANS_S = 300.0, 1800.0
# Disks and failed units are read that much more rarely than the rest.
_RARE = (Metric.DISK, Metric.FAILED_UNITS)
_RARE_PAUSE_S = 1500.0
_TREND_SPAN_S = 600.0
_SOON_H = 14 * 24


@dataclass(frozen=True, slots=True)
class _Kind:
    """What one of the words means. `least`: a smaller change is none. `limit`: from there on it is a worry."""

    metric: Metric
    label: str
    unit: str
    least: float
    limit: float | None = None

    def text(self, value: float) -> str:
        match self.unit:
            case "percent":
                return f"{value:.0f}%" if value == int(value) or value >= 10 else f"{value:.1f}%"
            case "seconds":
                return duration_text(value)
        return f"{value:.2f}" if self.metric is Metric.LOAD else f"{value:g}"

    def change_text(self, change: float) -> str:
        """Spell a difference: of percentages it is in points."""
        return f"{change:.1f} points" if self.unit == "percent" else self.text(change)


_KINDS: Mapping[str, _Kind] = {
    "load": _Kind(Metric.LOAD, "load (1 minute)", "", 0.5),
    "cpu": _Kind(Metric.CPU, "CPU used", "percent", 10.0, 90.0),
    "memory": _Kind(Metric.MEMORY, "memory used", "percent", 5.0, 90.0),
    "swap": _Kind(Metric.SWAP, "swap used", "percent", 5.0, 50.0),
    "disk": _Kind(Metric.DISK, "disk used", "percent", 2.0, 90.0),
    "uptime": _Kind(Metric.UPTIME, "uptime", "seconds", 0.0),
    "reachable": _Kind(Metric.REACHABLE, "answered", "percent", 50.0),
    "failed_units": _Kind(Metric.FAILED_UNITS, "failed units", "", 1.0, 1.0),
}
_Points = Sequence[tuple[datetime, float]]


# --- what people see -------------------------------------------------------------------------------------------------


def _table(results: Mapping[str, Any]) -> Table:
    kind, hours = _of(results)
    rows = tuple(_row(name, found, kind) for name, found in results.items())
    headers = ("server", "now", "lowest", "highest", "mean", "95% below", "course", "since when", "samples")
    older = f"; before the last {_RAW_HOURS} h means of 10 minutes" if hours > _RAW_HOURS else ""
    return Table(headers, rows, f"{kind.label}, last {hours} h{older}")


def _row(name: str, found: Mapping[str, Any], kind: _Kind) -> tuple[str, ...]:
    where = f"{name} {found['mount']}" if found.get("mount") else name
    if "mean" not in found:
        return (where, "unknown", "", "", "", "", "", found["note"], str(found["samples"]))
    now = "unknown" if found["now"] is None else kind.text(found["now"])
    figures = (kind.text(found[key]) for key in ("min", "max", "mean", "p95"))
    said = [*found["since"], *(f"unreachable {span}" for span in found["unreachable"])]
    said += [f"no samples {span}" for span in found["gaps"]] + ([found["note"]] if found["note"] else [])
    return (where, now, *figures, found["trend"], "; ".join(said) or "no change", str(found["samples"]))


def _charts(results: Mapping[str, Any]) -> list[Chart]:
    kind, hours = _of(results)
    lines = _lines(results, kind)
    shown = lines[:_SERIES]
    if not shown or max(len(line.points) for line in shown) < _FEW:
        return []
    title = f"{kind.label}, last {hours} h"
    if len(lines) > len(shown):
        title += f" ({len(shown)} of {len(lines)}, the {'worst' if kind.metric is Metric.REACHABLE else 'highest'})"
    limits = {found.get("limit") for found in results.values() if "mean" in found}
    return [Chart(title, kind.unit, tuple(shown), limits.pop() if len(limits) == 1 else None)]


def _lines(results: Mapping[str, Any], kind: _Kind) -> list[Series]:
    """Return a line per server (for one server: per mount), those first that are worth seeing."""
    found = {name: result for name, result in results.items() if "points" in result}
    if len(found) == 1:
        (name, result) = next(iter(found.items()))
        mounts = {result.get("mount", ""): result["points"], **result.get("other_points", {})}
        return [Series(f"{name} {mount}".strip(), tuple(points)) for mount, points in mounts.items()]
    lines = [Series(f"{name} {one.get('mount', '')}".strip(), tuple(one["points"])) for name, one in found.items()]
    if len(lines) <= _SERIES:
        return lines
    if kind.metric is Metric.REACHABLE:
        return sorted(lines, key=lambda line: sum(value for _, value in line.points) / len(line.points))
    return sorted(lines, key=lambda line: -max(value for _, value in line.points))


def _combine(results: Mapping[str, Any]) -> dict[str, object]:
    """Leave the points to the picture, and what all have in common said once."""
    kind, hours = _of(results)
    apart = ("points", "other_points", "metric", "hours")
    names = list(results)
    if len(names) > _SERVERS:
        names.sort(key=lambda name: results[name].get("max", -1.0), reverse=kind.metric is not Metric.REACHABLE)
        names = names[:_SERVERS]
    servers = {name: {key: value for key, value in results[name].items() if key not in apart} for name in names}
    said = {"metric": kind.label, "unit": kind.unit or "number", "hours": hours, "servers": servers}
    return said | ({"not_shown": len(results) - len(names)} if len(results) > len(names) else {})


def _of(results: Mapping[str, Any]) -> tuple[_Kind, int]:
    first = next(iter(results.values()))
    return _KINDS[first["metric"]], first["hours"]


# --- the tool --------------------------------------------------------------------------------------------------------


@tool(risk="read", timeout_s=15, table=_table, charts=_charts, combine=_combine, deferred=True)
def host_history(
    ctx: Context,
    host: Host,
    metric: Word,
    hours: Annotated[int, Field(ge=1, le=336)] = 24,
    mount: str | None = None,
) -> dict[str, object]:
    """Tell how a figure went over the last hours, and since when it is as it is: for "since when?", trends and outages.

    From samples kept before: servers are not asked now, so those that are down have a past too. People get a chart.

    Args:
        metric: Which figure.
        hours: How far back.
        mount: For disk, the mount point; else the fullest.
    """
    if mount is not None and metric != "disk":
        raise BadArguments("mount is for the metric disk only; leave it out.")
    kind = _KINDS[metric]
    kept = ctx.history(host, *{kind.metric, Metric.REACHABLE, Metric.UPTIME, Metric.CPUS}, hours=hours)
    return {"metric": metric, "hours": hours, **tell(kept, kind, hours, mount)}


def tell(kept: History, kind: _Kind, hours: int, mount: str | None = None) -> dict[str, Any]:
    """Say what the samples say, and honestly when there are none."""
    looks = [sample.at for sample in kept.samples if sample.metric is Metric.REACHABLE]
    parts = _parts(kept, kind)
    chosen = mount if mount is not None else max(parts, key=lambda part: parts[part][-1][1], default="")
    if chosen not in parts:
        return {"samples": 0, "note": _nothing(kept, looks, list(parts), chosen)}
    points = parts.pop(chosen)
    answer = _told(points, kept, kind, hours)
    answer |= {"mount": plain_line(chosen, limit=100)} if chosen else {}
    if parts:
        others = sorted(parts, key=lambda part: -parts[part][-1][1])
        answer["other_mounts"] = {plain_line(part, limit=100): parts[part][-1][1] for part in others}
        answer["other_points"] = {part: _evened(parts[part], kind) for part in others}
    return answer


def _parts(kept: History, kind: _Kind) -> dict[str, list[tuple[datetime, float]]]:
    """Return the points by mount; whether it answered as a percentage."""
    scale = 100.0 if kind.metric is Metric.REACHABLE else 1.0
    parts: dict[str, list[tuple[datetime, float]]] = {}
    for sample in kept.samples:
        if sample.metric is kind.metric:
            parts.setdefault(sample.part, []).append((sample.at, sample.value * scale))
    return parts


def _told(points: _Points, kept: History, kind: _Kind, hours: int) -> dict[str, Any]:
    looks = [(sample.at, sample.value) for sample in kept.samples if sample.metric is Metric.REACHABLE]
    even = _evened(points, kind)
    # Means weigh as much as the many samples of newer days only if all stand for the same time.
    values = [value for _, value in (even if hours > _RAW_HOURS else points)]
    lowest, highest = (choose(points, key=lambda point: point[1]) for choose in (min, max))
    last_at, last = points[-1]
    step = last_step(even, least=kind.least) if kind.metric not in (Metric.UPTIME, Metric.REACHABLE) else None
    limit = _limit(kept, kind)
    return {
        "now": _rounded(last) if _current(last_at, kept, kind) else None,
        "last": f"{kind.text(last)} at {_at(last_at)}",
        "min": _rounded(lowest[1]),
        "max": _rounded(highest[1]),
        "max_at": _at(highest[0]),
        "mean": _rounded(sum(values) / len(values)),
        "p95": _rounded(percentile(values, 0.95)),
        "trend": _trend(even, step, kind),
        "since": _since(points, kept, kind, limit, step),
        "unreachable": _outages(looks, kept.until),
        "gaps": _gaps([at for at, _ in looks], kept, hours),
        "samples": len(points),
        "note": _note(kept, hours),
        "limit": limit,
        "points": even,
    }


def _evened(points: _Points, kind: _Kind) -> _Points:
    """Thin for the picture. That a unit had failed must not drown in a mean; and it ends where the figures end."""
    merge = max if kind.metric is Metric.FAILED_UNITS else fmean
    thin = evened(points, most=_POINTS, merge=merge)
    return [*thin[:-1], points[-1]]


def _current(last_at: datetime, kept: History, kind: _Kind) -> bool:
    """Whether the last figure may be called the present one: it is fresh, and the host still answers."""
    fresh_s = max(_RARE_PAUSE_S if kind.metric in _RARE else _PAUSE_S, 3 * kept.every_s)
    down = kind.metric is not Metric.REACHABLE and _down(kept)
    return (kept.until - last_at).total_seconds() <= fresh_s and not down


def _down(kept: History) -> bool:
    looks = [sample.value for sample in kept.samples if sample.metric is Metric.REACHABLE]
    return bool(looks) and looks[-1] == 0.0


def _limit(kept: History, kind: _Kind) -> float | None:
    """For the load the number of processors, if a closer look has told it."""
    if kind.metric is not Metric.LOAD:
        return kind.limit
    return next((sample.value for sample in reversed(kept.samples) if sample.metric is Metric.CPUS), None)


# --- in words --------------------------------------------------------------------------------------------------------


def _trend(even: _Points, step: LevelStep | None, kind: _Kind) -> str:
    """Say where it is going, since the last step if there was one."""
    if kind.metric in (Metric.UPTIME, Metric.REACHABLE):
        return ""
    newest = [point for point in even if step is None or point[0] >= step.at]
    span_h = (newest[-1][0] - newest[0][0]).total_seconds() / 3600
    if len(newest) < _FEW + 1 or span_h * 3600 < _TREND_SPAN_S:
        return "just changed" if step else "too few samples for a trend"
    slope = slope_per_hour(newest)
    if slope is None or abs(slope * span_h) < kind.least:
        values = [value for _, value in newest]
        steady = percentile(values, 0.95) - percentile(values, 0.05) < 2 * kind.least
        return "steady" if steady else "up and down, no direction"
    a_day = span_h >= 6
    pace = kind.change_text(abs(slope) * (24 if a_day else 1))
    words = f"{'rising' if slope > 0 else 'falling'} by {pace} {'a day' if a_day else 'an hour'}"
    left_h = (100.0 - newest[-1][1]) / slope if slope > 0 else _SOON_H
    full = kind.metric is Metric.DISK and 0 < left_h < _SOON_H
    return f"{words}; full in about {duration_text(left_h * 3600)} at this pace" if full else words


def _since(points: _Points, kept: History, kind: _Kind, limit: float | None, step: LevelStep | None) -> list[str]:
    """Say since when it is as it is: beyond its limit, at its level, in this boot, or answering."""
    uptimes = [(sample.at, sample.value) for sample in kept.samples if sample.metric is Metric.UPTIME]
    said = [f"rebooted at {_at(at)}" for at in reboots(uptimes)[-3:]]
    if kind.metric is Metric.UPTIME:
        at, value = points[-1]
        return [*said, f"up since {_at(datetime.fromtimestamp(at.timestamp() - value, at.tzinfo))}"]
    if kind.metric is Metric.REACHABLE:
        return [*said, *_answering(points, kept)]
    if limit is not None:
        said += _beyond(points, kept, kind, limit)
    if step is not None:
        said.append(f"about {kind.text(step.after)} since {_at(step.at)}, about {kind.text(step.before)} before")
    return said


def _beyond(points: _Points, kept: History, kind: _Kind, limit: float) -> list[str]:
    named = f"{limit:g} (its processors)" if kind.metric is Metric.LOAD else kind.text(limit)
    words = f"at or above {named}"
    since = since_when(points, lambda value: value >= limit)
    if since is not None:
        earlier = " or earlier" if since == points[0][0] else ""
        return [f"{words} since {_at(since)}{earlier} ({duration_text((kept.until - since).total_seconds())})"]
    above = spells(points, lambda value: value >= limit)
    if not above:
        return []
    share = 100 * sum(value >= limit for _, value in points) / len(points)
    often = f"{share:.0f}%" if share >= 1 else "less than 1%"
    return [f"{words} for {often} of the samples, last until {_at(above[-1][1])}"]


def _answering(points: _Points, kept: History) -> list[str]:
    since = since_when(points, lambda value: value <= 0.0)
    if since is not None:
        earlier = " or earlier" if since == points[0][0] else ""
        return [f"no answer since {_at(since)}{earlier} ({duration_text((kept.until - since).total_seconds())})"]
    back = since_when(points, lambda value: value > 0.0)
    return [f"answers again since {_at(back)}"] if back is not None and back != points[0][0] else []


def _outages(looks: _Points, until: datetime) -> list[str]:
    found = spells(looks, lambda value: value < 1.0)
    said = _spans(found)
    if looks and looks[-1][1] == 0.0:
        began = found[-1][0]
        said[-1] = f"since {_at(began)} ({duration_text((until - began).total_seconds())}), still"
    return said


def _gaps(looks: Sequence[datetime], kept: History, hours: int) -> list[str]:
    """Name the times without any look; where nobody looks by himself, they mean nothing."""
    usual_s = _PAUSE_OF_MEANS_S if hours > _RAW_HOURS else _PAUSE_S
    return _spans(pauses(looks, longest_s=max(usual_s, 3 * kept.every_s))) if kept.every_s else []


def _note(kept: History, hours: int) -> str:
    said = []
    last_at = kept.samples[-1].at
    if (kept.until - last_at).total_seconds() > max(_PAUSE_S, 3 * kept.every_s):
        said.append(f"nothing was measured since {_at(last_at)}")
    if kept.kept_since is not None and (kept.until - kept.kept_since).total_seconds() < 0.9 * 3600 * hours:
        said.append(f"kept since {_at(kept.kept_since)} only")
    if not kept.every_s:
        said.append("measured only when somebody looked")
    return "; ".join(said)


def _nothing(kept: History, looks: Sequence[datetime], mounts: Sequence[str], mount: str) -> str:
    if mounts:
        return f"no samples of {plain_line(mount, limit=100)}; there are of {', '.join(map(plain_line, mounts[:8]))}"
    if looks:
        return f"{len(looks)} looks in this time, but this figure was not known (none there, or no closer look yet)"
    if kept.kept_since is not None:
        return f"no samples in this time; the first one kept is of {_at(kept.kept_since)}"
    if kept.every_s:
        return f"no samples yet; this host is looked at every {kept.every_s:g} s, so ask again in a few minutes"
    return "no samples yet; hosts are not looked at by themselves here (history.every_s), only when somebody asks"


def _spans(found: Sequence[tuple[datetime, datetime]]) -> list[str]:
    """Spell the newest of these times, and how many more there were."""
    said = [
        f"{_at(start)} to {end:%Y-%m-%d %H:%M} ({duration_text((end - start).total_seconds())})"
        for start, end in found[-_LISTED:]
    ]
    return said if len(found) <= _LISTED else [f"{len(found) - _LISTED} more before", *said]


def _rounded(value: float) -> float:
    return round(value, 2)


def _at(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
