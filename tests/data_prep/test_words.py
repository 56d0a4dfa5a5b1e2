"""Proves that text is cut into the tokens that spaCy makes of it, by which the field's thresholds were set."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.measures import measure
from data_prep.thresholds import STOP_WORDS
from data_prep.words import HAS_LETTER, IS_WORD, LENGTH, SHAPE, UNITS_BIT, room, split_words, word_hashes, word_tables


def cut(text):
    """(tokens, their shapes) of a text; tokens are all characters but white space, in order."""
    data = np.frombuffer(text.encode(), np.uint8)
    chunk, tokens = room(len(data))
    shapes = [int(shape) for shape in tokens[: split_words(data, 0, len(data), word_tables(), chunk, tokens), SHAPE]]
    rest, found = "".join(text.split()), []
    for shape in shapes:
        found.append(rest[: shape & LENGTH])
        rest = rest[shape & LENGTH :]
    assert not rest
    return found, shapes


@pytest.mark.parametrize(
    ("text", "wanted"),
    [  # as spaCy 3.8's tokenizer for English cuts them, with a bar where it does
        ("Hello, world! It's a test (really).", "Hello|,|world|!|It|'s|a|test|(|really|)|."),
        ("I don't know what U.S. e.g. 'this' means... ok.", "I|do|n't|know|what|U.S.|e.g.|'|this|'|means|...|ok|."),
        ("well-known 3.14 and 1,000", "well|-|known|3.14|and|1,000"),
        ("See foo/bar key=value and example.com/x.", "See|foo|/|bar|key|=|value|and|example.com/x|."),
        ("The 64-bit box can't run at 12:30, they're sure.", "The|64|-|bit|box|ca|n't|run|at|12:30|,|they|'re|sure|."),
        ("Mr. Smith paid $5.50 (or 20%)", "Mr.|Smith|paid|$|5.50|(|or|20|%|)"),
        ('to jo-ann@example.org; "fine", he said.', 'to|jo-ann@example.org|;|"|fine|"|,|he|said|.'),
        ("foo_bar foo.bar Foo.Bar a--b x86_64 C++", "foo_bar|foo.bar|Foo|.|Bar|a|--|b|x86_64|C++"),
        ("#tag @user 1/2 3-4", "#|tag|@user|1/2|3|-|4"),
        ("“Curly quotes” and ‘single’ — dashes… end?", "“|Curly|quotes|”|and|‘|single|’|—|dashes|…|end|?"),
        ("Wait!!! What?! No.Way. J. R. R. Tolkien", "Wait|!|!|!|What|?|!|No|.|Way|.|J.|R.|R.|Tolkien"),
        ("rock'n'roll we'll I'd you've it’s", "rock'n'roll|we|'ll|I|'d|you|'ve|it|’s"),
        ("path /usr/bin/x and -v --flag a+b 2+2", "path|/usr|/|bin|/|x|and|-v|--flag|a+b|2|+|2"),
        ("<b>bold</b> [1] {x} *y*", "<|b|>|bold</b|>|[|1|]|{|x|}|*|y|*"),
        # by spaCy's tokenizer for French
        ("l'homme qu'il d'abord", "l'|homme|qu'|il|d'|abord"),
        # a character each: no segmenter
        ("他说：“你好”。test中文", "他|说|：|“|你|好|”|。|test|中|文"),
        ("ภาษาไทย", "ภ|า|ษ|า|ไ|ท|ย"),
    ],
)
def test_cuts(text, wanted):
    assert "|".join(cut(text)[0]) == wanted


def test_what_counts_as_a_word_and_how_much():
    tokens, shapes = cut("Ab 12 -- 你 の")
    kinds = {
        token: (bool(shape & IS_WORD), bool(shape & HAS_LETTER)) for token, shape in zip(tokens, shapes, strict=True)
    }
    assert kinds == {
        "Ab": (True, True), "12": (True, False), "--": (False, False), "你": (True, True), "の": (True, True)
    }  # fmt: skip
    assert [shape >> UNITS_BIT for shape in shapes] == [60, 60, 60, 39, 15]  # of a word; as in data_prep.shingles


@pytest.mark.parametrize("language", STOP_WORDS)
def test_every_stop_word_is_found_in_its_text(language):
    """In capitals, too, and whatever a letter decomposes into."""
    for word in STOP_WORDS[language]:
        behind = "homme" if word.endswith("'") else " x"
        texts = pa.array([word + behind, word.upper() + behind])
        assert list(measure(texts, [[word], [word]]).stop_words) == [1, 1], word


def test_words_are_known_in_any_case_and_with_any_apostrophe():
    assert list(word_hashes(["The", "l’"])) == list(word_hashes(["the", "l'"]))


@settings(deadline=None)
@given(st.text())
def test_no_character_is_lost_but_white_space(text):
    text = text.encode("utf-8", "replace").decode()
    cut(text)  # looks itself


def test_a_run_of_any_length_takes_linear_time_and_is_cut():
    tokens, _ = cut("a" + ")" * 5000 + "b" * 5000)
    assert all(len(token) <= 512 for token in tokens)
