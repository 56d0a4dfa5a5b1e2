"""Proves that card and bank account numbers are found as they are written, with the standards' arithmetic done again.

Cards are the test numbers that networks and payment services publish, bank accounts the IBAN registry's examples.
"""

from __future__ import annotations

import importlib.resources
import random
import re

import pytest
from stdnum import iban as stdnum_iban
from stdnum import luhn as stdnum_luhn

from data_prep.accounts import IBAN_STRUCTURES, NETWORKS, card, iban, luhn
from data_prep.pii import Scrubber
from data_prep.settings import ScrubSettings

SCRUBBER = Scrubber(ScrubSettings(kinds=["credit-card", "iban"]))

CARDS = [
    "4111111111111111",
    "4242424242424242",
    "4012888888881881",
    "4000056655665556",
    "5555555555554444",
    "5105105105105100",
    "5200828282828210",
    "2223003122003222",
    "378282246310005",
    "371449635398431",
    "6011111111111117",
    "6011000990139424",
    "30569309025904",
    "38520000023237",
    "3530111333300000",
    "3566002020360505",
    "6200000000000005",
    "6205500000000000004",
    "6759649826438453",
    "180000000000002",
]
IBANS = [
    "AD12 0001 2030 2003 5910 0100",
    "AE07 0331 2345 6789 0123 456",
    "AT61 1904 3002 3457 3201",
    "BE68 5390 0754 7034",
    "BG80 BNBG 9661 1020 3456 78",
    "BR18 0036 0305 0000 1000 9795 493C 1",
    "CH93 0076 2011 6238 5295 7",
    "CY17 0020 0128 0000 0012 0052 7600",
    "CZ65 0800 0000 1920 0014 5399",
    "DE89 3704 0044 0532 0130 00",
    "DK50 0040 0440 1162 43",
    "EE38 2200 2210 2014 5685",
    "ES91 2100 0418 4502 0005 1332",
    "FI21 1234 5600 0007 85",
    "FR14 2004 1010 0505 0001 3M02 606",
    "GB29 NWBK 6016 1331 9268 19",
    "GE29 NB00 0000 0101 9049 17",
    "GR16 0110 1250 0000 0001 2300 695",
    "HR12 1001 0051 8630 0016 0",
    "HU42 1177 3016 1111 1018 0000 0000",
    "IE29 AIBK 9311 5212 3456 78",
    "IL62 0108 0000 0009 9999 999",
    "IS14 0159 2600 7654 5510 7303 39",
    "IT60 X054 2811 1010 0000 0123 456",
    "JO94 CBJO 0010 0000 0000 0131 0003 02",
    "KW81 CBKU 0000 0000 0000 1234 5601 01",
    "LC55 HEMM 0001 0001 0012 0012 0002 3015",
    "LT12 1000 0111 0100 1000",
    "LU28 0019 4006 4475 0000",
    "LV80 BANK 0000 4351 9500 1",
    "MC58 1122 2000 0101 2345 6789 030",
    "MT84 MALT 0110 0001 2345 MTLC AST0 01S",
    "MU17 BOMM 0101 1010 3030 0200 000M UR",
    "NL91 ABNA 0417 1643 00",
    "NO93 8601 1117 947",
    "PK36 SCBL 0000 0011 2345 6702",
    "PL61 1090 1014 0000 0712 1981 2874",
    "PT50 0002 0123 1234 5678 9015 4",
    "QA58 DOHB 0000 1234 5678 90AB CDEF G",
    "RO49 AAAA 1B31 0075 9384 0000",
    "SA03 8000 0000 6080 1016 7519",
    "SE45 5000 0000 0583 9825 7466",
    "SI56 2633 0001 2039 086",
    "SK31 1200 0000 1987 4263 7541",
    "TR33 0006 1005 1978 6457 8413 26",
    "UA21 3223 1300 0002 6007 2335 6600 1",
]


def found(text):
    """(kind, canonical value, what of the text it is)"""
    data = text.encode()
    return [(value.kind, value.value, data[value.start : value.end].decode()) for value in SCRUBBER.find(text)]


def grouped(digits, by):
    sizes = {14: (4, 6, 4), 15: (4, 6, 5), 16: (4, 4, 4, 4), 19: (4, 4, 4, 4, 3)}[len(digits)]
    return by.join(digits[sum(sizes[:at]) : sum(sizes[: at + 1])] for at in range(len(sizes)))


