"""Proves that each check keeps the text just inside its paper's threshold and drops the one just outside.

Gopher, Rae et al. 2021, arXiv:2112.11446, A.1.1: "we remove any document that does not contain between 50 and 100,000
words, or whose mean word length is outside the range of 3 to 10 characters; we remove any document with a
symbol-to-word ratio greater than 0.1 for either the hash symbol or the ellipsis; and we remove any document with more
than 90% of lines starting with a bullet point, or more than 30% ending with an ellipsis. We also require that 80% of
words in a document contain at least one alphabetic character, and apply a "stop word" filter, to remove documents that
do not contain at least two of the following English words: the, be, to, of, and, that, have, with". Its table A1 has
the thresholds of repetition; FineWeb's and C4's are in the tests' own lines.
"""

from __future__ import annotations

import math

import pytest

from data_prep.cleaning import Cleaner
from data_prep.document import Document
from data_prep.quality import CHECKS, RULES, thresholds_of
from data_prep.settings import CleanSettings, SourceSettings


def look(text, *rules, language="en", **settings):
    """What becomes of one text."""
    source = SourceSettings("s", ["x"], format="text", language=language)
    clean = CleanSettings(rules=list(rules), **settings)
    assert clean.problems() == []
    return Cleaner(clean, {"s": source}).look([Document("s:1", text, "s")])


def failed(text, *rules, **settings):
    """The names of the checks that fail, without the rule's."""
    return {outcome.check.threshold for outcome in look(text, *rules, **settings).checks if outcome.fails[0]}


def words(count, *others):
    """So many words of five letters, two of them stop words of four unless others are given instead."""
    stop = list(others) or ["that", "with"]
    return [*stop, *["bread"] * (count - len(stop))]


def text(count, *others):
    return " ".join(words(count, *others))


def lines(total, marked, mark, plain="bread that rises with time"):
    return "\n".join([mark(plain)] * marked + [plain] * (total - marked))


def of_mean_length(long, short, size):
    """50 words, 20 of them "that" and "with" (4 letters): the others decide the mean."""
    return " ".join(["that", "with"] * 10 + ["x" * long] * size + ["x" * short] * (30 - size))


@pytest.mark.parametrize(
    ("inside", "outside", "threshold"),
    [
        pytest.param(text(50), text(49), "min_words", id="50 words"),
        pytest.param(text(100_000), text(100_001), "max_words", id="100,000 words"),
        # 20 * 4 + 30 letters-in-words: 80 + 70 = 150 = 50 * 3; one letter less is 149
        pytest.param(of_mean_length(3, 2, 10), of_mean_length(3, 2, 9), "min_mean_word_length", id="mean length 3"),
        # 80 + 420 = 500 = 50 * 10; one letter more is 501
        pytest.param(of_mean_length(15, 14, 0), of_mean_length(15, 14, 1), "max_mean_word_length", id="mean length 10"),
        # a mark counts as a word, as it is one of spaCy's tokens: 10 of 100, then 11 of 100
        pytest.param(text(90) + " #" * 10, text(89) + " #" * 11, "max_hashes", id="hash to word"),
        pytest.param(text(90) + " ..." * 10, text(89) + " ..." * 11, "max_ellipses", id="three points to word"),
        pytest.param(text(90) + " …" * 10, text(89) + " …" * 11, "max_ellipses", id="ellipsis to word"),
        pytest.param(
            lines(20, 18, lambda line: f"  • {line}"),
            lines(20, 19, lambda line: f"  • {line}"),
            "max_bullet_lines",
            id="90% bullets",
        ),
        pytest.param(
            lines(20, 18, lambda line: f"- {line}"),
            lines(20, 19, lambda line: f"- {line}"),
            "max_bullet_lines",
            id="90% dashes",
        ),
        pytest.param(
            lines(20, 6, lambda line: f"{line}…"),
            lines(20, 7, lambda line: f"{line}..."),
            "max_ellipsis_lines",
            id="30% ellipses",
        ),
        pytest.param(
            text(50, "the", "of", *["12345"] * 10),
            text(50, "the", "of", *["12345"] * 11),
            "min_alphabetic_words",
            id="80% alphabetic",
        ),
        pytest.param(text(50, "the", "of"), text(50, "the", "the"), "min_stop_words", id="two stop words"),
    ],
)
def test_gopher_quality_just_inside_and_just_outside(inside, outside, threshold):
    assert threshold not in failed(inside, "gopher-quality")
    assert threshold in failed(outside, "gopher-quality")


