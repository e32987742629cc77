"""The page's mrkdwn and Markdown, node by node: what a source text becomes."""

import pytest

from tests.e2e.page import Page

pytestmark = [pytest.mark.browser, pytest.mark.timeout(300)]
_DRAW = """
const [kind, source] = arguments_;
const { mrkdwn } = await import("/static/mrkdwn.js");
const { markdown } = await import("/static/markdown.js");
const names = { user: (id) => ({ U1: "bob" })[id] ?? "", channel: (id) => ({ C1: "ops" })[id] ?? "", group: () => "" };
const holder = document.createElement("div");
for (const node of (kind === "mrkdwn" ? mrkdwn : markdown)(source, names).flat(Infinity)) holder.append(node);
for (const node of holder.querySelectorAll("*")) {
  for (const { name } of [...node.attributes]) if (name !== "href" && name !== "start") node.removeAttribute(name);
}
return holder.innerHTML;
"""

MRKDWN = [
    ("*bold* _it_ ~gone~", "<strong>bold</strong> <em>it</em> <del>gone</del>"),
    ("2*3*4 and snake_case_name", "2*3*4 and snake_case_name"),
    ("* not bold * ** __", "* not bold * ** __"),
    ("*_both_*", "<strong><em>both</em></strong>"),
    ("`*raw* <b>`", "<code>*raw* b</code>"),
    ("`a &lt; b`", "<code>a &lt; b</code>"),
    ("```\nx\n y\n```", "<pre><code>x\n y</code></pre>"),
    ("```never closed", "```never closed"),
    ("a\nb", "a<br>b"),
    ("&gt; q1\n&gt; q2\nafter", "<blockquote>q1<br>q2</blockquote>after"),
    ("<@U1> <@U9> <#C1> <#C9|far>", "<span>@bob</span> <span>@U9</span> <span>#ops</span> <span>#far</span>"),
    ("<!subteam^S1|@sre> <!here>", "<span>@sre</span> <span>@here</span>"),
    ("<https://a.example/x|label>", '<a href="https://a.example/x">label</a>'),
    ("see https://a.example/x, ok", 'see <a href="https://a.example/x">https://a.example/x</a>, ok'),
    ("<javascript:alert(1)|click>", "<span>click (javascript:alert(1))</span>"),
    ("<data:text/html,x|y>", "<span>y (data:text/html,x)</span>"),
    ("&lt;script&gt;", "&lt;script&gt;"),
    (":tada: :nosuch:", "<span>🎉</span> :nosuch:"),
    ("<!date^0^{date_num}|then>", "<time>1970-01-01</time>"),
    ("<!date^x^{date_num}|then>", "<span>then</span>"),
    ("<!date^0^{constructor}|then>", "<time>then</time>"),
    ("<not a link>", "&lt;not a link&gt;"),
]

MARKDOWN = [
    ("**b** *i* ~~s~~ `c`", "<p><strong>b</strong> <em>i</em> <del>s</del> <code>c</code></p>"),
    ("__b__ _i_ snake_case_x", "<p><strong>b</strong> <em>i</em> snake_case_x</p>"),
    ("***both***", "<p><strong><em>both</em></strong></p>"),
    (r"\*plain\*", "<p>*plain*</p>"),
    ("# A\n## B", "<h3>A</h3><h4>B</h4>"),
    ("- a\n  - b\n- c", "<ul><li>a<ul><li>b</li></ul></li><li>c</li></ul>"),
    ("3. x\n4. y", '<ol start="3"><li>x</li><li>y</li></ol>'),
    ("- a\n\n- b", "<ul><li>a</li><li>b</li></ul>"),
    ("- [x] done", "<ul><li><span>☑</span> done</li></ul>"),
    ("> q\n> r", "<blockquote><p>q<br>r</p></blockquote>"),
    ("```py\na <b> *c*\n```\nend", "<pre><code>a &lt;b&gt; *c*</code></pre><p>end</p>"),
    ("```\nopen", "<pre><code>open</code></pre>"),
    (
        "| a | b |\n|---|--:|\n| 1 | `x` |",
        "<div><table><thead><tr><th>a</th><th>b</th></tr></thead>"
        "<tbody><tr><td>1</td><td><code>x</code></td></tr></tbody></table></div>",
    ),
    ("a | b", "<p>a | b</p>"),
    ("---", "<hr>"),
    ("[l](https://a.example)", '<p><a href="https://a.example/">l</a></p>'),
    ("[l](javascript:alert(1))", "<p><span>l (javascript:alert(1))</span></p>"),
    ("![i](https://a.example/i.png)", '<p><a href="https://a.example/i.png">i</a></p>'),
    ("<b>x</b> <img src=x onerror=y>", "<p>&lt;b&gt;x&lt;/b&gt; &lt;img src=x onerror=y&gt;</p>"),
    ("<@U1> https://a.example.", '<p><span>@bob</span> <a href="https://a.example/">https://a.example</a>.</p>'),
    ("one\ntwo\n\nthree", "<p>one<br>two</p><p>three</p>"),
    ("", ""),
]

# Each is near the largest text its place allows; the drawing must stay far from freezing the page.
LONG = [
    "*a " * 4000,
    "_a " * 4000,
    "**a* " * 2400,
    "*_a " * 3000,
    "`" * 12000,
    "[a](" * 3000,
    "[a](" + "(" * 11000,
    "> " * 6000,
    "- " * 6000,
    "|" * 6000 + "\n" + "|-" * 3000,
    "<@" * 6000,
    "\n".join(" " * (2 * depth) + "- a" for depth in range(100)),
]


@pytest.mark.parametrize(("source", "drawn"), MRKDWN)
def test_mrkdwn(window: Page, source: str, drawn: str) -> None:
    assert window.run_async(_DRAW, "mrkdwn", source) == drawn


@pytest.mark.parametrize(("source", "drawn"), MARKDOWN)
def test_markdown(window: Page, source: str, drawn: str) -> None:
    assert window.run_async(_DRAW, "markdown", source) == drawn


@pytest.mark.parametrize("kind", ["mrkdwn", "markdown"])
def test_no_text_freezes_the_page(window: Page, kind: str) -> None:
    window.driver.set_script_timeout(60)
    for source in LONG:
        assert not str(window.run_async(_DRAW, kind, source)).startswith("FAILED"), source[:40]
