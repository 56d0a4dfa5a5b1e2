"""Phone numbers: shapes and words say where one may be, the package phonenumbers (Google's metadata) whether it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache, lru_cache, partial

import phonenumbers

from data_prep.recognizer import Recognizer

FEWEST_DIGITS, MOST_DIGITS = 7, 15  # of what a word calls a phone number (ITU-T E.164: 15 with the country's code)
NORTH_AMERICA = frozenset(phonenumbers.COUNTRY_CODE_TO_REGION_CODE[1])

# part of a name, path, decimal, hash or of thousands
BEFORE = rb"(?<![\w+=#$&%*^-])(?<![^0-9]/)(?<!\w\.)(?<![0-9]:)(?<![0-9],(?=[0-9]{3}(?![0-9])))"
AFTER = rb"(?![\w%*^]|[.:=-][0-9]|,[0-9]{3}(?![0-9])|/[0-9]{1,2}(?![0-9]))"
# Of what has groups between spaces: a part of a row of numbers, of bytes or letters in hexadecimal
LONELY = rb"(?<![0-9]{2} )(?<![0-9][A-Fa-f] )(?<!<)(?![0-9 ]{2,8} 00 00)"
NO_ROW = rb"(?! [0-9]{2}| [0-9]{1,3}[A-F])"
NO_DATE = (
    rb"(?!(?:19|20)[0-9]{2}[./-][0-9]{1,2}[./-][0-9]{1,2}(?![0-9])|0[0-9]{3} 0[0-9]{3})"  # the last: code points
    rb"(?![0-3]?[0-9][./-][0-3]?[0-9][./-](?:19|20)?[0-9]{2}(?![./-]?[0-9]))"
)
NO_ZIP = rb"(?![0-9]{5}-[0-9]{4}\b)"  # as the US Postal Service writes it
LONG_ENOUGH = rb"(?=[(+]?[0-9](?:[ ()./-]{0,3}[0-9]){8})"  # nine digits: eight are a date's, an ISSN's or pages'
EXTENSION = (
    rb"(?i:[ ,;]{0,2}(?:x|ext(?:ension|n)?\.?|#|poste|durchwahl|\xe8\xbd\xac|\xe5\x88\x86\xe6\x9c\xba) ?[0-9]{1,6})?"
)

GROUPS = rb"(?:[ ./-]{1,2}[0-9]{1,12}|[ ./-]{0,2}\([0-9]{1,5}\)[ ./-]{0,2}[0-9]{1,12}){0,6}"
INTERNATIONAL = rb"(?:\+|\b00) ?(?:\([1-9][0-9]{0,3}\)[ ./-]{0,2}[0-9]{1,12}|[1-9][0-9]{0,14})" + GROUPS
# National shapes that hardly anything else has: an area code in brackets, a trunk prefix 0 before groups, North
# America's groups between hyphens or dots, China's mobile and service numbers
BRACKETS = rb"\(0?[1-9][0-9]{0,4}\)[ -]?[0-9]{2,8}(?:[ .-][0-9]{2,5}){0,3}"
TRUNK = rb"\b0[1-9][0-9]{0,4}(?:[ -][0-9]{2,8}){1,4}|\b0[1-9](?:\.[0-9]{2}){4}|\b0[1-9][0-9]{1,4}/[0-9]{4,8}"
AMERICAN = rb"\b(?:1[-. ])?[2-9][0-9]{2}(?:-[2-9][0-9]{2}-|\.[2-9][0-9]{2}\.)[0-9]{4}"
CHINESE = rb"\b1[3-9][0-9](?:[0-9]{8}|-[0-9]{4}-[0-9]{4})|\b[48]00-[0-9]{3}-?[0-9]{4}"
CHINESE_GROUPS = rb"\b1[3-9][0-9] [0-9]{4} [0-9]{4}|\b[48]00 [0-9]{3} [0-9]{4}"
# Leniently: groups of any kind, and bare digits
LOOSE = rb"\b[0-9]{2,5}(?:[ .-][0-9]{2,5}){1,4}|\b[0-9]{10,11}\b"
ANY = rb"\+?(?:\([0-9]{1,5}\)[ ./-]{0,2}[0-9]{1,12}|[0-9]{1,15})" + GROUPS

# Words that say that a number behind them is a phone's, or one before them
BEFORE_ONE = (
    r"(?:\b|_)(?:(?:(?:tele|cell|smart)?phones?|tel|mobile (?:no|num|phone)|(?:tele)?fax|whatsapp|hotline|voicemail|sms"
    r"|(?:call|ring|text|phone|reach|contact)(?:ing)? (?:me|us|him|her|them|back|on|at)|(?:can|please|just|or) call"
    r"|answering at|messages? to|telefon|telefonnummer|telefoon|telefono|telefone|tel(?:e|é|É)fono|celular"
    r"|t(?:e|é|É)l(?:e|é|É)phone)(?:\b|_)|(?:mobile|mobil|portable|handy|cell|desk|office|home|work) ?:)"
    r"|телефон|Телефон|电话|電話|手机|手機|传真|傳真|联系方式|联系人|座机|拨打|致电|热线|携帯|전화"
)
BEHIND_ONE = r"[ -]{1,2}\(?(?:office|fax|mobile|cell|home|work|desk|direct)\b"
GAP = rb"[^0-9<>\n]{0,24}(?:\n[ *-]{0,4})?"


@lru_cache(1 << 14)
def country_number(text: str, countries: tuple[str, ...], *, lenient: bool) -> str:
    """The number in E.164's form, or "" of what none of the countries gives out (leniently: can give out).

    >>> country_number("(650) 253-0000", ("US",), lenient=False)
    '+16502530000'
    """
    if text.startswith("00"):
        text = f"+{text[2:].lstrip()}"
    fits = phonenumbers.is_possible_number if lenient else phonenumbers.is_valid_number
    digits = digits_of(text)
    for country in countries:
        if not lenient and text[0] != "+" and not may_be_of(country, digits):
            continue
        try:
            number = phonenumbers.parse(text, country)
        except phonenumbers.NumberParseException:
            continue
        if fits(number) and (lenient or text[0] == "+" or written_at_home(number, country, digits)):
            return f"+{number.country_code}{phonenumbers.national_significant_number(number)}"
    return ""


@cache
def numbering_plan(country: str) -> tuple[re.Pattern[str] | None, str]:
    """What all numbers of a country look like (None: with what may stand before them they change), and its trunk
    prefix."""
    plan = phonenumbers.PhoneMetadata.metadata_for_region(country)
    assert plan and plan.general_desc and plan.general_desc.national_number_pattern, country
    trunk = plan.national_prefix or ""
    changes = plan.national_prefix_transform_rule or plan.national_prefix_for_parsing not in (None, trunk)
    return (None if changes else re.compile(plan.general_desc.national_number_pattern)), trunk


def may_be_of(country: str, digits: str) -> bool:
    """False where `phonenumbers` would say so, too, in fifty times as long."""
    pattern, trunk = numbering_plan(country)
    return pattern is None or any(pattern.fullmatch(way) for way in (digits, digits.removeprefix(trunk)))


def written_at_home(number: phonenumbers.PhoneNumber, country: str, digits: str) -> bool:
    """Whether a national number has its trunk prefix where its country writes one (North America's 1 may be left
    out)."""
    trunk = numbering_plan(country)[1]
    if digits == trunk + phonenumbers.national_significant_number(number) or trunk == "1":
        return True
    return digits == digits_of(phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.NATIONAL))


def digits_of(text: str) -> str:
    """Without an extension's."""
    return re.sub(r"\D", "", re.split("[xXe#,]", text)[0])


