"""Proves that what shares 13 words with an evaluation text is found, and nothing else, against sets of words in Python.

Brown et al. 2020, appendix C: 13-grams of words, without case and punctuation.
"""

from __future__ import annotations

import json
import re
import tempfile
import unicodedata
from itertools import chain
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.contamination import WANTED, EvaluationSet, Overlap, overlaps, read_evaluation
from data_prep.files import UserError
from data_prep.folding import HAN
from data_prep.shingles import BLOCK, LONGEST_FORM, UNITS

DICKENS = "It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of foolishness"
LI_BAI = "床前明月光，疑是地上霜。举头望明月，低头思故乡。"  # 20 characters


def evaluation(directory, **sets):
    """Each keyword is a file of texts."""
    for name, texts in sets.items():
        lines = [json.dumps({"question": text}) for text in texts]
        (directory / f"{name}.jsonl").write_text("\n".join(lines))
    return read_evaluation([directory / f"{name}.jsonl" for name in sets])


def found(texts, against):
    return overlaps(pa.array(texts, pa.string()), against)


def words(text):
    return re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold())


def ngrams(text):
    """The runs of 13 words, in order."""
    of_text = words(text)
    return [tuple(of_text[start : start + 13]) for start in range(len(of_text) - 12)]


def numbered(first, last):
    return " ".join(f"w{number}" for number in range(first, last))


def test_thirteen_words_in_common_are_an_overlap_and_twelve_are_none(tmp_path):
    dickens = evaluation(tmp_path, dickens=[DICKENS])
    twelve, thirteen = " ".join(DICKENS.split()[:12]), " ".join(DICKENS.split()[:13])
    assert found([f"So {twelve}. And more was said", f"So {thirteen} and more was said"], dickens) == [
        None,
        Overlap("dickens.jsonl", "It was the best of times, it was the worst of times, it"),
    ]


def test_a_quote_in_other_case_punctuation_and_layout_is_found(tmp_path):
    quote = ">IT WAS\n>THE BEST -- OF TIMES;\t(it was) “the” worst\r\n>of times: it"
    against = evaluation(tmp_path, dickens=[DICKENS])
    assert found([f"He wrote:\n{quote} WAS...\n"], against) == [Overlap("dickens.jsonl", quote)]


def test_accents_may_be_letters_or_marks(tmp_path):
    text = "Après l'été à Genève où l'élève étudie, déjà très tôt, près du théâtre, Noël vint"
    copy = unicodedata.normalize("NFD", text.upper())
    assert found([copy, "sans rien de commun"], evaluation(tmp_path, french=[text]))[0] is not None
    assert found([text], evaluation(tmp_path, french=[copy]))[0] is not None
    plain = "".join(letter for letter in copy if not unicodedata.combining(letter))
    assert found([plain], evaluation(tmp_path, french=[text])) == [None]


def test_chinese_with_other_punctuation_is_found(tmp_path):
    """13 words' worth of characters, without a space between them."""
    least = -(-WANTED // int(UNITS[HAN]))
    poem = LI_BAI * 3
    li_bai = evaluation(tmp_path, li_bai=[poem])
    bare = re.sub(r"\W", "", poem)
    quotes = [
        f"诗云「{', '.join(bare[start : start + count])}」。" for start in range(5) for count in (least - 1, least)
    ]
    assert [overlap is not None for overlap in found(quotes, li_bai)] == [False, True] * 5
    (overlap,) = found([f"English before it: {' '.join(bare)} and after it."], li_bai)
    assert overlap == Overlap("li_bai.jsonl", " ".join(bare[:least]))


def test_an_ngram_that_follows_letters_at_once_is_shown_whole(tmp_path):
    """The character that ends the word before it is its own first one, also at the beginning of a block of tokens."""
    li_bai = evaluation(tmp_path, li_bai=[LI_BAI * 2])
    for before in (0, 5, *range(BLOCK - LONGEST_FORM - 3, BLOCK - LONGEST_FORM + 3)):
        (overlap,) = found([numbered(0, before) + " Zitat" + LI_BAI * 2], li_bai)
        assert overlap.ngram.startswith("床前明月光，疑是")


def test_an_ngram_across_the_borders_of_blocks_is_found(tmp_path):
    quote = "Um, it was the best of times. It was the worst of times"
    against = evaluation(tmp_path, dickens=["um " + DICKENS])
    places = [*range(BLOCK - LONGEST_FORM - 30, BLOCK + 30), *range(2 * BLOCK - 3 * LONGEST_FORM - 30, 2 * BLOCK + 30)]
    assert found([f"{numbered(0, place)} {quote} {numbered(0, 3)}" for place in places], against) == [
        Overlap("dickens.jsonl", quote)
    ] * len(places)


def test_the_first_set_by_name_and_the_first_place_in_the_document_are_told(tmp_path):
    sets = {"c": [numbered(0, 20)], "b": [numbered(10, 40)], "a": [numbered(30, 60)]}
    against = evaluation(tmp_path, **sets)
    assert [item.name for item in against.sets] == ["a.jsonl", "b.jsonl", "c.jsonl"]
    assert found([numbered(0, 60), numbered(10, 60), numbered(25, 60), numbered(40, 60)], against) == [
        Overlap("c.jsonl", numbered(0, 13)),
        Overlap("b.jsonl", numbered(10, 23)),
        Overlap("b.jsonl", numbered(25, 38)),
        Overlap("a.jsonl", numbered(40, 53)),
    ]
    shared = evaluation(tmp_path, z=[numbered(0, 20)], m=[numbered(5, 20)])
    assert [item.evaluation for item in found([numbered(0, 20), numbered(5, 20)], shared)] == ["z.jsonl", "m.jsonl"]


def test_no_part_of_a_personal_value_is_quoted(tmp_path):
    """Wherever the 13 words begin and end in a card's number or an address."""
    before, after = "Pay with 4111 1111 1111 1111 or mail amy.b.c@mail.example.org", "and wait for it"
    words = re.findall(r"\w+", f"{before} {after}")
    for first in range(len(words) - 12):
        against = evaluation(tmp_path, quiz=[" ".join(words[first : first + 13])])
        (overlap,) = found([f"{before} {after} . Nothing else"], against)
        assert not re.search(r"\d|amy|example", overlap.ngram) and "<EMAIL>" in overlap.ngram


def test_empty_documents_nulls_and_slices(tmp_path):
    against = evaluation(tmp_path, dickens=[DICKENS])
    texts = pa.array(["", None, DICKENS, " \n", "x", DICKENS], pa.large_string())
    assert [item is not None for item in overlaps(texts, against)] == [False, False, True, False, False, True]
    assert [item is not None for item in overlaps(texts[2:4], against)] == [True, False]
    assert overlaps(pa.array([], pa.string()), against) == []


def test_lone_surrogates_hide_nothing(tmp_path):
    """A document that Python cannot hold: what it shows can be written all the same."""
    data = ("\ud800 " + DICKENS.replace("best", "best \udfff")).encode("utf-8", "surrogatepass")
    bounds = pa.py_buffer(np.array([0, len(data)], np.int32))
    texts = pa.Array.from_buffers(pa.string(), 1, [None, bounds, pa.py_buffer(bytearray(data))])
    (overlap,) = overlaps(texts, evaluation(tmp_path, dickens=[DICKENS]))
    assert words(overlap.ngram) == words(DICKENS)[:13]
    assert overlap.ngram.encode()


def test_short_texts_are_counted_and_not_looked_for(tmp_path):
    against = evaluation(tmp_path, some=[DICKENS, "Yes.", "", numbered(0, 12), numbered(0, 13)])
    assert against.sets == [EvaluationSet("some.jsonl", texts=2, skipped=3)]
    assert found(["Yes.", numbered(0, 12)], against) == [None, None]


def test_a_file_without_a_text_that_can_be_looked_for_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"short.jsonl has 2 texts, none of them of 13 words.*dedup.decontaminate"):
        evaluation(tmp_path, long=[DICKENS], short=["Yes.", "No."])
    (tmp_path / "empty.txt").touch()
    with pytest.raises(UserError, match=r"empty.txt has 1 texts"):
        read_evaluation([tmp_path / "empty.txt"])


