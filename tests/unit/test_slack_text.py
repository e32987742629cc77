"""Slack's text formats: nothing hidden, nothing clickable, nobody called, nothing lost in splitting."""

import html
import re
import time
import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from opsbot.adapters.slack.mrkdwn import defanged, escape, mentions, own_words, plain
from opsbot.adapters.slack.splitting import split
from opsbot.adapters.slack.visible import one_line, spelled_out, stripped

BOT = "U0BOT"
# Time limits of single examples say nothing on a busy machine.
patient = settings(deadline=None, max_examples=200)
_HOSTILE = st.sampled_from(
    [
        *"<>[]()!@#|:/\\&;`~\n ",
        *("://", "](", "]:", "```", "&amp;colon;", "&AMP", "\u202e", "\u200b", "\ufeff", "\U000e0041", "\ud800"),
        *("https://evil.example/?d=s", "HTTP:\\/\\/evil.example", "https&colon;//evil.example", "www.evil.example"),
        *("<!channel>", "<@U0BOB>", "<#C0OPS|x>", "<https://evil.example|status>", "&lt;!here&gt;", "&#x202e;"),
        *("mailto:a@evil.example", "javascript:x", "evil.example/path?d=1", "[a]: //evil"),
        *("![x](https://evil.example/p.png)", "[x][y]\n\n[y]: https://evil.example"),
    ]
)
texts = st.lists(st.one_of(_HOSTILE, st.text(max_size=6)), max_size=12).map("".join)

# What a generous reader would take for a link or a mention, written independently of the code under test.
_LINKS = [
    re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://"),
    re.compile(r"\]\("),
    re.compile(r"(?m)^.*\[[^\]]*\]:\s*(?!\d+\b)\S"),
    re.compile(r"(?i)\b(?:mailto|javascript|data|vbscript|slack|tel):\S"),
    re.compile(r"(?i)\bwww\.\S"),
]
_CALLS = re.compile(r"<[@!#]")


def hidden(text: str) -> list[str]:
    wrong = ("Cf", "Cc", "Co", "Cs", "Cn", "Zl", "Zp")
    return [char for char in text if char != "\n" and unicodedata.category(char) in wrong]


@given(texts)
@patient
def test_models_text_holds_no_link_no_mention_and_nothing_hidden(text: str) -> None:
    shown = html.unescape(defanged(text))  # as a Markdown reader would
    assert [link.pattern for link in _LINKS if link.search(shown)] == []
    assert not _CALLS.search(shown)
    assert hidden(shown) == []


@given(texts)
@patient
def test_defanging_twice_changes_no_link_back(text: str) -> None:
    assert not any(link.search(defanged(defanged(text))) for link in _LINKS)


@given(texts)
@patient
def test_own_words_call_people_only(text: str) -> None:
    assert not re.search(r"<[!#]|<@(?![UW][A-Z0-9]+>)", own_words(text))


def test_own_words_mention_a_person() -> None:
    assert own_words("decided by <@U0BOB>") == "decided by <@U0BOB>"


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("[status page](https://evil.example/?d=1)", "[status page] (https[:]//evil.example/?d=1)"),
        ("<!channel> now", "< !channel> now"),
        ("ask <@U0BOB>", "ask < @U0BOB>"),
        ("`ss -ltn` says [::1]:8080", "`ss -ltn` says [::1]:8080"),
        ("see /etc/nginx/nginx.conf and nginx.service", "see /etc/nginx/nginx.conf and nginx.service"),
        ("evil.example/?d=secret", "evil[.]example/?d=secret"),
        ("**web-1** is *fine*\n- load 0.1", "**web-1** is *fine*\n- load 0.1"),
        ("if a < b && c > d", "if a < b && c > d"),
    ],
)
def test_defanging_spares_ordinary_text(written: str, shown: str) -> None:
    assert defanged(written) == shown