def unlike(count, start=0):
    """So many different words of four letters."""
    letters = "abcdefghij"
    return [f"{letters[n // 1000 % 10]}{letters[n // 100 % 10]}{letters[n // 10 % 10]}{letters[n % 10]}"
            for n in range(start, start + count)]  # fmt: skip


def with_repeats(n, times, total):
    """A run of n words that stands so many times, other words between; padded to so many characters in all."""
    phrase = " ".join(unlike(n))
    between = unlike(times, 5000)
    body = " ".join(f"{phrase} {between[number]}" for number in range(times))
    return body + " " + "z" * (total - len(body) - 1)


@pytest.mark.parametrize(("n", "limit"), [(2, 0.2), (3, 0.18), (4, 0.16)])
def test_the_most_frequent_ngram_of_gophers_table(n, limit):
    """Four times n words of four letters with a space between: 4 (5 n - 1) characters of the whole."""
    share = 4 * (5 * n - 1)
    total = math.ceil(share / limit)
    assert f"max_top_{n}_gram" not in failed(with_repeats(n, 4, total), "gopher-repetition")
    assert f"max_top_{n}_gram" in failed(with_repeats(n, 4, total - 1), "gopher-repetition")


@pytest.mark.parametrize(("n", "limit"), [(5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.1)])
def test_repeated_ngrams_of_gophers_table(n, limit):
    """n words of four letters three times: twice they stand earlier, too, which are 8 n characters."""
    total = math.ceil(8 * n / limit)
    inside, outside = with_repeats(n, 3, total), with_repeats(n, 3, total - 1)
    assert f"max_repeated_{n}_grams" not in failed(inside, "gopher-repetition")
    assert f"max_repeated_{n}_grams" in failed(outside, "gopher-repetition")


def different_lines(count, start=0):
    return [" ".join(unlike(5, start + 5 * number)) for number in range(count)]


@pytest.mark.parametrize(
    ("inside", "outside", "threshold"),
    [
        # a line that stands four times stands three times earlier, too: 3 of 10 lines, then 4
        (["same"] * 4 + different_lines(6), ["same"] * 5 + different_lines(5), "max_repeated_lines"),
        # repeated lines of 24 characters: 24 of 24 * 5 + 4 are .194, and of 24 * 4 + 3 .242
        (
            different_lines(4) + different_lines(1),
            different_lines(3) + different_lines(1),
            "max_repeated_line_characters",
        ),
    ],
)
@pytest.mark.parametrize(("joint", "what"), [("\n", "line"), ("\n\n", "paragraph")])
def test_repeated_lines_and_paragraphs_of_gophers_table(inside, outside, threshold, joint, what):
    name = threshold.replace("line", what)
    assert name not in failed(joint.join(inside), "gopher-repetition")
    assert name in failed(joint.join(outside), "gopher-repetition")


SENTENCE = "This is a line of six words."


@pytest.mark.parametrize(
    ("inside", "outside", "threshold"),
    [
        # C4: "discarded any page with fewer than 5 sentences", that contained "lorem ipsum", or a curly bracket
        pytest.param("\n".join([SENTENCE] * 5), "\n".join([SENTENCE] * 4), "min_sentences", id="5 sentences"),
        pytest.param(" ".join([SENTENCE] * 5), " ".join([SENTENCE] * 4), "min_sentences", id="of one line"),
        pytest.param(SENTENCE, f"{SENTENCE}\nLorem ipsum dolor sit amet.", "max_lorem_ipsum", id="lorem ipsum"),
        pytest.param(SENTENCE, f"{SENTENCE}\nHere is a {{ in a line.", "max_braces", id="curly bracket"),
        # its code looks for both in lines that it keeps
        pytest.param("if (x) {\nlorem ipsum", f"{SENTENCE} {{.", "max_braces", id="curly bracket in a line that stays"),
    ],
)
def test_c4s_documents(inside, outside, threshold):
    assert threshold not in failed(inside, "c4")
    assert threshold in failed(outside, "c4")


