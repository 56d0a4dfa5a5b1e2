"""Proves that pages become their readable text, whole or the main part, and that none takes more than linear time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.extract import plain_text

PAGE = """<!DOCTYPE html>
<html><head><title>A title</title><style>p { color: red }</style><script>alert("x < y")</script></head>
<body><h1>Bread</h1><p>Flour, water &amp; <b>salt</b>.<br>Then&nbsp;wait.</p>
<!-- no comment --><p>5 &lt; 6</p></body></html>"""

CHINESE_PAGE = """<html><body><nav><a href="/">首页</a> <a href="/b">目录</a></nav>
<main><h1>面包</h1><p>面粉、水和“盐”；然后等一等！（要有耐心）</p>
<table><tr><td>面粉</td><td>５００克</td></tr><tr><td>清水</td><td>300 ml</td></tr></table>
<pre>for x in y:
    bake(x)</pre><ol><li>和面<li>发酵</ol></main>
<footer>版权所有</footer></body></html>"""
CHINESE_TEXT = """面包

面粉、水和“盐”；然后等一等！（要有耐心）

面粉\t\t５００克
清水\t\t300 ml

for x in y:
    bake(x)

  1. 和面
  2. 发酵"""


def test_a_page_becomes_its_readable_text():
    text = plain_text(PAGE, "html")
    assert [line.replace("\xa0", " ") for line in text.split("\n") if line] == [
        "Bread",
        "Flour, water & salt.",
        "Then wait.",
        "5 < 6",
    ]


def test_main_leaves_out_what_stands_around_and_full_does_not():
    """Tables keep their cells apart, code its lines, lists their numbers, Chinese its full-width forms."""
    main, full = (plain_text(CHINESE_PAGE, "html", extract) for extract in ("main", "full"))
    assert lines(main) == lines(CHINESE_TEXT)
    assert lines(full) == ["首页 目录", *lines(CHINESE_TEXT), "版权所有"]


def lines(text: str) -> list[str]:
    return [line for line in text.split("\n") if line]


@pytest.mark.parametrize("page", ["<ul><li>alone</ul>", "<nav>A menu only</nav>", "<p>short</p>", "no tag at all"])
def test_where_main_finds_nothing_it_is_the_full_text(page):
    assert plain_text(page, "html", "main") == plain_text(page, "html") != ""


@pytest.mark.parametrize(
    "start",
    [
        "<!doctype html>",
        " \n<!DOCTYPE HTML PUBLIC '-//W3C//DTD HTML 4.01//EN'>",
        "\ufeff<!doctype html>",
        '<?xml version="1.0"?>\n<!DOCTYPE html>',
        "<html lang='en'>",
    ],
)
def test_auto_knows_a_page_by_its_beginning(start):
    page = f"{start}<body><p>One &amp; two</p></body></html>"
    assert plain_text(page, "auto") == "One & two"
    assert plain_text(page, "text") == page


@pytest.mark.parametrize(
    "text", ["if a < b and c > d:", "<p>about the tag &amp; its use</p>", "An <html> page begins so", " x \r\n&lt; y "]
)
def test_auto_leaves_what_only_mentions_html(text):
    assert plain_text(text, "auto") == text


MANY = 100_000
BOMBS = {  # quadratic time would take minutes to hours, a parser's stack would end
    "deep blocks": ("<div>word " * MANY, MANY),
    "deep articles": ("<ARTICLE>\n" * MANY + "word", 1),
    "deep and closed": ("<div>" * MANY + "word" + "</div>" * MANY, 1),
    "deep lists": ("<ul><li>word " * MANY, MANY),
    "deep lists among text": ("<ol><li>" * MANY + "<li>word " * MANY, MANY),
    "deep tables": ("<table><tr><td>" * MANY + "word", 1),
    "open tags of text": ("<b><p>" * MANY + "word", 1),
    "a tag of 20 MB": ("<" + "x" * 20_000_000 + ">word", 1),
    "an attribute of 20 MB": (f'<img src="{"x>" * 10_000_000}"><p title="a > b">word', 1),
    "many attributes": ("<p " + " ".join(f"a{n}" for n in range(10 * MANY)) + ">word", 1),
    "many attributes with values": ("<p " + " ".join(f"a{n}='<>'" for n in range(MANY)) + ">word", 1),
    "many attributes after slashes": ("<p" + "".join(f"/a{n}" for n in range(MANY)) + ">word", 1),
    "no end of a quote": ('<p a="' * 10 * MANY, 0),
    "no end of tags": ("<div" * 10 * MANY, 0),
}


@pytest.mark.parametrize("extract", ["full", "main"])
@pytest.mark.parametrize("name", BOMBS)
def test_bombs_give_their_words_in_the_end(name, extract):
    page, words = BOMBS[name]
    text = plain_text(page, "html", extract)
    assert text.count("word") == words and len(text) < 200 + 110 * words


def test_a_large_page_keeps_its_blocks_and_attributes():
    """What guards from bombs leaves alone 500 blocks in one another, and a long list of values."""
    options = "".join(f'<p id="p{n}" hidden>x</p>' for n in range(2000))
    page = "<div>" * 500 + f"{options}<ul><li>one<ul><li>two</ul></ul><img alt='all > is' src='{'y' * 10_000}'>"
    assert lines(plain_text(page.replace(" hidden", ""), "html")) == ["x"] * 2000 + ["  • one", "    • two", "all > is"]


@pytest.mark.parametrize("format", ["text", "auto", "html"])
@pytest.mark.parametrize("filler", [" ", "\t", "\n", " \n", "\r", "<", "<?xml", "\ufeff", "&", "<!--"])
def test_megabytes_of_filler_end(filler, format):
    page = "a" + filler * (2_000_000 // len(filler)) + "b"
    assert plain_text(page, format).startswith("a")
    assert format == "html" or plain_text(page[1:], format) == page[1:]


@pytest.mark.parametrize("page", ["<p>a&#xD800;b", "<p>a\ud800b", "<p>a\udc00\x00b", "\ud800"])
def test_lone_surrogates_and_nul_bytes_leave_text_that_can_be_written(page):
    assert "\ufffd" in plain_text(page, "html").encode().decode()


@given(st.text(st.sampled_from("<>/=\"' apdivul!-&;#x\x00\ud800\n"), max_size=80) | st.text(max_size=40))
def test_anything_is_a_page(page):
    for extract in ("full", "main"):
        plain_text(page, "html", extract).encode()