def with_check_digit(payload):
    """By the standard's words: double every second digit from the right, add the digits of what comes out."""
    total = sum(sum(map(int, str(int(d) * (2 - at % 2)))) for at, d in enumerate(reversed(payload)))
    return payload + str(-total % 10)


def test_the_check_digit_is_the_standards():
    draw = random.Random(1)
    for _ in range(300):
        payload = str(draw.randrange(10**11, 10**18))
        passing = [payload + last for last in "0123456789" if luhn(payload + last)]
        assert passing == [with_check_digit(payload)] == [payload + stdnum_luhn.calc_check_digit(payload)]


@pytest.mark.parametrize("digits", CARDS)
def test_published_test_cards_are_found_in_every_spelling(digits):
    for spelling in (digits, grouped(digits, " "), grouped(digits, "-")):
        for text in (
            spelling,
            f"Please block card {spelling}.",
            f'{{"number":"{spelling}","cvc":"123"}}',
            f"7,Jo,{spelling},12/25",
            f"paid with {spelling}, then left",
            f"请用{spelling}付款",
            f"pay?number={spelling}&cvc=123",
            f"in 2024 {spelling} 123 12/25",
            f"customer 123456 {spelling}\n2000",
        ):
            assert found(text) == [("credit-card", digits, spelling)], text


@pytest.mark.parametrize("digits", CARDS)
def test_one_wrong_digit_makes_none(digits):
    for at in range(len(digits)):
        wrong = digits[:at] + str((int(digits[at]) + 1) % 10) + digits[at + 1 :]
        assert not found(f"paid {wrong}") and not found(f"card {wrong}") and not found(f"card {grouped(wrong, ' ')}")


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        ("2221", "2220"),
        ("2720", "2721"),
        ("51", "50"),
        ("55", "5600"),
        ("3528", "3527"),
        ("3589", "3590"),
        ("644", "643"),
        ("659", "6600"),
        ("4", "7"),
        ("2204", "2205"),
    ],
)
def test_the_borders_of_the_networks(inside, outside):
    for prefix, is_one in ((inside, True), (outside, False)):
        digits = with_check_digit(prefix.ljust(15, "1"))
        assert bool(found(digits)) == bool(found(grouped(digits, " "))) == is_one


def test_lengths_that_other_numbers_have_need_a_word():
    for digits in (
        "4222222222222",  # Visa's old thirteen: goods' codes
        "676100000006",  # Maestro's twelve
        with_check_digit("411111111111111111"),  # nineteen: 64-bit numbers
        with_check_digit("56789012345"),
    ):
        assert not found(f"row {digits} here")
        for word in (
            "Card number: ",
            "VISA ",
            "credit card no. ",
            "cc#",
            "Kreditkarte ",
            "cartão: ",
            "卡号：",
            "card_number=",
        ):
            assert found(word + digits) == [("credit-card", digits, digits)], word
    assert found("maestro 6761 0000 0006") == [("credit-card", "676100000006", "6761 0000 0006")]
    assert not found("discard 4222222222222") and not found("<CREDIT-CARD> 4222222222222")


@pytest.mark.parametrize(
    "text",
    [
        "ISBN 9783161484100, EAN 4006381333931, GTIN 00012345600012",
        "IMEI 490154203237518",
        "at 1700000000000 ms, 1700000000000000 us, 1700000000000000000 ns",
        "20240115103000 20240115103000123 2024-01-15 2024-01-16",
        "pi is 3.4111111111111111 and not .4111111111111111",
        "4111111111111111.5, x4111111111111111, 4111111111111111f, a_4111111111111111",
        "a1b2-4111111111111111, 4111111111111111-a1b2, 94111111111111111, 41111111111111110",
        "https://example.com/posts/4111111111111111/comments",
        "uuid 41111111-1111-1111-1111-111111111111",
        "0000000000000000 5555555555555555 4444 4444 4444 4444",
        "4111 1111 1111 1111 1200 and 1000 4111 1111 1111 1111",
        "card 000000000000, card 0000 0000 0000 0000",
        "4111 1111-1111 1111 and 41 11 11 11 11 11 11 11 and 4111  1111  1111  1111",
        "2048 4096 8192 16384 32768 65536 131072 262144 524288",
        "2^52 is 4503599627370496, 2^62 is 4611686018427387904",
        "<CREDIT-CARD> <CREDIT-CARD-abcdefghijkl>",
    ],
)
def test_other_numbers_stay(text):
    assert not found(text)


