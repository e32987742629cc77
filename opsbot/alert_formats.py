"""Alerts as monitoring systems write them, recognised by their shape, never by guessing. Pure, and quick to say no."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

from opsbot.domain import Json

_ALERTS_MAX = 20
# Nothing below looks at a message that holds none of these.
_HINT = re.compile(
    r'"(?:alerts|labels|evalMatches|ruleName)"|\[(?:FIRING|RESOLVED|Alerting|OK)|Notification Type:|\bAlert: \S'
    r"|\*{5} |Active: (?:failed|inactive|activating)|is (?:CRITICAL|WARNING|UNKNOWN|DOWN|UNREACHABLE|OK|UP)\b"
)
_BRACKETED = re.compile(
    r"^[*_ ]*\[(FIRING|RESOLVED|Alerting|OK|No Data)(?::\s*(\d{1,4}))?[^\]\n]{0,40}\]\s*(.{1,300})$", re.MULTILINE
)
_LABEL = re.compile(r'([A-Za-z_][A-Za-z0-9_]{0,60})\s*=\s*"([^"\n]{0,300})"')
_LISTED = re.compile(r"^[ \t]{0,20}[-•][ \t]{0,20}([A-Za-z_][A-Za-z0-9_]{0,60})\s*[=:]\s*(.{1,500})$", re.MULTILINE)
_FIELD = re.compile(r"^[>*_ ]*([A-Z][A-Za-z /]{1,24}?)[*_ ]*:[*_ ]*(\S.{0,500})$", re.MULTILINE)
_NAGIOS_LINE = re.compile(
    r"\b(PROBLEM|RECOVERY|ACKNOWLEDGEMENT|FLAPPINGSTART)\s+(?:Host|Service) Alert:\s*([^/\n]{1,255}?)"
    r"(?:/([^\n]{1,255}?))?\s+is\s+(CRITICAL|WARNING|UNKNOWN|OK|DOWN|UP|UNREACHABLE)\b"
)
_ICINGA_LINE = re.compile(
    r"^(?:(.{1,200}) on )?(\S{1,255}) is (CRITICAL|WARNING|UNKNOWN|OK|DOWN|UP|UNREACHABLE)!$", re.MULTILINE
)
_NAGIOS_HEAD = re.compile(r"\*{5} (?:Nagios|Icinga|Naemon|(?:Service|Host) Monitoring on)", re.IGNORECASE)
_UNIT = re.compile(
    r"^[ \t]{0,20}[●×○*][ \t]{1,20}([A-Za-z0-9:_.@\\-]{1,200}\.(?:service|timer|mount|socket|path))\b", re.MULTILINE
)
_ACTIVE = re.compile(
    r"^[ \t]{0,20}Active: (failed|inactive|activating)\b"
    r"(?:[^\n]{0,120}? since \w{3} (\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) (?:UTC|GMT))?",
    re.MULTILINE,
)
_JOURNAL_HOST = re.compile(
    r"^\w{3} [ \d]\d \d\d:\d\d:\d\d ([A-Za-z0-9][A-Za-z0-9.-]{0,254}) \S+(?:\[\d+\])?: ", re.MULTILINE
)
_HOST_KEYS = ("instance", "host", "hostname", "nodename", "node", "server", "machine", "target", "Host")
_UNIT_KEYS = ("unit", "systemd_unit", "service", "name")
_SEVERITY_KEYS = ("severity", "priority", "level")


@dataclass(frozen=True, slots=True)
class Raw:
    """An alert as its system wrote it, every part as it stands there; "" and None: it does not say."""

    source: str
    title: str
    severity: str = ""
    resolved: bool = False
    hosts: tuple[str, ...] = ()
    unit: str = ""
    started_at: datetime | None = None
    labels: tuple[tuple[str, str], ...] = ()
    text: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Recognised:
    """Alerts in a message, and the person's own words around them."""

    alerts: tuple[Raw, ...]
    own_words: str = ""


def recognise(text: str) -> Recognised | None:
    """Return the alerts in a message; None: it has the shape of none that is known."""
    if not _HINT.search(text):
        return None
    for read in (_json, _bracketed, _nagios, _systemd):
        found = read(text)
        if found is not None and found.alerts:
            return found
    return None


# --- JSON: Alertmanager, Grafana, Prometheus -------------------------------------------------------------------------


