"""Payment card numbers and international bank account numbers."""

from __future__ import annotations

import re
from collections import defaultdict

from data_prep.recognizer import Recognizer

# What may not stand beside a number: more of a word, path, decimal or hyphened name that it is a part of.
BEFORE = rb"(?<![\w+/-])(?<![^A-Za-z]\.)"
AFTER = rb"(?!\w|[.-]\w)"
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
# IBAN registry (SWIFT, release 101; ISO 13616): countries and the length of all their account numbers
IBAN_LENGTHS = {
    country: int(length)
    for length, countries in (
        row.split(": ")
        for row in (
            "15: NO",
            "16: BE",
            "18: DK FI FK FO GL NL SD",
            "19: MK SI",
            "20: AT BA EE KZ LT LU MN XK",
            "21: CH HR LI LV",
            "22: BG BH CR DE GB GE IE ME RS VA",
            "23: AE GI IL IQ OM SO TL",
            "24: AD CZ ES MD PK RO SA SE SK TN VG",
            "25: LY PT ST",
            "26: IS TR",
            "27: BI DJ FR GR IT MC MR SM",
            "28: AL AZ BY CY DO GT HN HU LB NI PL SV",
            "29: BR EG PS QA UA",
            "30: JO KW MU YE",
            "31: MT SC",
            "32: LC",
            "33: RU",
        )
    )
    for country in countries.split()
}


def luhn(digits: str) -> bool:
    """Whether the last digit is the check digit of the others (ISO/IEC 7812-1, annex B).

    >>> luhn("4111111111111111"), luhn("4111111111111112")
    (True, False)
    """
    doubled = "0246813579"  # of a digit, its two digits added
    return (sum(map(int, digits[-1::-2])) + sum(int(doubled[int(digit)]) for digit in digits[-2::-2])) % 10 == 0


def card(text: str) -> str:
    """The digits of a card number, "" of what no network gives out.

    >>> card("5555-5555-5555-4444"), card("5555-5555-5555-4445"), card("9555555555554444")
    ('5555555555554444', '', '')
    """
    digits = re.sub("[ -]", "", text)
    return digits if NETWORKS.fullmatch(digits) and luhn(digits) else ""


def named_card(text: str) -> str:
    """The digits of what is called a card's number: every issuer's, of any length that the standard allows."""
    digits = re.sub("[ -]", "", text)
    return digits if 12 <= len(digits) <= 19 and luhn(digits) and len(set(digits)) > 1 else ""


def iban(text: str) -> str:
    """The account number without spaces in upper case, "" of what fails its check digits or its country's structure.

    Checks inside the national part are left out: they differ by bank and age, and the remainder by 97 is enough.

    >>> iban("gb29 nwbk 6016 1331 9268 19"), iban("GB29 NWBK 6016 1331 9268 18")
    ('GB29NWBK60161331926819', '')
    """
    from stdnum import iban as registry  # here: its table takes 7 ms to read, for what few documents hold

    number = re.sub("[ -]", "", text).upper()
    return number if registry.is_valid(number, check_country=False) else ""


def iban_pattern() -> bytes:
    """Country by length, then groups of four with or without one separator, since only the country tells the end."""
    by_length = defaultdict(list)
    for country, length in IBAN_LENGTHS.items():
        by_length[length].append(country)
    ways = []
    for length, countries in by_length.items():
        groups, rest = divmod(length - 4, 4)
        tail = rf"[ -]?[A-Z0-9]{{{rest}}}" if rest else ""
        ways.append(rf"(?:{'|'.join(countries)})[0-9]{{2}}(?:[ -]?[A-Z0-9]{{4}}){{{groups}}}{tail}")
    return f"(?i:{'|'.join(ways)})".encode()


# In a table of four-digit numbers one in forty sixteens would pass: such a neighbour must be a year.
NO_TABLE_BEFORE = rb"(?<!(?<![0-9])(?!19|20)[0-9]{4}[ -])"
NO_TABLE_AFTER = rb"(?![ -][0-9]{4}(?![0-9]))"
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
        + "|".join(IBAN_LENGTHS).encode()
        + rb")[0-9]{2}(?:[ -]?[A-Za-z0-9]{4}){2,7}(?:[ -]?[A-Za-z0-9]{1,3})?\b",
        re.compile(rb"(?<![\w/-])" + iban_pattern() + rb"(?!\w|-\w)"),
        iban,
        "fails its check digits or its country's structure (ISO 13616)",
    ),
)
