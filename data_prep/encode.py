"""From texts to token ids, with Hugging Face `tokenizers`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer


def load_tokenizer(path: Path) -> Tokenizer:
    """The tokenizer as text meets it: a special token's name inside a document is text, never the special id."""
    tokenizer = Tokenizer.from_file(str(path))
    tokenizer.encode_special_tokens = True
    return tokenizer


def encode(tokenizer: Tokenizer, texts: list[str], end_of_text: int) -> list[npt.NDArray[np.int64]]:
    """The ids of each text, closed by the id of end-of-text."""
    encodings = tokenizer.encode_batch_fast(texts, add_special_tokens=False)
    return [np.asarray([*encoding.ids, end_of_text], np.int64) for encoding in encodings]


def decode(tokenizer: Tokenizer, documents: list[npt.NDArray[Any]]) -> list[str]:
    """The texts of documents, each of which ends with the id of end-of-text: what a model that learns them reads."""
    return tokenizer.decode_batch([ids[:-1].tolist() for ids in documents], skip_special_tokens=False)
