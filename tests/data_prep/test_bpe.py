"""Proves that any text comes back from its ids, that training repeats byte for byte, and that transformers agrees."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.bpe import END_OF_TEXT, train
from data_prep.encode import encode, load_tokenizer

# real text of several kinds: this checkout's own
TEXTS = [path.read_text() for path in sorted(Path(__file__).parents[2].glob("data_prep/*.py"))]
TEXTS += ["naïve café — 日本語のテキスト 🎉", "end <|endoftext|> of text"]
VOCABULARY = 600


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    path = tmp_path_factory.mktemp("bpe") / "tokenizer.json"
    train(TEXTS, vocab_size=VOCABULARY).save(str(path))
    return path


@pytest.fixture(scope="module")
def tokenizer(path):
    return load_tokenizer(path)


def test_the_vocabulary_is_of_the_size_asked_for_and_begins_with_end_of_text_and_the_bytes(tokenizer):
    assert tokenizer.get_vocab_size() == VOCABULARY
    assert tokenizer.token_to_id(END_OF_TEXT) == 0
    assert sorted(len(tokenizer.id_to_token(id)) for id in range(1, 257)) == [1] * 256
    assert all(len(tokenizer.id_to_token(id)) > 1 for id in range(257, VOCABULARY))


def test_every_byte_has_its_own_id(tokenizer):
    """All 128 one-byte characters, and characters whose UTF-8 holds every lead and continuation byte there is."""
    characters = [chr(code) for code in range(128)]
    characters += [chr(code) for code in range(0x80, 0x800)]  # C2-DF 80-BF
    characters += [chr(code) for code in range(0x800, 0x110000, 0x1000 - 1) if not 0xD800 <= code < 0xE000]
    text = "".join(characters)
    assert tokenizer.decode(tokenizer.encode(text).ids, skip_special_tokens=False) == text


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=50) | st.binary(max_size=50).map(lambda data: data.decode(errors="ignore")))
def test_any_text_comes_back(tokenizer, text):
    (ids,) = encode(tokenizer, [text], 0)
    assert ids[-1] == 0
    assert (ids[:-1] > 0).all()
    assert tokenizer.decode(ids[:-1].tolist(), skip_special_tokens=False) == text


@pytest.mark.parametrize("text", ["", " ", "\n\n", "\0", "\ufeff", "a\r\n", " a", "e\u0301", "ﬁ", "<|endoftext|>" * 3])
def test_nothing_is_normalised(tokenizer, text):
    (ids,) = encode(tokenizer, [text], 0)
    assert tokenizer.decode(ids[:-1].tolist(), skip_special_tokens=False) == text


@pytest.mark.parametrize("text", ["<|endoftext|>", "a <|endoftext|> b", "<|endoftext|><|endoftext|>"])
def test_the_name_of_end_of_text_inside_a_document_is_text(tokenizer, text):
    (ids,) = encode(tokenizer, [text], 0)
    assert ids.tolist().count(0) == 1
    assert ids[-1] == 0


def test_a_batch_is_its_documents_in_order(tokenizer):
    batch = encode(tokenizer, TEXTS, 0)
    assert [ids.tolist() for ids in batch] == [encode(tokenizer, [text], 0)[0].tolist() for text in TEXTS]
    assert encode(tokenizer, [], 0) == []


def test_transformers_gives_the_same_ids(path, tokenizer):
    from transformers import PreTrainedTokenizerFast

    peer = PreTrainedTokenizerFast(tokenizer_file=str(path))
    texts = [text for text in TEXTS if END_OF_TEXT not in text]  # whose name is special to transformers
    assert [[*peer(text)["input_ids"], 0] for text in texts] == [ids.tolist() for ids in encode(tokenizer, texts, 0)]
    assert [peer.decode(peer(text)["input_ids"]) for text in texts] == texts
    assert peer.convert_tokens_to_ids(END_OF_TEXT) == 0


TRAIN = """
import sys
from pathlib import Path
from data_prep.bpe import train
texts = [path.read_text() for path in sorted(Path(sys.argv[1]).glob("data_prep/*.py"))]
sys.stdout.write(train(texts, vocab_size=2000).to_str())
"""


def test_training_repeats_byte_for_byte_with_any_number_of_threads():
    outputs = set()
    for threads in ("1", "2", "2"):
        environment = os.environ | {"RAYON_NUM_THREADS": threads, "TOKENIZERS_PARALLELISM": "true"}
        command = [sys.executable, "-c", TRAIN, Path(__file__).parents[2]]
        outputs.add(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
    assert len(outputs) == 1
    assert len(outputs.pop()) > 10_000


def test_the_first_merge_is_the_most_frequent_pair():
    """Sennrich et al. 2016, figure 1: of low, lower, newest and widest, 5, 2, 6 and 3 times, "es" (9) comes first, then
    "est". (Here "e" "s" and "s" "t" both occur 9 times.)"""
    words = ["low"] * 5 + ["lower"] * 2 + ["newest"] * 6 + ["widest"] * 3
    tokenizer = train(words, vocab_size=259)
    assert {tokenizer.id_to_token(257), tokenizer.id_to_token(258)} in ({"es", "est"}, {"st", "est"})
