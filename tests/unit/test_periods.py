"""Times in people's words: durations, times of day with and without a zone, days, and what is none of these."""

from datetime import UTC, datetime

import pytest

from opsbot.errors import BadArguments
from opsbot.periods import read_end

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)


def at(day: int, hour: int = 0, minute: int = 0, month: int = 11) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=UTC)


@pytest.mark.parametrize(
    ("words", "end"),
    [
        ("", None),
        ("for 2h", at(20, 14)),
        ("for 30 min", at(20, 12, 30)),
        ("FOR 3 days", at(23, 12)),
        ("until 18:00", at(20, 18)),
        ("until 9:30", at(21, 9, 30)),
        ("until 18:00 UTC", at(20, 18)),
        ("until 18:00 Europe/Berlin", at(20, 17)),
        ("until 12:30 Europe/Berlin", at(21, 11, 30)),
        ("until 2026-12-24", at(24, month=12)),
        ("until 2026-12-24 18:00 Europe/Berlin", at(24, 17, month=12)),
    ],
)
def test_an_end_is_read(words: str, end: datetime | None) -> None:
    assert read_end(words, NOW) == end


@pytest.mark.parametrize(
    "words",
    [
        "for",
        "for 0h",
        "for ever",
        "for -2h",
        "for 9999d",
        "until",
        "until UTC",
        "until 24:00",
        "until 2026-11-19",
        "until 2026-02-30",
        "until 18:00 Mars/Olympus",
        "until 18:00 ../etc/passwd",
        "until 18:00 tomorrow",
        "until 18:00 2026-12-24",
        "2h",
        "until 2028-01-01",
    ],
)
def test_what_is_no_time_or_a_useless_one_is_refused(words: str) -> None:
    with pytest.raises(BadArguments):
        read_end(words, NOW)


def test_midnight_across_the_end_of_summer_time() -> None:
    before = datetime(2026, 10, 24, 21, 0, tzinfo=UTC)
    assert read_end("until 6:00 Europe/Berlin", before) == datetime(2026, 10, 25, 5, 0, tzinfo=UTC)
