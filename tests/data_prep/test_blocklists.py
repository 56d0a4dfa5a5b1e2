"""Proves that listed addresses and words are found where plain Python finds them, and that bad lists are refused."""

from __future__ import annotations

import unicodedata
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_prep.blocklists import UrlList, WordList
from data_prep.files import UserError
from data_prep.shingles import BLOCK

SINGLE = ("CJK UNIFIED", "HIRAGANA", "KATAKANA", "HALFWIDTH KATAKANA", "THAI")
LABELS = st.sampled_from(["a", "b", "shop", "xn--bcher-kva", "1"])
HOSTS = st.lists(LABELS, min_size=2, max_size=4).map(".".join)
PATHS = st.lists(st.sampled_from(["", "a", "ab", "b.html", "%C3%BC", "ü"]), max_size=3).map(
    lambda parts: "".join(f"/{part}" for part in parts)
)


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def url_list(directory: Path, *lines: str) -> UrlList:
    return UrlList.read([write(directory / "urls", *lines)])


def word_list(directory: Path, *lines: str) -> WordList:
    return WordList.read([write(directory / "words", *lines)])


@pytest.mark.parametrize(
    ("entry", "url", "blocked"),
    [
        ("example.com", "https://example.com", True),
        ("example.com", "HTTP://user:secret@WWW.Example.COM.:8080/a?b#c", True),
        ("example.com", "a.b.example.com/page", True),
        ("example.com", "https://notexample.com/", False),
        ("example.com", "https://example.com.evil.org/", False),
        ("example.com", "https://other.org/?u=http://example.com/", False),
        ("a.example.com", "https://example.com/", False),
        ("https://www.example.com:443/", "https://blog.example.com/", True),
        ("example.com/blog", "https://example.com/blog", True),
        ("example.com/blog", "https://example.com/blog/2020/?page=2", True),
        ("example.com/blog/", "https://example.com/blog?page=2", True),
        ("example.com/blog", "https://example.com/blogger", False),
        ("example.com/blog", "https://a.example.com/blog", False),
        ("http://example.com/a?id=7", "https://example.com/a?id=7&page=2", True),
        ("http://example.com/a?id=7", "https://example.com/a?id=70", False),
        ("example.com/a", "https://example.com/A", False),
        ("example.com/ü", "https://example.com/%c3%bc/x", True),
        ("example.com/%CA%D3", "https://example.com/%CA%D4", False),  # GBK: no UTF-8, and not the same
        ("bücher.example", "https://www.xn--bcher-kva.example/", True),  # RFC 3492's algorithm, RFC 5894's example
        ("xn--r8jz45g.jp", "https://例え.jp/", True),  # IANA's test domain of Japanese
        ("www.com", "https://example.com", False),
        ("www.com", "https://www.com/a", True),
        ("192.0.2.7", "http://192.0.2.7:81/x", True),
        ("http://[2001:db8::1]/", "http://[2001:db8::1]:80/x", True),
        ("example.com", "", False),
        ("example.com", "http://[broken/", False),
        ("example.com", "not an address", False),
    ],
)
def test_which_address_is_blocked(tmp_path: Path, entry: str, url: str, blocked: bool) -> None:
    assert bool(url_list(tmp_path, entry, "other.example").blocks(url)) == blocked


def test_the_entry_that_blocks_is_named(tmp_path: Path) -> None:
    blocked = url_list(tmp_path, "HTTP://www.Example.com/a/", "shop.example.com", "# b.org", "", "c.org")
    assert blocked.blocks("https://example.com/a/b") == "example.com/a"
    assert blocked.blocks("https://x.shop.example.com/a/b") == "shop.example.com"
    assert blocked.blocks("https://b.org") == ""


@settings(deadline=None)
@given(st.lists(st.tuples(HOSTS, PATHS), min_size=1, max_size=4), HOSTS, PATHS)
def test_addresses_against_plain_python(
    tmp_path_factory: pytest.TempPathFactory, listed: list[tuple[str, str]], host: str, path: str
) -> None:
    def parts(path: str) -> list[str]:
        return path.replace("%C3%BC", "ü").removesuffix("/").split("/")

    blocked = url_list(tmp_path_factory.mktemp("list"), *(host + path for host, path in listed))
    wanted = any(
        parts(path)[: len(parts(below))] == parts(below) and host == of
        if parts(below) != [""]
        else f".{host}".endswith(f".{of}")
        for of, below in listed
    )
    assert bool(blocked.blocks(f"https://{host}:8080{path}")) == wanted


def tokens(text: str) -> list[str]:
    """Words as wholes, and each character of the scripts that are written without spaces; case and width folded."""
    found, word = [], ""
    for character in unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", text).casefold()) + " ":
        if character in "\u200b\u00ad":
            continue
        single = unicodedata.name(character, "").startswith(SINGLE)
        if unicodedata.category(character)[0] in "LMN" and not single:
            word += character
            continue
        found += [word] * bool(word) + [character] * single
        word = ""
    return found


