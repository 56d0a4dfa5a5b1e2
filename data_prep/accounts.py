"""Payment card numbers and international bank account numbers."""

from __future__ import annotations

import re
from collections import defaultdict
from functools import cache

from data_prep.recognizer import Recognizer

# What may not stand beside a number: more of a word, path, decimal or hyphened name that it is a part of.
BEFORE = rb"(?<![\w+/-])(?<![^A-Za-z]\.)"
AFTER = rb"(?!\w|[.-]\w|\*)"
# From a word of context to the number: no other number, and nothing of a placeholder that names a kind.
GAP = rb"[^0-9<>]{0,32}"

# Issuer identification numbers (ISO/IEC 7812) and the lengths that each network gives out.
NETWORKS = re.compile(
    r"4(?:\d{12}|\d{15}|\d{18})"  # Visa
    r"|(?:5[1-5]\d\d|222[1-9]|22[3-9]\d|2[3-6]\d\d|27[01]\d|2720)\d{12}"  # Mastercard
    r"|3[47]\d{13}"  # American Express
    r"|(?:6011|64[4-9]\d|65\d\d)\d{12}(?:\d{3})?"  # Discover, RuPay
    r"|(?:30[0-5]\d|3095|3[689]\d\d)\d{10}"  # Diners Club
    r"|35(?:2[89]|[3-8]\d)\d{12}|(?:2131|1800)\d{11}"  # JCB, with its old fifteen digits
    r"|62\d{14,17}"  # UnionPay
    r"|220[0-4]\d{12}"  # Mir
    r"|(?:5018|5020|5038|5893|6304|6390|6759|676[1-3])\d{8,15}"  # Maestro
)
CARD_WORDS = (
    rb"(?:(?:\b|_)(?i:(?:credit|debit|bank)?cards?|visa|amex|american express|maestro|discover|diners|jcb|cc|rupay"
    rb"|(?:kredit)?karte|carte|carta|tarjeta|cart\xc3\xa3o)(?:\b|_)"
    rb"|\xe5\x8d\xa1|\xe3\x82\xab\xe3\x83\xbc\xe3\x83\x89|\xe9\x93\xb6\xe8\x81\x94)"  # Chinese, Japanese, UnionPay
)
# IBAN registry (SWIFT, release 101; ISO 13616): each country and its account numbers' structure: n digits, a capitals,
# c both
IBAN_STRUCTURES = dict(
    re.findall(
        r"([A-Z]{2})(\w+)",
        "AD8n12c AE19n AL8n16c AT16n AZ4a20c BA16n BE12n BG4a6n8c BH4a14c BI23n BR23n1a1c BY4c4n16c CH5n12c CR18n "
        "CY8n16c CZ20n DE18n DJ23n DK14n DO4c20n EE16n EG25n ES20n FI14n FK2a12n FO14n FR10n11c2n GB4a14n GE2a16n "
        "GI4a15c GL14n GR7n16c GT24c HN4a20n HR17n HU24n IE4a14n IL19n IQ4a15n IS22n IT1a10n12c JO4a4n18c KW4a22c "
        "KZ3n13c LB4n20c LC4a24c LI5n12c LT16n LU3n13c LV4a13c LY21n MC10n11c2n MD20c ME18n MK3n10c2n MN16n MR23n "
        "MT4a5n18c MU4a19n3a NI4a20n NL4a10n NO11n OM3n16c PK4a16c PL24n PS4a21c PT21n QA4a21c RO4a16c RS18n RU14n15c "
        "SA2n18c SC4a20n3a SD14n SE20n SI15n SK20n SM1a10n12c SO19n ST21n SV4a20n TL19n TN20n TR6n16c UA6n19c VA18n "
        "VG4a16n XK16n YE4a4n18c",
    )
)
CHARACTERS = {"n": "0-9", "a": "A-Z", "c": "0-9A-Z"}
SEPARATORS = str.maketrans("", "", " -")
DOUBLED = str.maketrans("0123456789", "0246813579")  # of each digit's double, the digits added
TO_NUMBER = {ord(letter): str(number) for number, letter in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 10)}  # ISO 13616


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B).

    >>> luhn("4111111111111111"), luhn("4111111111111112")
    (True, False)
    """
    return (sum(map(int, digits[-1::-2])) + sum(map(int, digits[-2::-2].translate(DOUBLED)))) % 10 == 0


def card(text: str) -> str:
    """The digits of a card number, "" of what no network gives out.

    >>> card("5555-5555-5555-4444"), card("5555-5555-5555-4445"), card("9555555555554444")
    ('5555555555554444', '', '')
    """
    digits = text.translate(SEPARATORS)
    return digits if NETWORKS.fullmatch(digits) and luhn(digits) else ""


def named_card(text: str) -> str:
    """The digits of what is called a card's number: every issuer's, of any length that the standard allows."""
    digits = text.translate(SEPARATORS)
    return digits if 12 <= len(digits) <= 19 and luhn(digits) and len(set(digits)) > 1 else ""


def iban(text: str) -> str:
    """The account number without spaces in upper case, "" of what fails its check digits or its country's structure.

    Checks inside the national part are left out: they differ by bank and age, and the remainder by 97 is enough.

    >>> iban("gb29 nwbk 6016 1331 9268 19"), iban("GB29 NWBK 6016 1331 9268 18")
    ('GB29NWBK60161331926819', '')
    """
    number = text.translate(SEPARATORS).upper()
    right = int((number[4:] + number[:4]).translate(TO_NUMBER)) % 97 == 1
    return number if right and account_shape(number[:2]).fullmatch(number, 4) else ""


@cache
def account_shape(country: str) -> re.Pattern[str]:
    """What a country's account numbers look like."""
    parts = re.findall(r"(\d+)([nac])", IBAN_STRUCTURES[country])
    return re.compile("".join(f"[{CHARACTERS[kind]}]{{{size}}}" for size, kind in parts))


