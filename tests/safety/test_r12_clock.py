"""R12: the clock jumps while requests wait, with the monotonic clock and without: nothing late, nothing revived."""

import hashlib
import hmac
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from aiohttp.test_utils import make_mocked_request
from slack_bolt.async_app import AsyncApp

from opsbot import audit
from opsbot.adapters.slack import entrance
from opsbot.adapters.slack.entrance import HttpEntrance
from opsbot.adapters.store import noted_head, read_audit
from tests.records import KEY
from tests.safety.conftest import FULL, Figures
from tests.safety.faked_time import ClockBotProcess

HOUR, DAY = 3600, 86_400
JUMPS = (HOUR, -HOUR, DAY, -DAY, 1, -1)
LIFETIME_S = 4.0


@pytest.fixture
def bots(tmp_path: Path) -> Iterator[dict[bool, ClockBotProcess]]:
    made: dict[bool, ClockBotProcess] = {}
    yield made
    for bot in made.values():
        bot.kill()


@pytest.mark.parametrize("monotonic", [False, True], ids=["wall clock alone", "both clocks"])
def test_no_jump_makes_anything_run_late_or_again(
    tmp_path: Path, bots: dict[bool, ClockBotProcess], monotonic: bool, figures: Figures
) -> None:
    """A leap second is the jump of one second: within it what waits may be approved, and ends when it ends."""
    bot = bots[monotonic] = ClockBotProcess(tmp_path, lifetime_s=LIFETIME_S, monotonic=monotonic)
    restarts = late = revived = 0
    for jump in JUMPS if FULL or not monotonic else JUMPS[:2]:
        bot.jump(0)
        assert bot.tell("ask")["state"] == "pending"
        began = time.monotonic()
        bot.jump(jump)
        if abs(jump) > 1:
            state = bot.tell("approve")["state"]
            if state == "pending":
                state = bot.tell("sweep")["state"]
            assert state == "expired"
        else:
            time.sleep(max(0, began + LIFETIME_S + 1.2 - time.monotonic()))
            late += bot.tell("approve")["restarts"] - restarts
        bot.jump(0)
        revived += bot.tell("approve")["restarts"] - restarts
        bot.tell("sweep")
        bot.tell("withdraw")
    assert (late, revived) == (0, 0)
    seqs = bot.tell("report")["seqs"]
    assert seqs == list(range(1, len(seqs) + 1)), "records are numbered by their order, not by a clock"
    bot.kill()
    url = f"sqlite:///{tmp_path}/opsbot.db"
    assert audit.verify(read_audit(url), KEY, expected_head=noted_head(url)).ok
    name = "with both clocks" if monotonic else "with the wall clock"
    figures.note(**{f"late runs {name}": late, f"revived {name}": revived})


SECRET = "8f742231b10e8888abcd99yyyzzz85a5"


@pytest.mark.parametrize("off_s", [HOUR, -HOUR, DAY, 301, -301])
def test_a_clock_that_is_off_lets_no_signed_request_in(monkeypatch: pytest.MonkeyPatch, off_s: int) -> None:
    """Slack's signatures hold for five minutes: with a clock that is off, even genuine requests are refused."""
    real = time.time()
    body = b'{"type":"event_callback"}'
    stamp = str(int(real))
    signed = hmac.new(SECRET.encode(), f"v0:{stamp}:".encode() + body, hashlib.sha256).hexdigest()
    headers = {"X-Slack-Request-Timestamp": stamp, "X-Slack-Signature": f"v0={signed}"}
    assert genuine(headers, body)
    monkeypatch.setattr(entrance.time, "time", lambda: real + off_s)
    assert not genuine(headers, body)


def genuine(headers: dict[str, str], body: bytes) -> bool:
    request = make_mocked_request("POST", "/slack/events", headers=headers)
    return HttpEntrance(AsyncApp(signing_secret=SECRET, token="x"), SECRET)._is_signed(request, body)
