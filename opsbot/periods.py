"""How long, in people's words: `for 2h`, `until 18:00 Europe/Berlin`, `until 2026-12-24 18:00`. Pure."""

import re
from datetime import UTC, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from opsbot.errors import BadArguments

_DURATION = re.compile(r"([0-9]{1,4})\s?(m|min|minutes?|h|hours?|d|days?)", re.ASCII)
_CLOCK = re.compile(r"([01]?[0-9]|2[0-3]):([0-5][0-9])", re.ASCII)
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_LONGEST = timedelta(days=366)
_SAY = "Write `for 30m`, `for 2h`, `for 3d`, `until 18:00`, `until 2026-12-24 18:00`, and a zone like Europe/Berlin."


def read_end(words: str, now: datetime) -> datetime | None:
    """Return the (aware) time that `for …` or `until …` means; None for no words: open.

    A time of day without a day is the next one; without a zone it is UTC.

    Raises:
        BadArguments: it cannot be read, is over already, or lies more than a year ahead.
    """
    kind, _, rest = words.strip().partition(" ")
    if not kind:
        return None
    end = {"for": _for, "until": _until}.get(kind.lower(), _unknown)(rest.strip(), now)
    if end <= now:
        raise BadArguments(f"{end:%Y-%m-%d %H:%M} UTC is over already. {_SAY}")
    if end - now > _LONGEST:
        raise BadArguments("That is more than a year ahead; leave the time out for a freeze without an end.")
    return end


def _for(rest: str, now: datetime) -> datetime:
    found = _DURATION.fullmatch(rest.lower())
    if found is None:
        return _unknown(rest, now)
    return now + timedelta(**{_UNITS[found[2][0]]: int(found[1])})


def _until(rest: str, now: datetime) -> datetime:
    words = rest.split()
    zone = _zone(words.pop()) if words and ("/" in words[-1] or words[-1] == "UTC") else UTC
    day = _day(words.pop(0)) if words and _DAY.fullmatch(words[0]) else None
    clock = _CLOCK.fullmatch(words.pop(0)) if words else None
    if words or (clock is None and day is None):
        return _unknown(rest, now)
    local = now.astimezone(zone)
    at = time(int(clock[1]), int(clock[2])) if clock else time(0, 0)
    end = datetime.combine(day.date() if day else local.date(), at, zone).astimezone(UTC)
    if day is None and end <= now:
        end = datetime.combine(local.date() + timedelta(days=1), at, zone).astimezone(UTC)
    return end


def _day(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError as error:
        raise BadArguments(f"{text} is no day. {_SAY}") from error


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadArguments(f"{name[:40]!a} is no time zone this machine knows. {_SAY}") from error


def _unknown(rest: str, _: datetime) -> datetime:
    raise BadArguments(f"{rest[:40]!a} is no time. {_SAY}")
