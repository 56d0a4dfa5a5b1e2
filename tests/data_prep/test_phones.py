"""Proves which phone numbers are found: the examples that the package phonenumbers has of every country, as it writes
them, fictitious numbers that regulators keep free, and numbers of other things.
"""

from __future__ import annotations

import phonenumbers
import pytest
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from data_prep.phones import unknown_countries
from data_prep.pii import Scrubber
from data_prep.settings import ScrubSettings

COUNTRIES = ScrubSettings().phone_countries
STRICT = Scrubber(ScrubSettings(kinds=["phone"]))
LENIENT = Scrubber(ScrubSettings(kinds=["phone"], phone_matching="lenient"))
ORDINARY = (PhoneNumberType.FIXED_LINE, PhoneNumberType.MOBILE)


def examples(country):
    found = (phonenumbers.example_number_for_type(country, kind) for kind in ORDINARY)
    return [number for number in found if number]


@pytest.mark.parametrize("form", [PhoneNumberFormat.E164, PhoneNumberFormat.INTERNATIONAL, PhoneNumberFormat.RFC3966])
def test_every_countrys_example_is_found_with_its_country_code(form):
    """But for eight digits and less with the country's code: so short are dates, too."""
    missed = []
    for country in sorted(phonenumbers.SUPPORTED_REGIONS):
        for number in examples(country):
            written = phonenumbers.format_number(number, form)
            digits = phonenumbers.format_number(number, PhoneNumberFormat.E164)
            values = STRICT.find(f"Ask {written} today")
            if [found.value for found in values] != [digits] and len(digits) > 9:
                missed.append((country, written, values))
    assert missed == []


@pytest.mark.parametrize("country", COUNTRIES)
def test_a_configured_countrys_example_is_found_as_it_is_written_there(country):
    """Strictly where the shape tells it or a word does, else leniently: India's numbers have no mark of their own."""
    for number in examples(country):
        written = phonenumbers.format_number(number, PhoneNumberFormat.NATIONAL)
        assert STRICT.scrub(f"Tel.: {written}.").text == "Tel.: <PHONE>."
        assert LENIENT.scrub(f"It was {written} again.").text == "It was <PHONE> again."


@pytest.mark.parametrize(
    "written",
    [
        "(202) 555-0143",  # NANP's 555-01XX are kept for fiction
        "202-555-0143",
        "202.555.0143",
        "1-202-555-0143",
        "+1 (202) 555-0143 x123",
        "(202) 555-0143, ext. 55",
        "020 7946 0958",  # Ofcom's numbers for drama
        "07700 900123",
        "+44 (0)20 7946 0958",
        "01 99 00 12 34",  # Arcep's
        "06.39.98.12.34",
        "030 23125 123",  # Bundesnetzagentur's
        "030/23125123",
        "(11) 91234-5678",
        "13800138000",  # China Mobile's own service number
        "138-0013-8000",
        "138 0013 8000",
        "+86 138 0013 8000",
        "0086 138 0013 8000",
        "010-66666666",
        "(010) 66666666",
        "（010）66666666",
        "400-800-8820",
    ],
)
@pytest.mark.parametrize("around", ["{}", "Call {}.", "({})", "tel:{}", "x\n{}\ny", "“{}”", "联系{}谢谢", "{}; {}"])
def test_a_telling_shape_is_found_alone(written, around):
    if around == "({})" and "(" in written:
        return
    assert STRICT.scrub(around.format(written, written)).text == around.format("<PHONE>", "<PHONE>")


@pytest.mark.parametrize(
    "text",
    [
        "Phone: {}",
        "call me at {}",
        "You can call {}",
        "reach us on {}",
        "Fax {}",
        "Mobile: {}",
        "{} office",
        "{}-Fax",
        "Phone:\n{}",
        "电话{}",
        "手机号：{}",
        "Telefon {}",
    ],
)
@pytest.mark.parametrize("written", ["542-123-4567", "97 99 99 12", "0501 1136285", "1234567", "(99) 123-4567"])
def test_a_word_makes_a_number_of_any_country_one(text, written):
    assert STRICT.scrub(text.format(written)).text == text.format("<PHONE>")


