"""Proves that pages become their readable text, plain text keeps its words, and cleaning twice changes nothing more."""

from __future__ import annotations

import re
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.extract import plain_text

PAGE = """<!DOCTYPE html>
<html><head><title>A title</title><style>p { color: red }</style><script>alert("x < y")</script></head>
<body><h1>Bread</h1><p>Flour, water &amp; <b>salt</b>.<br>Then&nbsp;wait.</p>
<!-- no comment --><p>5 &lt; 6</p></body></html>"""


def test_a_page_becomes_its_readable_text():
    text = plain_text(PAGE, "html")
    assert [line.replace("\xa0", " ") for line in text.split("\n") if line] == [
        "Bread",
        "Flour, water & salt.",
        "Then wait.",
        "5 < 6",
    ]


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
    assert "&amp;" in plain_text(page, "text")


@pytest.mark.parametrize(
    "text", ["if a < b and c > d:", "<p>about the tag &amp; its use</p>", "An <html> page begins so", "x &lt; y"]
)
def test_auto_leaves_what_only_mentions_html(text):
    assert plain_text(text, "auto") == text


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a\r\nb\rc\nd", "a\nb\nc\nd"),
        ("a \t\nb  ", "a\nb"),
        ("a\n\n\n\n \n\nb", "a\n\nb"),
        ("\n\n a\n", "a"),
        ("  indented\n    twice", "indented\n    twice"),
        ("e\u0301", "é"),  # NFC composes,
        ("ﬁ ², Ⅳ", "ﬁ ², Ⅳ"),  # and leaves compatibility characters alone
        ("\u212b", "Å"),  # Unicode Standard Annex 15, figure 3: the angstrom sign
        ("", ""),
        (" \n\t", ""),
    ],
)
def test_white_space_and_unicode_by_hand(text, wanted):
    assert plain_text(text, "text") == wanted


@given(st.text(st.sampled_from(" \t\n\r\x0b\x85\u2028\xa0aé\u0301<&"), max_size=40) | st.text(max_size=40))
def test_twice_is_once_and_no_word_is_lost(text):
    once = plain_text(text, "text")
    assert plain_text(once, "text") == once
    assert once.split() == unicodedata.normalize("NFC", text).split()
    assert not re.search(r"\r|[ \t]\n|\n\n\n", once)
    assert unicodedata.is_normalized("NFC", once)


@pytest.mark.parametrize("format", ["text", "auto"])
@pytest.mark.parametrize("filler", [" ", "\t", "\n", " \n", "\r", "<", "<?xml"])
def test_megabytes_of_filler_end(filler, format):
    """Quadratic time would take hours here."""
    assert plain_text("a" + filler * (2_000_000 // len(filler)) + "b", format).startswith("a")
    assert plain_text(filler * (2_000_000 // len(filler)) + "b", format).endswith("b")


def test_a_lone_surrogate_entity_leaves_text_that_can_be_written():
    assert plain_text("<p>a&#xD800;b", "html").encode()
