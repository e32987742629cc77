"""Chat in a terminal: messages as text, tables and panels; decisions asked at the keyboard."""

import asyncio
import sys
import termios
from collections.abc import Iterable, Sequence
from itertools import count

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markdown import Markdown
from rich.panel import Panel
from rich.table import Table as RichTable
from rich.text import Text as Words

from opsbot.adapters.links import inert, inert_markdown, without_entities
from opsbot.adapters.sparklines import sparklines
from opsbot.domain import (
    Actor,
    Approval,
    ApprovalState,
    Card,
    Chart,
    Content,
    HostOutcome,
    IncidentCard,
    Membership,
    MessageRef,
    Place,
    Report,
    Result,
    Step,
    Table,
    Text,
    TextFile,
)
from opsbot.errors import ChatError
from opsbot.incident_files import markdown
from opsbot.policy import tier_text
from opsbot.rollout import shown_steps
from opsbot.taint import caution
from opsbot.threads import Thread

_COLOURS = {Result.DONE: "green", Result.FAILED: "red", Result.NOT_DONE: "yellow", Result.UNKNOWN: "yellow"}
_MARKS = {"waiting": "·", "paused": "‖", "running": "…", "done": "✓", "failed": "✗", "untouched": "·"}
_REASON_MAX = 300
_ANSWERS = {"a": "approve", "approve": "approve", "y": "approve", "yes": "approve", "d": "deny", "deny": "deny",
            "n": "deny", "no": "deny", "w": "withdraw", "withdraw": "withdraw", "l": "later", "later": "later",
            "": "later"}  # fmt: skip


class TerminalChat:
    """Implements `ports.Chat`. Everything shown is stripped of control characters first, whoever wrote it."""

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console(highlight=False)
        self._numbers = count(1)
        self._by_key: dict[str, MessageRef] = {}
        self._shown: dict[str, Content] = {}

    # --- the port ----------------------------------------------------------------------------------------------------

    async def post(self, place: Place, content: Content, *, key: str) -> MessageRef:
        """Print the content."""
        ref = MessageRef(place.channel_id, str(next(self._numbers)))
        self._by_key[key] = ref
        self._shown[ref.message_id] = content
        self._console.print(render(content))
        return ref

    async def edit(self, place: Place, ref: MessageRef, content: Content) -> None:
        """Print what changed: a terminal cannot take back what it showed."""
        before = self._shown.get(ref.message_id)
        self._shown[ref.message_id] = content
        if before == content:
            return
        if isinstance(before, Card) and isinstance(content, Card) and before.approval.state == content.approval.state:
            new = [step for step in content.steps if step not in before.steps]
            if new:
                self._console.print(Group(*map(_step, new)))
            return
        self._console.print(render(content))

    async def whisper(self, place: Place, actor: Actor, content: Content, *, reply_to: str = "") -> None:
        """Print the content: everything here is private."""
        self._console.print(render(content))

    async def status(self, place: Place, text: str) -> None:
        """Print that the bot is at work."""
        if text:
            self._console.print(Words(f"opsbot {_plain(text)}", style="dim"))

    async def live(self, place: Place, *, key: str, asker: Actor) -> "TerminalText":
        """Begin an answer that appears while it is written."""
        return TerminalText(self, self._console, place, key)

    async def pictures(self, place: Place, charts: Sequence[Chart], *, to: Actor | None = None) -> None:
        """Print the charts as lines of blocks, as wide as the terminal."""
        for chart in charts:
            self._console.print(sparklines(chart, self._console))

    async def files(self, place: Place, files: Sequence[TextFile], *, look: bool = False) -> None:
        """Say which command prints them: a terminal has no place for files."""
        for file in files:
            self._console.print(Words(f"{_plain(file.title)}: `opsbot report` prints it", style="dim"))

    async def form(self, trigger: str, place: Place, card: IncidentCard) -> None:
        """Refuse: there are no forms here."""
        raise ChatError("Reports are edited in Slack; at the terminal they can only be read.")

    async def find(self, place: Place, key: str) -> MessageRef | None:
        """Return the message printed with this key since the start, if any."""
        return self._by_key.get(key)

    async def earlier(self, place: Place, *, before: str) -> Thread:
        """A conversation at the terminal begins with the person's words."""
        return Thread()

    # --- the keyboard ------------------------------------------------------------------------------------------------

    async def read_line(self) -> str | None:
        """Return what the person types next, or None at the end of input or for `exit`."""
        line = await asyncio.to_thread(self._input, "› ")
        return None if line is None or line.strip().lower() in ("exit", "quit") else line

    async def ask_decision(self, approval: Approval) -> str:
        """Ask for a decision on the card above, again while the answer is unclear.

        Returns `approve`, `deny`, `later`, or a command: `withdraw ID`, `leave-out ID HOST…`.
        """
        _forget_what_was_typed_before()
        narrow = "leave [o]ut HOST…, " if len(approval.action.hosts) > 1 else ""
        while True:
            prompt = f"{_plain(approval.id)}: [a]pprove, [d]eny, [w]ithdraw, {narrow}or decide [l]ater? "
            line = await asyncio.to_thread(self._input, prompt)
            if line is None:
                return "later"
            word, *hosts = line.split() or [""]
            if word.lower() in ("o", "out", "leave-out") and hosts:
                return f"leave-out {approval.id} {' '.join(hosts)}"
            if (answer := _ANSWERS.get(line.strip().lower())) is not None:
                return f"withdraw {approval.id}" if answer == "withdraw" else answer

    def _input(self, prompt: str) -> str | None:
        try:
            return self._console.input(Words(prompt, style="bold"))
        except EOFError:
            return None