def _json(text: str) -> Recognised | None:
    begins = min((at for mark in "{[" if (at := text.find(mark)) >= 0), default=-1)
    if begins < 0:
        return None
    try:
        value, length = json.JSONDecoder().raw_decode(text[begins:])
    except (ValueError, RecursionError):
        return None
    rest = f"{text[:begins]} {text[begins + length :]}".replace("```json", " ").replace("```", " ")
    return Recognised(tuple(_of_json(value))[:_ALERTS_MAX], " ".join(rest.split()))


def _of_json(value: Json) -> Iterator[Raw]:
    if isinstance(value, list):
        value = {"alerts": value}
    if not isinstance(value, dict):
        return
    if isinstance(rule := value.get("ruleName"), str):
        yield _old_grafana(rule, str(value.get("state")), value)
    elif _has_labels(value):
        yield _labelled("alertmanager", value)
    inner, source = value.get("data"), "prometheus"
    if not isinstance(inner, dict):
        inner, source = value, "grafana" if "orgId" in value else "alertmanager"
    alerts = inner.get("alerts")
    yield from (_labelled(source, each) for each in (alerts if isinstance(alerts, list) else []) if _has_labels(each))


def _has_labels(alert: Json) -> bool:
    labels = alert.get("labels") if isinstance(alert, dict) else None
    return isinstance(labels, dict) and isinstance(labels.get("alertname"), str)


def _labelled(source: str, alert: Json) -> Raw:
    assert isinstance(alert, dict)
    labels, annotations = _texts(alert.get("labels")), _texts(alert.get("annotations"))
    status = alert.get("status") or alert.get("state")
    state = status.get("state") if isinstance(status, dict) else status
    said = [annotations[name] for name in ("summary", "description", "message") if name in annotations]
    started = alert.get("startsAt") or alert.get("activeAt")
    return _from_labels(source, labels, resolved=state in ("resolved", "inactive"), text="\n".join(said), at=started)


def _from_labels(source: str, labels: Mapping[str, str], *, resolved: bool, text: str, at: Json = None) -> Raw:
    return Raw(
        source=source,
        title=labels.get("alertname", ""),
        severity=_first(labels, _SEVERITY_KEYS),
        resolved=resolved,
        hosts=tuple(labels[name] for name in _HOST_KEYS if name in labels),
        unit=_first(labels, _UNIT_KEYS),
        started_at=read_time(at),
        labels=tuple((name, value) for name, value in labels.items() if name != "alertname"),
        text=text,
    )


def _old_grafana(rule: str, state: str, value: Mapping[str, Json]) -> Raw:
    matches = value.get("evalMatches")
    listed = matches if isinstance(matches, list) else []
    tags = [_texts(match.get("tags")) for match in listed if isinstance(match, dict)]
    hosts = tuple(dict.fromkeys(found[name] for found in tags for name in _HOST_KEYS if name in found))
    text, labels = _texts(dict(value)).get("message", ""), tuple(_texts(value.get("tags")).items())
    return Raw("grafana", rule, hosts=hosts, resolved=state == "ok", text=text, labels=labels)


# --- text ------------------------------------------------------------------------------------------------------------


def _bracketed(text: str) -> Recognised | None:
    """Alertmanager's and Grafana's messages: `[FIRING:1] DiskFull (instance="web-1:9100")`, and what follows."""
    heads = list(_BRACKETED.finditer(text))
    alerts = []
    for number, head in enumerate(heads[:_ALERTS_MAX]):
        body = text[head.end() : heads[number + 1].start() if number + 1 < len(heads) else None]
        pairs = [*_LABEL.findall(head[3]), *_LABEL.findall(body), *_LISTED.findall(body)]
        labels = {name: value.strip() for name, value in pairs}
        said = [labels.pop(name) for name in ("summary", "description") if name in labels]
        title = re.split(r"[(|]|\s+for\s+|\s+on\s+", head[3], maxsplit=1)[0].strip(" *_")
        labels.setdefault("alertname", title)
        resolved = head[1] in ("RESOLVED", "OK")
        made = _from_labels("alertmanager", labels, resolved=resolved, text="\n".join(said) or body.strip())
        alerts.append(_with_words(made, head[3]))
    return Recognised(tuple(alerts), text[: heads[0].start()].strip()) if heads else None


