"""Our decisions beside datatrove's, and on which checks the others turn: a part of benchmarks/clean.py."""

from __future__ import annotations

import statistics
import zlib
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from clean_contenders import cleaner_of, row_groups

SAME_CHECK = {  # datatrove's reason -> our check
    "gopher_short_doc": "gopher-quality.min_words",
    "gopher_long_doc": "gopher-quality.max_words",
    "gopher_below_avg_threshold": "gopher-quality.min_mean_word_length",
    "gopher_above_avg_threshold": "gopher-quality.max_mean_word_length",
    "gopher_too_many_hashes": "gopher-quality.max_hashes",
    "gopher_too_many_ellipsis": "gopher-quality.max_ellipses",
    "gopher_too_many_bullets": "gopher-quality.max_bullet_lines",
    "gopher_too_many_end_ellipsis": "gopher-quality.max_ellipsis_lines",
    "gopher_below_alpha_threshold": "gopher-quality.min_alphabetic_words",
    "gopher_enough_stop_words": "gopher-quality.min_stop_words",
    "dup_para_frac": "gopher-repetition.max_repeated_paragraphs",
    "dup_para_char_frac": "gopher-repetition.max_repeated_paragraph_characters",
    "dup_line_frac": "gopher-repetition.max_repeated_lines",
    "dup_line_char_frac": "gopher-repetition.max_repeated_line_characters",
    **{f"top_{n}_gram": f"gopher-repetition.max_top_{n}_gram" for n in (2, 3, 4)},
    **{f"duplicated_{n}_n_grams": f"gopher-repetition.max_repeated_{n}_grams" for n in range(5, 11)},
    "lorem_ipsum": "c4.max_lorem_ipsum",
    "curly_bracket": "c4.max_braces",
    "too_few_sentences": "c4.min_sentences",
    "line_punct_ratio": "fineweb.min_punctuated_lines",
    "short_line_ratio": "fineweb.max_short_lines",
    "char_dup_ratio": "fineweb.max_repeated_line_characters",
    "list_ratio": "fineweb.max_newlines",
    "empty": "clean.text",
}


class Ours:
    """Our decisions on a corpus: reason, what each check found, the text left, of each document."""

    def __init__(self, corpus: Path, rules: list[str], **settings: Any) -> None:
        cleaner = cleaner_of(corpus, rules, **settings)
        self.reasons: list[str] = []
        self.texts: list[str] = []
        self.checks: list[dict[str, tuple[float, float, bool]]] = []  # value, bound, whether it fails
        for documents in row_groups(corpus):
            looked = cleaner.look(documents)
            self.reasons += looked.reasons
            self.texts += looked.texts
            for row in range(len(documents)):
                found = {one.name: (one.values[row], one.bounds[row], bool(one.fails[row])) for one in looked.checks}
                self.checks.append(found)


def compare(corpus: Path, theirs: dict[str, Any], families: tuple[str, ...], rows: list[int], **settings: Any) -> None:
    """Decisions about the documents that `rows` number."""
    columns = "we drop | datatrove drops | equal | only we drop | only it drops | text left the same"
    print(f"\n| {len(rows):,} documents | {columns} |\n|---|--:|--:|--:|--:|--:|--:|")
    turns: dict[str, list[tuple[str, float]]] = defaultdict(list)
    for name in (*families, "series"):
        ours = Ours(corpus, list(families) if name == "series" else [name], **settings)
        reasons = theirs["series"] if name == "series" else theirs["alone"][name]
        both, we, it, kept, same = 0, 0, 0, 0, 0
        for row in rows:
            dropped = bool(ours.reasons[row]), bool(reasons[row])
            both, we, it = both + all(dropped), we + (dropped == (True, False)), it + (dropped == (False, True))
            if not any(dropped):
                kept += 1
                same += zlib.crc32(ours.texts[row].encode()) == theirs["sizes"][name][row][1]
            elif not all(dropped) and name != "series":
                turns_on(ours.checks[row], reasons[row], turns)
        equal = (both + kept) / len(rows)
        print(f"| {name} | {both + we:,} | {both + it:,} | {equal:.2%} | {we} | {it} | {same / max(kept, 1):.1%} |")
    columns = "only we drop | only datatrove drops | our value's distance from the threshold, median"
    print(f"\n| decisions turn on | {columns} |\n|---|--:|--:|--:|")
    for check, found in sorted(turns.items(), key=lambda item: -len(item[1])):
        sides = Counter(side for side, _ in found)
        distance = statistics.median(distance for _, distance in found)
        print(f"| {check} | {sides['ours']} | {sides['theirs']} | {distance:.1%} |")


def turns_on(
    checks: dict[str, tuple[float, float, bool]], reason: str, turns: dict[str, list[tuple[str, float]]]
) -> None:
    """Add the check by which one side drops a document and the other does not, and how near it was for ours."""
    failing = (name for name, (_, _, fails) in checks.items() if fails)
    check = SAME_CHECK[reason.partition(": ")[2]] if reason else next(failing)
    value, bound, _ = checks[check]
    turns[check].append(("theirs" if reason else "ours", abs(value - bound) / (abs(bound) or 1)))


def dropped_by_rule(ours: Ours) -> None:
    """Shares of the corpus that each check drops alone, and that only it drops."""
    count = len(ours.reasons)
    failed = [[name for name, (_, _, fails) in checks.items() if fails] for checks in ours.checks]
    alone = Counter(name for names in failed for name in names)
    only = Counter(names[0] for names in failed if len(names) == 1)
    first = Counter(ours.reasons)
    print(f"\nkept {first['']:,} of {count:,}; dropped by the first reason: ", end="")
    print(", ".join(f"{reason} {number / count:.1%}" for reason, number in first.most_common() if reason))
    print("\n| check | drops alone | only it drops |\n|---|--:|--:|")
    for name, number in alone.most_common():
        print(f"| {name} | {number / count:.2%} | {only[name] / count:.2%} |")
