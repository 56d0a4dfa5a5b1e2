"""From texts to token ids, with Hugging Face `tokenizers`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from data_prep.bpe import END_OF_TEXT


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer as text meets it: a special token's name inside a document is text, never the special id."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.encode_special_tokens = True
    return tokenizer


def encode(tokenizer: Tokenizer, texts: list[str]) -> list[npt.NDArray[np.int64]]:
    """The ids of each text, closed by end-of-text."""
    end = tokenizer.token_to_id(END_OF_TEXT)
    return [np.asarray([*encoding.ids, end], np.int64) for encoding in tokenizer.encode_batch_fast(texts)]