def _with_words(raw: Raw, head: str) -> Raw:
    """Where no label names a host, the words of the headline may; they count only if the inventory knows them."""
    if raw.hosts:
        return raw
    words = tuple(word.strip("().,;:*_") for word in head.split()[1:12])
    found = next((word for word in words if word.lower() in ("critical", "warning", "info")), "")
    return Raw(
        raw.source, raw.title, raw.severity or found, raw.resolved, tuple(f"?{word}" for word in words if word),
        raw.unit, raw.started_at, raw.labels, raw.text,
    )  # fmt: skip


def _nagios(text: str) -> Recognised | None:
    if line := _NAGIOS_LINE.search(text):
        kind, host, service, state = line.groups()
        rest = text[line.end() :].strip(" *\n")
        made = Raw("nagios", service or "Host", state, kind == "RECOVERY", (host.strip(),), text=rest)
        return Recognised((made,), text[: line.start()].strip(" *\n"))
    fields = dict(reversed(_FIELD.findall(text)))
    icinga = _ICINGA_LINE.search(text)
    if not _NAGIOS_HEAD.search(text) and not ("Notification Type" in fields and "Host" in fields):
        return None
    state = fields.get("State") or (icinga[3] if icinga else "")
    host = fields.get("Host") or (icinga[2] if icinga else "")
    if not state or not host:
        return None
    title = fields.get("Service") or (icinga[1] if icinga and icinga[1] else "Host")
    said = fields.get("Additional Info") or fields.get("Info") or _after(text, "Additional Info:")
    at = fields.get("When") or fields.get("Date/Time")
    labels = tuple((name, fields[name]) for name in ("Address", "Notification Type") if name in fields)
    hosts = (host, fields["Address"]) if "Address" in fields else (host,)
    source = "icinga" if "icinga" in text[:200].lower() else "nagios"
    resolved = state in ("OK", "UP")
    return Recognised((Raw(source, title, state, resolved, hosts, "", read_time(at), labels, said),))


def _after(text: str, mark: str) -> str:
    return text.partition(mark)[2].strip()[:1000]


def _systemd(text: str) -> Recognised | None:
    """What `systemctl status` says, as OnFailure units mail it."""
    unit, active = _UNIT.search(text), _ACTIVE.search(text)
    if unit is None or active is None:
        return None
    fields = dict(_FIELD.findall(text[: unit.start()]))
    named = [fields[name] for name in ("Host", "Hostname") if name in fields]
    hosts = tuple(dict.fromkeys([*named, *_JOURNAL_HOST.findall(text)[-1:]]))
    words = tuple(f"?{word.strip('[]():,')}" for word in text[: unit.start()].split()[:30])
    made = Raw(
        "systemd", f"{unit[1]} {active[1]}", "critical" if active[1] == "failed" else "warning",
        hosts=hosts or words, unit=unit[1], started_at=read_time(active[2]), text=text[active.end() :].strip(),
    )  # fmt: skip
    return Recognised((made,))


# --- parts -----------------------------------------------------------------------------------------------------------

_TIMES = ("%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M:%S %z", "%a %b %d %H:%M:%S UTC %Y", "%d-%m-%Y %H:%M:%S")


def read_time(value: Json) -> datetime | None:
    """Read a time; UTC unless it says otherwise. None: it is none, or before 2000 (zero, to some programs)."""
    if not isinstance(value, str) or len(value) > 40:
        return None
    found = _parsed_time(value.strip())
    if found is None:
        return None
    aware = found if found.tzinfo else found.replace(tzinfo=UTC)
    return aware.astimezone(UTC).replace(microsecond=0) if 2000 <= aware.year < 2100 else None


def _parsed_time(text: str) -> datetime | None:
    # Go writes nanoseconds, which Python does not read.
    shorter = re.sub(r"(\.\d{6})\d+", r"\1", text)
    try:
        return datetime.fromisoformat(shorter)
    except ValueError:
        pass
    for form in _TIMES:
        try:
            return datetime.strptime(text, form)
        except ValueError:
            continue
    return None


def _texts(value: Json) -> dict[str, str]:
    """Return the short texts of an object."""
    if not isinstance(value, dict):
        return {}
    return {name: text for name, text in value.items() if isinstance(text, str) and len(text) <= 4000}


def _first(labels: Mapping[str, str], names: Sequence[str]) -> str:
    return next((labels[name] for name in names if labels.get(name)), "")
