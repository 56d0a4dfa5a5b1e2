"""Which threshold holds for a document: by source, by language, by config, by paper; and stop words by language.

The numbers for other languages than English are those of FineWeb-2 (Penedo et al. 2025, arXiv:2506.20920; the files
`configs/*.yml` of its repository), which it fitted to Wikipedia and web text of each language. There they hold for the
words of a segmenter: jieba for Chinese, Sudachi for Japanese, spaCy for the others. Here a Chinese character counts as
1/1.54 of a word, as many as jieba's words have characters; benchmarks/clean.py measures what that comes to.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from data_prep.quality import Check
from data_prep.settings import CleanSettings, SourceSettings

Thresholds = Mapping[str, Mapping[str, float]]

STOP_WORDS: dict[str, tuple[str, ...]] = {
    "en": ("the", "be", "to", "of", "and", "that", "have", "with"),  # Gopher's
    "zh": tuple("的年在月是和日了於为為有被人中他與后後也而由与于这這不"),
    "ja": tuple("のにをはたてがとで年し月れさ"),
    "de": (
        "der", "und", "die", "in", "von", "im", "den", "des", "mit", "das", "er", "dem", "als", "wurde", "für",
    ),
    "fr": (
        "de", "la", "le", "et", "à", "en", "l'", "des", "du", "les", "est", "d'", "un", "une", "il", "dans", "par",
        "au",
    ),
    "es": (
        "de", "la", "en", "el", "y", "a", "que", "del", "los", "se", "por", "un", "con", "una", "las", "su",
    ),
    "ru": (
        "в", "и", "на", "с", "года", "по", "году", "из", "был", "к", "не", "от", "что", "за", "для", "его", "как",
        "а", "он", "также", "до", "после",
    ),
}  # fmt: skip


def fineweb_2(
    *,
    repeated_lines: float,
    top: tuple[float, float, float],
    repeated: tuple[float, float, float, float, float, float],
    punctuated: float,
    newlines: float,
    alphabetic: float,
    word_length: tuple[float, float] = (0, math.inf),
) -> Thresholds:
    """FineWeb-2's thresholds of one language, with those that it gives to all: paragraphs and short lines do not count,
    and a tenth of the characters may stand in repeated lines."""
    return {
        "gopher-quality": {
            "min_mean_word_length": word_length[0],
            "max_mean_word_length": word_length[1],
            "min_alphabetic_words": alphabetic,
        },
        "gopher-repetition": {
            "max_repeated_lines": repeated_lines,
            "max_repeated_line_characters": math.inf,
            "max_repeated_paragraphs": math.inf,
            "max_repeated_paragraph_characters": math.inf,
            **{f"max_top_{n}_gram": limit for n, limit in enumerate(top, 2)},
            **{f"max_repeated_{n}_grams": limit for n, limit in enumerate(repeated, 5)},
        },
        "fineweb": {
            "min_punctuated_lines": punctuated,
            "max_short_lines": math.inf,
            "max_repeated_line_characters": 0.1,
            "max_newlines": newlines,
        },
    }


BY_LANGUAGE: dict[str, Thresholds] = {
    # cmn_Hani; its mean word length of 1 to 5 is of jieba's words, and nothing here. Three kinds of numbers are changed
    # by what real pages have here and in jieba's words (benchmarks/clean.py): from .256 .201 .171, .735 and .178
    "zh": fineweb_2(
        repeated_lines=0.287,
        top=(0.205, 0.144, 0.12),
        repeated=(0.198, 0.182, 0.167, 0.154, 0.14, 0.127),
        punctuated=0.106,
        newlines=0.17,
        alphabetic=0.775,
    ),
    # jpn_Jpan, changed likewise for Sudachi's words, which are a seventh more than here: from .239 .196 .172, .13 and
    # .243 .225 .207 .19 .175 .159
    "ja": fineweb_2(
        repeated_lines=0.328,
        top=(0.191, 0.152, 0.14),
        repeated=(0.17, 0.165, 0.157, 0.156, 0.151, 0.131),
        punctuated=0.096,
        newlines=0.15,
        alphabetic=0.759,
    ),
    "de": fineweb_2(
        repeated_lines=0.263,
        top=(0.169, 0.153, 0.137),
        repeated=(0.141, 0.134, 0.126, 0.117, 0.108, 0.098),
        punctuated=0.0,
        newlines=0.152,
        alphabetic=0.774,
        word_length=(0, 15),
    ),
    "fr": fineweb_2(
        repeated_lines=0.264,
        top=(0.161, 0.149, 0.134),
        repeated=(0.15, 0.141, 0.131, 0.121, 0.111, 0.1),
        punctuated=0.1,
        newlines=0.185,
        alphabetic=0.812,
        word_length=(2, 11),
    ),
    "es": fineweb_2(
        repeated_lines=0.252,
        top=(0.156, 0.14, 0.125),
        repeated=(0.145, 0.136, 0.127, 0.117, 0.108, 0.099),
        punctuated=0.182,
        newlines=0.138,
        alphabetic=0.825,
        word_length=(3, 14),
    ),
    "ru": fineweb_2(
        repeated_lines=0.322,
        top=(0.184, 0.164, 0.146),
        repeated=(0.168, 0.156, 0.145, 0.133, 0.121, 0.109),
        punctuated=0.231,
        newlines=0.139,
        alphabetic=0.713,
        word_length=(3, 11),
    ),
}


def plain_language(language: str) -> str:
    """Without the script: zh for zh-Hans."""
    return language.partition("-")[0]


def stop_words(language: str) -> tuple[str, ...]:
    """The stop words that count in a text of the language; none of a language that has no list here."""
    return STOP_WORDS.get(plain_language(language), ())


def bound(check: Check, settings: CleanSettings, source: SourceSettings, language: str) -> float:
    """The threshold of a check for documents of a source in a language; nan where the check has no meaning there.

    The source's own, else the config's for the language ("zh-Hans" before "zh"), else the config's, else FineWeb-2's,
    else the paper's. What the table has no stop words for is not asked for any.
    """
    if check.threshold == "min_stop_words" and not stop_words(language):
        return math.nan
    plain = plain_language(language)
    places: tuple[Thresholds, ...] = (
        source.thresholds,
        settings.by_language.get(language, {}),
        settings.by_language.get(plain, {}),
        settings.thresholds,
        BY_LANGUAGE.get(plain, {}),
    )
    for place in places:
        if check.threshold in place.get(check.rule, {}):
            return place[check.rule][check.threshold]
    return check.default
