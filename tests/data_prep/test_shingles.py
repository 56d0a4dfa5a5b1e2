"""Proves that the kernels see the words of Unicode and make datasketch's signatures, against plain Python."""

from __future__ import annotations

import itertools
import random
import re
import sys
import unicodedata
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from datasketch import MinHash
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_prep.dedup import lean_minhash, permutations
from data_prep.folding import IGNORED_RANGES, folding
from data_prep.minhash import shingle_hash, sign
from data_prep.shingles import BLOCK, shingle_sets

PERMUTATIONS = 64
# characters a word, per script, as counted in parallel text: benchmarks/RESULTS.md
HAN, KANA, SOUTHEAST_ASIAN = 60 / 39, 60 / 15, 60 / 12
MASK = 2**64 - 1


def folded(text: str) -> str:
    """The documented normal form, character by character."""
    out = ""
    for character in text:
        form = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", character).casefold())
        out += "".join(c for c in form if not any(low <= ord(c) <= high for low, high in IGNORED_RANGES))
    return out


def part_of_a_word(character: str) -> int:
    """In sixtieths; 60 for what makes words with its neighbours, 0 for what stands in none."""
    category, name = unicodedata.category(character), unicodedata.name(character, "")
    if category[0] not in "LMN" and category != "Pc":
        return 0
    if name.startswith(
        (
            "CJK UNIFIED",
            "CJK COMPATIBILITY IDEOGRAPH",
            "IDEOGRAPHIC ITERATION",
            "IDEOGRAPHIC NUMBER",
            "IDEOGRAPHIC CLOSING",
            "HANGZHOU",
        )
    ):
        return 39
    if re.match("(HALFWIDTH )?(HIRAGANA|KATAKANA|COMBINING KATAKANA|BOPOMOFO|HENTAIGANA|YI SYLLABLE)", name):
        return 15
    return 12 if re.match("(THAI|LAO|KHMER|MYANMAR|TAI LE|NEW TAI LUE|TAI THAM|TAI VIET) ", name) else 60


def tokens(text: str) -> list[tuple[str, int]]:
    """(token, sixtieths of a word) of a text."""
    found: list[tuple[str, int]] = []
    inside = False
    for character in folded(text):
        part = part_of_a_word(character)
        if part == 60 and inside:
            found[-1] = (found[-1][0] + character, 60)
        elif part:
            found.append((character, part))
        inside = part == 60
    return found


def shingles(text: str) -> set[bytes]:
    """The shortest runs of tokens that hold five words, joined by single spaces."""
    words = tokens(text)
    found = set()
    for start in range(len(words)):
        stop = start
        while stop < len(words) and sum(part for _, part in words[start:stop]) < 300:
            stop += 1
        if sum(part for _, part in words[start:stop]) >= 300:
            found.add(" ".join(token for token, _ in words[start:stop]))
    short = " ".join(token for token, _ in words) or " ".join(folded(text).split())
    return {shingle.encode("utf-8", "surrogatepass") for shingle in found or {short}}


def arrow(*texts: str) -> pa.Array:
    """Arrow's own check would refuse lone surrogates; buffers of other programs may hold them."""
    data = [text.encode("utf-8", "surrogatepass") for text in texts]
    bounds = np.cumsum([0, *map(len, data)]).astype(np.int32)
    return pa.StringArray.from_buffers(len(texts), pa.py_buffer(bounds), pa.py_buffer(b"".join(data)))


def signature(text: str) -> Any:
    return sign(arrow(text), permutations(PERMUTATIONS)).signatures[0]


def digest(text: str) -> tuple[int, ...]:
    return tuple(sign(arrow(text), permutations(1)).digests[0].tolist())


def of_datasketch(text: str) -> MinHash:
    sketch = MinHash(num_perm=PERMUTATIONS, scheme="affine32", hashfunc=shingle_hash)
    sketch.update_batch(shingles(text))
    return sketch


anything = st.characters(codec=None, exclude_categories=())  # surrogates and unassigned code points, too
scripts = st.sampled_from(
    "aZ é_1 İßς،ŉ ﷺ漢字。かガｶﾞ ไทยำ\u0e33 ខ្មែរ မြန် हिन्दी한글\u00ad\u200d\ufb01½\U0001f600\ud800\n\t "
)


