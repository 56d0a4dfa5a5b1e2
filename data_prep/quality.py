"""Cleaning rules: plain functions from a text's statistics to a reason to drop it, or None.

Adding a rule is a function, a row in `RULES` and a row in its test. A rule's keyword arguments are its thresholds, with
the paper's values; a config changes them under `[clean.thresholds.NAME]`.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

STOP_WORDS = frozenset({"the", "be", "to", "of", "and", "that", "have", "with"})
BULLETS = ("•", "‣", "▶", "◀", "◦", "■", "□", "▪", "▫", "–", "-", "*")
SYMBOLS = (re.compile("#"), re.compile(r"\.\.\.|…"))
ALPHABETIC = re.compile(r"[^\W\d_]")


@dataclass(frozen=True)
class TextStatistics:
    """What the rules look at, computed once per text and only when a rule asks.

    Words are the pieces between white space, stripped of punctuation at both ends.
    """

    text: str

    @cached_property
    def tokens(self) -> list[str]:
        return self.text.split()

    @cached_property
    def words(self) -> list[str]:
        stripped = (token.strip(".,;:!?\"'()[]{}<>«»“”‘’…") for token in self.tokens)
        return [word for word in stripped if word]

    @cached_property
    def lines(self) -> list[str]:
        return [line for line in self.text.splitlines() if line.strip()]


Rule = Callable[..., str | None]


def gopher_quality(
    statistics: TextStatistics,
    *,
    min_words: float = 50,
    max_words: float = 100_000,
    min_mean_word_length: float = 3,
    max_mean_word_length: float = 10,
    max_symbol_ratio: float = 0.1,
    max_bullet_lines: float = 0.9,
    max_ellipsis_lines: float = 0.3,
    min_alphabetic_words: float = 0.8,
    min_stop_words: float = 2,
) -> str | None:
    """The document rules of Gopher (Rae et al. 2021, arXiv:2112.11446, appendix A.1.1 "Quality Filtering").

    Word counts, mean word length in characters, # signs per word, ellipses per word, shares of lines that begin with a
    bullet or end in an ellipsis, share of words with an alphabetic character, and distinct English stop words.

    >>> gopher_quality(TextStatistics("Too short."))
    'gopher-few-words'
    """
    words, lines = statistics.words, statistics.lines
    if len(words) < max(min_words, 1):
        return "gopher-few-words"
    if len(words) > max_words:
        return "gopher-many-words"
    if not min_mean_word_length <= sum(map(len, words)) / len(words) <= max_mean_word_length:
        return "gopher-word-length"
    if any(len(symbol.findall(statistics.text)) / len(words) > max_symbol_ratio for symbol in SYMBOLS):
        return "gopher-symbols"
    if sum(line.lstrip().startswith(BULLETS) for line in lines) / len(lines) > max_bullet_lines:
        return "gopher-bullet-lines"
    if sum(line.rstrip().endswith(("...", "…")) for line in lines) / len(lines) > max_ellipsis_lines:
        return "gopher-ellipsis-lines"
    if sum(ALPHABETIC.search(word) is not None for word in words) / len(words) < min_alphabetic_words:
        return "gopher-few-alphabetic"
    if len(STOP_WORDS.intersection(map(str.lower, words))) < min_stop_words:
        return "gopher-few-stop-words"
    return None


RULES: dict[str, Rule] = {
    "gopher-quality": gopher_quality,
}


def thresholds_of(rule: str) -> dict[str, float]:
    """A rule's thresholds and their defaults, read from its keyword arguments."""
    parameters = inspect.signature(RULES[rule]).parameters.values()
    return {parameter.name: parameter.default for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY}


def first_reason(text: str, rules: list[str], thresholds: dict[str, dict[str, float]]) -> str | None:
    """The reason of the first rule that drops the text, in the order given, or None."""
    statistics = TextStatistics(text)
    reasons = (RULES[rule](statistics, **thresholds.get(rule, {})) for rule in rules)
    return next((reason for reason in reasons if reason), None)
