"""Proves that disguised characters are folded as Unicode has them, and that the way back is exact."""

from __future__ import annotations

import re
import sys
import unicodedata

import pytest
import re2
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_prep.disguise import DASHES, DISGUISES, INVISIBLE, SPACES, fold
from data_prep.pii import Scrubber
from data_prep.settings import ScrubSettings


def folded(text: str) -> str:
    return fold(text.encode("utf-8", "surrogatepass")).data.decode("utf-8", "surrogatepass")


def test_every_digit_of_unicode_is_folded_to_its_value():
    """Python's int() reads digits of all scripts."""
    digits = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) == "Nd"]
    assert len(digits) > 600
    assert folded("".join(digits)) == "".join(str(int(digit)) for digit in digits)


def test_full_width_forms_are_folded_as_by_nfkc():
    wide = "".join(map(chr, range(0xFF01, 0xFF5F)))
    assert folded(wide) == unicodedata.normalize("NFKC", wide) == "".join(map(chr, range(0x21, 0x7F)))


def test_spaces_and_dashes_are_those_of_unicode():
    """Category Zs, but for ASCII's own and Ogham's, which is drawn as a stroke."""
    spaces = {chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) == "Zs"}
    assert set(SPACES) == spaces - {" ", "\u1680"}
    assert folded(SPACES) == " " * len(SPACES) and folded(DASHES) == "-" * len(DASHES)


def test_what_cannot_be_seen_is_gone():
    controls = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) == "Cf"]
    assert folded("4" + "".join(controls) + INVISIBLE + "1") == "41"


def test_other_text_stays_as_it_is():
    text = "Grüße, 中文。日本語の文章、한국어 ελληνικά — \U0001f600 \ud800 ①²½"
    assert folded(text) == text.replace("—", "-")


@settings(max_examples=300, deadline=None)
@given(st.text(st.one_of(st.characters(), st.sampled_from("a1@\u200b\u00ad１＠ é中\U0001d7d8\U000e0041")), max_size=40))
@example("\u200b１\u200bé\ud800\U0001d7d8\u200b")
def test_the_way_back_is_exact(text):
    """Against folding character by character."""
    data = text.encode("utf-8", "surrogatepass")
    whole = fold(data)
    back = at = 0
    for character in text:
        size = len(character.encode("utf-8", "surrogatepass"))
        alone = fold(character.encode("utf-8", "surrogatepass")).data
        if alone:
            assert whole.data[at : at + len(alone)] == alone
            assert whole.original(at, at + len(alone)) == (back, back + size)
        at, back = at + len(alone), back + size
    assert at == len(whole.data)


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("卡号４１１１１１１１１１１１１１１１。", "卡号<CREDIT-CARD>。"),
        ("pay 4111\u200b1111\u200c1111\u200d1111 now", "pay <CREDIT-CARD> now"),
        ("pay \u200e4111 1111 1111 1111\u200f now", "pay \u200e<CREDIT-CARD>\u200f now"),
        ("pay 4111\u00a01111\u202f1111\u20091111 now", "pay <CREDIT-CARD> now"),
        ("pay 4111\u20111111\u20101111\u22121111 now", "pay <CREDIT-CARD> now"),
        ("pay ٤١١١١١١١١١١١١١١١", "pay <CREDIT-CARD>"),
        ("pay ४१११ ११११ ११११ ११११", "pay <CREDIT-CARD>"),
        ("jo＠example.org, jo﹫example.org, joⓐexample.org", "<EMAIL>, <EMAIL>, <EMAIL>"),
        ("jo@exa\u00admple.org", "<EMAIL>"),
        ("ｊｏ＠ｅｘａｍｐｌｅ．ｏｒｇ", "<EMAIL>"),
        ("from ８.８.８.８ or 8․8․8․8", "from <IP> or <IP>"),
        ("from 8\u200b.8.\u202e8.8\u202c!", "from <IP>\u202c!"),
    ],
)
def test_a_disguised_value_goes_and_nothing_beside_it(text, scrubbed):
    assert Scrubber(ScrubSettings()).scrub(text).text == scrubbed


PIECES = [
    *("4111", "1111", "1111", "1111", "８.８", ".8.8", *SPACES[:3], *DASHES[:3]),
    *("\u200b", "\u00ad", "\ufe0f", "＠", "jo", "@x", ".org", "．", "中", "é"),
]


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from(PIECES), max_size=9))
def test_a_text_without_disguises_need_not_be_folded(parts):
    """What is found is the same whether it is folded or not."""
    data = "".join(parts).encode()
    if not re2.compile(DISGUISES).search(data):
        scrubber = Scrubber(ScrubSettings(kinds=["email", "ip", "credit-card"]))
        plain = re.sub(r"<[A-Z-]+>", "_", scrubber.scrub(data.decode()).text)
        assert folded(plain) == re.sub(r"<[A-Z-]+>", "_", scrubber.scrub(fold(data).data.decode()).text)
