"""A tokenizer.json of 300 ids: 299 characters and the end-of-text token, in tokenizers' own format."""

from __future__ import annotations

from pathlib import Path

from tokenizers import Tokenizer
from tokenizers.decoders import Fuse
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Split

END_OF_TEXT = "<|endoftext|>"


def write_tokenizer(path: Path) -> Path:
    vocabulary = {chr(ord("a") + number): number for number in range(299)}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="a"))
    tokenizer.pre_tokenizer = Split("", "isolated")
    tokenizer.decoder = Fuse()
    tokenizer.add_special_tokens([END_OF_TEXT])
    tokenizer.save(str(path))
    return path
