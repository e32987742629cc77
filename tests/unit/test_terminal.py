"""Rules of the terminal: everything is shown, nothing is obeyed, decisions are asked until they are clear."""

import io
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from rich.console import Console

from opsbot.adapters.terminal import TerminalChat, TerminalDirectory
from opsbot.domain import (
    Action,
    Actor,
    Approval,
    ApprovalState,
    Card,
    Chart,
    Content,
    HostOutcome,
    Impact,
    Place,
    Report,
    Result,
    Review,
    Series,
    Step,
    Table,
    Text,
)

ALICE = Actor("terminal", "alice")
PLACE = Place("terminal", "terminal", "1", direct=True)
AT = datetime(2026, 11, 22, 10, 30, tzinfo=UTC)
HOSTILE = "\x1b]8;;http://evil\x1b\\click\x1b[2J\u202e\x07"


def approval(state: ApprovalState = ApprovalState.PENDING, **changes: object) -> Approval:
    facts: dict[str, object] = {
        "id": "QRST2345",
        "conversation_id": PLACE.key,
        "place": PLACE,
        "call_id": "c1",
        "requester": ALICE,
        "action": Action("restart_service", {"unit": "nginx.service"}, ("web-1",)),
        "tool_sha256": "0" * 64,
        "reason": "it hangs",
        "rule": "approvers:production",
        "needed": 1,
        "approver_users": frozenset({"bob"}),
        "approver_groups": frozenset(),
        "impacts": {"web-1": Impact((("state", "active"), ("main PID", "4711")))},
        "created_at": AT,
        "expires_at": AT,
        "digest": "ab" * 32,
        "state": state,
    }
    return Approval(**(facts | changes))  # type: ignore[arg-type]


class Terminal:
    """A chat whose keyboard is a list of lines."""

    def __init__(self, *lines: str, terminal: bool = False) -> None:
        self.screen = io.StringIO()
        console = Console(file=self.screen, width=100, force_terminal=terminal, color_system=None, highlight=False)
        keyboard: Iterator[str] = iter(lines)

        def typed(prompt: object = "", **_: object) -> str:
            console.print(prompt, end="")
            try:
                return next(keyboard)
            except StopIteration:
                raise EOFError from None

        console.input = typed  # type: ignore[method-assign, assignment]
        self.chat = TerminalChat(console)

    @property
    def shown(self) -> str:
        return self.screen.getvalue()

    def new(self) -> str:
        text = self.shown
        self.screen.seek(0)
        self.screen.truncate()
        return text


async def test_report_shows_text_tables_blocks_and_errors() -> None:
    terminal = Terminal()
    table = Table(("host", "load"), (("web-1", "0.5"), ("web-2", "[bold]1[/bold]")), "Load")
    content = Report("Two hosts.", (table,), (("web-1", "line one\nline two"),), (("web-3", "no connection"),))
    await terminal.chat.post(PLACE, content, key="k")
    for part in ("Two hosts.", "Load", "web-2", "[bold]1[/bold]", "line two", "web-3: no connection"):
        assert part in terminal.shown


async def test_card_shows_what_will_run_and_what_it_hits() -> None:
    terminal = Terminal()
    await terminal.chat.post(PLACE, Card(approval()), key="k")
    parts = ["restart_service", "pending", "web-1", "unit=nginx.service", "main PID", "4711", "it hangs"]
    for part in [*parts, "QRST2345", "abababababab", "10:30:00 UTC"]:
        assert part in terminal.shown


async def test_edit_of_a_card_shows_new_steps_and_then_the_outcome() -> None:
    terminal = Terminal()
    running = approval(ApprovalState.EXECUTING)
    ref = await terminal.chat.post(PLACE, Card(running), key="k")
    terminal.new()
    steps = (Step("restart web-1", "running"),)
    await terminal.chat.edit(PLACE, ref, Card(running, steps))
    assert terminal.new().strip() == "… restart web-1: running"
    await terminal.chat.edit(PLACE, ref, Card(running, steps))
    assert terminal.new() == ""
    outcome = HostOutcome("web-1", Result.DONE, "active, new main PID", "journal line", (("main PID", "4712"),))
    done = approval(ApprovalState.DONE, outcomes=(outcome,), reviews=(Review(Actor("t", "bob"), True, AT),))
    await terminal.chat.edit(PLACE, ref, Card(done, (Step("restart web-1", "done"),)))
    shown = terminal.new()
    for part in ("DONE web-1: active, new main PID", "journal line", "4712", "bob approved", "✓ restart web-1"):
        assert part in shown


