"""Text from a trained model."""

from __future__ import annotations

import torch
from tokenizers import Tokenizer
from torch import Tensor

from pretrain.model import GPT


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
    seed: int = 0,
) -> str:
    """The model's continuation of `prompt`: up to `max_tokens` tokens, or until it ends the text.

    The prompt stands at the beginning of a document, as in training. `temperature` 0 takes the likeliest token;
    `top_k` draws among that many likeliest ones (Fan et al. 2018).
    """
    device = model.embedding.weight.device
    generator = torch.Generator(device).manual_seed(seed)
    ids = [end_of_text, *tokenizer.encode(prompt, add_special_tokens=False).ids]
    start = len(ids)
    while len(ids) < start + max_tokens:
        context = torch.tensor([ids[-model.context_length :]], device=device)  # (1, T)
        chosen = pick(model(context)[0, -1].float(), temperature, top_k, generator)
        if chosen == end_of_text:
            break
        ids.append(chosen)
    text: str = tokenizer.decode(ids[start:])
    return text


def pick(logits: Tensor, temperature: float, top_k: int | None, generator: torch.Generator) -> int:
    """One id from logits (V,)."""
    if temperature == 0:
        return int(logits.argmax())
    if top_k is not None and top_k < len(logits):
        worst_kept = logits.topk(top_k).values[-1]
        logits = logits.masked_fill(logits < worst_kept, -torch.inf)
    return int(torch.multinomial(torch.softmax(logits / temperature, dim=0), 1, generator=generator))
