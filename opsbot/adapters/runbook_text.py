"""Markdown to a document in passages: front matter, one passage below each heading, none larger than a page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise

from markdown_it import MarkdownIt
from markdown_it.token import Token

from opsbot.config_yaml import read_yaml
from opsbot.domain import Json
from opsbot.passages import Document, Kind, Passage, digest_of
from opsbot.readable import plain_line, plain_text

# Five of them leave room in what a model reads of one result.
PASSAGE_CHARS = 1600
_HEADING_CHARS = 200
_LABELS = ("services", "hosts", "tags")
_LABELS_MAX = 50
_FRONT_MATTER_MAX = 16 * 1024
_FENCE = "---"


@dataclass(frozen=True, slots=True)
class Read:
    """A document, and what is wrong with it: (line, what and the way out)."""

    document: Document
    faults: tuple[tuple[int, str], ...] = ()


@dataclass(slots=True)
class _Front:
    """What stands between the two lines `---` at the top. `lines`: how many lines it takes, these included."""

    title: str = ""
    labels: list[str] = field(default_factory=list)
    lines: int = 0
    faults: list[tuple[int, str]] = field(default_factory=list)


def read_runbook(name: str, text: str) -> Read:
    """Read the text of a runbook; with faults in it, whatever can be read of it."""
    # A byte order mark is nobody's text. Lines as editors count them, so not by `splitlines`.
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    front = _front_matter(lines)
    body = lines[front.lines :]
    sections = list(_sections(body))
    titles = [path[0] for path, _, _ in sections if path]
    title = front.title or (titles[0] if titles else name.rpartition("/")[2].removesuffix(".md"))
    passages = tuple(
        Passage(path or (title,), front.lines + start + 1, piece)
        for path, begin, end in sections
        for start, piece in _pieces(body, begin, end)
    )
    if not passages and not front.faults:
        front.faults.append((1, "there is no text in it; write some, or remove the file."))
    digest = digest_of(title, front.labels, [[*passage.headings, passage.line, passage.text] for passage in passages])
    document = Document(Kind.RUNBOOK, name, title, digest, tuple(front.labels), passages)
    return Read(document, tuple(front.faults))


# --- front matter ----------------------------------------------------------------------------------------------------


def _front_matter(lines: Sequence[str]) -> _Front:
    if not lines or lines[0].rstrip() != _FENCE:
        return _Front()
    end = next((number for number, line in enumerate(lines[1:], 1) if line.rstrip() in (_FENCE, "...")), 0)
    if not end:
        return _Front(faults=[(1, "the front matter has no end; close it with a line `---`.")])
    front = _Front(lines=end + 1)
    document = read_yaml("\n".join(lines[1:end]), max_bytes=_FRONT_MATTER_MAX)
    front.faults += [(line + 1, f"front matter: {said}") for line, said in document.faults]
    title = document.data.get("title")
    if isinstance(title, str):
        front.title = plain_line(title, limit=_HEADING_CHARS)
    elif title is not None:
        front.faults.append((document.line_of(("title",)) + 1, "front matter: title must be text; put it in quotes."))
    for setting in _LABELS:
        _labels(front, setting, document.data.get(setting), document.line_of((setting,)) + 1)
    return front


def _labels(front: _Front, setting: str, value: Json, line: int) -> None:
    names = [value] if isinstance(value, str) else value
    if names is None:
        return
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        front.faults.append((line, f"front matter: {setting} must be a list of names, as `[one, two]`."))
        return
    front.labels += [plain_line(str(name), limit=_HEADING_CHARS) for name in names[:_LABELS_MAX]]


# --- sections --------------------------------------------------------------------------------------------------------


@cache
def _parser() -> MarkdownIt:
    # Headings as CommonMark has them: a `#` in a fence, in an indented block or in HTML is none.
    return MarkdownIt("commonmark").disable(["inline", "text_join"])


def _sections(body: Sequence[str]) -> Iterator[tuple[tuple[str, ...], int, int]]:
    """Yield (path of headings, first line, line after the last) of what stands below each heading, from 0."""
    path: list[tuple[int, str]] = []
    begin = 0
    for level, first, after, words in _headings(_parser().parse("\n".join(body))):
        yield tuple(text for _, text in path), begin, first
        path = [*(above for above in path if above[0] < level), (level, words)]
        begin = after
    yield tuple(text for _, text in path), begin, len(body)


def _headings(tokens: Sequence[Token]) -> Iterator[tuple[int, int, int, str]]:
    for opening, inline in pairwise(tokens):
        # Those within a list or a quotation belong to it.
        if opening.type == "heading_open" and opening.level == 0 and opening.map is not None:
            words = plain_line(inline.content.replace("`", "").replace("*", ""), limit=_HEADING_CHARS)
            if words:
                yield int(opening.tag[1:]), opening.map[0], opening.map[1], words


def _pieces(body: Sequence[str], begin: int, end: int) -> Iterator[tuple[int, str]]:
    """Cut lines into texts of at most PASSAGE_CHARS, at blank lines if there are any; yield (first line, text)."""
    kept: list[tuple[int, str]] = []
    size = 0
    for number in range(begin, end):
        line = body[number]
        for part in [line[at : at + PASSAGE_CHARS] for at in range(0, len(line), PASSAGE_CHARS)] or [""]:
            if kept and size + len(part) > PASSAGE_CHARS:
                cut = _last_blank(kept)
                yield from _piece(kept[:cut])
                kept = kept[cut:]
                size = sum(len(text) + 1 for _, text in kept)
            kept.append((number, part))
            size += len(part) + 1
    yield from _piece(kept)


def _last_blank(lines: Sequence[tuple[int, str]]) -> int:
    """Return where to cut: at the last blank line of the second half, else at the end."""
    return next((at for at in range(len(lines) - 1, len(lines) // 2, -1) if not lines[at][1].strip()), len(lines))


def _piece(lines: Sequence[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    blank = next((at for at, (_, line) in enumerate(lines) if line.strip()), len(lines))
    text = plain_text("\n".join(line for _, line in lines[blank:])).rstrip()
    if text:
        yield lines[blank][0], text