def named_number(text: str, countries: tuple[str, ...]) -> str:
    """The number in E.164's form; of what no country gives out, and could be dialled, the digits."""
    digits = digits_of(text)
    if not FEWEST_DIGITS <= len(digits) <= MOST_DIGITS or len(set(digits)) == 1:
        return ""
    return country_number(text, countries, lenient=False) or digits


def unknown_countries(countries: Sequence[str]) -> list[str]:
    return [country for country in countries if country not in phonenumbers.SUPPORTED_REGIONS]


def recognizers(countries: Sequence[str], *, lenient: bool) -> tuple[Recognizer, ...]:
    """Of numbers that begin with + or 00 and a country's code, of the countries' own shapes, and of whatever a word
    calls a phone number."""
    known = tuple(countries)
    alone = [AMERICAN] if NORTH_AMERICA & set(known) else []
    lonely = [BRACKETS, TRUNK]
    if "CN" in known:
        alone, lonely = [*alone, CHINESE], [*lonely, CHINESE_GROUPS]
    anywhere = partial(country_number, countries=("ZZ",), lenient=lenient)
    national = partial(country_number, countries=known, lenient=lenient)
    valid = partial(country_number, countries=known, lenient=False)
    nobody = "is no number that one of scrub.phone_countries gives out"
    found = [shaped(INTERNATIONAL, anywhere, "is no country's number", hint=PLUS)]
    found += [shaped(shape, national, nobody, hint=shape) for shape in alone]
    found += [shaped(shape, national, nobody, hint=shape, lonely=True) for shape in lonely]
    found += [shaped(LOOSE, valid, nobody, hint=LOOSE, lonely=True)] if lenient else []
    return (*found, *named(partial(named_number, countries=known)))


PLUS = rb"(?:\+|\b00) ?\(?[1-9](?:[ ()./-]*[0-9]){6}"


def shaped(shape: bytes, valid: Callable[[str], str], wants: str, hint: bytes, *, lonely: bool = False) -> Recognizer:
    """For what its shape tells; `lonely` where it must be no part of a row of numbers."""
    before, after = (BEFORE + LONELY, AFTER + NO_ROW) if lonely else (BEFORE, AFTER)
    value = before + NO_DATE + NO_ZIP + LONG_ENOUGH + rb"(?:" + shape + rb")" + EXTENSION + after
    return Recognizer("phone", rb"(?:" + shape + rb")" + EXTENSION, re.compile(value), valid, wants, hint=hint)


def named(valid: Callable[[str], str]) -> tuple[Recognizer, Recognizer]:
    """For what a word tells, before the number or behind it."""
    before, behind = (rb"(?i:" + words.encode() + rb")" for words in (BEFORE_ONE, BEHIND_ONE))
    wants = f"has fewer than {FEWEST_DIGITS} or more than {MOST_DIGITS} digits"
    number = rb"(?<![\w.+(])" + NO_DATE + ANY + EXTENSION + rb"(?![\w%]|[.,:=-][0-9])"  # behind the region's word
    labelled = BEFORE + LONELY + rb"(?P<value>" + NO_DATE + ANY + EXTENSION + rb")"
    return (
        Recognizer(
            "phone",
            before + GAP + rb"[+(]{0,2}[0-9][0-9 ()./-]*" + EXTENSION,
            re.compile(number),
            valid,
            wants,
            hint=before,
        ),
        Recognizer(
            "phone",
            rb"[0-9+(][0-9 ()./-]*" + EXTENSION + behind,
            re.compile(labelled + behind),
            valid,
            wants,
            hint=rb"[0-9]" + behind,
        ),
    )
