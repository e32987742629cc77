"""The incident timeline: what each record means in words, and what becomes of records it does not know."""

import pytest

from opsbot.domain import AuditEntry, AuditRecord, Json
from opsbot.minutes import digest_of
from opsbot.timeline import code, timeline, told
from tests.records import NOON

HELLO = str(digest_of("hello")["sha256"])


def entry(kind: str, approval_id: str = "", **facts: Json) -> AuditEntry:
    return AuditEntry(kind, NOON, "T1/U1", "T1/C1/1", approval_id, facts)


@pytest.mark.parametrize(
    ("said", "means"),
    [
        (entry("conversation.asked", characters=5, sha256=HELLO), "wrote to the bot (5 characters): `hello`"),
        (entry("conversation.asked", characters=5, sha256="ab"), "wrote to the bot (5 characters)"),
        (
            entry("conversation.replied", characters=0, calls=[{"tool": "disk_usage"}, {"tool": "x|y"}]),
            "the model answered (0 characters) and called `disk_usage`, `x\\|y`",
        ),
        (entry("call.refused", tool="reboot", reason="No such host."), "`reboot`  was not run: `No such host.`"),
        (entry("approval.approved", "7KQ2"), "approved request `7KQ2`"),
        (entry("decision.refused", verb="deny", reason="NotAllowed"), "a click did not count (deny): `NotAllowed`"),
        (entry("execution.host", host="web-1", result="not_done"), "verdict of the host: not done"),
        (entry("execution.finished", state="failed", note="It *hung*."), "the action ended: failed. `It *hung*.`"),
        (entry("execution.finished", state="done|x", note=""), "the action ended: `done\\|x`"),
        (
            entry("opsbot.started", version="1.0", model="m", changed=[]),
            "opsbot `1.0` started, answered by `m`; changed since the last start: -",
        ),
        (entry("new.kind", one=1, two=["a", {"b": True}]), "`new.kind` `one=1 two=a, b=True`"),
        (entry("approval.requested", "7KQ2"), "asked for - , request `7KQ2`; reason: -"),
    ],
)  # fmt: skip
def test_each_record_is_told_in_words(said: AuditEntry, means: str) -> None:
    assert told(said, {HELLO: "hello"}) == means


def test_facts_that_are_not_as_expected_never_stop_a_timeline() -> None:
    odd: list[Json] = [None, 1, 1.5, True, "x", [], {}, [[]], {"a": None}]
    records = [
        AuditRecord(seq, "", AuditEntry(kind, NOON, "", "", "ID", dict.fromkeys(_NAMES, value)), "ab" * 32)
        for kind in ("approval.requested", "execution.host", "conversation.replied", "execution.finished", "x.y")
        for seq, value in enumerate(odd, 1)
    ]  # fmt: skip
    assert timeline(records, {}, title="T", remark="r").count("\n") > len(records)


_NAMES = ("shown", "calls", "hosts", "arguments", "state", "result", "reason", "digest", "tool", "summary", "host")


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("a`b", "`a'b`"),
        ("a|b\\|c", "`a\\|b＼\\|c`"),
        ("line\nline", "`line line`"),
        ("x" * 400, f"`{'x' * 299}…`"),
        ("\x1b[31mred\x1b[0m\u202e", "`red`"),
    ],
)
def test_words_of_others_stay_words(text: str, shown: str) -> None:
    assert code(text) == shown
