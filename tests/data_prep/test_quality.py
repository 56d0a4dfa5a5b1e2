"""Proves that each rule keeps the text just inside its paper's threshold and drops the one just outside.

Gopher, Rae et al. 2021, arXiv:2112.11446, A.1.1: "we remove any document that does not contain between 50 and 100,000
words, or whose mean word length is outside the range of 3 to 10 characters; we remove any document with a
symbol-to-word ratio greater than 0.1 for either the hash symbol or the ellipsis; and we remove any document with more
than 90% of lines starting with a bullet point, or more than 30% ending with an ellipsis. We also require that 80% of
words in a document contain at least one alphabetic character, and apply a "stop word" filter, to remove documents that
do not contain at least two of the following English words: the, be, to, of, and, that, have, with".
"""

from __future__ import annotations

import pytest

from data_prep.quality import RULES, TextStatistics, first_reason, gopher_quality, thresholds_of


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
    ("inside", "outside", "reason"),
    [
        pytest.param(text(50), text(49), "gopher-few-words", id="50 words"),
        pytest.param(text(100_000), text(100_001), "gopher-many-words", id="100,000 words"),
        # 20 * 4 + 30 letters-in-words: 80 + 70 = 150 = 50 * 3; one letter less is 149
        pytest.param(of_mean_length(3, 2, 10), of_mean_length(3, 2, 9), "gopher-word-length", id="mean word length 3"),
        # 80 + 420 = 500 = 50 * 10; one letter more is 501
        pytest.param(
            of_mean_length(15, 14, 0), of_mean_length(15, 14, 1), "gopher-word-length", id="mean word length 10"
        ),
        # 100 words and 10 symbols, then 11
        pytest.param(text(100) + "#" * 10, text(100) + "#" * 11, "gopher-symbols", id="hash to word"),
        pytest.param(
            text(90, "the", "of", *["so..."] * 10) + " bread" * 10,
            text(90, "the", "of", *["so..."] * 11) + " bread" * 10,
            "gopher-symbols",
            id="ellipsis of three points to word",
        ),
        pytest.param(
            text(100, "the", "of", *["so…"] * 10),
            text(100, "the", "of", *["so…"] * 11),
            "gopher-symbols",
            id="ellipsis character to word",
        ),
        # "either ... or": 9 of the one and 9 of the other are within the limit, each being under .1
        pytest.param(
            text(100, "the", "of", *["so…"] * 9) + "#" * 9,
            text(100, "the", "of", *["so…"] * 9) + "#" * 11,
            "gopher-symbols",
            id="hash and ellipsis each alone",
        ),
        pytest.param(
            lines(20, 18, lambda line: f"  • {line}"),
            lines(20, 19, lambda line: f"  • {line}"),
            "gopher-bullet-lines",
            id="90% bullets",
        ),
        pytest.param(
            lines(20, 18, lambda line: f"- {line}"),
            lines(20, 19, lambda line: f"- {line}"),
            "gopher-bullet-lines",
            id="90% dashes",
        ),
        # 5 words a line, so that symbols stay under .1
        pytest.param(
            lines(20, 6, lambda line: f"{line}…"),
            lines(20, 7, lambda line: f"{line}..."),
            "gopher-ellipsis-lines",
            id="30% ellipses",
        ),
        pytest.param(
            text(50, "the", "of", *["12345"] * 10),
            text(50, "the", "of", *["12345"] * 11),
            "gopher-few-alphabetic",
            id="80% alphabetic",
        ),
        pytest.param(text(50, "the", "of"), text(50, "the", "the"), "gopher-few-stop-words", id="two stop words"),
    ],
)
def test_gopher_just_inside_and_just_outside(inside, outside, reason):
    assert gopher_quality(TextStatistics(inside)) is None
    assert gopher_quality(TextStatistics(outside)) == reason


@pytest.mark.parametrize("stop_word", ["the", "be", "to", "of", "and", "that", "have", "with"])
def test_every_stop_word_of_the_paper_counts_in_any_case_and_beside_a_comma(stop_word):
    other = "of" if stop_word != "of" else "to"
    assert gopher_quality(TextStatistics(text(60, f"“{stop_word.upper()},", other))) is None
    assert gopher_quality(TextStatistics(text(60, f"{stop_word}x", other))) == "gopher-few-stop-words"


@pytest.mark.parametrize("empty", ["", " \n ", "...", "— … !"])
def test_a_text_without_words_is_dropped_even_when_none_are_asked_for(empty):
    reason = gopher_quality(TextStatistics(empty), min_words=0, min_mean_word_length=0)
    assert reason is not None


def test_punctuation_is_no_part_of_a_word():
    assert TextStatistics("«Yes», (he) said: “no...” - don't!").words == ["Yes", "he", "said", "no", "-", "don't"]


def test_letters_of_any_script_are_alphabetic():
    greek = " ".join(["λόγος"] * 48 + ["the", "of"])
    assert gopher_quality(TextStatistics(greek)) is None


def test_the_defaults_are_the_papers():
    assert thresholds_of("gopher-quality") == {
        "min_words": 50,
        "max_words": 100_000,
        "min_mean_word_length": 3,
        "max_mean_word_length": 10,
        "max_symbol_ratio": 0.1,
        "max_bullet_lines": 0.9,
        "max_ellipsis_lines": 0.3,
        "min_alphabetic_words": 0.8,
        "min_stop_words": 2,
    }


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_says_its_paper_and_takes_its_thresholds_by_name(rule):
    assert "arXiv:" in RULES[rule].__doc__
    assert thresholds_of(rule)


def test_thresholds_from_a_config_replace_the_defaults():
    assert first_reason(text(20), ["gopher-quality"], {}) == "gopher-few-words"
    assert first_reason(text(20), ["gopher-quality"], {"gopher-quality": {"min_words": 20}}) is None
    assert first_reason(text(19), ["gopher-quality"], {"gopher-quality": {"min_words": 20}}) == "gopher-few-words"
    assert first_reason("Too short.", [], {}) is None
