"""The cleaning rules, as a table: each check compares one number of a text with one threshold.

Adding a check is a row in `CHECKS` and a row in its test; adding a rule, a row in `RULES` too. A config changes
thresholds under `[clean.thresholds.RULE]`, for a language under `[clean.by_language.LANGUAGE.RULE]`, for a source under
`[source.thresholds.RULE]`. A value that is nan says that the check does not apply to the text: it drops nothing then.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a config is read without numpy, and without the kernels behind the statistics
    import numpy as np
    import numpy.typing as npt

    from data_prep.measures import Statistics

    Values = npt.NDArray[np.float64]

GOPHER = "Gopher: Rae et al. 2021, arXiv:2112.11446, appendix A.1.1"
C4 = "C4: Raffel et al. 2020, arXiv:1910.10683, section 2.2"
FINEWEB = "FineWeb: Penedo et al. 2024, arXiv:2406.17557, section 3.6"
REFINEDWEB = "RefinedWeb: Penedo et al. 2023, arXiv:2306.01116, appendix G.2"

RULES: dict[str, str] = {
    "gopher-quality": f"{GOPHER}, Quality Filtering",
    "gopher-repetition": f"{GOPHER}, Repetition Removal, table A1",
    "c4": C4,
    "fineweb": FINEWEB,
    "refinedweb": REFINEDWEB,
    "length": "bounds of your own on the length of a document",
}


@dataclass(frozen=True)
class Check:
    """A text goes where `values` is below a "min" threshold or above a "max" one."""

    rule: str
    threshold: str  # its name in a config
    default: float
    reason: str
    measures: str  # what the value is, for people
    values: Callable[[Statistics], Values]  # (n,) of the statistics of n texts
    bound: str  # min or max

    @property
    def name(self) -> str:
        return f"{self.rule}.{self.threshold}"

    @property
    def source(self) -> str:
        """The paper, and where in it."""
        return RULES.get(self.rule, "")

    def fails(self, values: Values, bounds: Values) -> npt.NDArray[np.bool_]:
        """Which of n values are out of their bounds (n,). nan fails nothing."""
        return values < bounds if self.bound == "min" else values > bounds


def share(part: Values, whole: Values) -> Values:
    """0 of nothing is 0."""
    import numpy as np

    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)


def mean_word_length(statistics: Statistics) -> Values:
    """nan where most of a text is of scripts without spaces, whose words nothing delimits."""
    import numpy as np

    lengths = share(statistics.spaced_letters, statistics.spaced_words)
    return np.where(2 * statistics.spaced_words < statistics.words, np.nan, lengths)


def ngram_share(name: str) -> Callable[[Statistics], Values]:
    def values(statistics: Statistics) -> Values:
        return share(getattr(statistics, name), statistics.characters)

    return values


def repeated_line_share(statistics: Statistics) -> Values:
    """Newlines do not count."""
    return share(statistics.repeated_line_characters, statistics.characters - statistics.newlines)


def rows(rule: str, *checks: tuple[str, float, str, str, Callable[[Statistics], Values]]) -> tuple[Check, ...]:
    return tuple(Check(rule, *check, bound=check[0][:3]) for check in checks)  # as the threshold's name begins


CHECKS: tuple[Check, ...] = (
    *rows(
        "gopher-quality",
        ("min_words", 50, "gopher-few-words", "words", lambda s: s.words),
        ("max_words", 100_000, "gopher-many-words", "words", lambda s: s.words),
        ("min_mean_word_length", 3, "gopher-word-length", "characters in a word, on average", mean_word_length),
        ("max_mean_word_length", 10, "gopher-word-length", "characters in a word, on average", mean_word_length),
        (
            "max_hashes",
            0.1,
            "gopher-symbols",
            "# for each word and punctuation mark",
            lambda s: share(s.hashes, s.tokens),
        ),
        (
            "max_ellipses",
            0.1,
            "gopher-symbols",
            "ellipses for each word and punctuation mark",
            lambda s: share(s.ellipses, s.tokens),
        ),
        (
            "max_bullet_lines",
            0.9,
            "gopher-bullet-lines",
            "share of lines that begin with a bullet",
            lambda s: share(s.bullet_lines, s.lines),
        ),
        (
            "max_ellipsis_lines",
            0.3,
            "gopher-ellipsis-lines",
            "share of lines that end in an ellipsis",
            lambda s: share(s.ellipsis_lines, s.lines),
        ),
        (
            "min_alphabetic_words",
            0.8,
            "gopher-few-alphabetic",
            "share of words and punctuation marks with a letter",
            lambda s: share(s.alphabetic, s.tokens),
        ),
        (
            "min_stop_words",
            2,
            "gopher-few-stop-words",
            "different stop words of the language",
            lambda s: s.stop_words,
        ),
    ),
    *rows(
        "gopher-repetition",
        (
            "max_repeated_paragraphs",
            0.3,
            "gopher-repeated-paragraphs",
            "share of paragraphs that stand earlier, too",
            lambda s: share(s.repeated_paragraphs, s.paragraphs),
        ),
        (
            "max_repeated_paragraph_characters",
            0.2,
            "gopher-repeated-paragraphs",
            "share of characters in such paragraphs",
            ngram_share("repeated_paragraph_characters"),
        ),
        (
            "max_repeated_lines",
            0.3,
            "gopher-repeated-lines",
            "share of lines that stand earlier, too",
            lambda s: share(s.repeated_lines, s.lines),
        ),
        (
            "max_repeated_line_characters",
            0.2,
            "gopher-repeated-lines",
            "share of characters in such lines",
            ngram_share("repeated_line_characters"),
        ),
        *(
            (
                f"max_top_{n}_gram",
                limit,
                "gopher-top-ngram",
                f"share of characters in the most frequent {n} words",
                ngram_share(f"top_{n}"),
            )
            for n, limit in ((2, 0.2), (3, 0.18), (4, 0.16))
        ),
        *(
            (
                f"max_repeated_{n}_grams",
                limit,
                "gopher-repeated-ngrams",
                f"share of characters in {n} words that stand earlier, too",
                ngram_share(f"repeated_{n}"),
            )
            for n, limit in ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.1))
        ),
    ),
    *rows(
        "c4",
        ("max_lorem_ipsum", 0, "c4-lorem-ipsum", "lines with lorem ipsum", lambda s: s.lorem_ipsum),
        ("max_braces", 0, "c4-brace", "lines with {", lambda s: s.braces),
        ("min_sentences", 5, "c4-few-sentences", "sentences that are left", lambda s: s.sentences),
    ),
    *rows(
        "fineweb",
        (
            "min_punctuated_lines",
            0.12,
            "fineweb-few-punctuated-lines",
            "share of lines that end in a terminal punctuation mark",
            lambda s: share(s.punctuated_lines, s.lines),
        ),
        (
            "max_short_lines",
            0.67,
            "fineweb-short-lines",
            "share of lines of at most 30 characters",
            lambda s: share(s.short_lines, s.lines),
        ),
        (
            "max_repeated_line_characters",
            0.01,
            "fineweb-repeated-lines",
            "share of characters in lines that stand earlier, too",
            repeated_line_share,
        ),
        (
            "max_newlines",
            0.3,
            "fineweb-newlines",
            "newlines for each word and punctuation mark",
            lambda s: share(s.newlines, s.tokens),
        ),
    ),
    *rows(
        "refinedweb",
        (
            "max_removed_words",
            0.05,
            "refinedweb-removed-words",
            "share of words in lines that were corrected",
            lambda s: share(s.removed_words, s.words_before),
        ),
    ),
    *rows(
        "length",
        ("min_characters", 0, "too-short", "characters", lambda s: s.length),
        ("max_characters", math.inf, "too-long", "characters", lambda s: s.length),
    ),
)


def checks_of(rule: str) -> tuple[Check, ...]:
    return tuple(check for check in CHECKS if check.rule == rule)


def thresholds_of(rule: str) -> dict[str, float]:
    """A rule's thresholds and their defaults."""
    return {check.threshold: check.default for check in checks_of(rule)}