def _forget_what_was_typed_before() -> None:
    """Drop keys that were pressed before the question was there: they cannot be its answer."""
    if sys.stdin.isatty():
        termios.tcflush(sys.stdin, termios.TCIFLUSH)


class TerminalText:
    """Implements `ports.LiveText`: redraws in place on a terminal, prints once elsewhere."""

    def __init__(self, chat: TerminalChat, console: Console, place: Place, key: str) -> None:
        self._chat = chat
        self._console = console
        self._place = place
        self._key = key
        self._live: Live | None = None

    async def show(self, markdown: str) -> None:
        """Show the whole text so far."""
        if not self._console.is_terminal:
            return
        if self._live is None:
            self._live = Live(console=self._console, transient=True, refresh_per_second=8)
            self._live.start()
        self._live.update(_markdown(markdown))

    async def finish(self, content: Content) -> MessageRef:
        """Replace the draft by the final content."""
        if self._live is not None:
            self._live.stop()
        return await self._chat.post(self._place, content, key=self._key)


class TerminalDirectory:
    """Implements `ports.Directory`: at a terminal nobody is in a group, and whoever sits there is a member."""

    async def membership_of(self, actor: Actor) -> Membership:
        """Return that whoever sits here may."""
        return Membership.MEMBER

    async def groups_of(self, actor: Actor) -> frozenset[str]:
        """Return no groups."""
        return frozenset()


# --- rendering -------------------------------------------------------------------------------------------------------


def render(content: Content) -> RenderableType:
    """Return the content as rich shows it."""
    match content:
        case Text():
            parts: list[RenderableType] = [_markdown(content.markdown)]
            return Group(*parts, *([Words(_plain(content.footer), style="dim")] if content.footer else []))
        case Report():
            return Group(*_report(content))
        case IncidentCard():
            return _markdown(markdown(content.report))
        case Card():
            return _card(content)


def _report(report: Report) -> Iterable[RenderableType]:
    if report.text:
        yield _markdown(report.text)
    for table in report.tables:
        yield _table(table)
    for title, text in report.blocks:
        yield Panel(Words(_plain(text)), title=Words(_plain(title)), title_align="left", border_style="dim")
    for host, error in report.errors:
        yield Words(f"{_plain(host)}: {_plain(error)}", style="red")


