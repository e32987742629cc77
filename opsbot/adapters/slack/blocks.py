"""Content as Slack messages (pure): each content becomes one or more payloads under Slack's limits."""

from typing import assert_never

from opsbot.adapters.slack import card, pieces, report_card
from opsbot.adapters.slack.mrkdwn import defanged, escape, own_words
from opsbot.adapters.slack.pieces import Block, Payload
from opsbot.adapters.slack.splitting import split
from opsbot.adapters.slack.visible import cut, spelled_out, stripped
from opsbot.domain import Card, Content, IncidentCard, Report, Table, Text

STOP = "opsbot.stop"

# A Markdown block takes 12,000 characters, but one can expand to more than 50 blocks and a whole message was seen
# refused near 13,200 (third-party reports, 2026): stay well below both.
MARKDOWN_MAX = 7000
_PRE_MAX = 3000
_MESSAGE_BLOCKS_MAX = 45
_MESSAGE_CHARACTERS_MAX = 9000
_NOTIFICATION_MAX = 300
# https://docs.slack.dev/reference/block-kit/blocks/table-block (2026): 100 rows, 20 columns, one table in a message.
_TABLE_ROWS_MAX = 100
_TABLE_COLUMNS_MAX = 20
_TABLE_CHARACTERS_MAX = 6000
_CELL_MAX = 200


def render(content: Content, links: frozenset[str] = frozenset()) -> list[Payload]:
    """Render a content as at least one message, in reading order; `links`: hosts that may be linked to."""
    match content:
        case Text():
            return _text(content, links)
        case Report():
            return _report(content, links)
        case Card():
            return [card.render(content)]
        case IncidentCard():
            return [report_card.render(content)]
        case _:
            assert_never(content)


def draft(markdown: str, links: frozenset[str] = frozenset()) -> Payload:
    """Render an unfinished answer of the model: its newest part, with a Stop button."""
    text = split(defanged(markdown, links), MARKDOWN_MAX)[-1].strip() or "…"
    stop = pieces.actions(pieces.button("Stop", STOP, "stop"))
    return Payload(_notification(text), (pieces.markdown(text), stop), text)


def said(content: Text, links: frozenset[str] = frozenset()) -> str:
    """Return the Markdown that is shown for a text, before splitting."""
    words = (own_words if content.trusted else defanged)(content.markdown, links)
    return words.strip() or "(no text)"


def footer(content: Text) -> tuple[Block, ...]:
    """Return the closing block of a text, if it has one."""
    shown = stripped(content.footer).strip()
    return (pieces.context(shown),) if shown else ()


def _addressed(content: Text) -> Payload:
    """Show a short text with the people and groups it is for: in mrkdwn, where both are mentioned."""
    shown = [mention for each in content.to if (mention := _mention(each))]
    said = f"{' '.join(shown)} {escape(stripped(content.markdown))}".strip()
    return Payload(_notification(content.markdown), (pieces.mrkdwn_section(said),), said)


def _mention(prefixed: str) -> str:
    kind, _, identity = prefixed.partition(":")
    if not (identity.isascii() and identity.isalnum()):
        return ""
    return {"user": f"<@{identity}>", "group": f"<!subteam^{identity}>"}.get(kind, "")


def _text(content: Text, links: frozenset[str]) -> list[Payload]:
    if content.to:
        return [_addressed(content)]
    parts = split(said(content, links), MARKDOWN_MAX)
    endings = [()] * (len(parts) - 1) + [footer(content)]
    return [
        Payload(_notification(part), (pieces.markdown(part), *ending), part)
        for part, ending in zip(parts, endings, strict=True)
    ]


def _notification(text: str) -> str:
    return escape(cut(" ".join(text.split()), _NOTIFICATION_MAX)) or "…"


def _report(report: Report, links: frozenset[str]) -> list[Payload]:
    words = own_words(report.text, links)
    blocks = [pieces.markdown(part) for part in split(words, MARKDOWN_MAX) if part.strip()]
    native = _fits_natively(report.tables[0]) if report.tables else False
    for index, table in enumerate(report.tables):
        blocks += _native_table(table) if index == 0 and native else _drawn_table(table)
    for title, text in report.blocks:
        blocks += _titled(title, spelled_out(text).strip("\n"))
    blocks += _errors(report.errors)
    return _pack(blocks or [pieces.markdown("(nothing to report)")], _notification(words))


