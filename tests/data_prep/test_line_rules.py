"""Proves which lines C4 and RefinedWeb keep, drop and correct: a line just inside and one just outside of each rule.

C4, Raffel et al. 2020, arXiv:1910.10683, section 2.2; its code also drops lines with words above 1,000 characters and
those about cookies and terms of use, and cuts citations. RefinedWeb, Penedo et al. 2023, arXiv:2306.01116, G.2.
"""

from __future__ import annotations

import re

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.line_rules import C4_EDITS, REFINEDWEB_EDITS, c4_lines, refinedweb_lines


def changed(rule, names, text):
    """(the text after the rule, the names of what changed it)."""
    texts, counts = rule(pa.array(["before.", text, "after."]))
    return texts[1].as_py(), {name for column, name in enumerate(names) if counts[1, column]}


@pytest.mark.parametrize(
    ("text", "left", "why"),
    [
        ("Three words here.", "Three words here.", set()),
        ("Two words.", "", {"c4-few-words"}),
        ("No mark at the end", "", {"c4-no-terminal-mark"}),
        ("It trails off at the end...", "", {"c4-no-terminal-mark"}),
        ("It trails off at the end…", "", {"c4-no-terminal-mark"}),
        ('He said that "it is so"', 'He said that "it is so"', set()),
        ("He said that “it is so”", "He said that “it is so”", set()),
        ("Is it so? \nIt is so! ", "Is it so?\nIt is so!", set()),
        ("Please enable JavaScript in it.", "", {"c4-javascript"}),
        ("Read our Privacy Policy here.", "", {"c4-policy"}),
        ("This site uses cookies too.", "", {"c4-policy"}),
        ("x" * 1000 + " it is so.", "x" * 1000 + " it is so.", set()),
        ("x" * 1001 + " it is so.", "", {"c4-long-word"}),
        ("It is so.[12] \nIt[edit] is so.[citation needed]", "It is so.\nIt is so.", {"c4-citation"}),
        ("A range [1-2] or [a] stays.", "A range [1-2] or [a] stays.", set()),
        ("One line is here.\n\n\nAnd one is there.", "One line is here.\nAnd one is there.", set()),
        # a Chinese character is a part of a word: five are 3.25 words, four 2.6
        ("我们在这里。\n我在这里。\n菜单", "我们在这里。", {"c4-few-words", "c4-no-terminal-mark"}),
        ("「我们在这里」", "「我们在这里」", set()),
        ("これは日本語の文章です。まだあります。", "これは日本語の文章です。まだあります。", set()),
    ],
)
def test_c4(text, left, why):
    assert changed(c4_lines, C4_EDITS, text) == (left, why)


@pytest.mark.parametrize(
    ("line", "left", "why"),
    [
        ("ABOUT US and others", "ABOUT US and others", set()),  # 7 capitals of 16 letters
        ("ABOUT USx", "", {"refinedweb-uppercase"}),
        ("打开 PDF 文件", "打开 PDF 文件", set()),  # three capitals of seven letters
        ("1 234,50", "", {"refinedweb-numbers"}),
        ("12 of 13", "12 of 13", set()),
        ("3 likes", "", {"refinedweb-counter"}),
        ("1.2k Views", "", {"refinedweb-counter"}),
        ("3 loaves", "3 loaves", set()),
        ("Home", "", {"refinedweb-one-word"}),
        ("Home again", "Home again", set()),
        ("首页", "", {"refinedweb-one-word"}),  # 1.3 words
        ("我的首页", "我的首页", set()),
        ("sign-in or look around", " or look around", {"refinedweb-phrase"}),
        ("The story so far. Read more...", "The story so far. ", {"refinedweb-phrase"}),
        ("There are 2 items in cart now", "There are 2  now", {"refinedweb-phrase"}),
        (
            "a line of eleven words in which one can read more",
            "a line of eleven words in which one can read more",
            set(),
        ),
        ("Log interpretation matters here", "Log interpretation matters here", set()),
        ("They spread more", "They spread more", set()),
        ("Signs of the times", "Signs of the times", set()),
        ("", "", set()),
    ],
)
def test_refinedweb(line, left, why):
    around = "This is a line.\n\n{}\nAnd one behind it."
    kept, found = changed(refinedweb_lines, REFINEDWEB_EDITS, around.format(line))
    assert found == why
    assert kept == around.format(left) if left or not line else "This is a line.\n\nAnd one behind it."


@settings(deadline=None)
@given(st.text(alphabet=st.sampled_from("ab. \n\t{[1]é汉。JavaScript")))
def test_what_stays_is_made_of_lines_that_were_there(text):
    """As plain Python has it: each line that C4 leaves is one of the text's, without citations."""
    left, _ = changed(c4_lines, C4_EDITS, text)
    lines = [re.sub(r"\[\d*]|\[edit]|\[citation needed]", "", line.strip()).rstrip(" ") for line in text.split("\n")]
    rest = iter(lines)
    assert all(line in rest for line in left.split("\n") if line)


@settings(deadline=None)
@given(st.lists(st.text(alphabet="ab. \n{汉。", max_size=40), max_size=5))
def test_both_leave_texts_beside_each_other_alone(texts):
    for rule in (c4_lines, refinedweb_lines):
        together, counts = rule(pa.array(texts, pa.string()))
        for row, text in enumerate(texts):
            alone, own = rule(pa.array([text]))
            assert (together[row], list(counts[row])) == (alone[0], list(own[0]))
