"""Proves that what stands in several documents stays in the best one only, against a plain search over Python strings.

Wenzek et al. 2020, "CCNet", section 3.1, for lines; RFC 3986, section 6.2, for addresses.
"""

from __future__ import annotations

import itertools
import re
import unicodedata

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.repeats import keepers, line_keys, plain_url, repeated, url_key, without
from data_prep.sorting import distinct, run_starts

FOOTER = "Copyright 2020 Example Inc. All rights reserved."
INVISIBLE = "\u200b\u00ad"  # default ignorables of the alphabets below


def keys_of(text, *, paragraphs=False):
    return line_keys(pa.array([text]), paragraphs=paragraphs)[1]


def normal(text):
    """Folded, invisible characters out, white space single and none at the ends."""
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold())
    return " ".join(re.sub(f"[{INVISIBLE}]", "", folded).split())


def lines_of(text):
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def paragraphs_of(text):
    """Each as (blank lines before the text's first one, the paragraph, blank lines after it)."""
    groups = [
        ("".join(group), full) for full, group in itertools.groupby(lines_of(text), lambda line: normal(line) != "")
    ]
    if len(groups) > 1 and not groups[0][1]:
        (before, _), *groups = groups
    else:
        before = ""
    pieces = [group for group, _ in groups]
    pairs = itertools.zip_longest(pieces[::2], pieces[1::2], fillvalue="")
    return [(before if number == 0 else "", *pair) for number, pair in enumerate(pairs)]


def counts(piece):
    return len(" ".join(re.sub(f"[{INVISIBLE}]", "", piece).split())) >= 30


def forms(text, paragraphs):
    """The normal forms of the lines or paragraphs that count."""
    pieces = [paragraph for _, paragraph, _ in paragraphs_of(text)] if paragraphs else lines_of(text)
    return {normal(piece) for piece in pieces if counts(piece)}


def left(text, gone, paragraphs):
    """(the text without what has one of these normal forms, how many)."""

    def goes(piece):
        return counts(piece) and normal(piece) in gone

    if not paragraphs:
        lines = lines_of(text)
        return "".join(line for line in lines if not goes(line)), sum(map(goes, lines))
    pieces = paragraphs_of(text)
    kept = ["".join(parts) for parts in pieces if not goes(parts[1])]
    if kept and goes(pieces[-1][1]):
        last = [parts for parts in pieces if not goes(parts[1])][-1]
        kept[-1] = last[0] + last[1]
    return "".join(kept), len(pieces) - len(kept)


def deduplicated(texts, paragraphs, rank, stays):
    """What the module makes of a corpus of two shards, as the stage does."""
    half = len(texts) // 2
    shards = [line_keys(pa.array(part, pa.string()), paragraphs=paragraphs) for part in (texts[:half], texts[half:])]
    rows = np.concatenate([shards[0][0], shards[1][0] + np.uint32(half)])
    keys = np.concatenate([shards[0][1], shards[1][1]])
    order = np.lexsort((rows, keys))
    keys, rows = repeated(keys[order], rows[order])
    go = keepers(keys, rows, np.array(rank, np.int64), np.array(stays, bool))
    return [without(text, keys[go & (rows == row)], paragraphs=paragraphs) for row, text in enumerate(texts)]


def test_a_footer_stays_in_the_best_document_that_stays():
    """By hand: documents 0 to 2 stay, 1 is the best; document 3 goes, though it ranks before all."""
    texts = [f"First.\n{FOOTER}\n", f"Second.\n  {FOOTER.upper()}\r\n", f"{FOOTER}\nThird.", FOOTER, "Fifth."]
    expected = [("First.\n", 1), (texts[1], 0), ("Third.", 1), (FOOTER, 0), ("Fifth.", 0)]
    assert deduplicated(texts, False, rank=[2, 1, 3, 0, 4], stays=[1, 1, 1, 0, 1]) == expected


def test_a_line_that_a_single_document_repeats_is_left_alone():
    text = f"{FOOTER}\nAnd again:\n{FOOTER}\n"
    assert deduplicated([text, "other"], False, rank=[0, 1], stays=[1, 1]) == [(text, 0), ("other", 0)]


def test_what_has_fewer_than_30_characters_counts_for_nothing():
    """Characters, not bytes; white space is single and invisible characters are none."""
    for text in (
        "é" * 29,
        "字" * 29,
        "a" * 14 + "   " + "a" * 14,
        " " * 9 + "a" * 29 + "\t",
        "}",
        "",
        "a" * 29 + "\u200b",
    ):
        assert len(keys_of(text)) == 0
    for text in ("é" * 30, "字" * 30, "a" * 14 + "   " + "a" * 15, "}" * 30):
        assert len(keys_of(text)) == 1


