"""The index of windows that end at sentences or hold whole documents: made once, in bounded memory, then mapped.

Two raw files a source, of little-endian int64. SOURCE.pieces.bin: a run of the stream each, as (start, length).
SOURCE.windows.bin: how many (pieces, tokens) came before each window, and one last row with the totals. A third,
SOURCE.windows.json, says what they belong to and is published last: without it there is no index.
"""

from __future__ import annotations

import itertools
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from data_prep.files import UserError, atomic_file, read_record, write_json
from data_prep.tokens import TokenStream

KINDS = ("sentence", "document")  # the ways of cutting that want an index
GROUP_TOKENS = 2**22  # looked at together, or packed together: more would hold more memory for hardly less padding
INT64 = np.dtype("<i8")

Integers = npt.NDArray[np.int64]


class WindowIndex(NamedTuple):
    """Mapped, not read."""

    pieces: Integers  # (pieces, 2): start in the stream, length
    before: Integers  # (windows + 1, 2): pieces and tokens before each window


class _Cut(NamedTuple):
    """Some windows in a row."""

    pieces: Integers  # (pieces, 2), in the order of their windows
    counts: Integers  # (windows,) pieces in each


def sentence_ends(texts: Iterable[str]) -> list[int]:
    """Ids of the tokens that close a sentence, from the text of every token in the order of their ids.

    Only the token is looked at, so the point of "e.g." counts too: such a window ends early, nothing worse.

    >>> sentence_ends(["a", ".", '?" ', ", ", "\\n  ", "。」"])
    [1, 2, 4, 5]
    """
    return [
        number
        for number, text in enumerate(texts)
        if text.rstrip(" \t\"'”’»)]}」』）】").endswith(tuple(".!?…。！？\n\r"))
    ]


def write_index(stream: TokenStream, directory: Path, *, kind: str, context_length: int, ends: list[int]) -> list[Path]:
    """Cut a source's stream into windows of at most `context_length` targets; returns the files written.

    "sentence": runs of the stream that end at a sentence (a token of `ends`) or a document.
    "document": whole documents packed by best fit, longer ones cut.
    """
    paths = _paths(directory, stream.source)
    cuts = (
        _sentence_cuts(stream, context_length, np.asarray(ends, np.int64))
        if kind == "sentence"
        else _document_cuts(stream, context_length)
    )
    windows = 0
    total = np.zeros((1, 2), np.int64)  # pieces, tokens
    with ExitStack() as files:
        pieces_file, before_file = (files.enter_context(atomic_file(path)) for path in paths[:2])
        for cut in cuts:
            pieces_file.write(cut.pieces.astype(INT64).tobytes())
            last = np.cumsum(cut.counts)
            after = total + np.stack([last, np.cumsum(cut.pieces[:, 1])[last - 1]], axis=1)
            before_file.write(np.concatenate([total, after[:-1]]).astype(INT64).tobytes())
            total = after[-1:]
            windows += len(after)
        before_file.write(total.astype(INT64).tobytes())
    write_json(paths[2], _facts(stream, kind, context_length) | {"windows": windows, "pieces": int(total[0, 0])})
    return paths


def open_index(stream: TokenStream, directory: Path, *, kind: str, context_length: int) -> WindowIndex:
    """The index of a source; one that is missing, cut short, or made for other text is a `UserError`."""
    pieces_path, before_path, facts_path = _paths(directory, stream.source)
    again = "run text2lm run CONFIG again to make it"
    if not all(path.exists() for path in (pieces_path, before_path, facts_path)):
        raise UserError(f"the window index {facts_path} of source '{stream.source}' is missing; {again}")
    facts = read_record(facts_path, dict)
    wanted = _facts(stream, kind, context_length)
    sizes = {pieces_path: facts.get("pieces", 0) * 16, before_path: (facts.get("windows", 0) + 1) * 16}
    broken = [path for path, size in sizes.items() if path.stat().st_size != size]
    if wanted.items() - facts.items() or broken:
        raise UserError(
            f"the window index {facts_path} is cut short or of another training: got {facts}, wanted {wanted}; "
            f"remove {directory} and {again}"
        )
    pieces, before = (np.memmap(path, INT64, mode="r").reshape(-1, 2) for path in (pieces_path, before_path))
    return WindowIndex(pieces, before)


def _paths(directory: Path, source: str) -> list[Path]:
    return [directory / f"{source}.{name}" for name in ("pieces.bin", "windows.bin", "windows.json")]


def _facts(stream: TokenStream, kind: str, context_length: int) -> dict[str, str | int]:
    return {"kind": kind, "context_length": context_length, "tokens": len(stream)}