async def test_card_of_several_hosts_says_how_it_goes_and_names_the_untouched() -> None:
    terminal = Terminal()
    stopped = approval(
        ApprovalState.FAILED,
        action=Action("restart_service", {"unit": "nginx.service"}, ("web-1", "web-2", "web-3")),
        bindings={"rollout": "one canary, then 1 at a time"},
        outcomes=(HostOutcome("web-1", Result.DONE, "was restarted"),),
    )
    await terminal.chat.post(PLACE, Card(stopped), key="k")
    for part in ("one canary, then 1 at a time", "✓ web-1: done", "· web-2: untouched", "· web-3: untouched"):
        assert part in terminal.shown


@pytest.mark.parametrize(
    "content",
    [
        Text(HOSTILE, footer=HOSTILE),
        Text("[click](http://shown.example)"),
        Report(HOSTILE, (Table((HOSTILE,), ((HOSTILE,),), HOSTILE),), ((HOSTILE, HOSTILE),), ((HOSTILE, HOSTILE),)),
        Card(
            approval(
                ApprovalState.FAILED,
                reason=HOSTILE,
                note=HOSTILE,
                impacts={HOSTILE: Impact(((HOSTILE, HOSTILE),))},
                outcomes=(HostOutcome(HOSTILE, Result.FAILED, HOSTILE, HOSTILE, ((HOSTILE, HOSTILE),)),),
            ),
            (Step(HOSTILE, "failed", HOSTILE),),
        ),
    ],
)
async def test_no_control_character_reaches_the_terminal(content: Content) -> None:
    terminal = Terminal(terminal=True)
    await terminal.chat.post(PLACE, content, key="k")
    await terminal.chat.status(PLACE, HOSTILE)
    await terminal.chat.whisper(PLACE, ALICE, content)
    # rich's own colours are escape sequences too; they are the only ones there may be.
    bare = terminal.shown
    for own in ("\x1b[0m", "\x1b[1m", "\x1b[2m", "\x1b[3m", "\x1b[1;2m"):
        bare = bare.replace(own, "")
    assert not [char for char in bare if not (char.isprintable() or char == "\n")]
    assert "]8;;" not in bare.replace("�]8;;", "")


async def test_address_of_a_link_is_shown() -> None:
    terminal = Terminal()
    await terminal.chat.post(PLACE, Text("[your bank](http://elsewhere.example)"), key="k")
    assert "[your bank] (http[:]//elsewhere.example)" in terminal.shown


async def test_live_text_appears_once_where_nothing_can_be_redrawn() -> None:
    terminal = Terminal()
    live = await terminal.chat.live(PLACE, key="k", asker=ALICE)
    await live.show("half")
    await live.show("half an answer")
    ref = await live.finish(Text("the whole answer"))
    assert terminal.shown.strip() == "the whole answer"
    assert await terminal.chat.find(PLACE, "k") == ref
    assert await terminal.chat.find(PLACE, "other") is None


async def test_live_text_on_a_terminal_ends_with_the_final_content() -> None:
    terminal = Terminal(terminal=True)
    live = await terminal.chat.live(PLACE, key="k", asker=ALICE)
    await live.show("half")
    await live.finish(Text("the whole answer"))
    assert "the whole answer" in terminal.shown