WORDS = ["a", "über", "Straße", "naïve", "été", "ﬁnal", "_x", "3", "Ωmega", "b2", "don"]
SPELLINGS = [str, str.upper, lambda word: unicodedata.normalize("NFD", word), str.casefold]
BETWEEN = [" ", ", ", " - ", "\n\n", "'", "...", "\u00a0", "! ¿", "\r\n\t", '" "']


@st.composite
def corpora(draw):
    """Evaluation texts of few words, and documents that quote runs of them, each time spelled another way."""
    texts = draw(st.lists(st.lists(st.sampled_from(WORDS), min_size=13, max_size=40), min_size=1, max_size=5))
    own = st.lists(st.sampled_from(WORDS), max_size=20)

    @st.composite
    def quote(draw):
        text, start, length = draw(st.sampled_from(texts)), draw(st.integers(0, 27)), draw(st.integers(10, 16))
        return text[start : start + length]

    def spelled(of_document, seed):
        rng = np.random.default_rng(seed)
        return "".join(
            BETWEEN[rng.integers(len(BETWEEN))] + SPELLINGS[rng.integers(len(SPELLINGS))](word) for word in of_document
        )

    documents = draw(st.lists(st.lists(own | quote(), max_size=4).map(lambda parts: list(chain(*parts))), max_size=6))
    return [" ".join(text) for text in texts], [
        spelled(document, draw(st.integers(0, 2**32))) for document in documents
    ]


@given(corpora())
@settings(max_examples=200, deadline=None)
def test_found_is_what_sets_of_words_have_in_common(corpus):
    texts, documents = corpus
    with tempfile.TemporaryDirectory() as directory:
        against = evaluation(Path(directory), **{f"set{number}": [text] for number, text in enumerate(texts)})
    for document, overlap in zip(documents, found(documents, against), strict=True):
        shared = [
            (ngram, f"set{number}.jsonl")
            for ngram in ngrams(document)
            for number, text in enumerate(texts)
            if ngram in set(ngrams(text))
        ]
        assert (overlap and (tuple(words(overlap.ngram)), overlap.evaluation)) == (shared[0] if shared else None)


def test_a_set_of_many_ngrams_finds_each_of_its_own_and_no_other(tmp_path):
    """Hundreds of thousands of n-grams, so that buckets hold several."""
    rng = np.random.default_rng(1)
    texts = [" ".join(f"n{number}" for number in row) for row in rng.integers(0, 1 << 40, (1000, 300))]
    others = [" ".join(f"n{number}" for number in row) for row in rng.integers(0, 1 << 40, (1000, 300))]
    against = evaluation(tmp_path, many=texts)
    assert len(against.owners) == 1000 * (300 - 12)
    last = [" ".join(text.split()[-13:]) for text in texts]
    assert found(last, against) == [Overlap("many.jsonl", text) for text in last]
    assert found(others, against) == [None] * 1000