def _fits_natively(table: Table) -> bool:
    cells = [cell for row in (table.headers, *table.rows) for cell in row]
    return (
        0 < len(table.headers) <= _TABLE_COLUMNS_MAX
        and 0 < len(table.rows) < _TABLE_ROWS_MAX
        and sum(min(len(cell), _CELL_MAX) for cell in cells) <= _TABLE_CHARACTERS_MAX
    )


def _native_table(table: Table) -> list[Block]:
    rows = [[{"type": "raw_text", "text": _cell(cell)} for cell in _fitted(table, row)] for row in _rows(table)]
    title = [_title(table.title)] if table.title else []
    return [*title, {"type": "table", "rows": rows}]


def _drawn_table(table: Table) -> list[Block]:
    rows = [[_cell(cell) for cell in _fitted(table, row)] for row in _rows(table)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(table.headers))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return _titled(table.title, "\n".join(lines))


def _rows(table: Table) -> tuple[tuple[str, ...], ...]:
    return (table.headers, *table.rows)


def _fitted(table: Table, row: tuple[str, ...]) -> tuple[str, ...]:
    """Give every row as many cells as there are headers: Slack refuses ragged tables."""
    width = len(table.headers)
    return (row + ("",) * width)[:width]


def _cell(text: str) -> str:
    return cut(spelled_out(text).replace("\n", " ").strip(), _CELL_MAX) or "-"


def _title(title: str) -> Block:
    return pieces.rich_text(pieces.line(pieces.words(cut(spelled_out(title).replace("\n", " "), 200), bold=True)))


def _titled(title: str, text: str) -> list[Block]:
    """A bold title and preformatted text, in as many blocks as the text needs."""
    cuts = _cut_at_lines(text or "(empty)", _PRE_MAX)
    blocks = [pieces.rich_text(pieces.preformatted(piece)) for piece in cuts]
    return ([_title(title)] if title.strip() else []) + blocks


def _cut_at_lines(text: str, limit: int) -> list[str]:
    cuts = [""]
    for whole in text.split("\n"):
        for line in [whole[start : start + limit] for start in range(0, len(whole), limit)] or [""]:
            if cuts[-1] and len(cuts[-1]) + len(line) + 1 > limit:
                cuts.append(line)
            else:
                cuts[-1] = f"{cuts[-1]}\n{line}" if cuts[-1] else line
    return [piece for piece in cuts if piece.strip()] or ["(empty)"]


def _errors(errors: tuple[tuple[str, str], ...]) -> list[Block]:
    return [pieces.rich_text(pieces.bullets(*map(_error, errors[at : at + 20]))) for at in range(0, len(errors), 20)]


def _error(error: tuple[str, str]) -> Block:
    host, text = error
    shown = cut(spelled_out(text).replace("\n", " "), 400)
    return pieces.line(pieces.words(f"{cut(spelled_out(host), 80)}: ", bold=True), pieces.words(shown))


def _pack(blocks: list[Block], notification: str) -> list[Payload]:
    """Put blocks into as few messages as the limits allow, in order."""
    messages: list[list[Block]] = [[]]
    used = 0
    for block in blocks:
        size = len(_words_of(block))
        if messages[-1] and (used + size > _MESSAGE_CHARACTERS_MAX or len(messages[-1]) >= _MESSAGE_BLOCKS_MAX):
            messages.append([])
            used = 0
        messages[-1].append(block)
        used += size
    return [Payload(notification, tuple(message), "\n".join(map(_words_of, message))) for message in messages]


def _words_of(block: Block) -> str:
    """All text of a block, for measuring and for the message without blocks."""
    if block["type"] == "table":
        return "\n".join(" | ".join(cell["text"] for cell in row) for row in block["rows"])
    if block["type"] == "rich_text":
        return "\n".join(_element_words(element) for element in block["elements"])
    return str(block["text"])


def _element_words(element: Block) -> str:
    if element["type"] == "rich_text_list":
        return "\n".join(_element_words(item) for item in element["elements"])
    return "".join(run["text"] for run in element["elements"])
