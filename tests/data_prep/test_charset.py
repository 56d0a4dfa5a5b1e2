"""Proves that text comes out of the bytes of the world's encodings, Python's own codecs being the judge."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.charset import UndecodableError, decode

# Article 1 of the Universal Declaration of Human Rights, as the United Nations publish it
ARTICLE = {
    "zh-Hans": "人人生而自由，在尊严和权利上一律平等。\n他们赋有理性和良心，并应以兄弟关系的精神相对待。\n",
    "zh-Hant": "人人生而自由，在尊嚴和權利上一律平等。\n他們賦有理性和良心，並應以兄弟關係的精神相對待。\n",
    "ja": "すべての人間は、生まれながらにして自由であり、かつ、尊厳と権利とについて平等である。\n"
    "人間は、理性と良心とを授けられており、互いに同胞の精神をもって行動しなければならない。\n",
    "ko": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.\n"
    "인간은 천부적으로 이성과 양심을 부여받았으며 서로 형제애의 정신으로 행동하여야 한다.\n",
    "ru": "Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены разумом и совестью "
    "и должны поступать в отношении друг друга в духе братства.\n",
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison et de "
    "conscience et doivent agir les uns envers les autres dans un esprit de fraternité.\n",
    "en": "All human beings are born free and equal in dignity and rights.\n",
}
ENCODED = [
    ("zh-Hans", "gb18030", "gb18030"),
    ("zh-Hans", "gb2312", "gb18030"),
    ("zh-Hant", "big5", "cp950"),
    ("ja", "shift_jis", "cp932"),
    ("ja", "euc_jp", "euc_jp"),
    ("ko", "euc_kr", "cp949"),
    ("ru", "windows-1251", "cp1251"),
    ("ru", "koi8-r", "koi8-r"),
    ("fr", "latin-1", "cp1252"),
    ("fr", "windows-1252", "cp1252"),
    *((language, "utf-8", "utf-8") for language in ARTICLE),
    *(
        (language, encoding, encoding)
        for language in ARTICLE
        for encoding in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be")
    ),
]


@pytest.mark.parametrize(("language", "encoding", "name"), ENCODED)
@pytest.mark.parametrize("times", [1, 2000])
def test_prose_without_a_byte_order_mark(language, encoding, name, times):
    text = ARTICLE[language] * times
    assert decode(text.encode(encoding)) == (text, name)


@pytest.mark.parametrize("name", ["utf-8", "utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@given(text=st.text(st.characters(exclude_categories=["Cs"])))
def test_any_text_behind_a_byte_order_mark(name, text):
    data = ("\ufeff" + text).encode(name)
    if name == "utf-16-le" and text.startswith("\0"):
        return  # these bytes are UTF-32's mark
    assert decode(data, declared=["gbk"]) == (text, name)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0\ufeff")))
def test_any_text_in_utf8_whatever_is_declared(text):
    assert decode(text.encode(), declared=["iso-8859-1", "gb2312", "utf-16"]) == (text, "utf-8")


@given(st.binary(max_size=300), st.sampled_from(["", "gbk", "utf-8", "nonsense", "utf-16", "iso-2022-jp", "x\0"]))
def test_any_bytes_are_text_or_said_to_be_none(data, declared):
    """And the text has a form in UTF-8, which all files of a run need."""
    try:
        text, name = decode(data, declared=[declared])
    except UndecodableError:
        return
    text.encode()
    assert data.decode(name, "replace").removeprefix("\ufeff") == text


@pytest.mark.parametrize(
    ("text", "declared", "encoding", "name"),
    [
        ("镕㐀 is in GBK, then in GB18030 only", "gb2312", "gb18030", "gb18030"),
        ("① is Microsoft's", "Shift_JIS", "cp932", "cp932"),
        ("똠 is Microsoft's", "ks_c_5601-1987", "cp949", "cp949"),
        ("嘅 in Hong Kong", "Big5", "big5hkscs", "big5hkscs"),
        ("“quoted” at 5 €", "ISO-8859-1", "cp1252", "cp1252"),
        ("日本", "iso-2022-jp", "iso2022_jp", "iso2022_jp"),
        ("Да", "koi8-r", "koi8-r", "koi8-r"),
        ("Да", "windows-1251", "cp1251", "cp1251"),
    ],
)
def test_what_is_declared_means_what_browsers_take_it_for(text, declared, encoding, name):
    """WHATWG Encoding, 4.2: labels."""
    assert decode(text.encode(encoding), declared=[declared]) == (text, name)


def test_the_first_that_is_declared_and_fits():
    data = ARTICLE["ru"].encode("koi8-r")
    assert decode(data, declared=["koi8-r", "windows-1251"])[1] == "koi8-r"
    assert decode(data, declared=["windows-1251", "koi8-r"])[1] == "cp1251"
    assert decode(ARTICLE["ja"].encode("euc_jp"), declared=["shift_jis", "euc-jp"]) == (ARTICLE["ja"], "euc_jp")


@pytest.mark.parametrize("said", ["gb18030", "GBK", "GB2312"])
def test_an_encoding_that_the_user_names_is_taken(said):
    text = "联通"  # for an editor that guesses, the classic: valid UTF-8 by some decoders
    assert decode(text.encode("gbk"), said)[0] == text
    with pytest.raises(UndecodableError):
        decode(text.encode(), "ascii")


def test_a_bad_byte_in_much_utf8_costs_one_character():
    text = ARTICLE["zh-Hans"] * 10
    before, behind = text[:100].encode(), text[100:].encode()
    assert decode(before + b"\xff" + behind) == (text[:100] + "\ufffd" + text[100:], "utf-8")


@pytest.mark.parametrize(
    "data",
    [
        bytes(range(256)),
        bytes(range(256)) * 100,
        b"\xff\xd8\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0\xff\xdb\0C\0" + bytes(range(64)) * 4,
        b"\0" * 1000,
        os.urandom(4096),
        b"\x7fELF\2\1\1" + b"\0" * 9 + b"\3\0>\0\1\0\0\0" * 40,
    ],
)
def test_what_is_no_text_is_not_made_one(data):
    with pytest.raises(UndecodableError):
        decode(data)


@pytest.mark.parametrize("other", ["gb18030", "big5", "shift_jis"])
def test_two_encodings_in_one_file_are_no_text(other):
    language = {"gb18030": "zh-Hans", "big5": "zh-Hant", "shift_jis": "ja"}[other]
    lines = (ARTICLE[language] * 20).splitlines(keepends=True)
    data = b"".join(line.encode("utf-8" if number % 2 else other) for number, line in enumerate(lines))
    with pytest.raises(UndecodableError):
        decode(data)


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be"])
def test_chinese_without_a_zero_byte(encoding):
    """No space, no line end."""
    text = "人人生而自由，在尊严和权利上一律平等。"
    assert decode(text.encode(encoding)) == (text, encoding)


def test_zero_bytes_in_utf8_stay():
    text = "one\0two three four é\0 "
    assert decode(text.encode()) == (text, "utf-8")


def test_nothing_is_an_empty_text():
    assert decode(b"") == ("", "utf-8")
