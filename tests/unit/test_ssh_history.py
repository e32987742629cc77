"""When a host that failed is tried again, and what is said meanwhile; time is given, not waited for."""

from datetime import UTC, datetime

import pytest

from opsbot.adapters.ssh_history import HostHistory

AT = datetime(2026, 11, 3, 2, 14, 5, tzinfo=UTC)


def fail(history: HostHistory, *moments: float) -> None:
    for moment in moments:
        history.failed(moment, "db-1 is gone.")


def pause_s(history: HostHistory, failed_at: float) -> int:
    """Whole seconds after the failure in which callers are refused."""
    return next(n for n in range(1000) if not history.refusal(failed_at + n, under_way=False))


def test_a_host_nobody_asked_is_not_suspected() -> None:
    assert HostHistory(5.0).refusal(0.0, under_way=False) == ""
    assert HostHistory(5.0).refusal(0.0, under_way=True) == ""


def test_each_failure_in_a_row_doubles_the_pause_up_to_a_minute() -> None:
    history = HostHistory(5.0)
    seen = []
    for n in range(8):
        fail(history, n * 1000.0)
        seen.append(pause_s(history, n * 1000.0))
    assert seen == [5, 10, 20, 40, 60, 60, 60, 60]


def test_weeks_of_failures_stay_at_a_minute() -> None:
    history = HostHistory(5.0)
    fail(history, *(float(n) for n in range(5000)))
    assert pause_s(history, 4999.0) == 60


def test_one_success_resets_the_pause() -> None:
    history = HostHistory(5.0)
    fail(history, 0.0, 10.0, 20.0)
    history.seen(30.0, AT)
    assert history.refusal(30.0, under_way=False) == ""
    fail(history, 40.0)
    assert pause_s(history, 40.0) == 5


def test_while_one_caller_tries_again_others_are_answered_at_once() -> None:
    history = HostHistory(5.0)
    fail(history, 0.0)
    assert history.refusal(7.0, under_way=False) == ""
    assert "being tried again just now" in history.refusal(7.0, under_way=True)


@pytest.mark.parametrize(
    ("seen_at", "words"),
    [
        (None, "db-1 is gone. (That was 2.0 s ago; not tried again for 3 s. Never seen since opsbot started.)"),
        (
            820.0,
            "db-1 is gone. (That was 2.0 s ago; not tried again for 3 s. Last seen 02:14:05 UTC, 3m 2s ago.)",
        ),
    ],
)
def test_the_answer_says_when_the_host_was_last_seen(seen_at: float | None, words: str) -> None:
    history = HostHistory(5.0)
    if seen_at is not None:
        history.seen(seen_at, AT)
    fail(history, 1000.0)
    assert history.refusal(1002.0, under_way=False) == words


def test_without_a_pause_nobody_is_ever_refused() -> None:
    history = HostHistory(0.0)
    fail(history, 0.0, 0.0)
    assert history.refusal(0.0, under_way=False) == ""
    assert history.refusal(0.0, under_way=True) == ""