def test_a_paragraph_is_a_run_of_lines_and_may_be_wrapped_in_another_way():
    wrapped = "A paragraph of several\nshort lines, which counts\n"
    other = "a paragraph\r\n  of several short lines,\r\nwhich counts"
    assert keys_of(wrapped, paragraphs=True).tolist() == keys_of(other, paragraphs=True).tolist() != []
    assert len(keys_of(wrapped)) == len(keys_of(other)) == 0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"a\n\n{FOOTER}\n\nb\n", "a\n\nb\n"),
        (f"a\n\n\n{FOOTER}\n\nb", "a\n\n\nb"),
        (f"\n\n{FOOTER}\n\n\nb\n", "b\n"),
        (f"\n\na\n \n{FOOTER}\n\n\n", "\n\na\n"),
        (f"a\r\n\r\n{FOOTER}\r\n\r\nb\r\n", "a\r\n\r\nb\r\n"),
        (f"a\n\n{FOOTER}\n\n{FOOTER}", "a\n"),
        (f"{FOOTER}\n\n{FOOTER}\n\n", ""),
        (f"{FOOTER}\nwith more below it\n\nb", f"{FOOTER}\nwith more below it\n\nb"),
        ("\n \n\n", "\n \n\n"),
    ],
)
def test_blank_lines_around_a_paragraph_that_went_do_not_pile_up(text, expected):
    assert without(text, keys_of(FOOTER), paragraphs=True)[0] == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"a\r\n{FOOTER}\r\nb\r\n", "a\r\nb\r\n"),
        (f"a\n{FOOTER}", "a\n"),
        (f"{FOOTER}\n{FOOTER}\n{FOOTER}", ""),
        (f"a\n\n{FOOTER}\n\nb", "a\n\n\nb"),
        (f"a {FOOTER}\rb", f"a {FOOTER}\rb"),
        ("", ""),
    ],
)
def test_a_line_goes_with_its_end_and_all_others_stand_as_they_stood(text, expected):
    assert without(text, keys_of(FOOTER), paragraphs=False)[0] == expected


def test_one_line_of_ten_megabytes():
    long = "A word in other words, " * 450_000
    texts = pa.array([long, "short", f"{long.upper()}\nshort"])
    rows, keys = line_keys(texts, paragraphs=False)
    assert rows.tolist() == [0, 2]
    assert keys[0] == keys[1]
    assert without(f"short\n{long}\nshort", keys[:1], paragraphs=False) == ("short\nshort", 1)
    assert without(long, keys_of(long + "."), paragraphs=False) == (long, 0)


def test_lone_surrogates_are_kept_and_compared():
    """Bytes that Python's strings can hold and its encoders refuse; Arrow holds them, too."""
    lines = ["\ud800" * 30, "\udfff" * 30, "a" * 29 + "\ud800"]
    data = "\n".join(lines).encode("utf-8", "surrogatepass")
    bounds = pa.py_buffer(np.array([0, len(data)], np.int32))
    _, keys = line_keys(
        pa.Array.from_buffers(pa.string(), 1, [None, bounds, pa.py_buffer(bytearray(data))]), paragraphs=False
    )
    assert len(keys) == 3
    assert without("\n".join([*lines, "b\ud800"]), keys, paragraphs=False) == ("b\ud800", 3)


def test_empty_arrays_nulls_and_slices():
    texts = pa.array([FOOTER, None, "", FOOTER], pa.large_string())
    assert line_keys(texts, paragraphs=True)[0].tolist() == [0, 3]
    assert line_keys(texts[1:], paragraphs=True)[0].tolist() == [2]
    for array in (pa.array([], pa.string()), pa.array(["", None])):
        rows, keys = line_keys(array, paragraphs=False)
        assert (rows.dtype, keys.dtype, len(rows), len(keys)) == (np.uint32, np.uint64, 0, 0)
        assert len(keepers(*repeated(keys, rows), np.arange(2), np.ones(2, bool))) == 0


BASE = "The quick brown fox, über 12 dogs"
LINES = st.sampled_from(
    [
        BASE,
        BASE.upper(),
        f"  {BASE.replace(' ', '  ')}\t",
        f"{BASE}\r",
        BASE[:30],
        BASE[:29],
        "",
        " \t",
        "\u200b",
        "}",
        "x" * 30,
    ]
) | st.text("aA éÉ字ﬁ㍿.,\t\r\v\u2028\u00a0\u200b\u00ad", min_size=0, max_size=50)
TEXTS = st.tuples(st.lists(LINES, max_size=8).map("\n".join), st.sampled_from(["", "\n", "\n\n"])).map("".join)


@st.composite
def corpora(draw):
    """(texts, rank, stays)."""
    texts = draw(st.lists(TEXTS, min_size=1, max_size=5))
    every = len(texts)
    return texts, draw(st.permutations(range(every))), draw(st.lists(st.booleans(), min_size=every, max_size=every))


@given(corpora(), st.booleans())
@settings(max_examples=300, deadline=None)
def test_a_corpus_against_a_search_over_strings(corpus, paragraphs):
    texts, rank, stays = corpus
    expected = []
    for row, text in enumerate(texts):
        better = [other for other in range(len(texts)) if stays[other] and rank[other] < rank[row]]
        gone = set().union(*(forms(texts[other], paragraphs) for other in better)) if stays[row] else set()
        expected.append(left(text, gone, paragraphs))
    assert deduplicated(texts, paragraphs, rank, stays) == expected