@pytest.mark.parametrize(
    ("inside", "outside", "threshold"),
    [
        # 12 of 100 lines, then 11
        (["A line."] * 12 + ["a line"] * 88, ["A line."] * 11 + ["a line"] * 89, "min_punctuated_lines"),
        # 67 of 100 lines of at most 30 characters, then 68; a line of 30 is short and one of 31 is not
        (["x" * 30] * 67 + ["x" * 31] * 33, ["x" * 30] * 68 + ["x" * 31] * 32, "max_short_lines"),
        # 10 characters of 1,000 and of 999, without newlines
        (["y" * 10, "y" * 10, "x" * 980], ["y" * 10, "y" * 10, "x" * 979], "max_repeated_line_characters"),
        # 3 newlines and 10 words, then 9
        (["a b", "c d", "e f", "g h i j"], ["a b", "c d", "e f", "g h i"], "max_newlines"),
    ],
)
def test_finewebs_rules(inside, outside, threshold):
    assert threshold not in failed("\n".join(inside), "fineweb")
    assert threshold in failed("\n".join(outside), "fineweb")


def test_refinedwebs_share_of_corrected_words():
    """One word of 20 in a line that goes is 5 %, one of 19 is more."""
    assert "max_removed_words" not in failed("Home\n" + "word and " * 9 + "end.", "refinedweb")
    assert "max_removed_words" in failed("Home\n" + "word and " * 8 + "the end.", "refinedweb")


def test_length_bounds_are_the_users_own():
    thresholds = {"length": {"min_characters": 5, "max_characters": 6}}
    assert not failed("12345", "length", thresholds=thresholds)
    assert not failed("汉字汉字汉字", "length", thresholds=thresholds)
    assert failed("1234", "length", thresholds=thresholds) == {"min_characters"}
    assert failed("1234567", "length", thresholds=thresholds) == {"max_characters"}
    assert not failed("", "length") - {"text"}


@pytest.mark.parametrize("stop_word", ["the", "be", "to", "of", "and", "that", "have", "with"])
def test_every_stop_word_of_the_paper_counts_in_any_case_and_beside_a_comma(stop_word):
    other = "of" if stop_word != "of" else "to"
    assert "min_stop_words" not in failed(text(60, f"“{stop_word.upper()},", other), "gopher-quality")
    assert "min_stop_words" in failed(text(60, f"{stop_word}x", other), "gopher-quality")


@pytest.mark.parametrize("empty", ["", " \n ", "...", "— … !"])
def test_a_text_without_words_is_dropped_even_when_none_are_asked_for(empty):
    thresholds = {"gopher-quality": {"min_words": 0, "min_mean_word_length": 0}}
    assert look(empty, "gopher-quality", thresholds=thresholds).reasons != [""]


def test_letters_of_any_script_are_alphabetic():
    assert not failed(" ".join(["λόγος"] * 48 + ["the", "of"]), "gopher-quality")


def test_the_defaults_are_the_papers():
    assert thresholds_of("gopher-quality") == {
        "min_words": 50,
        "max_words": 100_000,
        "min_mean_word_length": 3,
        "max_mean_word_length": 10,
        "max_hashes": 0.1,
        "max_ellipses": 0.1,
        "max_bullet_lines": 0.9,
        "max_ellipsis_lines": 0.3,
        "min_alphabetic_words": 0.8,
        "min_stop_words": 2,
    }


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_every_check_has_a_reason_and_a_source(check):
    assert check.rule in RULES
    assert check.reason == check.reason.lower()
    assert " " not in check.reason
    assert check.bound in ("min", "max")
    assert ("arXiv:" in check.source) == (check.rule != "length")


def test_thresholds_from_a_config_replace_the_defaults():
    small = {"gopher-quality": {"min_words": 20}}
    assert look(text(20), "gopher-quality").reasons == ["gopher-few-words"]
    assert look(text(20), "gopher-quality", thresholds=small).reasons == [""]
    assert look(text(19), "gopher-quality", thresholds=small).reasons == ["gopher-few-words"]
    assert look("Too short.").reasons == [""]


def test_the_ledger_says_value_and_threshold():
    assert look(text(12), "gopher-quality").details == ["words: 12, at least 50 wanted"]
