"""Proves the engine: what is replaced by what, that twice is once, that order and place do not matter, that time is
linear. What is a value of a kind is proven beside its recognizers.

Card numbers are the networks' published test numbers, addresses are made of RFC 2606's and 5737's names and of public
resolvers' addresses.
"""

from __future__ import annotations

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_prep.pii import PRECEDENCE, WINDOW, Scrubber, recognizers_of, shown_scrubber
from data_prep.pseudonyms import LETTERS, key_identity, pseudonym
from data_prep.recognizer import KINDS
from data_prep.settings import ScrubSettings

ALL = [kind for kind in KINDS if kind != "person"]
KEY = b"a secret of some length"


def scrubber(kinds=ALL, **settings):
    return Scrubber(ScrubSettings(kinds=list(kinds), **settings), KEY)


EVERY, LENIENT, NAMED = (
    scrubber(),
    scrubber(phone_matching="lenient"),
    scrubber(replacement="pseudonym", key_file="named elsewhere"),
)


def test_every_kind_has_a_recognizer_and_every_recognizer_a_kind():
    assert {recognizer.kind for recognizer in EVERY.recognizers} == set(ALL)
    assert [PRECEDENCE[recognizer.kind] for recognizer in EVERY.recognizers] == sorted(
        PRECEDENCE[recognizer.kind] for recognizer in recognizers_of(ScrubSettings(kinds=ALL))
    )


def test_values_are_replaced_and_counted():
    scrubbed = EVERY.scrub("Mail jo@example.org or ann@example.org from 8.8.8.8, not 10.0.0.1; 4111 1111 1111 1111.")
    assert scrubbed.text == "Mail <EMAIL> or <EMAIL> from <IP>, not 10.0.0.1; <CREDIT-CARD>."
    assert scrubbed.found == {"email": 2, "credit-card": 1, "ip": 1}
    assert scrubbed.hidden_bytes == len("jo@example.org" + "ann@example.org" + "8.8.8.8" + "4111 1111 1111 1111")


def test_only_the_kinds_asked_for():
    text = "jo@example.org, 8.8.8.8, 4111 1111 1111 1111"
    assert scrubber(["ip"]).scrub(text).text == "jo@example.org, <IP>, 4111 1111 1111 1111"
    assert scrubber([]).scrub(text).text == text


def test_where_two_overlap_the_first_of_the_table_wins():
    assert EVERY.scrub("8.8.8.8@example.org").text == "<EMAIL>"  # and not <IP>@example.org
    with_password = EVERY.scrub("https://jo:tru5tno1@mail.example.org/x")
    assert list(with_password.found) == ["url-credentials"]


def test_offsets_are_of_the_utf8_bytes():
    text = "é中\U0001f600 ８.８.８.８ and jo@example.org"
    values = EVERY.find(text)
    assert [(found.kind, found.value) for found in values] == [("ip", "8.8.8.8"), ("email", "jo@example.org")]
    assert [text.encode()[found.start : found.end].decode() for found in values] == ["８.８.８.８", "jo@example.org"]


def test_a_value_behind_an_escape_of_source_code_is_found():
    text = (
        r"""print("n\n4111111111111111"), "a\tGB29NWBK60161331926819", "\u53f74111111111111111", "\njo@example.org" """
    )
    hidden = r"""print("n\n<CREDIT-CARD>"), "a\t<IBAN>", "\u53f7<CREDIT-CARD>", "\n<EMAIL>" """
    assert EVERY.scrub(text).text == hidden


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        (
            "——4111111111111111 ... １",
            "——<CREDIT-CARD> ... １",
        ),  # a disguise elsewhere: the dash is a border all the same
        ("jo@example.org（Jo） Ａ", "<EMAIL>（Jo） Ａ"),
        ("jo@example.org(Jo), a@b.sum(axis=0)", "<EMAIL>(Jo), a@b.sum(axis=0)"),
        ("93.184.216.34, version 4.3.3.75 and 4.3.3.76", "<IP>, version 4.3.3.75 and 4.3.3.76"),  # <IP> tells nothing
        ("redis://:p4ssw0rd@cache:6379", "redis://<URL-CREDENTIALS>@cache:6379"),
        ("558F 5590 5591 5592 5593 559A", "558F 5590 5591 5592 5593 559A"),  # code points
        ("[*0DE4.0020.0002]", "[*0DE4.0020.0002]"),  # weights of Unicode's collation
    ],
)
def test_what_stands_around_a_value(text, scrubbed):
    assert EVERY.scrub(text).text == scrubbed


