"""Slack's threads: the first message and the newest in a bounded number of calls, whatever Slack answers."""

import base64
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsbot.adapters.slack.thread_reader import ThreadReader
from opsbot.domain import Place
from opsbot.errors import ChatError
from opsbot.threads import Thread

ROOT = "1700000000.000100"
PLACE = Place("T1", "C1", ROOT)


def message(number: int, every_s: float = 60.0) -> dict[str, Any]:
    ts = f"{1700000000 + number * every_s:.6f}" if number else ROOT
    return {"type": "message", "user": f"U{number % 5}", "text": f"message {number}", "ts": ts}


class Slack:
    """Answers conversations.replies as Slack does: the first message on every page, replies oldest first."""

    def __init__(self, replies: int, every_s: float = 60.0, *, counts: bool = True) -> None:
        self.messages = [message(number, every_s) for number in range(replies + 1)]
        self.before = f"{1700000000 + (replies + 1) * every_s:.6f}"
        if counts:
            # The question is a reply too.
            self.messages[0]["reply_count"] = replies + 1
        self.asked: list[Mapping[str, Any]] = []

    async def ask(self, where: Mapping[str, Any]) -> Mapping[str, Any]:
        self.asked.append(where)
        root, *others = self.messages
        low, high = Decimal(str(where.get("oldest", "0"))), Decimal(str(where["latest"]))
        found = [m for m in others if low < Decimal(m["ts"]) < high]
        start = int(base64.b64decode(str(where.get("cursor", ""))) or 0)
        end = start + int(where["limit"])
        cursor = base64.b64encode(str(end).encode()).decode() if end < len(found) else ""
        return {"messages": [root, *found[start:end]], "response_metadata": {"next_cursor": cursor}}

    async def read(self) -> Thread:
        return await ThreadReader(self.ask, PLACE, "UBOT", self.before).read()


@pytest.mark.parametrize(("replies", "calls"), [(0, 1), (5, 1), (200, 1), (201, 2), (799, 4)])
async def test_a_thread_that_fits_the_calls_is_read_whole(replies: int, calls: int) -> None:
    slack = Slack(replies)
    thread = await slack.read()
    assert [said.text for said in thread.messages] == [f"message {number}" for number in range(replies + 1)]
    assert (thread.missing, thread.failure, len(slack.asked)) == (0, "", calls)


@pytest.mark.parametrize("every_s", [0.5, 60.0, 86_400.0])
async def test_of_a_longer_one_the_first_and_the_newest_are_read_and_the_gap_is_counted(every_s: float) -> None:
    slack = Slack(5000, every_s)
    thread = await slack.read()
    numbers = [int(said.text.split()[1]) for said in thread.messages]
    assert numbers[0] == 0
    assert numbers[-100:] == list(range(4901, 5001))
    assert thread.missing == 5001 - len(numbers)
    assert len(slack.asked) <= 5


async def test_where_people_wrote_unevenly_the_window_widens() -> None:
    slack = Slack(3000, 1.0)
    slack.before = f"{1700000000 + 40 * 86_400:.6f}"
    thread = await slack.read()
    assert len(slack.asked) <= 5
    assert thread.messages[0].text == "message 0"


async def test_without_a_count_the_pages_are_read_as_far_as_the_calls_go() -> None:
    slack = Slack(3000, counts=False)
    thread = await slack.read()
    assert len(slack.asked) == 5
    assert len(thread.messages) == 1001


async def test_own_words_are_left_out_and_programs_named() -> None:
    slack = Slack(4)
    slack.messages[1]["user"] = "UBOT"
    slack.messages[2] |= {"bot_id": "B1", "text": "", "attachments": [{"fallback": "disk full on web-1"}]}
    slack.messages[3]["text"] = "<@UBOT> and <https://x.example|this> &lt;b&gt;"
    del slack.messages[4]["user"]
    thread = await slack.read()
    assert [(said.author, said.app) for said in thread.messages] == [
        ("U0", False),
        ("U2", True),
        ("U3", False),
        ("", True),
    ]
    assert thread.messages[1].text == "disk full on web-1"
    assert "UBOT" not in thread.messages[2].text
    assert "<b>" in thread.messages[2].text
    assert thread.missing == 0


async def test_a_refusal_in_mid_thread_keeps_what_was_read() -> None:
    slack = Slack(500)
    ask = slack.ask

    async def limited(where: Mapping[str, Any]) -> Mapping[str, Any]:
        if len(slack.asked) == 2:
            raise ChatError("Slack limits conversations.replies: again in 60 s.")
        return await ask(where)

    slack.ask = limited  # type: ignore[method-assign]
    thread = await slack.read()
    assert len(thread.messages) == 401
    assert thread.missing == 100
    assert "limits" in thread.failure


async def test_nothing_read_is_an_error() -> None:
    async def refused(where: Mapping[str, Any]) -> Mapping[str, Any]:
        raise ChatError("Slack refused conversations.replies: missing_scope.")

    with pytest.raises(ChatError, match="missing_scope"):
        await ThreadReader(refused, PLACE, "UBOT", "1800000000.000000").read()


json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just(ROOT),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(("ts", "user", "text", "reply_count", "attachments", "fallback", "bot_id", "messages")),
            inner,
        )
    ),
    max_leaves=12,
)


@given(
    st.fixed_dictionaries(
        {"messages": json, "response_metadata": st.none() | st.just({}) | st.just({"next_cursor": "x"})}
    )
)
async def test_no_answer_of_slack_breaks_it(answer: dict[str, Any]) -> None:
    calls = 0

    async def ask(where: Mapping[str, Any]) -> Mapping[str, Any]:
        nonlocal calls
        calls += 1
        return answer

    await ThreadReader(ask, PLACE, "UBOT", "1800000000.000000").read()
    assert calls <= 5
