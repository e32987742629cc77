"""Alerts typed: what was pasted, matched against the inventory, as people and the model read it. Pure."""

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from opsbot.alert_formats import Raw
from opsbot.domain import Host, Json
from opsbot.intake import Intake
from opsbot.inventory import Inventory, near_misses
from opsbot.taint import PASTED_ALERT
from opsbot.timeline import code

_SHOWN_ALERTS, _HOSTS, _LABELS, _STRANGE = 3, 20, 12, 5
_TITLE_CHARS, _TEXT_CHARS, _LABEL_CHARS, _NAME_CHARS = 120, 500, 120, 80
_PORT = re.compile(r":\d{1,5}$")


class Severity(StrEnum):
    """How bad it is, in one scale for all systems."""

    CRITICAL = "critical"
    WARNING = "warning"
    INFO = "info"
    UNKNOWN = "unknown"


_SCALE = {
    Severity.CRITICAL: frozenset(
        ["critical", "crit", "page", "fatal", "emergency", "disaster", "high", "error", "down", "p1", "1"]
    ),
    Severity.WARNING: frozenset(["warning", "warn", "average", "medium", "minor", "unreachable", "p2", "p3", "2", "3"]),
    Severity.INFO: frozenset(["info", "information", "none", "low", "notice", "ok", "up", "p4", "p5", "4", "5"]),
}


@dataclass(frozen=True, slots=True)
class Alert:
    """One alert. `hosts` are names of the inventory; `strange`: names it does not know, each with those like it.

    Everything but `hosts`, `severity` and the time is untrusted text, clean and cut.
    """

    source: str
    title: str
    severity: Severity
    resolved: bool = False
    hosts: tuple[str, ...] = ()
    strange: tuple[tuple[str, tuple[str, ...]], ...] = ()
    unit: str = ""
    started_at: datetime | None = None
    labels: tuple[tuple[str, str], ...] = ()
    text: str = ""


def typed(raw: Raw, inventory: Inventory, intake: Intake) -> Alert:
    """Take an alert in: everything cut and clean, hosts looked up."""
    names = [intake.line(name, limit=_NAME_CHARS) for name in raw.hosts]
    known = {name: host_of(name.removeprefix("?"), inventory) for name in names}
    hosts = tuple(dict.fromkeys(filter(None, known.values())))
    # A word of a headline is a name only if the inventory knows it.
    strange = [name for name in known if not name.startswith("?")][:_STRANGE] if not hosts else []
    labels = ((intake.line(name, limit=40), intake.line(value, limit=_LABEL_CHARS)) for name, value in raw.labels)
    return Alert(
        source=raw.source,
        title=intake.line(_title(raw, inventory), limit=_TITLE_CHARS) or "an alert without a name",
        severity=severity_of(raw.severity),
        resolved=raw.resolved,
        hosts=hosts[:_HOSTS],
        strange=tuple((name, near_misses(_bare(name), inventory.hosts)) for name in strange),
        unit=intake.line(raw.unit, limit=_NAME_CHARS),
        started_at=raw.started_at,
        labels=tuple(labels)[:_LABELS],
        text=intake.text(raw.text, limit=_TEXT_CHARS),
    )


def _title(raw: Raw, inventory: Inventory) -> str:
    """Return the title without the hosts that a headline names behind it."""
    words = raw.title.split()
    named = {name.removeprefix("?") for name in raw.hosts if name.startswith("?")}
    kept = [word for word in words if word not in named or not host_of(word, inventory)]
    return " ".join(kept) or raw.title


def severity_of(word: str) -> Severity:
    """Return the severity a system's own word stands for."""
    found = (severity for severity, words in _SCALE.items() if word.strip().lower() in words)
    return next(found, Severity.UNKNOWN)


def host_of(name: str, inventory: Inventory) -> str:
    """Return the host an alert means: by its name, its address, or the first part of its full name; "": none."""
    bare = _bare(name)
    exact = _only(host.name for host in inventory.hosts.values() if host.name.lower() == bare)
    return exact or _only(host.name for host in inventory.hosts.values() if bare and _is_meant(host, bare))


def _is_meant(host: Host, name: str) -> bool:
    address = host.address.lower()
    in_domain = address.partition(".")[0] == name and not address[:1].isdigit()
    return address == name or in_domain or host.name.lower() == name.partition(".")[0]


def _only(names: Iterable[str]) -> str:
    found = tuple(names)
    return found[0] if len(found) == 1 else ""


def _bare(name: str) -> str:
    return _PORT.sub("", name.strip()).strip("[]").rstrip(".").lower()


# --- for people ------------------------------------------------------------------------------------------------------


def read_as(alerts: Sequence[Alert]) -> str:
    """Say in a line for each of the first alerts how it was read."""
    lines = [_line(alert) for alert in alerts[:_SHOWN_ALERTS]]
    more = len(alerts) - len(lines)
    return "\n".join([*lines, *([f"and {more} more of that message"] if more > 0 else [])])


def _line(alert: Alert) -> str:
    state = "resolved" if alert.resolved else str(alert.severity)
    since = f"since {alert.started_at:%Y-%m-%d %H:%M} UTC" if alert.started_at else ""
    parts = (state, code(alert.title), _where(alert), code(alert.unit), since)
    return f"Read as: {' · '.join(part for part in parts if part)}"


def _where(alert: Alert) -> str:
    if alert.hosts:
        return ", ".join(map(code, alert.hosts))
    if not alert.strange:
        return "no host named"
    name, near = alert.strange[0]
    like = f", did it mean {' or '.join(map(code, near))}?" if near else ""
    return f"{code(name)} is not in the inventory{like}"


# --- for the model ---------------------------------------------------------------------------------------------------


def told(alerts: Sequence[Alert], own_words: str) -> str:
    """Write what the model reads in place of what was pasted; the same bytes for the same alerts."""
    shown = json.dumps([_as_json(alert) for alert in alerts], ensure_ascii=False)
    # What is pasted cannot hold a hash of itself, so it cannot end the block.
    mark = hashlib.sha256(shown.encode("utf-8", "replace")).hexdigest()[:12]
    words = own_words or _question(alerts)
    return f"{words}\n{PASTED_ALERT}\n<data {mark}>\n{shown}\n</data {mark}>"


def _question(alerts: Sequence[Alert]) -> str:
    """Ask what somebody wants to know who pastes an alert without a word; plainly, so that no model is needed."""
    hosts = ", ".join(dict.fromkeys(host for alert in alerts[:_SHOWN_ALERTS] for host in alert.hosts[:_SHOWN_ALERTS]))
    return f"Status of {hosts} (alert)" if hosts else "Look into this alert."


def _as_json(alert: Alert) -> dict[str, Json]:
    said: dict[str, Json] = {
        "source": alert.source,
        "title": alert.title,
        "severity": str(alert.severity),
        "resolved": alert.resolved,
        "hosts": [*alert.hosts],
        "not_in_inventory": {name: [*near] for name, near in alert.strange},
        "unit": alert.unit,
        "started_at": alert.started_at.isoformat() if alert.started_at else None,
        "labels": dict(alert.labels),
        "text": alert.text,
    }
    return {name: value for name, value in said.items() if value not in ("", None, [], {}, False)}
