"""Proves what the kernels count, against plain Python that does what the papers and datatrove say."""

from __future__ import annotations

import re
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.measures import MEASURED_BYTES, count_text_words, measure

# words that no tokenizer cuts, few of them, so that they come again
WORDS = st.lists(st.sampled_from(["ab", "c", "dee", "x1", "yy"]), min_size=1, max_size=60)


def of(text, stop_words=()):
    found = measure(pa.array([text]), [stop_words])
    return {name: float(column[0]) for name, column in zip(found._fields, found, strict=True)}


def top_ngram(words, n):
    """Characters of the most frequent n-gram (the first of several), one space between words, times its number."""
    ngrams = [" ".join(words[place : place + n]) for place in range(len(words) - n + 1)]
    if not ngrams:
        return 0
    ngram, count = Counter(ngrams).most_common(1)[0]
    return len(ngram) * count


def repeated_ngrams(words, n):
    """Characters of n-grams met before, from the left; behind one reading goes on after it."""
    seen, found, place = set(), 0, 0
    while place + n <= len(words):
        ngram = tuple(words[place : place + n])
        if ngram in seen:
            found += sum(map(len, ngram))
            place += n
        else:
            seen.add(ngram)
            place += 1
    return found


@settings(deadline=None)
@given(WORDS)
def test_ngrams_as_in_plain_python(words):
    found = of(" ".join(words))
    for n in (2, 3, 4):
        assert found[f"top_{n}"] == top_ngram(words, n)
    for n in (5, 6, 7, 8, 9, 10):
        assert found[f"repeated_{n}"] == repeated_ngrams(words, n)


@settings(deadline=None)
@given(
    st.lists(
        st.sampled_from(["one line", "two", "a much longer line than these", "", "two", "- x…", "é。"]), max_size=12
    )
)
def test_lines_and_paragraphs_as_in_plain_python(lines):
    text = "\n".join(lines)
    full = [line for line in text.split("\n") if line.strip()]
    again = [line for place, line in enumerate(full) if line in full[:place]]
    paragraphs = [part for part in re.split(r"\n{2,}", text.strip("\n")) if part]
    more = [part for place, part in enumerate(paragraphs) if part in paragraphs[:place]]
    found = of(text)
    assert found["lines"] == len(full)
    assert found["newlines"] == text.count("\n")
    assert found["characters"] == found["length"] == len(text)
    assert (found["repeated_lines"], found["repeated_line_characters"]) == (len(again), sum(map(len, again)))
    assert found["paragraphs"] == len(paragraphs)
    assert (found["repeated_paragraphs"], found["repeated_paragraph_characters"]) == (len(more), sum(map(len, more)))
    assert found["bullet_lines"] == sum(line.startswith("-") for line in full)
    assert found["ellipsis_lines"] == sum(line.endswith("…") for line in full)
    assert found["punctuated_lines"] == sum(line.endswith("。") for line in full)
    assert found["short_lines"] == len(full)


def test_the_worked_example_of_a_page():
    found = of("# Bread...\n\nBread rises. It rises with time!\n• The end…   \nwait....", ("the", "with", "be"))
    assert found["hashes"] == 1
    assert found["ellipses"] == 3
    assert found["lines"] == 4
    assert found["ellipsis_lines"] == 3
    assert found["bullet_lines"] == 1
    assert found["punctuated_lines"] == 3
    assert found["stop_words"] == 2
    # Bread Bread rises It rises with time The end wait; # ... . ! • … .... beside them
    assert (found["words"], found["tokens"], found["alphabetic"]) == (10, 17, 10)
    assert found["spaced_letters"] == 5 + 5 + 5 + 2 + 5 + 4 + 4 + 3 + 3 + 4
    # "# Bread...", "Bread rises.", "It rises with time!", "• The end…", "wait...."
    assert found["sentences"] == 5


def test_a_sentence_ends_where_spacys_sentencizer_ends_it():
    text = 'Mr. Smith (e.g. J. R. Smith) came. "Why?!" he said. It is 3.14... Then no.\nNext line'
    # by spaCy 3.8: Mr. Smith ... came. " | Why?!" | he said. | It is 3.14... Then no.; and the line behind
    assert of(text)["sentences"] == 5


def test_chinese_characters_are_parts_of_words():
    text = "我们在这里写一些中文。"  # ten characters and a full stop
    found = of(text, ("的", "在"))
    assert found["words"] == pytest.approx(10 * 39 / 60)
    assert found["tokens"] == pytest.approx(10 * 39 / 60 + 1)
    assert found["alphabetic"] == found["words"]
    assert (found["spaced_words"], found["stop_words"], found["sentences"]) == (0, 1, 1)
    assert found["punctuated_lines"] == 1


def test_a_chinese_ngram_holds_as_much_as_an_english_one():
    """Two words are 120 units and a character 39: four characters. Of "甲乙丙丁" four times in a row each run of four
    that begins with the same character is the same; the first of the most frequent comes four times."""
    found = of("甲乙丙丁" * 4)
    assert found["top_2"] == 4 * 4
    assert of("甲乙丙丁戊己庚辛壬癸")["repeated_5"] == 0


def test_short_lines_are_short_by_what_they_carry():
    """30 characters of English are five words, and so are seven Chinese characters (27.3) and not eight (31.2)."""
    assert of("a" * 30)["short_lines"] == 1
    assert of("a" * 31)["short_lines"] == 0
    assert of("汉" * 7)["short_lines"] == 1
    assert of("汉" * 8)["short_lines"] == 0


def test_texts_beside_each_other_change_nothing():
    texts = ["one two one two", "", "three\n\nthree", "汉字", "one two one two"]
    together = measure(pa.array(texts), [("one",)] * len(texts))
    for row, text in enumerate(texts):
        assert {name: float(column[row]) for name, column in zip(together._fields, together, strict=True)} == of(
            text, ("one",)
        )


def test_of_a_huge_text_the_beginning_is_measured():
    text = "word " * (MEASURED_BYTES // 5 + 1000)
    found = of(text)
    assert found["length"] == len(text)
    assert found["characters"] == MEASURED_BYTES
    assert found["words"] == -(-MEASURED_BYTES // 5)


def test_words_of_texts():
    assert list(count_text_words(pa.array(["", "One, two.", "汉" * 20]))) == [0, 2, 13]
