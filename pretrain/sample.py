"""Text from a trained model."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor

from data_prep.files import UserError
from pretrain.attention import KeyValueCache
from pretrain.model import GPT


def open_tokenizer(path: Path) -> Tokenizer:
    """A tokenizer.json."""
    return Tokenizer.from_file(str(path))


@torch.no_grad()
def generate(
    model: GPT,
    tokenizer: Tokenizer,
    prompt: str,
    *,
    end_of_text: int,
    max_tokens: int = 100,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float = 1.0,
    beams: int = 1,
    seed: int = 0,
) -> str:
    """The model's continuation of `prompt`: up to `max_tokens` tokens, or until it ends the text.

    The prompt stands at the beginning of a document, as in training. With a temperature each token is drawn from
    `distribution`; temperature 0 takes the likeliest token, or with `beams` above 1 searches for a likely text.
    """
    for problem in option_problems(max_tokens, temperature, top_k, top_p, beams):
        raise UserError(problem)
    device = model.embedding.weight.device
    ids = torch.tensor([[end_of_text, *tokenizer.encode(prompt, add_special_tokens=False).ids]], device=device)
    reader = Reader(model)
    if beams > 1:
        chosen = beam_search(reader, ids, end_of_text=end_of_text, max_tokens=max_tokens, beams=beams)
    else:
        generator = torch.Generator(device).manual_seed(seed)
        chosen = []
        while len(chosen) < max_tokens:
            token = pick(reader.logits(ids)[0], temperature, top_k, top_p, generator)
            if token == end_of_text:
                break
            chosen.append(token)
            ids = torch.cat((ids, ids.new_tensor([[token]])), dim=1)
    text: str = tokenizer.decode(chosen)
    return text


def option_problems(max_tokens: int, temperature: float, top_k: int | None, top_p: float, beams: int) -> list[str]:
    """Sentences about options of `generate` that cannot work."""
    found = [
        f"{name} must be at least {least}, got {value}"
        for name, value, least in (("max_tokens", max_tokens, 1), ("top_k", top_k, 1), ("beams", beams, 1))
        if value is not None and value < least
    ]
    if not 0 <= temperature < math.inf:
        found.append(f"temperature must be at least 0, got {temperature}")
    if not 0 < top_p <= 1:
        found.append(f"top_p must be above 0 and at most 1, got {top_p}")
    if beams > 1 and temperature > 0:
        found.append(f"a search with {beams} beams draws nothing by chance; set temperature to 0, got {temperature}")
    return found


def pick(logits: Tensor, temperature: float, top_k: int | None, top_p: float, generator: torch.Generator) -> int:
    """One id from logits (V,)."""
    if temperature == 0:
        return int(logits.argmax())
    return int(torch.multinomial(distribution(logits, temperature, top_k, top_p), 1, generator=generator))


def distribution(logits: Tensor, temperature: float, top_k: int | None = None, top_p: float = 1.0) -> Tensor:
    """The probabilities (V,) that a token is drawn from, given logits (V,).

    Softmax of logits / temperature; of it only the `top_k` likeliest ids (Fan et al. 2018, section 5.4), and of these
    the fewest, likeliest first, that together have at least `top_p` (Holtzman et al. 2020, section 3.1).
    """
    logits = (logits - logits.max()) / temperature  # at most 0, so that a low temperature does not overflow
    if top_k is not None and top_k < len(logits):
        worst_kept = logits.topk(top_k).values[-1]
        logits = logits.masked_fill(logits < worst_kept, -torch.inf)
    probabilities = torch.softmax(logits, dim=0)
    if top_p < 1:
        sorted_down, ids = probabilities.sort(descending=True, stable=True)
        before = F.pad(sorted_down.cumsum(0)[:-1], (1, 0))  # the sum of the likelier ids
        probabilities = probabilities.index_fill(0, ids[before >= top_p], 0)
    return probabilities / probabilities.sum()


def window_start(length: int, context_length: int) -> int:
    """Where the context of the next token begins, after `length` tokens.

    When the context is full, its first half is let go; so between half a context and a whole one is always seen, and
    what is kept has to be encoded anew only once in half a context.

    >>> [window_start(length, 8) for length in (8, 9, 12, 13)]
    [0, 4, 4, 8]
    """
    half = max(1, context_length // 2)
    return max(0, math.ceil((length - context_length) / half)) * half


class Reader:
    """A model that reads growing texts, of which it keeps what attention needs."""

    def __init__(self, model: GPT) -> None:
        self.model = model
        self.start = 0
        self.cache = KeyValueCache()

    def logits(self, ids: Tensor) -> Tensor:
        """Logits (B, V) in fp32 of the token that follows `ids` (B, T), which continue those of the last call."""
        start = window_start(ids.shape[1], self.model.settings.context_length)
        if start != self.start:
            self.start, self.cache = start, KeyValueCache()
        with torch.compiler.set_stance("force_eager"):  # compiled, each layer and length of the cache would be a graph
            logits: Tensor = self.model(ids[:, start + self.cache.length :], cache=self.cache)
        return logits[:, -1].float()

    def select(self, rows: Tensor) -> None:
        """Go on with these of the last call's texts."""
        self.cache.select(rows)


class Hypothesis(NamedTuple):
    """A text that a beam search has ended."""

    score: float
    tokens: list[int]


def beam_search(reader: Reader, prompt: Tensor, *, end_of_text: int, max_tokens: int, beams: int) -> list[int]:
    """The best continuation found of `prompt` (1, T), without its end of text.

    Every step keeps the `beams` likeliest unfinished texts. A finished one Y scores log P(Y) / |Y|, its end of text
    included: Wu et al. 2016, equation 14, with the number of tokens as length penalty and no coverage penalty. The
    search ends when as many have finished and the likeliest unfinished one, scored as it stands, is no better than
    the worst of them: what transformers does with `num_beams` by default.
    """
    ids, scores = prompt, torch.zeros(1, device=prompt.device)  # (beams, T) and (beams,): sums of log probabilities
    finished: list[Hypothesis] = []
    for length in range(1, max_tokens + 1):
        totals = scores[:, None] + reader.logits(ids).log_softmax(dim=-1)  # (beams, V)
        # each text can end in one way only, so that of twice as many candidates enough are unfinished
        best = totals.flatten().topk(min(2 * beams, totals.numel()))
        rows, tokens = best.indices // totals.shape[1], best.indices % totals.shape[1]
        longer = torch.cat((ids[rows], tokens[:, None]), dim=1)
        ends = (tokens == end_of_text) | (length == max_tokens)
        for place in ends[:beams].nonzero().flatten().tolist():
            finished.append(Hypothesis(float(best.values[place]) / length, longer[place, prompt.shape[1] :].tolist()))
        finished = sorted(finished, key=lambda one: one.score, reverse=True)[:beams]
        going = (~ends).nonzero().flatten()[:beams]
        ids, scores = longer[going], best.values[going]
        reader.select(rows[going])
        if len(finished) == beams and (length == max_tokens or float(scores[0]) / length <= finished[-1].score):
            break
    tokens_of_best = finished[0].tokens
    return tokens_of_best[:-1] if tokens_of_best[-1] == end_of_text else tokens_of_best