@given(TEXTS, st.booleans(), st.data())
@settings(max_examples=200, deadline=None)
def test_a_piece_goes_if_its_key_was_reported_and_only_then(text, paragraphs, data):
    keys = keys_of(text, paragraphs=paragraphs)
    assert len(keys) == len(forms(text, paragraphs))
    some = data.draw(st.sets(st.sampled_from(keys.tolist()))) if len(keys) else set()
    rest, removed = without(text, np.array(sorted(some, reverse=True), np.uint64), paragraphs=paragraphs)
    assert (removed > 0) == bool(some)
    assert set(keys_of(rest, paragraphs=paragraphs).tolist()) == set(keys.tolist()) - some
    assert without(text, np.array([0, 1], np.uint64), paragraphs=paragraphs) == (text, 0)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 7)), unique=True),
    st.permutations(range(8)),
    st.integers(0, 255),
)
@settings(max_examples=200, deadline=None)
def test_keepers_against_a_dictionary(pairs, rank, staying):
    stays = [staying >> row & 1 == 1 for row in range(8)]
    found: dict[int, list[int]] = {}
    for key, row in pairs:
        found.setdefault(key, []).append(row)
    several = sorted(pair for pair in pairs if len(found[pair[0]]) > 1)
    expected = []
    for key, row in several:
        company = [other for other in found[key] if stays[other]]
        expected.append(stays[row] and rank[row] > min(rank[other] for other in company))
    pairs = sorted(pairs)
    keys, rows = repeated(
        np.array([key for key, _ in pairs], np.uint64), np.array([row for _, row in pairs], np.uint32)
    )
    assert list(zip(keys.tolist(), rows.tolist(), strict=True)) == several
    assert keepers(keys, rows, np.array(rank), np.array(stays)).tolist() == expected


@given(st.lists(st.integers(0, 5)))
def test_distinct_values_and_runs(values):
    assert distinct(np.array(values, np.uint64)).tolist() == sorted(set(values))
    runs = [length for _, group in itertools.groupby(values) for length in [len(list(group))]]
    assert np.flatnonzero(run_starts(np.array(values, np.int32))).tolist() == list(np.cumsum([0, *runs]))[: len(runs)]


@pytest.mark.parametrize(
    "addresses",
    [
        # RFC 3986, 6.2.2.1 and 6.2.3
        ["HTTP://www.EXAMPLE.com/", "http://www.example.com/"],
        ["http://example.com", "http://example.com/", "http://example.com:/", "http://example.com:80/"],
        # 6.2.4: the two that the first redirects to
        ["http://example.com/data", "http://example.com/data/"],
        # and further, by hand
        ["https://www.Example.com:443/a/?id=7#top", "http://example.com/a?id=7", " http://example.com/a?id=7\n"],
        ["http://example.com/a", "http://example.com/a?utm_source=x&UTM_Medium=y", "http://example.com/a?"],
        ["http://example.com/?b=1&a=2", "http://example.com?b=1&utm_id=3&a=2"],
        ["http://jo@example.com/", "http://jo@EXAMPLE.com:80"],
        ["http://[2001:DB8::1]:80/a", "https://[2001:db8::1]/a"],
        ["doc 17", " doc 17 "],
    ],
)
def test_addresses_of_one_page_have_one_key(addresses):
    assert len({url_key(address) for address in addresses}) == 1


def test_addresses_of_other_pages_have_other_keys():
    addresses = [
        *("http://example.com/a", "http://example.com/A", "http://example.com/a//", "http://example.com/b/a"),
        *(
            "http://example.com:8080/a",
            "http://example.com:443/a",
            "https://example.com:80/a",
            "ftp://example.com:80/a/b",
        ),
        *("http://example.com/a?x=1&y=2", "http://example.com/a?y=2&x=1", "http://example.com/a?notutm_x=1"),
        *("http://m.example.com/a", "http://jo@example.com/a", "http://Jo@example.com/a", "http://example.org/a"),
        # RFC 3986, 6.2.2: the same address in two ways, which would take a parser of paths
        *("example://a/b/c/%7Bfoo%7D", "eXAMPLE://a/./b/../b/%63/%7bfoo%7d"),
        *(
            "doc 17",
            "Doc 17",
            "doc 17/",
            "mailto:jo@example.com",
            "http://[2001:db8::1/",
            "http://[2001:db8::1",
            "/a",
            "#",
        ),
        "\ud800",
    ]
    keys = [url_key(address) for address in addresses]
    assert len(set(keys)) == len(addresses)
    assert all(0 < key < 2**64 for key in keys)


def test_no_address_has_key_zero():
    assert [url_key(""), url_key(" \n")] == [0, 0]


def test_a_plain_address_by_hand():
    assert plain_url("HTTPS://www.Example.com:443/Path/?id=7&utm_source=x#top") == "example.com/Path?id=7"