def iban_pattern() -> bytes:
    """Country by length, then groups of four with or without one separator, since only the country tells the end."""
    by_length = defaultdict(list)
    for country, structure in IBAN_STRUCTURES.items():
        by_length[4 + sum(map(int, re.findall(r"\d+", structure)))].append(country)
    ways = []
    for length, countries in by_length.items():
        groups, rest = divmod(length - 4, 4)
        tail = rf"[ -]?[A-Z0-9]{{{rest}}}" if rest else ""
        ways.append(rf"(?:{'|'.join(countries)})[0-9]{{2}}(?:[ -]?[A-Z0-9]{{4}}){{{groups}}}{tail}")
    return f"(?i:{'|'.join(ways)})".encode()


# In a table of four-digit numbers one in forty sixteens would pass: such a neighbour must be a year.
NO_TABLE_BEFORE = rb"(?<!(?<![0-9])(?!19|20)[0-9]{4}[ -])(?<![0-9][A-F][ \n])"
NO_TABLE_AFTER = rb"(?![ -][0-9]{4}(?![0-9])|[ \n][0-9]{1,4}[A-F])"
CARD_WANTS = "is of no payment network or fails the check digit (ISO/IEC 7812-1)"
CARD_GROUPS = (
    rb"[2-6][0-9]{3}(?P<a>[ -])[0-9]{4}(?P=a)[0-9]{4}(?P=a)[0-9]{4}"
    rb"|(?:3[0-9]|18|21)[0-9]{2}(?P<b>[ -])[0-9]{6}(?P=b)[0-9]{4,5}|62[0-9]{4}(?P<c>[ -])[0-9]{13}"
)
LONG_GROUPS = rb"[456][0-9]{3}(?P<a>[ -])[0-9]{4}(?P=a)[0-9]{4}(?P=a)[0-9]{4}(?P=a)[0-9]{3}"
NAMED_GROUPS = rb"[0-9]{12,19}|[0-9]{4}(?P<a>[ -])[0-9]{3,4}(?P=a)[0-9]{3,4}(?:(?P=a)[0-9]{3,4})?"

RECOGNIZERS = (
    Recognizer(
        "credit-card",
        rb"\b(?:3[04-9][0-9]{12,14}|(?:2[2-7]|[456][0-9])[0-9]{14}|62[0-9]{17}|(?:1800|2131)[0-9]{11})\b",
        re.compile(BEFORE + rb"(?:[0-9]{14,16}|[0-9]{19})" + AFTER),
        card,
        CARD_WANTS,
    ),
    Recognizer(
        "credit-card",
        rb"\b[0-9]{4}[ -](?:[0-9]{4,6}[ -])+[0-9]{4,5}\b|\b62[0-9]{4}[ -][0-9]{13}\b",
        re.compile(BEFORE + NO_TABLE_BEFORE + rb"(?:" + CARD_GROUPS + rb")" + NO_TABLE_AFTER + AFTER),
        card,
        CARD_WANTS,
    ),
    Recognizer(
        "credit-card",
        rb"\b[0-9]{4}[ -](?:[0-9]{4}[ -]){3,}[0-9]{3}\b",
        re.compile(BEFORE + NO_TABLE_BEFORE + LONG_GROUPS + AFTER),
        card,
        CARD_WANTS,
    ),
    Recognizer(
        "credit-card",  # lengths that timestamps, 64-bit numbers and goods' codes have, too
        CARD_WORDS + GAP + rb"(?:[0-9]{12,19}|[0-9]{4}(?:[ -][0-9]{3,4}){2,3})",
        re.compile(CARD_WORDS + GAP + rb"(?<![\w.])(?P<value>" + NAMED_GROUPS + rb")(?![ -]?[0-9]{4})" + AFTER),
        named_card,
        "fails the check digit (ISO/IEC 7812-1)",
        hint=rb"[0-9]{12}|[0-9]{4}[ -][0-9]{3,4}[ -][0-9]{3,4}",
    ),
    Recognizer(
        "iban",
        rb"\b(?i:"
        + "|".join(IBAN_STRUCTURES).encode()
        + rb")[0-9]{2}(?:[ -]?[A-Za-z0-9]{4}){2,7}(?:[ -]?[A-Za-z0-9]{1,3})?\b",
        re.compile(rb"(?<![\w/-])" + iban_pattern() + rb"(?!\w|-\w)"),
        iban,
        "fails its check digits or its country's structure (ISO 13616)",
        hint=rb"\b[A-Za-z]{2}[0-9]{2}[ -]?[A-Za-z0-9]{4}[ -]?[A-Za-z0-9]{4}",
    ),
)