def test_of_random_numbers_with_a_networks_prefix_one_in_ten_is_a_card():
    """No better is possible: what has a network's prefix and the right check digit is one."""
    draw = random.Random(2)
    numbers = [f"{draw.randrange(10**16):016}" for _ in range(4000)]
    taken = sum(bool(card(number)) for number in numbers)
    prefixes = sum(bool(NETWORKS.fullmatch(number)) for number in numbers)
    assert 0.07 < taken / prefixes < 0.13
    assert taken == sum(len(found(number)) for number in numbers)


@pytest.mark.parametrize("printed", IBANS)
def test_the_registrys_examples_are_found_in_every_spelling(printed):
    number = printed.replace(" ", "")
    assert int("".join(str(int(place, 36)) for place in number[4:] + number[:4])) % 97 == 1
    for spelling in (printed, number, number.lower(), printed.replace(" ", "-")):
        for text in (
            f"IBAN: {spelling}.",
            f"von {spelling} an Anna nach dort",
            f"账户{spelling}，谢谢",
            f"({spelling})",
        ):
            assert found(text) == [("iban", number, spelling)], text
    for at in range(2, len(number)):
        wrong = (
            "0123456789"[int(number[at]) - 1]
            if number[at].isdigit()
            else "ZABCDEFGHIJKLMNOPQRSTUVWXY"[ord(number[at]) - 65]
        )
        assert not [kind for kind, *_ in found(number[:at] + wrong + number[at + 1 :]) if kind == "iban"]


def test_every_country_of_the_registry_has_its_length():
    """Account numbers of the structure in python-stdnum's copy of the registry, with every pair of check digits."""
    table = (importlib.resources.files("stdnum") / "iban.dat").read_text()
    structures = dict(re.findall(r'^([A-Z]{2}) .*bban="([^"]*)"', table, re.MULTILINE))
    assert IBAN_STRUCTURES.keys() == structures.keys()
    for country, structure in structures.items():
        account = "".join(
            {"n": "7", "a": "B", "c": "D"}[letter] * int(size)
            for size, letter in re.findall(r"(\d+)!([nac])", structure)
        )
        for check in range(2, 99):
            number = f"{country}{check:02}{account}"
            digits = int("".join(str(int(place, 36)) for place in account + number[:4]))
            assert bool(found(number)) == (digits % 97 == 1), number
            assert not [value for value in found(number + "0") if value[0] == "iban"]


def test_structures_and_check_digits_agree_with_python_stdnum():
    """Random account numbers with the right check digits: of their country's structure, and with one place changed."""
    draw, letters = random.Random(6), "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    characters = {"n": "0123456789", "a": letters, "c": "0123456789" + letters}
    answers = []
    for country, structure in IBAN_STRUCTURES.items():
        for _ in range(60):
            account = [
                draw.choice(characters[kind])
                for size, kind in re.findall(r"(\d+)([nac])", structure)
                for _ in range(int(size))
            ]
            if draw.random() < 0.6:
                account[draw.randrange(len(account))] = draw.choice(characters["c"])
            digits = int("".join(str(int(place, 36)) for place in "".join(account) + country + "00"))
            number = f"{country}{98 - digits % 97:02}{''.join(account)}"
            assert iban(number) == (number if stdnum_iban.is_valid(number, check_country=False) else ""), number
            answers.append(bool(iban(number)))
            assert not iban(f"{country}{97 - digits % 97:02}{''.join(account)}")
    assert 0.1 < sum(answers) / len(answers) < 0.9


@pytest.mark.parametrize(
    "text",
    [
        "https://example.com/DE89370400440532013000",
        "DE89370400440532013000x, xDE89370400440532013000, DE89370400440532013000-1",
        "DE8937040044053201300, DE893704004405320130000",
        "de12 this page was made here for what they want",
        "ZZ89370400440532013000",
        "<IBAN> <IBAN-abcdefghijkl>",
    ],
)
def test_what_is_no_bank_account_stays(text):
    assert not found(text)


def test_each_line_of_a_list_is_looked_at_by_itself():
    """The first has a wrong check digit, and stays."""
    listed = "4111 1111 1111 1112\n4012 8888 8888 1881\n5555-5555-5555-4444"
    assert Scrubber(ScrubSettings(kinds=["credit-card"])).scrub(listed).text == (
        "4111 1111 1111 1112\n<CREDIT-CARD>\n<CREDIT-CARD>"
    )
