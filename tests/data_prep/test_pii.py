"""Proves that personal values go and what only looks like one stays, that twice is once, and that every text ends.

Card numbers are the networks' published test numbers; address ranges are RFC 1918, 5737, 3927 and 6890.
"""

from __future__ import annotations

import itertools

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from data_prep.pii import KINDS, is_card_number, scrub

ALL = list(KINDS)


def clean(text, kinds=ALL):
    return scrub(text, kinds)[0]


@pytest.mark.parametrize(
    "address",
    [
        "jo@example.org",
        "Jo.Doe+tag@mail.example.co.uk",
        "j@x.io",
        "1234@example.museum",
        "a_b%c-d@sub-domain.example.com",
        "x" * 64 + "@example.com",
        "8.8.8.8@example.com",
    ],
)
@pytest.mark.parametrize(
    "around", ["{}", "({})", "<{}>", "mailto:{}?subject=x", "Write to {}.", "{}, or call", "...{}"]
)
def test_an_email_address_goes(address, around):
    assert clean(around.format(address)) == around.format("<EMAIL>")


@pytest.mark.parametrize(
    "text", ["a@b", "@handle", "@media (max-width: 5px)", "x @ example.com", "jo@localhost", "a@b.c", "name@", "a@.com"]
)
def test_what_is_no_email_address_stays(text):
    assert scrub(text, ALL) == (text, {})


@pytest.mark.parametrize("separator", ["-", ",", ";", " ", "/", "%", "+"])
def test_no_address_of_a_list_is_left(separator):
    assert "@" not in clean(f"jo@x.com{separator}ann@y.com")


@pytest.mark.parametrize(
    "address", ["8.8.8.8", "1.1.1.1", "93.184.216.34", "223.255.255.254", "172.32.0.1", "11.0.0.1"]
)
@pytest.mark.parametrize("around", ["{}", "[{}]", "from {}.", "{}:8080", "{}/24", "http://{}/x", "{}, {}"])
def test_a_public_address_goes(address, around):
    assert clean(around.format(address, address)) == around.format("<IP>", "<IP>")


@pytest.mark.parametrize(
    "address",
    [
        *("10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"),  # RFC 1918, private
        *("192.0.2.1", "198.51.100.7", "203.0.113.255"),  # RFC 5737, documentation
        *("127.0.0.1", "169.254.1.1", "0.0.0.0", "255.255.255.255"),  # loopback, link-local, this, everyone
    ],
)
def test_an_address_of_nobody_stays(address):
    assert scrub(f"from {address}.", ALL) == (f"from {address}.", {})


@pytest.mark.parametrize(
    "text",
    ["1.2.3", "v8.8.8.8", "8.8.8.8.8", "Chrome 120.0.6099.109", "8.8.8.256", "8.8.08.8", "3.14159", "section 8.8.8.8a"],
)
def test_a_version_number_stays(text):
    assert scrub(text, ALL) == (text, {})


CARDS = [
    "4111111111111111",  # Visa
    "4012888888881881",
    "4222222222222",  # Visa of 13 digits
    "5555555555554444",  # Mastercard
    "5105105105105100",
    "2223003122003222",  # Mastercard, 2-series
    "378282246310005",  # American Express
    "371449635398431",
    "6011111111111117",  # Discover
    "30569309025904",  # Diners Club
    "3530111333300000",  # JCB
]


def grouped(card, separator):
    cuts = {16: (0, 4, 8, 12, 16), 15: (0, 4, 10, 15)}[len(card)]
    return separator.join(card[start:stop] for start, stop in itertools.pairwise(cuts))


@pytest.mark.parametrize("card", CARDS)
def test_the_networks_test_numbers_go(card):
    assert clean(f"pay with {card}.") == "pay with <CREDIT-CARD>."
    if len(card) >= 15:
        for separator in " -":
            assert clean(f"pay with {grouped(card, separator)}, now") == "pay with <CREDIT-CARD>, now"