@pytest.mark.parametrize("quote", ["", "> ", "  "])
@pytest.mark.parametrize("end", ["\n-----END RSA PRIVATE KEY-----", "\n", ""])
def test_a_private_key_goes_quoted_or_cut_off(quote, end):
    lines = "\n".join(f"{quote}MIIE{'q0Zx' * 15}" for _ in range(6))
    text = f"key:\n{quote}-----BEGIN RSA PRIVATE KEY-----\n{lines}{end}"
    assert EVERY.scrub(text).text.rstrip("\n") == f"key:\n{quote}<SECRET>"


def test_a_long_secret_is_found_across_the_borders_of_windows():
    """A private key of 12 kB, as PEM has it (RFC 7468), at every kilobyte around a border."""
    lines = "\n".join("MIIE" + "q0Zx" * 15 for _ in range(190))
    pem = f"-----BEGIN PRIVATE KEY-----\n{lines}\n-----END PRIVATE KEY-----"
    for size in range(WINDOW - (14 << 10), WINDOW + 2048, 1024):
        assert EVERY.scrub(f"{'x' * size} {pem} end").text == f"{'x' * size} <SECRET> end"


def test_a_value_is_not_shown_by_accident():
    """An assertion or a traceback that prints what was found tells no value."""
    found = EVERY.find("Mail jo@example.org")
    assert found[0].value == "jo@example.org" and "jo@" not in f"{found} {found[0]!r} {found[0]}"


def test_looks_say_what_is_kept_and_why():
    looks = EVERY.looks("from 10.0.0.1 or 8.8.8.8, 4111 1111 1111 1112")
    assert [(found.kind, bool(found.value)) for found in looks] == [("ip", False), ("ip", True), ("credit-card", False)]
    assert all(found.wants for found in looks)


def test_a_pseudonym_is_the_same_for_all_spellings_and_tells_values_kinds_and_keys_apart():
    text = "jo@example.org 4111 1111 1111 1111 JO@EXAMPLE.ORG 4111111111111111 ann@example.org"
    names = NAMED.scrub(text).text.split()
    assert names[0] == names[2] != names[4] and names[1] == names[3]
    assert names[0].startswith("<EMAIL-") and len(names[0]) == len("<EMAIL->") + LETTERS
    other = Scrubber(ScrubSettings(replacement="pseudonym", key_file="x"), KEY + b"!").scrub(text).text.split()
    assert not set(names) & set(other)
    assert pseudonym(KEY, "email", "x") != pseudonym(KEY, "ip", "x")
    assert key_identity(KEY) != key_identity(KEY + b"!") and KEY.hex() not in key_identity(KEY)


def test_pseudonyms_are_hmacs():
    """By hand: printf 'email\\0jo@example.org' | openssl dgst -sha256 -hmac "a secret of some length", as a number in
    base 26, the lowest digit first."""
    number = 0x07AFADD6A64B70818081D63DFE60836223F9CD9946C871B9893B419CB9A32BDF
    letters = ""
    for _ in range(12):
        number, digit = divmod(number, 26)
        letters += "abcdefghijklmnopqrstuvwxyz"[digit]
    assert pseudonym(KEY, "email", "jo@example.org") == letters


def test_what_is_shown_hides_all_kinds():
    assert shown_scrubber().scrub("jo [at] example [dot] org, 4111 1111 1111 1111").text == "<EMAIL>, <CREDIT-CARD>"


