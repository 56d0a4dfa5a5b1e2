"""datatrove's side of benchmarks/clean.py, under the interpreter that has it.

python benchmarks/clean_peers.py SETTING CORPUS FILE

SETTING is `english`, the defaults of its filters, or `chinese`, FineWeb-2's of Mandarin, whose words jieba finds.
Writes to FILE what each filter decides alone, and what all do in series, with how long that took in CPU-seconds.
SETTING may be a language, `cmn_Hani` or `jpn_Jpan`: then what its filters compute, by document.
"""

from __future__ import annotations

import json
import resource
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

# configs/cmn_Hani.yml of huggingface/fineweb-2, and what fineweb-2-pipeline.py there gives to all languages
FINEWEB2 = {
    "gopher-quality": {
        "min_avg_word_length": 1, "max_avg_word_length": 5, "max_non_alpha_words_ratio": 0.735, "min_stop_words": 2,
        "stop_words": list("的年在月是和日了於·為有被人中为他與後也而由"), "language": "cmn_Hani",
    },
    "gopher-repetition": {
        "language": "cmn_Hani", "dup_para_frac": 0, "dup_line_frac": 0.287, "dup_line_char_frac": 0,
        "dup_para_char_frac": 0, "top_n_grams": ((2, 0.256), (3, 0.201), (4, 0.171)),
        "dup_n_grams": ((5, 0.198), (6, 0.182), (7, 0.167), (8, 0.154), (9, 0.14), (10, 0.127)),
    },
    "fineweb": {
        "language": "cmn_Hani", "line_punct_thr": 0.106, "short_line_thr": 999, "char_duplicates_ratio": 0.1,
        "new_line_ratio": 0.178,
    },
}  # fmt: skip
ORDER = {
    "english": ("c4", "gopher-quality", "gopher-repetition", "fineweb"),
    "chinese": ("gopher-repetition", "fineweb", "gopher-quality"),  # as FineWeb-2 has them
}


def main(setting: str, corpus: str, file: str) -> None:
    documents = list(read(corpus))
    if setting not in ORDER:
        Path(file).write_text(json.dumps({name: numbers(text, setting) for name, text in documents if text}))
        return
    result: dict[str, Any] = {"ids": [name for name, _ in documents], "alone": {}, "seconds": {}, "sizes": {}}
    result["bytes"] = sum(len(text.encode()) for _, text in documents)
    chosen = filters(setting)
    for one in chosen.values():  # once before it is timed
        one.filter(document("", documents[0][1]))
    for name, one in chosen.items():
        result["alone"][name], result["seconds"][name], result["sizes"][name] = judged(documents, {name: one})
    result["series"], result["seconds"]["series"], result["sizes"]["series"] = judged(documents, chosen)
    Path(file).write_text(json.dumps(result))


def read(corpus: str) -> list[tuple[str, str]]:
    tables = [pq.read_table(path, columns=["id", "text"]) for path in sorted(Path(corpus).glob("*.parquet"))]
    return [(row["id"], row["text"]) for table in tables for row in table.to_pylist()]


def filters(setting: str) -> dict[str, Any]:
    """The filters by our names, in the order of their series."""
    from datatrove.pipeline import filters as found
    from loguru import logger

    logger.remove()
    makers: dict[str, Callable[..., Any]] = {
        "c4": found.C4QualityFilter,
        "gopher-quality": found.GopherQualityFilter,
        "gopher-repetition": found.GopherRepetitionFilter,
        "fineweb": found.FineWebQualityFilter,
    }
    arguments = FINEWEB2 if setting == "chinese" else {}
    return {name: makers[name](**arguments.get(name, {})) for name in ORDER[setting]}


def document(name: str, text: str) -> Any:
    from datatrove.data import Document

    return Document(text=text, id=name)


def judged(documents: list[tuple[str, str]], chosen: dict[str, Any]) -> tuple[list[str], float, list[tuple[int, int]]]:
    """Per document the first filter's name and reason ("" where all keep it); CPU-seconds; (bytes, CRC) of its text."""
    reasons, sizes = [], []
    seconds = -cpu_seconds()
    for name, text in documents:
        found, reason = document(name, text), ""
        for family, one in chosen.items():
            kept = one.filter(found)
            if kept is not True:
                reason = f"{family}: {kept[1]}"
                break
        reasons.append(reason)
        sizes.append(found.text)
    seconds += cpu_seconds()
    return reasons, seconds, [(len(text.encode()), zlib.crc32(text.encode())) for text in sizes]


def numbers(text: str, language: str) -> dict[str, float]:
    """What the thresholds are for, under our names, as the filters work it out of a text's words."""
    from datatrove.pipeline.filters import gopher_repetition_filter as repetition
    from datatrove.utils.text import split_into_words

    words = split_into_words(text, language)
    count = max(len(words), 1)
    found = {
        "tokens": len(words),
        "gopher-quality.min_alphabetic_words": sum(any(map(str.isalpha, word)) for word in words) / count,
        "fineweb.max_newlines": text.count("\n") / count,
    }
    for n in (2, 3, 4):
        grams = repetition.get_n_grams(words, n)
        most = repetition.find_top_duplicate(grams) if grams else 0
        found[f"gopher-repetition.max_top_{n}_gram"] = most / len(text)
    for n in range(5, 11):
        found[f"gopher-repetition.max_repeated_{n}_grams"] = repetition.find_all_duplicate(words, n) / len(text)
    return found


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main(*sys.argv[1:])