@pytest.mark.parametrize(
    ("typed", "decision"),
    [
        (["a"], "approve"),
        (["Yes"], "approve"),
        (["d"], "deny"),
        (["no"], "deny"),
        ([""], "later"),
        (["later"], "later"),
        ([], "later"),
        (["what?", "ok", "approve"], "approve"),
        (["aa", "deny"], "deny"),
    ],
)
async def test_decision_is_asked_until_it_is_clear(typed: list[str], decision: str) -> None:
    terminal = Terminal(*typed)
    assert await terminal.chat.ask_decision(approval()) == decision
    assert terminal.shown.count("QRST2345") == max(1, len(typed))


async def test_lines_end_with_the_input_or_by_leaving() -> None:
    terminal = Terminal("how is web-1?", " exit ")
    assert await terminal.chat.read_line() == "how is web-1?"
    assert await terminal.chat.read_line() is None
    assert await terminal.chat.read_line() is None


async def test_nobody_is_in_a_group_at_a_terminal() -> None:
    assert await TerminalDirectory().groups_of(ALICE) == frozenset()


# --- charts ----------------------------------------------------------------------------------------------------------


def measured(name: str, *values: float | None, step_s: int = 60) -> Series:
    points = [(AT + timedelta(seconds=step_s * n), value) for n, value in enumerate(values) if value is not None]
    return Series(name, tuple(points))


async def drawn(chart: Chart, *, width: int = 80, encoding: str = "utf-8") -> list[str]:
    raw = io.BytesIO()
    file = io.TextIOWrapper(raw, encoding=encoding, write_through=True)
    await TerminalChat(Console(file=file, width=width)).pictures(PLACE, [chart])
    return [line.rstrip() for line in raw.getvalue().decode(encoding).splitlines()]


async def test_a_chart_is_a_line_of_blocks_with_its_last_figure() -> None:
    rising = measured("h1", *(n * 12.5 for n in range(9)))
    assert await drawn(Chart("h1: memory used", "percent", (rising,), threshold=90.0)) == [
        "h1: memory used",
        "h1  ▁▂▃▄▅▆▇██  100%  0% to 100%",
        "2026-11-22 10:30 to 10:38 UTC, threshold 90%",
    ]


async def test_where_nothing_was_measured_the_line_is_blank() -> None:
    gap = measured("h1", 50, 50, 50, 50, None, None, None, 50, 50, 50)
    assert (await drawn(Chart("t", "percent", (gap,))))[1] == "h1  ▅▅▅▅   ▅▅▅  50%  50% to 50%"


async def test_many_points_keep_their_peaks_within_the_width() -> None:
    spike = measured("h1", *(99.0 if n == 700 else 1.0 for n in range(1440)))
    lines = await drawn(Chart("t", "percent", (spike,)), width=40)
    assert all(len(line) <= 40 for line in lines)
    assert lines[1].count("█") == 1


async def test_lines_share_one_scale_and_any_unit() -> None:
    chart = Chart("t", "bytes", (measured("a", *[1024.0**3] * 9), measured("longer", *[3 * 1024.0**3] * 9)))
    assert (await drawn(chart))[1:3] == [
        "a       ▁▁▁▁▁▁▁▁▁  1.0 GiB  1.0 GiB to 1.0 GiB",
        "longer  █████████  3.0 GiB  3.0 GiB to 3.0 GiB",
    ]


async def test_a_terminal_without_blocks_gets_letters() -> None:
    chart = Chart("t", "percent", (measured("h1", *(n * 12.5 for n in range(9))),))
    assert (await drawn(chart, encoding="ascii"))[1] == "h1  _.-=+*#@@  100%  0% to 100%"


@pytest.mark.parametrize("width", [1, 10, 40, 300])
async def test_hostile_words_and_narrow_terminals_break_no_chart(width: int) -> None:
    chart = Chart(HOSTILE, "", (measured(HOSTILE + "x" * 99, 1.0, -1e18), measured("b", 0.0), Series("c", ())))
    text = "\n".join(await drawn(chart, width=width))
    assert not [c for c in text if not (c.isprintable() or c == "\n")]


async def test_a_chart_without_figures_says_so() -> None:
    assert await drawn(Chart("t", "percent", (Series("a", ()),))) == ["t", "no figures yet"]