def first_to_end(text: str, entries: list[str]) -> str:
    """By trying every entry at every place."""
    words = tokens(text)
    for end in range(len(words) + 1):
        for entry in sorted(entries, key=lambda entry: -len(tokens(entry))):
            run = tokens(entry)
            if len(run) <= end and words[end - len(run) : end] == run:
                return entry
    return ""


TEXTS = st.text(alphabet="abBß Ａ-.\u200b\u00ad12é中国の가ไท\n", max_size=40)


@settings(deadline=None)
@given(st.lists(TEXTS.filter(tokens), min_size=1, max_size=8), st.lists(TEXTS, min_size=1, max_size=4))
@example(["a b a c", "b a b"], ["a b a b"])  # falls back from one entry into another
@example(["a b c d", "b c"], ["a b c d"])
@example(["b", "a b"], ["a b"])
@example(["ass", "中国"], ["class", "a中国b", "中", "ASS-a"])
def test_words_against_plain_python(
    tmp_path_factory: pytest.TempPathFactory, listed: list[str], texts: list[str]
) -> None:
    lines = [" ".join(entry.split()) for entry in listed]  # one a line
    found = word_list(tmp_path_factory.mktemp("list"), *lines).find(pa.array(texts))
    wanted = [first_to_end(text, lines) for text in texts]
    assert [tokens(entry) for entry in found] == [tokens(entry) for entry in wanted]


@pytest.mark.parametrize(
    ("entry", "text", "has"),
    [
        ("ass", "a class of assets", False),
        ("ass", "What an ASS!", True),
        ("foo bar", "foo,\nBAR", True),
        ("foo bar", "foo big bar", False),
        ("ＦＯＯ", "foo", True),
        ("STRASSE", "die Straße", True),
        ("赌博", "网上赌博网站", True),
        ("赌博", "赌\u200b博", True),
        ("赌博", "赌他博", False),
        ("カジノ", "オンラインｶｼﾞﾉ", True),
        ("2g1c", "2g1c.", True),
        ("🖕", "so 🖕 there", True),
        ("🖕", "so 👍 there", False),
    ],
)
def test_which_text_has_a_word(tmp_path: Path, entry: str, text: str, has: bool) -> None:
    assert word_list(tmp_path, "zzz", entry).find(pa.array([text])) == [entry if has else ""]


def test_an_entry_is_found_wherever_a_block_of_tokens_ends(tmp_path: Path) -> None:
    listed = word_list(tmp_path, "one two three")
    for before in range(BLOCK - 70, BLOCK + 3):
        assert listed.find(pa.array(["x " * before + "one two three"])) == ["one two three"]
        assert listed.find(pa.array(["x " * before + "one two four"])) == [""]


def test_ten_thousand_entries_are_each_found(tmp_path: Path) -> None:
    """Many share their beginnings."""
    entries = [f"a{number % 7} b{number % 11} c{number}" for number in range(10_000)]
    texts = [f"a3 b5 {entry} a1" for entry in entries] + ["a3 b5 c10001"]
    found = word_list(tmp_path, *entries).find(pa.array(texts))
    assert found == [*entries, ""]


def test_slices_and_nulls_of_arrow(tmp_path: Path) -> None:
    texts = pa.array(["bad", None, "good", "bad 🖕", "🖕"])
    listed = word_list(tmp_path, "bad", "🖕")
    assert listed.find(texts) == ["bad", "", "", "bad", "🖕"]
    assert listed.find(texts[2:]) == ["", "bad", "🖕"]
    assert listed.find(texts[:0]) == []


def test_lists_may_have_marks_comments_and_windows_line_ends(tmp_path: Path) -> None:
    (tmp_path / "list").write_bytes(b"\xef\xbb\xbf# of mine\r\n\r\n  bad word\r\n#good\r\nb\xc3\xbccher.example")
    assert WordList.read([tmp_path / "list"]).entries == ["bad word", "bücher.example"]
    other = write(tmp_path / "other", "worse")
    assert WordList.read([tmp_path / "list", other]).find(pa.array(["good", "worse"])) == ["", "worse"]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "clean.blocked_urls names LIST, which is not there"),
        (b"", "LIST lists nothing; take it out of clean.blocked_urls or write one entry a line"),
        (b"# only\n\n", "LIST lists nothing"),
        (b"a.com\nb\xfc.com\n", "LIST, line 2: not UTF-8"),
        (b"a.com\n\n0.0.0.0 b.com\n", "LIST, line 3: '0.0.0.0 b.com' is no host and no address; wanted one a line"),
        (b"word\n", "LIST, line 1: 'word' is no host"),
        (b"/path\n", "LIST, line 1: '/path' is no host"),
    ],
)
def test_a_wrong_list_of_addresses(tmp_path: Path, content: bytes | None, words: str) -> None:
    path = tmp_path / "list"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError) as error:
        UrlList.read([path])
    assert words.replace("LIST", str(path)) in str(error.value) and "\n" not in str(error.value)


def test_a_wrong_list_of_words(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"clean\.blocked_words names .*, which is no file"):
        WordList.read([tmp_path])
    (tmp_path / "list").write_bytes(b"a\n\xff\n")
    with pytest.raises(UserError, match="line 2: not UTF-8"):
        WordList.read([tmp_path / "list"])
