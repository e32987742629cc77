"""Figures as people read them: `3.2 GiB`, `91%`, `12d 4h`. Standard library only."""

from datetime import UTC, datetime

_SIZES = ("KiB", "MiB", "GiB", "TiB", "PiB")


def size_text(size_bytes: float | None) -> str:
    """Spell bytes in binary units with three significant digits at most; None is `unknown`."""
    if size_bytes is None:
        return "unknown"
    if size_bytes < 1024:
        return f"{size_bytes:.0f} B"
    size, unit = float(size_bytes), "B"
    for name in _SIZES:
        size, unit = size / 1024, name
        if size < 1023.5:
            break
    return f"{size:.1f} {unit}" if size < 9.95 else f"{size:.0f} {unit}"


def percent_text(share_percent: float | None) -> str:
    """Spell a percentage without decimals; None is `unknown`."""
    return "unknown" if share_percent is None else f"{share_percent:.0f}%"


def duration_text(seconds: float | None) -> str:
    """Spell a duration by its two largest units: `12d 4h`, `3h 5m`, `42s`; None is `unknown`."""
    if seconds is None:
        return "unknown"
    left = max(0, int(seconds))
    days, hours, minutes = left // 86400, left % 86400 // 3600, left % 3600 // 60
    if days:
        return f"{days}d {hours}h"
    if hours:
        return f"{hours}h {minutes}m"
    return f"{minutes}m {left % 60}s" if minutes else f"{left}s"


def time_text(at: datetime | None) -> str:
    """Spell a time in UTC to the second; None is `unknown`."""
    return "unknown" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