@settings(deadline=None)
@given(st.lists(st.text(st.one_of(scripts, anything), max_size=12), max_size=20).map(" ".join))
@example("")
@example("!?")
@example("İstanbul ŉ ﷺ ½")
@example("不".join("一二三四五六七八九十"))
def test_signatures_are_those_of_datasketch_on_all_of_unicode(text: str) -> None:
    assert np.array_equal(signature(text), of_datasketch(text).hashvalues)


def test_every_code_point_has_the_documented_form_and_folding_twice_is_folding_once() -> None:
    """By a word around each: what splits it, what joins it and what vanishes shows in the shingle."""
    kinds, table, sequences = folding()
    for code in range(sys.maxunicode + 1):
        if code >= len(kinds):
            assert unicodedata.category(chr(code)) in ("Cn", "Co")  # stand for themselves
            continue
        if kinds[code] == 7:
            form = "".join(map(chr, sequences[table[code] + 1 : table[code] + 1 + sequences[table[code]]]))
        else:
            form = "" if kinds[code] == 6 else chr(table[code])
        assert form == folded(chr(code)), hex(code)
        assert folded(form) == form, hex(code)


@pytest.mark.parametrize("width", [1, 7])
def test_every_code_point_between_words(width: int) -> None:
    """All of Unicode in one text, in runs: block borders fall everywhere."""
    characters = [chr(code) for code in range(sys.maxunicode + 1)]
    random.Random(width).shuffle(characters)
    text = " ".join("".join(characters[start : start + width]) for start in range(0, 60_000, width))
    wanted = sorted({value(shingle) for shingle in shingles(text)})
    assert shingle_sets(arrow(text))[0].tolist() == wanted


def value(shingle: bytes) -> int:
    """The 64-bit hash of a shingle with words in it: FNV-1a over code points, a polynomial, MurmurHash3's finalizer."""
    total = 0
    for token in shingle.decode("utf-8", "surrogatepass").split(" "):
        state = 0xCBF29CE484222325
        for character in token:
            state = (state ^ ord(character)) * 0x100000001B3 & MASK
        state = (state ^ state >> 32) * 0x9E3779B97F4A7C15 & MASK
        total = (total * 0xD1342543DE82EF95 + (state ^ state >> 29)) & MASK
    total = (total ^ total >> 33) * 0xFF51AFD7ED558CCD & MASK
    total = (total ^ total >> 33) * 0xC4CEB9FE1A85EC53 & MASK
    return total ^ total >> 33


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("a b c d e f", {b"a b c d e", b"b c d e f"}),
        ("A, b; c. d! e?", {b"a b c d e"}),
        ("a b", {b"a b"}),
        ("a a a a a a a", {b"a a a a a"}),
        ("", {b""}),
        ("?!  ?!", {b"?! ?!"}),
        ("co\u00adoperate zero\u200bwidth x_1 don't", {b"cooperate zerowidth x_1 don t"}),
        ("हिन्दी में यह एक वाक्य", {unicodedata.normalize("NFKD", "हिन्दी में यह एक वाक्य").encode()}),  # marks stay in words
        ("一二三四五六七八九", {"一 二 三 四 五 六 七 八".encode(), "二 三 四 五 六 七 八 九".encode()}),
        ("use 一二三四 with care", {"use 一 二 三 四 with care".encode()}),
    ],
)
def test_shingles_by_hand(text: str, wanted: set[bytes]) -> None:
    assert shingles(text) == wanted
    hashes = {shingle_hash(shingle) for shingle in wanted}
    assert {found >> 32 for found in shingle_sets(arrow(text))[0].tolist()} == hashes


def test_a_shingle_is_five_words_in_any_script() -> None:
    """Eight Chinese characters, twenty kana, twenty-five Thai letters: five times what an English word needs."""
    for alphabet, characters in (
        ("天地玄黃宇宙洪荒日月盈昃", HAN),
        ("あいうえおかきくけこ", KANA),
        ("กขฃคฅฆงจฉช", SOUTHEAST_ASIAN),
    ):
        text = "".join(itertools.islice(itertools.cycle(alphabet), 60))
        lengths = {len(shingle.decode().replace(" ", "")) for shingle in shingles(text)}
        assert lengths == {int(np.ceil(5 * characters))}