@pytest.mark.parametrize("card", CARDS)
def test_one_wrong_digit_and_it_is_no_card(card):
    """The Luhn check finds every error in a single digit."""
    for place, digit in itertools.product(range(len(card)), "0123456789"):
        changed = card[:place] + digit + card[place + 1 :]
        assert changed == card or not is_card_number(changed)


@pytest.mark.parametrize(
    "text",
    [
        "0000000000000000",
        "4444444444444444",
        "1234567890123",
        "9780306406157",  # ISBN-13
        "411111111111111111111",  # 21 digits
        "0.4111111111111111",
        "x4111111111111111",
        "4111 1111 1111",
        "4111-1111 1111-1111",
    ],
)
def test_what_is_no_card_number_stays(text):
    assert scrub(text, ALL) == (text, {})


def test_years_in_a_row_are_no_card_numbers():
    years = " ".join(map(str, range(1950, 2030)))
    assert clean(years) == years


@pytest.mark.parametrize("before", ["2024 ", "1234 5678 ", "9999 1234 5678 "])
@pytest.mark.parametrize("after", ["", " 2024", " 1234 5678"])
def test_a_card_number_among_other_groups_of_four_goes(before, after):
    assert "1881" not in clean(f"{before}4012 8888 8888 1881{after}")


def test_counts_and_only_the_kinds_asked_for():
    text = "jo@x.com, ann@y.com, 8.8.8.8, 4111 1111 1111 1111"
    assert scrub(text, ALL) == (
        "<EMAIL>, <EMAIL>, <IP>, <CREDIT-CARD>",
        {"email": 2, "ip": 1, "credit-card": 1},
    )
    assert scrub(text, ["ip"]) == ("jo@x.com, ann@y.com, <IP>, 4111 1111 1111 1111", {"ip": 1})
    assert scrub(text, []) == (text, {})


FRAGMENTS = [
    *("jo", "x" * 60, "@", "@x.com", "jo@x.com", "example.org", ".co", ".com", "é", "٣"),
    *("8.8.8.8", "10.0.0.1", "8", ".8", "1.1.1"),
    *("4111111111111111", "4111 1111 1111 1111", "4012-8888-8888-1881", "3782 822463 10005", "1111", "2024"),
    *(".", "-", " ", "+", "%", "_", ",", "\n", "<", ">", "a", "/"),
    *(kind.placeholder for kind in KINDS.values()),
]


@settings(max_examples=1000, deadline=None)
@given(st.lists(st.sampled_from(FRAGMENTS), max_size=12).map("".join), st.permutations(ALL), st.integers(1, len(ALL)))
@example("a@x.com-jo@y.com", ALL, 3)
@example("8.8.8.8+" + "a" * 60 + "@x.com", ALL, 3)
@example("4111111111111111-8.8.8.8", ["credit-card", "ip", "email"], 3)
@example(".-8.8.8.8-jo@x.com", ALL, 3)
def test_twice_is_once_and_the_order_of_kinds_does_not_matter(text, kinds, count):
    once = clean(text, kinds[:count])
    assert scrub(once, kinds[:count]) == (once, {})
    assert clean(text, sorted(kinds[:count])) == once


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=60))
def test_text_without_digits_and_at_signs_is_never_changed(text):
    text = "".join(character for character in text if character != "@" and not character.isdigit())
    assert scrub(text, ALL) == (text, {})


@pytest.mark.parametrize(
    "unit",
    ["a", "a.", "a@", "a@a.", "@a-", "1", "1.", "1.1.1.1", "4111 ", "4111-", "4111111111111112 ", "a" * 64 + "@", "-"],
)
def test_two_megabytes_of_hostile_text_end(unit):
    """Quadratic time would take hours here."""
    hostile = unit * (2_000_000 // len(unit)) + "@"
    assert len(clean(hostile)) <= 20 * len(hostile)
