"""Proves that an impossible setting of data preparation is a sentence that says the key, what it got and what it wants.

(Not `test_settings.py`: pytest imports test files by their bare names, and training has one of that name.)
"""

from __future__ import annotations

import math
import subprocess
import sys

import pytest

from data_prep.settings import (
    CleanSettings,
    DedupSettings,
    ScrubSettings,
    SourceSettings,
    SplitSettings,
    TokenizerSettings,
)


def source(**changes):
    return SourceSettings(**{"name": "docs", "paths": ["*.txt"]} | changes)


@pytest.mark.parametrize(
    "settings",
    [
        CleanSettings(),
        CleanSettings([], {"gopher-quality": {"min_words": 20}}),
        DedupSettings(),
        DedupSettings(threshold=0.5),
        DedupSettings(threshold=1),
        ScrubSettings(),
        ScrubSettings([]),
        SplitSettings(),
        TokenizerSettings(),
        TokenizerSettings(257),
        source(),
        source(paths=[], hub="owner/name"),
        source(name="a-b_2", format="html", weight=1e-9, rules=[], id_field="id"),
    ],
)
def test_what_is_possible_passes(settings):
    assert settings.problems() == []


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (source(name="a/b"), ["source.name", "a/b"]),
        (source(name=""), ["source.name", "''"]),
        (source(name="a.b"), ["source.name", "a.b"]),
        (source(name="-a"), ["source.name", "-a"]),
        (source(name="a\n"), ["source.name"]),
        (source(paths=[]), ["source 'docs'", "paths or hub", "neither"]),
        (source(hub="owner/name"), ["source 'docs'", "paths or hub", "both"]),
        (source(format="pdf"), ["source 'docs'", "format", "auto, text, html", "pdf"]),
        (source(weight=0), ["source 'docs'", "weight", "above 0", "0"]),
        (source(weight=-1.5), ["source 'docs'", "weight", "above 0", "-1.5"]),
        (source(weight=math.nan), ["source 'docs'", "weight", "above 0", "nan"]),
        (source(weight=math.inf), ["source 'docs'", "weight", "above 0", "inf"]),
        (source(id_field="text"), ["source 'docs'", "id_field", "text_field", "'text'"]),
        (source(rules=["gofer"]), ["source 'docs'", "gofer", "gopher-quality"]),
        (CleanSettings(rules=["gofer"]), ["clean.rules", "gofer", "gopher-quality"]),
        (CleanSettings(thresholds={"gofer": {"x": 1}}), ["clean.thresholds", "gofer", "gopher-quality"]),
        (CleanSettings(thresholds={"gopher-quality": {"min_word": 1}}), ["gopher-quality.min_word ", "min_words"]),
        (CleanSettings(thresholds={"c4": {"min_sentences": math.nan}}), ["c4.min_sentences", "a number", "nan"]),
        (CleanSettings(rules=["c4", "c4"]), ["clean.rules", "c4 twice"]),
        (CleanSettings(repair=["nfd"]), ["clean.repair", "'nfd'", "nfc"]),
        (CleanSettings(languages=["English"]), ["clean.languages", "'English'", "zh-Hant"]),
        (CleanSettings(by_language={"zh": {"c4": {"x": 1}}}), ["clean.by_language.zh.c4.x", "min_sentences"]),
        (CleanSettings(min_language_confidence=2), ["min_language_confidence", "0 to 1", "2"]),
        (CleanSettings(fields={"karma": {"least": 3}}), ["clean.fields.karma", "min = 3", "least"]),
        (CleanSettings(blocked_urls=["x"]), ["clean.blocked_urls", "clean.url_field"]),
        (source(extract="body"), ["source 'docs'", "extract", "full, main", "body"]),
        (source(language="German"), ["source 'docs'", "language", "German"]),
        (source(thresholds={"c4": {"x": 1}}), ["source 'docs'", "c4.x", "min_sentences"]),
        (DedupSettings(threshold=0.49), ["dedup.threshold", "0.5 to 1", "0.49"]),
        (DedupSettings(threshold=1.1), ["dedup.threshold", "0.5 to 1", "1.1"]),
        (DedupSettings(threshold=math.nan), ["dedup.threshold", "nan"]),
        (DedupSettings("finweb"), ["dedup.preset", "exact, fineweb, datasketch", "'finweb'"]),
        (DedupSettings(bands=0), ["dedup.bands and dedup.rows", "at least 1", "0 and 8"]),
        (DedupSettings(bands=64, rows=65), ["at most 4,096", "64 and 65"]),
        (DedupSettings(repeats="line"), ["dedup.repeats", "keep, lines or paragraphs", "'line'"]),
        (DedupSettings(contaminated="keep"), ["dedup.contaminated", "drop or report", "'keep'"]),
        (DedupSettings(memory_gb=0), ["dedup.memory_gb", "above 0", "0"]),
        (ScrubSettings(["email", "name"]), ["scrub.kinds", "'name'", "secret, url-credentials, email"]),
        (SplitSettings(0), ["split.val_fraction", "above 0 and below 1", "0"]),
        (SplitSettings(1), ["split.val_fraction", "above 0 and below 1", "1"]),
        (SplitSettings(math.nan), ["split.val_fraction", "nan"]),
        (TokenizerSettings(256), ["tokenizer.vocab_size", "257", "256"]),
    ],
)
def test_what_is_impossible_is_one_sentence(settings, words):
    (sentence,) = settings.problems()
    assert [word for word in words if word not in sentence] == []


def test_every_problem_is_told_at_once():
    assert len(source(name="?", paths=[], format="x", weight=0, rules=["y"]).problems()) == 5


def test_settings_load_nothing_heavy():
    code = "import sys, data_prep.settings; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "data_prep.settings" in loaded
    assert not {"numpy", "pyarrow", "datasets", "datasketch", "tokenizers", "resiliparse", "torch"} & set(loaded)
