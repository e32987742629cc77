"""Markdown to passages: headings as CommonMark has them, front matter as plain data, bounds whatever the text is."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from opsbot.adapters.runbook_text import PASSAGE_CHARS, read_runbook
from opsbot.passages import Document


def read(text: str, name: str = "a/b.md") -> Document:
    return read_runbook(name, text).document


def faults(text: str) -> list[tuple[int, str]]:
    return list(read_runbook("x.md", text).faults)


def outline(text: str) -> list[tuple[str, int, str]]:
    document = read(text)
    return [(" › ".join(passage.headings), passage.line, passage.text) for passage in document.passages]


def test_a_passage_is_what_stands_below_a_heading_with_the_path_to_it() -> None:
    text = "# Top\nintro\n\n## One\nfirst\n\n### Deep\ndeep\n\n## Two\nsecond\n"
    assert outline(text) == [
        ("Top", 2, "intro"),
        ("Top › One", 5, "first"),
        ("Top › One › Deep", 8, "deep"),
        ("Top › Two", 11, "second"),
    ]


def test_underlined_headings_and_skipped_levels_count() -> None:
    assert outline("Top\n===\na\n\n#### Far down\nb\n\nNext\n---\nc\n") == [
        ("Top", 3, "a"),
        ("Top › Far down", 6, "b"),
        ("Top › Next", 10, "c"),
    ]


@pytest.mark.parametrize(
    "block",
    [
        "```sh\n# no heading\n```",
        "~~~\n# no heading\n```\n# still none\n~~~",
        "    # indented",
        "> # quoted",
        "- # in a list",
        "<!--\n# hidden\n-->",
        "#no-blank",
        "```\n# a fence without an end",
    ],
)
def test_what_only_looks_like_a_heading_is_text(block: str) -> None:
    ((path, _, text),) = outline(f"# Top\n\n{block}\n")
    assert path == "Top"
    assert text.strip() == block.strip()


def test_text_before_the_first_heading_belongs_to_the_title() -> None:
    assert outline("just text\n") == [("b", 1, "just text")]
    assert outline("intro\n\n# Top\nbody\n") == [("Top", 1, "intro"), ("Top", 4, "body")]


def test_front_matter_gives_title_and_labels_and_lines_stay_the_file_s() -> None:
    document = read("---\ntitle: Big\nservices: [one, two]\nhosts: web\ntags:\n  - x\nowner: me\n---\n# H\n\ntext\n")
    assert (document.title, document.labels) == ("Big", ("one", "two", "web", "x"))
    assert [(passage.headings, passage.line) for passage in document.passages] == [(("H",), 11)]


def test_the_heading_that_repeats_the_title_is_not_cited_twice() -> None:
    document = read("---\ntitle: redis\n---\n# Redis\n\n## Slow\ntext\n")
    assert document.heading(document.passages[0]) == "Slow"


@pytest.mark.parametrize(
    ("front", "line", "said"),
    [
        ("title: &a x\nhosts: [*a]", 2, "anchors and aliases"),
        ("title: !!python/object/apply:os.system ['x']", 2, "tag"),
        ("services: [a\n", 3, ""),
        ("title: [1]", 2, "title must be text"),
        ("title: x\ntags: {a: b}", 3, "tags must be a list of names"),
        ("tags: [1, 2]", 2, "tags must be a list of names"),
        ("tags: a\ntags: b", 3, ""),
        ("- a list", 2, ""),
    ],
)
def test_broken_front_matter_is_named_with_its_line_and_the_text_still_found(front: str, line: int, said: str) -> None:
    found = read_runbook("x.md", f"---\n{front}\n---\n# H\ntext\n")
    assert found.faults
    assert any(said in text for _, text in found.faults)
    assert found.faults[0][0] in (line, line + 1)
    assert [passage.text for passage in found.document.passages] == ["text"]


def test_front_matter_without_an_end_is_named_and_is_text() -> None:
    found = read_runbook("x.md", "---\ntitle: a\n\n# H\ntext\n")
    assert "no end" in found.faults[0][1]
    assert found.document.passages[-1].text == "text"


def test_a_rule_further_down_is_no_front_matter() -> None:
    assert faults("# H\n\n---\na: b\n---\n") == []


@pytest.mark.parametrize("text", ["", "\n\n", "# Only\n## Headings\n", "---\ntitle: x\n---\n"])
def test_a_file_without_text_is_a_fault(text: str) -> None:
    found = read_runbook("x.md", text)
    assert found.document.passages == ()
    assert "no text" in found.faults[0][1]


def test_a_long_section_is_cut_at_blank_lines_and_nothing_is_lost() -> None:
    paragraphs = [f"paragraph {n} " + "word " * 60 for n in range(40)]
    document = read("# Top\n\n" + "\n\n".join(paragraphs))
    assert len(document.passages) > 5
    for passage in document.passages:
        assert len(passage.text) <= PASSAGE_CHARS
        assert passage.text.startswith("paragraph ")
    joined = "\n".join(passage.text for passage in document.passages)
    assert all(joined.count(f"paragraph {n} ") == 1 for n in range(40))


def test_one_endless_line_is_cut_and_says_where_it_is() -> None:
    document = read("# Top\n\n" + "x" * 10_000 + "\n\nend\n")
    assert {passage.line for passage in document.passages} <= {3, 5}
    assert sum(passage.text.count("x") for passage in document.passages) == 10_000


def test_text_is_visible_or_gone() -> None:
    (passage,) = read("# T\u202eop\x1b[31m\nred\x1b[0m a\u200bb\x07\n").passages
    assert (passage.headings, passage.text) == (("Top",), "red ab")


def test_a_byte_order_mark_and_windows_line_ends_change_nothing() -> None:
    document = read("\ufeff---\r\ntitle: x\r\n---\r\n# H\r\ntext\r\n")
    assert document.title == "x"
    assert (document.passages[0].line, document.passages[0].text) == (5, "text")


def test_the_digest_changes_with_text_title_labels_and_place() -> None:
    texts = (
        "# H\na\n",
        "# H\nb\n",
        "# G\na\n",
        "\n# H\na\n",
        "---\ntags: x\n---\n# H\na\n",
        "---\ntitle: y\n---\n# H\na\n",
    )
    assert len({read(text).digest for text in texts}) == len(texts)
    assert read(texts[0]).digest == read(texts[0]).digest


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    "text", ["\n" * 250_000, "> " * 100_000, "[" * 100_000, "#\n" * 100_000, "- " * 50_000, "`" * 200_000]
)
def test_hostile_text_costs_little(text: str) -> None:
    for passage in read(text).passages:
        assert len(passage.text) <= PASSAGE_CHARS


@given(st.text(alphabet=st.sampled_from("#-=> `~\n\tab:[]*&!\x00\u2028é"), max_size=400))
def test_any_text_is_read_within_bounds(text: str) -> None:
    document = read(text)
    for passage in document.passages:
        assert 0 < len(passage.text) <= PASSAGE_CHARS
        assert passage.headings
        assert 1 <= passage.line <= text.count("\n") + text.count("\r") + 1
        assert "\x00" not in passage.text