@settings(deadline=None)
@given(st.text(st.one_of(scripts, st.sampled_from("ab .,")), max_size=40), st.text(max_size=5))
def test_the_digest_is_equal_where_the_normal_form_is(text: str, tail: str) -> None:
    form = " ".join(folded(text).split())
    assert digest(text) == digest(form) == digest(f"\n {text}\t")
    other = " ".join(folded(text + tail).split())
    assert (digest(text + tail) == digest(text)) == (other == form)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("The  QUICK,\nbrown—fox", "the quick, brown—fox", True),
        ("Straße", "STRASSE", True),
        ("ﬁne ２", "fine 2", True),
        ("ｶﾞ", "ガ", True),  # half width, with its mark as a letter of its own
        ("cafe\u0301", "CAFÉ", True),
        ("x = a + b", "x = a - b", False),
        ("ab c", "a bc", False),
        ("a b", "ab", False),
        ("a ,b", "a, b", False),
    ],
)
def test_which_texts_are_the_same(one: str, other: str, same: bool) -> None:
    assert (digest(one) == digest(other)) is same


@pytest.mark.parametrize("words", [BLOCK - 70, BLOCK - 64, BLOCK - 60, BLOCK, 3 * BLOCK + 1])
def test_a_block_of_tokens_ends_anywhere(words: int) -> None:
    text = " ".join(f"w{number % 997}" for number in range(words))
    assert np.array_equal(signature(text), of_datasketch(text).hashvalues)


def test_a_long_line_and_a_long_word() -> None:
    """Ten million characters without a blank, and with one at each second place."""
    word, letters = "x" * 10_000_000, "a " * 5_000_000
    assert shingle_sets(arrow(word))[0].tolist() == [value(word.encode())]
    assert shingle_sets(arrow(letters))[0].tolist() == [value(b"a a a a a")]
    assert shingle_sets(arrow("㌙" * 3000))[0].tolist() == sorted(
        map(value, shingles("㌙" * 30))
    )  # six kana of three bytes


@pytest.mark.parametrize(
    "data", [b"\xff\xfe", b"a\x80b", b"\xe4\xb8", b"\xf0\x9f\x98", b"\xc0\xaf", b"ok \xf5\x80\x80\x80 ok"]
)
def test_bytes_that_are_no_utf8_are_read_to_their_end_and_no_further(data: bytes) -> None:
    """As Python reads them with a replacement character for each bad byte, more or less: what matters is the words."""
    bounds = np.array([0, len(data)], np.int32)
    texts = pa.StringArray.from_buffers(1, pa.py_buffer(bounds), pa.py_buffer(data + b"zzz"))
    words = re.findall(r"\w+", data.decode("ascii", "replace"))
    shingle = " ".join(words).encode() if words else b"\xef\xbf\xbd" * len(data)
    assert shingle_sets(texts)[0].tolist()[0] >> 32 == shingle_hash(shingle)


def test_slices_nulls_and_large_strings_of_arrow() -> None:
    texts = ["one two three four five six", "", "seven", None, "eight nine"]
    whole = [found.tolist() for found in shingle_sets(pa.array(texts))]
    assert [found.tolist() for found in shingle_sets(pa.array(texts, pa.large_string()))] == whole
    assert [found.tolist() for found in shingle_sets(pa.array(texts)[1:4])] == whole[1:4]
    assert whole[3] == whole[1]
    assert shingle_sets(pa.array([], pa.string())) == []


def test_a_signature_is_read_by_datasketch_and_datasketchs_by_us() -> None:
    one, other = (" ".join(f"w{number}" for number in range(start, start + 300)) for start in (0, 20))
    ours = [lean_minhash(signature(text)) for text in (one, other)]
    theirs = of_datasketch(one)
    assert ours[0].jaccard(theirs) == 1.0 and theirs.jaccard(ours[1]) == ours[0].jaccard(ours[1])
    assert abs(ours[0].jaccard(ours[1]) - 276 / 316) < 4 * np.sqrt(276 / 316 * 40 / 316 / PERMUTATIONS)
    assert np.array_equal(lean_minhash(theirs.hashvalues).hashvalues, signature(one))