def _sentence_cuts(stream: TokenStream, context_length: int, ends: Integers) -> Iterator[_Cut]:
    """Each window ends at the last sentence or document that fits, or is cut where not even one does."""
    begin, places, size = 0, list[int](), len(stream)  # places after `begin` at which a window may end
    for low in range(0, size, GROUP_TOKENS):
        high = min(low + GROUP_TOKENS, size)
        closes = np.isin(stream.read(low, high - low), ends)  # whether a window may end after this token
        closes[stream.document_starts(low + 1, min(high + 1, size)) - low - 1] = True
        closes[-1] |= high == size
        places = places[bisect_right(places, begin) :] + (np.flatnonzero(closes) + low + 1).tolist()
        borders, after = [begin], 0
        while begin + context_length <= high or begin < high == size:
            last = bisect_right(places, begin + context_length, after) - 1
            begin, after = (places[last], last + 1) if last >= after else (begin + context_length, after)
            borders.append(begin)
        if len(borders) > 1:
            starts = np.asarray(borders[:-1], np.int64)
            yield _Cut(np.stack([starts, np.diff(borders)], axis=1), np.ones(len(starts), np.int64))


def _document_cuts(stream: TokenStream, context_length: int) -> Iterator[_Cut]:
    """Documents of at least `GROUP_TOKENS` tokens together, packed into windows (Ding et al. 2024, section 3).

    A document longer than a window gives windows of its own; what remains of it is packed like a short one. The
    windows of a group come in the order of their longest pieces in the stream, whose documents were shuffled: in the
    order of packing, long documents would all come first.
    """
    for file, offset in zip(stream.files, stream.starts, strict=False):
        lengths = file.lengths
        stops = np.cumsum(lengths, dtype=np.int64)
        last = np.unique(np.searchsorted(stops, np.arange(GROUP_TOKENS, len(file), GROUP_TOKENS))) + 1
        for low, high in itertools.pairwise([0, *last.tolist(), len(lengths)]):
            if low < high:
                length = lengths[low:high].astype(np.int64)
                yield _packed(offset + stops[low:high] - length, length, context_length)


def _packed(starts: Integers, lengths: Integers, context_length: int) -> _Cut:
    """Windows of the documents that begin at `starts`."""
    full, rest = np.divmod(lengths, context_length)
    number = np.arange(full.sum()) - np.repeat(np.cumsum(full) - full, full)  # of a full piece in its document
    full_starts = np.repeat(starts, full) + number * context_length
    has_rest = rest > 0
    rest_starts, rest_lengths = (starts + full * context_length)[has_rest], rest[has_rest]
    bins = best_fit(rest_lengths, context_length)
    key = np.empty(bins.max(initial=-1) + 1, np.int64)
    by_length = np.argsort(rest_lengths, kind="stable")
    key[bins[by_length]] = rest_starts[by_length]  # the longest piece of a window is written last, and stays
    all_starts = np.concatenate([full_starts, rest_starts])
    all_lengths = np.concatenate([np.full(len(full_starts), context_length), rest_lengths])
    window = np.concatenate([full_starts, key[bins]])  # a window by the start of its longest piece
    order = np.lexsort((all_starts, window))
    counts = np.unique(window, return_counts=True)[1]
    return _Cut(np.stack([all_starts, all_lengths], axis=1)[order], counts)


def best_fit(lengths: Integers, capacity: int) -> Integers:
    """Best-fit decreasing bin packing: the bin of each piece, bins numbered from 0.

    Pieces from long to short, each into the bin with the least room that holds it. Pieces of one length are placed
    together: the bin found takes as many as fit, as it would one by one. So the loop turns once for a length and a
    room, not once for a piece.

    >>> best_fit(np.array([3, 6, 4, 2, 5]), 8).tolist()
    [1, 0, 2, 0, 1]
    """
    bins = np.empty(len(lengths), np.int64)
    by_length = np.argsort(-lengths, kind="stable")
    sizes, firsts = np.unique(-lengths[by_length], return_index=True)
    by_room: dict[int, list[int]] = {}  # room left -> bins
    rooms: list[int] = []  # its keys, sorted
    made = 0

    def keep(room: int, some: list[int]) -> None:
        if some and room:
            if room not in by_room:
                insort(rooms, room)
                by_room[room] = []
            by_room[room] += some

    for size, pieces in zip((-sizes).tolist(), np.split(by_length, firsts[1:]), strict=False):  # no sizes: one split
        placed = 0
        while placed < len(pieces):
            left = len(pieces) - placed
            at = bisect_left(rooms, size)
            if at == len(rooms):
                room, wanted = capacity, -(-left // (capacity // size))
                found = list(range(made, made + wanted))
                made += wanted
            else:
                room = rooms[at]
                found = by_room[room]
                wanted = -(-left // (room // size))
                if wanted >= len(found):
                    del by_room[rooms.pop(at)]
                else:
                    by_room[room] = found[:-wanted]
                    found = found[-wanted:]
            each = room // size
            count = min(left, each * len(found))
            bins[pieces[placed : placed + count]] = np.repeat(found, each)[:count]
            in_last = count - each * (len(found) - 1)
            keep(room - each * size, found[:-1])
            keep(room - in_last * size, found[-1:])
            placed += count
    return bins