FRAGMENTS = [
    *("jo", "x" * 60, "@", "@x.com", "jo@x.com", "example.org", ".co", ".com", "é", "٣", " at ", "[at]", "[dot]"),
    *("8.8.8.8", "10.0.0.1", "8", ".8", "1.1.1", "2606:4700::1111", "::", ":", "00:1b:44:11:3a:b7"),
    *("4111111111111111", "4111 1111 1111 1111", "4012-8888-8888-1881", "3782 822463 10005", "1111", "2024"),
    *("GB82 WEST 1234 5698 7654 32", "DE89370400440532013000", "536-90-4399", "11010519491231002X", "AB123456C"),
    *("+1 650-253-0000", "(650) 253-0000", "13812345678", "+86", "tel:", "passport ", "SSN ", "no. "),
    *("https://jo:pw12@", "://", "AKIA" + "IOSFODNN7EXAMPLE", "ghp_", "eyJhbGciOiJIUzI1NiJ9.", "0x" + "ab" * 20),
    *(".", "-", " ", "+", "%", "_", ",", "\n", "<", ">", "a", "/", "(", ")", "\u200b", "－", "１"),
    *(f"<{kind.upper()}>" for kind in KINDS),
]


@settings(max_examples=1500, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join), st.sampled_from([EVERY, LENIENT, NAMED]))
@example("a@x.com-jo@y.com", EVERY)
@example("8.8.8.8+" + "a" * 60 + "@x.com", EVERY)
@example("4111111111111111-8.8.8.8", EVERY)
@example(".-8.8.8.8-jo@x.com", EVERY)
def test_twice_is_once(text, scrubber):
    once = scrubber.scrub(text)
    twice = scrubber.scrub(once.text)
    assert (twice.text, twice.found) == (once.text, {})
    assert scrubber.find(once.text) == []


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from(FRAGMENTS), max_size=10).map("".join),
    st.lists(st.sampled_from(ALL), unique=True, min_size=1),
)
def test_the_order_of_kinds_does_not_matter(text, kinds):
    assert scrubber(kinds).scrub(text) == scrubber(sorted(kinds)).scrub(text)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(st.sampled_from(FRAGMENTS), max_size=8).map("".join),
    st.integers(0, 3000) | st.integers(WINDOW - 100, WINDOW),
)
def test_a_value_is_found_wherever_it_stands(text, size):
    """Far from other text, across the borders of windows, and when others are replaced before and behind it."""
    far = "some words " * (size // 11) + "_" * (size % 11) + " "
    alone = EVERY.scrub(f" {text} ").text
    beside = EVERY.scrub(f"jo@example.org {far}{text} {far} ann@example.org").text
    assert beside == f"<EMAIL> {far[:-1]}{alone}{far} <EMAIL>"


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_text_of_letters_alone_is_never_changed(text):
    text = "".join(character for character in text if character.isalpha() or character == " ")
    assert EVERY.scrub(text).text == text


UNITS = [
    *("a", "a.", "a@", "a@a.", "@a-", "1", "1.", "1.1.1.1", "4111 ", "4111-", "4111111111111112 ", "a" * 64 + "@", "-"),
    *(
        "1-",
        "(1",
        "+1",
        "+1" + "2" * 100 + "x",
        "001" + "2" * 97 + "\n",
        "é@é.",
        "é+",
        "+1 ",
        "00",
        "a:",
        "f:",
        "::",
        "eyJ",
        "eyJhbGciOiJIUzI1NiJ9.",
        "-----BEGIN PRIVATE KEY-----\n",
    ),
    *("://a:", "http://a:b", "AKIA", "ghp_", "0x", "GB82", "GB82 WEST ", "A1", "1A ", "passport ", "licence 1", "[at]"),
    *(
        " at ",
        "SSN 1",
        "tel ",
        "ABCDE-",
        "é１",
        "\u200b1",
        "1\u200b",
        "٣-",
        "８.８.８.８",
        "<EMAIL>",
        "a@b.co ",
        "8.8.8.8-",
    ),
]


@pytest.mark.parametrize("unit", UNITS)
def test_half_a_megabyte_of_hostile_text_ends(unit):
    """Quadratic time would take hours here. What stands behind it is found."""
    hostile = unit * (500_000 // len(unit)) + " @"
    assert EVERY.scrub(f"{hostile} jo@example.org\n").text.endswith(" @ <EMAIL>\n")
