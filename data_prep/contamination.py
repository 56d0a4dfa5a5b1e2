"""Documents that quote evaluation texts: those that share a run of 13 words with one.

Brown et al. 2020, "Language Models are Few-Shot Learners", appendix C. In scripts that are written without spaces a run
of characters that carries as much stands for the 13 words (see `shingles`). Case, punctuation and layout do not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_prep.evaluation import set_names, texts_of
from data_prep.files import UserError
from data_prep.kernels import kernel
from data_prep.shingles import AT, BLOCK, UNITS_PER_WORD, Hashes, next_windows, open_text, scratch, tables, utf8
from data_prep.sorting import distinct, run_starts

NGRAM_WORDS = 13
WANTED = NGRAM_WORDS * UNITS_PER_WORD
BATCH_CHARACTERS = 1 << 24  # of evaluation texts hashed at a time
CLEAN = -1  # instead of the number of an n-gram


class EvaluationSet(NamedTuple):
    """A file of evaluation texts."""

    name: str
    texts: int  # that can be quoted: at least 13 words
    skipped: int  # that are shorter, and so never found


class Ngrams(NamedTuple):
    """N-grams, as 64-bit hashes, to be looked up: in buckets by their highest bits, two to four in each."""

    hashes: Hashes  # (n-grams,) sorted, each once
    starts: npt.NDArray[np.int64]  # (buckets + 1,) where each bucket begins in `hashes`
    seen: Hashes  # (buckets,) the marks of its hashes, to tell most others at once: Bloom 1970, with 64 bits a bucket
    shift: np.uint64  # that leaves of a hash the number of its bucket


class Evaluation(NamedTuple):
    """What training texts must not quote."""

    sets: list[EvaluationSet]  # by name
    ngrams: Ngrams
    owners: npt.NDArray[np.int64]  # (n-grams,) the first of `sets` that holds each


class Overlap(NamedTuple):
    """The first run of 13 words in a document that stands in an evaluation text, too."""

    evaluation: str  # name of the set
    ngram: str  # as it stands in the document, but for personal values


def read_evaluation(paths: Sequence[Path]) -> Evaluation:
    """The evaluation texts of some files, at least one: as `texts_of` reads them. A set is named by its file.

    Raises `UserError` for a file that cannot be read, is of unknown kind, or holds no text of 13 words.
    """
    named = sorted(zip(set_names(paths), paths, strict=True))
    sets, found = [], []
    for name, path in named:
        hashes, texts, skipped = ngrams_of(texts_of(path))
        if not texts:
            raise UserError(
                f"evaluation set {path} has {skipped:,} texts, none of them of {NGRAM_WORDS} words, the least that is "
                "looked for; take it out of dedup.decontaminate or name another file"
            )
        sets.append(EvaluationSet(name, texts, skipped))
        found.append(hashes)
    hashes = np.concatenate(found)
    order = np.argsort(hashes, kind="stable")
    first = order[run_starts(hashes[order])]
    owners = np.repeat(np.arange(len(sets)), [len(of_set) for of_set in found])
    return Evaluation(sets, bucketed(hashes[first]), owners[first])


def ngrams_of(texts: Iterable[str]) -> tuple[Hashes, int, int]:
    """(the distinct n-grams of texts, sorted; how many texts have some; how many have none)."""
    looked_up, room = tables(), scratch()
    found, with_some, without = [np.empty(0, np.uint64)], 0, 0
    for batch in batches(texts):
        hashes, some = _ngrams(*utf8(pa.array(batch, pa.large_string())), looked_up, room)
        found.append(hashes)
        with_some, without = with_some + some, without + len(batch) - some
    return distinct(np.concatenate(found)), with_some, without


def batches(texts: Iterable[str]) -> Iterator[list[str]]:
    """The texts in lists of about `BATCH_CHARACTERS`."""
    batch, characters = [], 0
    for text in texts:
        batch.append(text)
        characters += len(text)
        if characters >= BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def bucketed(hashes: Hashes) -> Ngrams:
    """N-grams that are sorted, each once, at least one, ready to be looked up."""
    bits = max(len(hashes).bit_length() - 2, 1)
    shift = np.uint64(64 - bits)
    buckets = (hashes >> shift).astype(np.int64)
    seen = np.zeros(2**bits, np.uint64)
    np.bitwise_or.at(seen, buckets, marks(hashes))
    return Ngrams(hashes, np.searchsorted(buckets, np.arange(2**bits + 1)), seen, shift)


def overlaps(texts: pa.Array, evaluation: Evaluation) -> list[Overlap | None]:
    """Of each text of an Arrow string array the first n-gram that stands in an evaluation text; None: it is clean."""
    data, bounds = utf8(texts)
    found = np.empty((len(texts), 3), np.int64)
    _first_overlaps(data, bounds, tables(), scratch(), evaluation.ngrams, found)

    def overlap(row: int, number: int, start: int, end: int) -> Overlap | None:
        if number == CLEAN:
            return None
        first = bounds[row]
        ngram = quoted(data[first : bounds[row + 1]].tobytes(), start - first, end - first).strip()
        return Overlap(evaluation.sets[evaluation.owners[number]].name, ngram)

    return [overlap(row, *place) for row, place in enumerate(found.tolist())]


def quoted(text: bytes, start: int, end: int) -> str:
    """A piece of a text (UTF-8), to be shown: personal values in it are replaced, those that it would cut, too.

    >>> quoted(b"Mail jo@example.org today", 8, 25)
    '<EMAIL> today'
    """
    from data_prep.pii import shown_scrubber  # hardly any document needs it

    scrubber = shown_scrubber()
    pieces: list[bytes] = []
    for value in scrubber.find(text.decode("utf-8", "surrogatepass")):
        if value.start < end and value.end > start:
            pieces += text[start : max(value.start, start)], scrubber.replacement(value).encode()
            start = value.end
    return b"".join([*pieces, text[start : max(end, start)]]).decode(errors="replace")


@kernel
def _ngrams(text: Any, bounds: Any, tables: Any, scratch: Any) -> Any:
    """(n-grams of all texts, in order, repeats too; how many texts have some)."""
    hashes, count, some = np.empty(BLOCK, np.uint64), 0, 0
    for row in range(len(bounds) - 1):
        end, before = bounds[row + 1], count
        open_text(scratch, bounds[row])
        while True:
            begun = next_windows(text, end, WANTED, tables, scratch)
            if count + begun > len(hashes):
                more = np.empty(2 * len(hashes), np.uint64)
                more[:count] = hashes[:count]
                hashes = more
            hashes[count : count + begun] = scratch.windows[:begun]
            count += begun
            if scratch.state[AT] >= end:
                break
        some += count > before
    return hashes[:count], some


@kernel
def _first_overlaps(text: Any, bounds: Any, tables: Any, scratch: Any, ngrams: Any, found: Any) -> None:
    """Fill `found` (documents, 3): the number of the first n-gram that is one of `ngrams`, from which byte to which."""
    for row in range(len(bounds) - 1):
        number, start, end = _first_overlap(text, bounds[row], bounds[row + 1], tables, scratch, ngrams)
        found[row, 0], found[row, 1], found[row, 2] = number, start, end


@kernel
def _first_overlap(text: Any, start: Any, end: Any, tables: Any, scratch: Any, ngrams: Any) -> Any:
    open_text(scratch, start)
    while True:
        begun = next_windows(text, end, WANTED, tables, scratch)
        for first in range(begun):
            number = _number_of(scratch.windows[first], ngrams)
            if number != CLEAN:
                if first:
                    start = scratch.ends[first - 1]
                return number, *_extent(text, start, first, scratch)
        if begun:
            start = scratch.ends[begun - 1]
        if scratch.state[AT] >= end:
            return CLEAN, start, start


@kernel
def _number_of(ngram: Any, ngrams: Any) -> Any:
    bucket = np.int64(ngram >> ngrams.shift)
    wanted = marks(ngram)
    if ngrams.seen[bucket] & wanted == wanted:
        for number in range(ngrams.starts[bucket], ngrams.starts[bucket + 1]):
            if ngrams.hashes[number] == ngram:
                return number
    return CLEAN


@kernel
def marks(hashes: Any) -> Any:
    """Three bits of 64, by a hash's lowest 18."""
    one, mask = np.uint64(1), np.uint64(63)
    return one << (hashes & mask) | one << (hashes >> np.uint64(6) & mask) | one << (hashes >> np.uint64(12) & mask)


@kernel
def _extent(text: Any, start: Any, first: Any, scratch: Any) -> Any:
    """The bytes of the n-gram that begins with the block's token `first`; the token before it was known at `start`."""
    if start == scratch.ends[first]:  # the character that ended the token before is this token
        start -= 1
        while text[start] & 0xC0 == 0x80:
            start -= 1
    last, held = first, scratch.units[first]
    while held < WANTED:
        last += 1
        held += scratch.units[last]
    return start, scratch.ends[last]
