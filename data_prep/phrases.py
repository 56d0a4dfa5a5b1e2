"""Many words and phrases, found in one pass over a text: Aho and Corasick 1975, "Efficient string matching".

Text is read as tokens (see `shingles`), where Arrow keeps its UTF-8. How long it takes does not depend on how many
phrases there are.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from data_prep.kernels import kernel
from data_prep.shingles import AT, COUNT, TOKEN_PRIME, Hashes, mix, open_text, read_tokens, scratch, tables, utf8

ROOT, NOTHING = 0, -1
EMPTY = np.uint64(0)


class Automaton(NamedTuple):
    """Phrases, each a run of tokens, ready to be looked for.

    A state is a run that a phrase begins with: the longest one that ends at the token last read. State 0 is none.
    """

    keys: Hashes  # (slots,) a hash of state and token; 0: the slot is free
    targets: npt.NDArray[np.int64]  # (slots,) the state after that token
    fallback: npt.NDArray[np.int64]  # (states,) the longest shorter run that ends there, too
    phrase: npt.NDArray[np.int64]  # (states,) the number of the longest one that ends there, or -1


def first_phrases(texts: pa.Array, automaton: Automaton) -> npt.NDArray[np.int64]:
    """(n,) of each text of an Arrow string array the number of the phrase that is the first to end in it, or `NOTHING`.

    Of several that end at one token it is the longest.
    """
    found = np.empty(len(texts), np.int64)
    _first_phrases(*utf8(texts), tables(), scratch(), automaton, found)
    return found


def tokens_of(texts: Sequence[str]) -> list[list[int]]:
    """The tokens of each text, as hashes."""
    data, bounds = utf8(pa.array(texts, pa.large_string()))
    hashes = np.empty(6 * len(data) + 1, np.uint64)  # six kana come from the three bytes of one square
    ends = _tokens(data, bounds, tables(), scratch(), hashes)
    return [run.tolist() for run in np.split(hashes[: ends[-1]], ends[:-1])] if len(texts) else []


def automaton_of(runs: Sequence[Sequence[int]]) -> Automaton:
    """The automaton that finds these runs of tokens."""
    steps: list[dict[int, int]] = [{}]  # of each state: token -> state
    phrase = [NOTHING]
    for number, run in enumerate(runs):
        state = ROOT
        for token in run:
            if token not in steps[state]:
                steps[state][token] = len(steps)
                steps.append({})
                phrase.append(NOTHING)
            state = steps[state][token]
        if phrase[state] == NOTHING:
            phrase[state] = number
    fallback, queue = [ROOT] * len(steps), deque(steps[ROOT].values())
    while queue:  # shorter runs first
        state = queue.popleft()
        for token, target in steps[state].items():
            shorter = fallback[state]
            while shorter != ROOT and token not in steps[shorter]:
                shorter = fallback[shorter]
            fallback[target] = steps[shorter].get(token, ROOT)
            queue.append(target)
        if phrase[state] == NOTHING:
            phrase[state] = phrase[fallback[state]]
    slots = 1 << (4 * len(steps)).bit_length()
    keys, targets = np.zeros(slots, np.uint64), np.zeros(slots, np.int64)
    edges = [(state, token, target) for state, of_state in enumerate(steps) for token, target in of_state.items()]
    states, tokens, ends = (np.array([edge[part] for edge in edges], np.uint64) for part in range(3))
    _fill(keys, targets, states.astype(np.int64), tokens, ends.astype(np.int64))
    return Automaton(keys, targets, np.array(fallback), np.array(phrase))


@kernel
def _tokens(text: Any, bounds: Any, tables: Any, scratch: Any, hashes: Any) -> Any:
    """Fill `hashes` with the tokens of all texts; returns where each text's end: (texts,)."""
    ends, count = np.empty(len(bounds) - 1, np.int64), 0
    for row in range(len(bounds) - 1):
        open_text(scratch, bounds[row])
        while scratch.state[AT] < bounds[row + 1]:
            scratch.state[COUNT] = 0
            read_tokens(text, bounds[row + 1], tables, scratch)
            read = scratch.state[COUNT]
            hashes[count : count + read] = scratch.tokens[:read]
            count += read
        ends[row] = count
    return ends


@kernel
def _first_phrases(text: Any, bounds: Any, tables: Any, scratch: Any, automaton: Any, found: Any) -> None:
    for row in range(len(bounds) - 1):
        found[row] = _first(text, bounds[row], bounds[row + 1], tables, scratch, automaton)


@kernel
def _first(text: Any, start: Any, end: Any, tables: Any, scratch: Any, automaton: Any) -> Any:
    """The number of the phrase that is the first to end in the text, or `NOTHING`."""
    keys, targets, fallback, phrase = automaton
    state = ROOT
    open_text(scratch, start)
    while scratch.state[AT] < end:
        scratch.state[COUNT] = 0
        read_tokens(text, end, tables, scratch)
        for place in range(scratch.state[COUNT]):
            token = scratch.tokens[place]
            slot = _slot(keys, state, token)
            while keys[slot] == EMPTY and state != ROOT:
                state = fallback[state]
                slot = _slot(keys, state, token)
            state = targets[slot]  # of a free slot: the root
            if phrase[state] != NOTHING:
                return phrase[state]
    return NOTHING


@kernel
def _fill(keys: Any, targets: Any, states: Any, tokens: Any, ends: Any) -> None:
    for edge in range(len(states)):
        slot = _slot(keys, states[edge], tokens[edge])
        keys[slot] = _edge_key(states[edge], tokens[edge])
        targets[slot] = ends[edge]


@kernel
def _slot(keys: Any, state: Any, token: Any) -> Any:
    """Where a step is, or where it would be put: a free slot. At least half of the slots are free."""
    key = _edge_key(state, token)
    slot = np.int64(key >> np.uint64(32)) & (len(keys) - 1)
    while keys[slot] != key and keys[slot] != EMPTY:
        slot = (slot + 1) & (len(keys) - 1)
    return slot


@kernel
def _edge_key(state: Any, token: Any) -> Any:
    return mix(token + np.uint64(state) * TOKEN_PRIME) | np.uint64(1)  # never that of a free slot
