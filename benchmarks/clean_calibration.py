"""What FineWeb-2's thresholds of Chinese and Japanese come to where characters are counted and no segmenter is asked.

A part of benchmarks/clean.py. On the same pages each number is worked out twice: by datatrove with the words of jieba
or Sudachi (benchmarks/clean_peers.py), for which the thresholds were set, and by us; the threshold changes as the
number does. Beside it the pages in English: what the paper's threshold for English comes to in their translation.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "benchmarks")]

import clean_corpus  # noqa: E402
from clean_contenders import row_groups  # noqa: E402

from data_prep.measures import Statistics, measure  # noqa: E402
from data_prep.quality import CHECKS  # noqa: E402

Values = npt.NDArray[np.float64]

LEAST_WORDS = 100  # of a page: the shares of a short one jump
LANGUAGES = {  # our code -> datatrove's, the kinds of pages
    "zh": ("cmn_Hani", ("help zh-cn", "help zh-tw", "manuals zh_CN", "manuals zh_TW")),
    "ja": ("jpn_Jpan", ("help ja",)),
}
# configs/cmn_Hani.yml and jpn_Jpan.yml of huggingface/fineweb-2
FINEWEB2 = {
    "zh": (0.735, 0.178, 0.256, 0.201, 0.171, 0.198, 0.182, 0.167, 0.154, 0.14, 0.127),
    "ja": (0.759, 0.13, 0.239, 0.196, 0.172, 0.243, 0.225, 0.207, 0.19, 0.175, 0.159),
}
NAMES = (
    "gopher-quality.min_alphabetic_words",
    "fineweb.max_newlines",
    *(f"gopher-repetition.max_top_{n}_gram" for n in (2, 3, 4)),
    *(f"gopher-repetition.max_repeated_{n}_grams" for n in range(5, 11)),
)
CHECK_NAMED = {check.name: check for check in CHECKS}


def calibration(directory: Path, peers: Path) -> None:
    corpus = clean_corpus.chinese(directory)
    documents = [document for group in row_groups(corpus) for document in group]
    kinds = [json.loads(document.meta)["kind"] for document in documents]
    english = {
        row.id.partition("/")[2]: row.text for row, kind in zip(documents, kinds, strict=True) if "en-us" in kind
    }
    for language, (code, of_language) in LANGUAGES.items():
        pages = {row.id: row.text for row, kind in zip(documents, kinds, strict=True) if kind in of_language}
        theirs = {name: one for name, one in segmented(peers, corpus, code).items() if name in pages}
        chosen = [name for name, one in theirs.items() if one["tokens"] >= LEAST_WORDS]
        ours = measured(pages[name] for name in chosen)
        words = np.array([theirs[name]["tokens"] for name in chosen])
        pairs = [
            (english[name.partition("/")[2]], text) for name, text in pages.items() if name.partition("/")[2] in english
        ]
        before, after = (measured(texts) for texts in zip(*pairs, strict=True))
        print(f"\n{language}: {len(chosen):,} pages of {LEAST_WORDS} words; tokens, ours by the segmenter's: ", end="")
        print(f"{shown(ours.tokens / words)}; {len(pairs):,} translated pages, by the English ones: ", end="")
        print(f"{shown(after.tokens / before.tokens)} (median; a tenth below, a tenth above)")
        columns = "FineWeb-2 | our number by theirs | comes to | it drops | we drop, FineWeb-2's | we drop, changed"
        print(f"\n| check | {columns} | English | translation by English | comes to |\n|---|{9 * '--:|'}")
        for name, threshold in zip(NAMES, FINEWEB2[language], strict=True):
            check = CHECK_NAMED[name]
            their_values = np.array([theirs[page][name] for page in chosen])
            own = check.values(ours)
            ratio = ratio_of(own, their_values)
            drops = (
                check.fails(values, np.full(len(values), limit)).mean()
                for values, limit in ((their_values, threshold), (own, threshold), (own, threshold * ratio))
            )
            translated = ratio_of(check.values(after), check.values(before))
            print(
                f"| {name} | {threshold} | {ratio:.3f} | {threshold * ratio:.3f} | "
                + " | ".join(f"{share:.1%}" for share in drops)
                + f" | {check.default} | {translated:.3f} | {check.default * translated:.3f} |"
            )


def measured(texts: Any) -> Statistics:
    found = list(texts)
    return measure(pa.array(found), [()] * len(found))


def ratio_of(values: Values, others: Values) -> float:
    """Of the medians, over the pages where both are there."""
    both = (values > 0) & (others > 0)
    return float(np.median(values[both] / others[both]))


def shown(values: Values) -> str:
    low, middle, high = np.quantile(values, [0.1, 0.5, 0.9])
    return f"{middle:.2f} ({low:.2f}, {high:.2f})"


def segmented(peers: Path, corpus: Path, code: str) -> dict[str, dict[str, float]]:
    """By document the numbers of `NAMES`, and tokens, with the words that datatrove finds in a language."""
    file = corpus.with_suffix(f".{code}.json")
    if not file.exists():
        subprocess.run([peers, ROOT / "benchmarks" / "clean_peers.py", code, corpus, file], check=True)
    found: dict[str, dict[str, float]] = json.loads(file.read_text())
    return found