NUMBERS_OF_OTHER_THINGS = [
    *("2024-01-02", "2024-01-02 10:11:12", "01.02.2024", "01/02/2024 10:11", "20240102101112", "1998-2003", "10-12-14"),
    *("ISBN 978-0-306-40615-7", "ISBN 0-306-40615-2", "ISSN 0378-5955", "doi:10.1000/182", "pp. 0123-4567"),
    *("zip 02134-1000", "v1.2.3.4567", "192.168.100.200", "8.8.8.8", "1.234.567,89", "1 234 567", "12,345,678"),
    *("0x0123456789", "0123456789abcdef", "#0123456789", "a0123456789", "id=0123456789", "0.123456789012"),
    *(
        "/2025550143/",
        "x-202-555-0143-y",
        "file_202-555-0143.txt",
        "$202.555.0143",
        "1e-202-555",
        "+1",
        "+12",
        "a+12345678",
    ),
    *("52.5200, 13.4050", "f(202) 555", "(1) 23 456", "100 200 300 400", "0 1 2 3 4 5 6 7 8 9", "00:11:22", "0755"),
    *("d2 04 0b 03 00 00 00 00", "<01 02 00 01 01>", "8b 83 3c 01 00 00 89 44"),
    *("0069 0307 0303", "0644 064A 0647", "- 19531250000*q**3", "+ 15931640625*p*q**6"),
    *("RFC 2821", "123-45-6789", "555-0143", "1-2-3-4-5-6-7", "0000 0000 0000", "12345678901234567890", "99999999"),
]


@pytest.mark.parametrize("text", NUMBERS_OF_OTHER_THINGS)
def test_numbers_of_other_things_stay(text):
    assert STRICT.scrub(text).text == text
    assert STRICT.scrub(f"In {text}, and more.").text == f"In {text}, and more."


@pytest.mark.parametrize(
    ("text", "scrubbed"),
    [
        ("Jo,650-253-0000,CA", "Jo,<PHONE>,CA"),
        ("Jo,13800138000,Beijing", "Jo,<PHONE>,Beijing"),
        ("13800138000,13900139000", "<PHONE>,<PHONE>"),
        ("手机13800138000/13900139000", "手机<PHONE>/<PHONE>"),
        ("QQ：13800138000", "QQ：<PHONE>"),
        ("13800138000 13900139000", "<PHONE> <PHONE>"),
        ("650-253-0000 650-253-0001", "<PHONE> <PHONE>"),
        ("2024-01-02 13800138000", "2024-01-02 <PHONE>"),
        ("10:30 13800138000", "10:30 <PHONE>"),
        ("1 13800138000", "1 <PHONE>"),
        ("13800138000 24/7", "<PHONE> 24/7"),
        ("650-253-0000 24 hours", "<PHONE> 24 hours"),
        ("——13800138000 （Ａ）", "——<PHONE> （Ａ）"),
    ],
)
def test_a_number_in_a_row_of_fields_is_found(text, scrubbed):
    assert STRICT.scrub(text).text == scrubbed


@pytest.mark.parametrize("digits", ["001" + "2" * 87, "+1" + "2" * 117, "00110101" * 14, "+22684634632439009E-3"])
def test_a_long_run_of_digits_is_no_number_and_ends(digits):
    """Trying all ways to cut it into groups would take minutes."""
    assert STRICT.scrub(f"{digits} " * 100).text == f"{digits} " * 100


def test_what_no_exchange_can_have_stays():
    """NANP: neither area nor exchange begins with 0 or 1; 555-01XX apart, 555 is no area."""
    for text in ("(102) 555-0143", "202-155-0143", "(555) 555-0143", "011-202-555"):
        american = Scrubber(ScrubSettings(kinds=["phone"], phone_countries=["US"]))
        assert american.scrub(f"It was {text}.").text == f"It was {text}."


def test_only_the_configured_countries_national_numbers():
    british = Scrubber(ScrubSettings(kinds=["phone"], phone_countries=["GB"]))
    assert british.scrub("020 7946 0958, 202-555-0143, 13800138000, +86 138 0013 8000").text == (
        "<PHONE>, 202-555-0143, 13800138000, <PHONE>"
    )


def test_all_spellings_have_one_canonical_form():
    spellings = ["+86 138 0013 8000", "0086 138 0013 8000", "13800138000", "138-0013-8000", "tel:+8613800138000"]
    assert {found.value for spelling in spellings for found in STRICT.find(spelling)} == {"+8613800138000"}


def test_countries_are_known_by_their_iso_codes():
    assert unknown_countries(["US", "UK", "CN", "XX"]) == ["UK", "XX"]