def _table(table: Table) -> RenderableType:
    drawn = RichTable(title=_plain(table.title) or None, title_justify="left", box=None, header_style="bold")
    for header in table.headers:
        drawn.add_column(Words(_plain(header)), overflow="fold")
    for row in table.rows:
        drawn.add_row(*(Words(_plain(cell)) for cell in row))
    return drawn


def _card(card: Card) -> RenderableType:
    approval = card.approval
    parts: list[RenderableType] = [_grid(_facts(approval))]
    for host, impact in approval.impacts.items():
        parts += [Words(f"\n{_plain(host)} now", style="bold"), _grid(impact.facts)]
    parts += map(_step, shown_steps(card))
    for outcome in approval.outcomes:
        parts += _outcome(outcome)
    if approval.note:
        parts.append(Words(_line(approval.note), style="italic"))
    # Words of people come last: whatever they look like, the facts stand above them.
    parts.append(Words(f"reason, as given: {_line(approval.reason)[:_REASON_MAX] or 'none'}", style="dim"))
    colour = "yellow" if approval.state is ApprovalState.PENDING else "dim"
    title = Words(f"{approval.action.tool} · {approval.state}", style="bold")
    return Panel(Group(*parts), title=title, title_align="left", border_style=colour)


def _facts(approval: Approval) -> list[tuple[str, str]]:
    arguments = " ".join(f"{name}={value}" for name, value in sorted(approval.action.arguments.items()))
    return [
        ("hosts", ", ".join(approval.action.hosts)),
        *(("rollout", said) for said in [approval.bindings.get("rollout")] if said),
        *(("caution", caution(approval)) for _ in approval.tainted_by[:1]),
        ("arguments", arguments),
        ("asked by", approval.requester.user_id),
        ("approvals needed", str(approval.needed)),
        ("rule", approval.rule),
        *(("tier", tier_text(reach)) for reach in [approval.reach] if reach),
        *(
            ("decided", f"{review.actor.user_id} {'approved' if review.approve else 'denied'}")
            for review in approval.reviews
        ),
        *(("left out", f"{', '.join(each.hosts)} by {each.actor.user_id}") for each in approval.narrowed),
        *(("approved by request", approval.stands_on) for _ in [0] if approval.stands_on),
        ("expires", f"{approval.expires_at:%H:%M:%S} UTC"),
        ("request", f"{approval.id} · digest {approval.digest[:12]}"),
    ]


def _grid(facts: Iterable[tuple[str, str]]) -> RenderableType:
    grid = RichTable.grid(padding=(0, 2))
    for name, value in facts:
        grid.add_row(Words(_line(name), style="dim"), Words(_line(value)))
    return grid


def _step(step: Step) -> RenderableType:
    detail = f" · {_line(step.detail)}" if step.detail else ""
    return Words(f"{_MARKS.get(step.state, '·')} {_line(step.title)}: {step.state}{detail}")


def _outcome(outcome: HostOutcome) -> list[RenderableType]:
    said = f"{outcome.result.value.replace('_', ' ').upper()} {_line(outcome.host)}: {_line(outcome.summary)}"
    parts: list[RenderableType] = [Words(said, style=f"bold {_COLOURS[outcome.result]}")]
    parts += [_grid(outcome.facts)] if outcome.facts else []
    return parts + ([Words(_plain(outcome.evidence), style="dim")] if outcome.evidence else [])


def _markdown(text: str) -> RenderableType:
    # Hyperlinks off: a link's address is then shown, and cannot hide behind its text; many terminals link it even so.
    return Markdown(inert_markdown(_plain(without_entities(text))), hyperlinks=False)


def _line(text: str) -> str:
    """Show a text in one line: a value with line breaks could pass for more facts."""
    return _plain(text).replace("\n", "\\n")


def _plain(text: str) -> str:
    """Take out what a terminal would obey (escape sequences, other controls, marks that reorder text) or link."""
    return inert("".join(char if char in "\n\t" or char.isprintable() else "�" for char in text))