@pytest.mark.parametrize(
    ("typed", "read"),
    [
        ("<@U0BOT> status web-1", "status web-1"),
        ("status &lt;web-1&gt; &amp;amp;", "status <web-1> &amp;"),
        ("ask <@U0BOB|bob> in <#C0OPS|ops>", "ask @U0BOB in #ops"),
        ("<http://web-1.example|web-1.example> is down", "web-1.example is down"),
        ("restart <mailto:getty@tty1.service|getty@tty1.service>", "restart getty@tty1.service"),
        ("see <https://wiki.example/x|the page>", "see the page (https://wiki.example/x)"),
        ("<https://wiki.example/x>", "https://wiki.example/x"),
        ("<!here> <!subteam^S0SRE|@sre>", "@here @sre"),
        ("a\u200bb\u00a0c\u202ed", "ab cd"),
        ("<@U0BOT|opsbot>", ""),
    ],
)
def test_typed_text_is_read_as_people_mean_it(typed: str, read: str) -> None:
    assert plain(typed, BOT) == read


def test_mention_is_by_id_not_by_prefix() -> None:
    assert mentions("hey <@U0BOT>", BOT)
    assert not mentions("hey <@U0BOTTLE>", BOT)


@given(st.text())
@patient
def test_escaped_text_has_no_control_sequence(text: str) -> None:
    assert not re.search(r"[<>]|&(?!amp;|lt;|gt;)", escape(text))


@given(st.text(alphabet=st.characters()))
@patient
def test_nothing_hidden_is_shown(text: str) -> None:
    assert hidden(spelled_out(text)) == []
    assert hidden(stripped(text)) == []


@given(st.text(alphabet=st.characters()), st.integers(min_value=1, max_value=50))
@patient
def test_a_fact_is_one_bounded_line_of_ascii(text: str, limit: int) -> None:
    shown = one_line(text, limit)
    assert len(shown) <= limit
    assert all(" " <= char <= "~" for char in shown.removesuffix("…"))


lines = st.one_of(
    st.text(alphabet="ab `~-\t#", max_size=60),
    st.sampled_from(["```", "```python", "````", "~~~", "", "", "x" * 700, "`" * 40]),
)
documents = st.lists(lines, max_size=60).map("\n".join)


def fences_left_open(part: str) -> str:
    """The fence still open at the end, by CommonMark's rule, written anew."""
    opened = ""
    for line in part.split("\n"):
        match = re.match(r"^ {0,3}(`{3,20}(?!`)|~{3,20}(?!~))(.*)$", line)
        if not match:
            continue
        marks, info = match.groups()
        if not opened:
            opened = "" if marks[0] == "`" and "`" in info else marks
        elif marks[0] == opened[0] and len(marks) >= len(opened) and not info.strip():
            opened = ""
    return opened


@given(documents, st.integers(min_value=200, max_value=900))
@patient
def test_parts_fit_and_cut_no_fence(text: str, limit: int) -> None:
    parts = split(text, limit)
    assert max(map(len, parts)) <= limit
    assert [fences_left_open(part) for part in parts[:-1]] == [""] * (len(parts) - 1)


@given(documents, st.integers(min_value=200, max_value=900))
@patient
def test_splitting_loses_no_word(text: str, limit: int) -> None:
    def words(shown: str) -> str:
        # Fences are closed and opened again where a cut runs through them.
        return "".join(re.sub(r"(?m)^ {0,3}(`{3,}|~{3,}).*$", "", shown).split())

    assert words("\n".join(split(text, limit))) == words(text)


def test_short_text_is_left_alone() -> None:
    assert split("```\nopen", 200) == ["```\nopen"]


@pytest.mark.parametrize("piece", ["x", "a.", "<", "[", "](", "&", ":/", "<a", "a-", "&#x", "```\n", "evil.example/"])
def test_work_on_hostile_text_grows_with_its_length_only(piece: str) -> None:
    """Ten times the text may take far more than ten times as long on a busy machine, but not a hundred times."""

    def seconds(times: int) -> float:
        text = piece * times
        started = time.process_time()
        split(defanged(text), 7000)
        plain(text, BOT)
        return time.process_time() - started

    seconds(1000)
    assert seconds(40_000) < 40 * max(seconds(4000), 0.01)
