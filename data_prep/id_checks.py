"""Whether a national identification number is one: its canonical form, or "".

Most algorithms are python-stdnum's; those that it lacks are here.
"""

from __future__ import annotations

import datetime
import re
from functools import cache
from operator import mul
from typing import Any


@cache
def module(name: str) -> Any:
    """python-stdnum's module of a country's number: `nl.bsn`."""
    from stdnum.util import get_cc_module  # here: it takes 25 ms, and each number's own code 2, that few documents need

    return get_cc_module(*name.split(".", 1))


SEPARATORS = str.maketrans("", "", " ./()-")


def compact(text: str) -> str:
    return text.translate(SEPARATORS).upper()


def by_stdnum(name: str, text: str) -> str:
    """The number without separators, "" of what python-stdnum's module of that name rejects.

    >>> by_stdnum("nl.bsn", "1112.22.333"), by_stdnum("nl.bsn", "111222334")
    ('111222333', '')
    """
    from stdnum.exceptions import ValidationError

    number = compact(text)
    try:
        return str(module(name).validate(number)) if len(set(number)) > 1 else ""
    except ValidationError:
        return ""


PUBLISHED = {"078051120", "219099999", "457555462"}  # in a wallet, a leaflet and advertisements: nobody's any more


def american(text: str) -> str:
    """A Social Security number: all areas are given out but 000, 666 and 900 to 999, and no part is nought (SSA).

    >>> american("536-90-4399"), american("666-90-4399")
    ('536904399', '')
    """
    number = compact(text)
    area = number[:3] not in ("000", "666") and number[0] != "9"
    given = area and number[3:5] != "00" and number[5:] != "0000" and number not in PUBLISHED
    return number if given and len(set(number)) > 1 else ""


def brazilian(text: str) -> str:
    """A taxpayer number: its last two digits are remainders by eleven, ten of which is written as nought.

    >>> brazilian("390.533.447-05"), brazilian("390.533.447-15")
    ('39053344705', '')
    """
    number = compact(text)
    digits = [int(digit) for digit in number]
    for size in (9, 10):
        total = sum(map(mul, digits, range(size + 1, 1, -1)))
        if total * 10 % 11 % 10 != digits[size]:
            return ""
    return number if len(set(number)) > 1 else ""


def finnish(text: str) -> str:
    """A henkilötunnus, whose sign tells the century."""
    return text.upper() if module("fi.hetu").is_valid(text) else ""


def swedish(text: str) -> str:
    """A personnummer without its century, which not all spellings have."""
    return compact(by_stdnum("se.personnummer", text))[-10:]


CHINESE_PROVINCES = {  # GB/T 2260
    *("11", "12", "13", "14", "15", "21", "22", "23", "31", "32", "33", "34", "35", "36", "37", "41", "42", "43", "44"),
    *("45", "46", "50", "51", "52", "53", "54", "61", "62", "63", "64", "65", "71", "81", "82", "83"),
}


def chinese(text: str) -> str:
    """A resident identity number (GB 11643): province, birthday and, in the present 18 places, the check digit.

    Districts are not looked up: they change every year.

    >>> chinese("11010519491231002X"), chinese("110105194912310021")
    ('11010519491231002X', '')
    """
    number = compact(text)
    birthday = number[6:14] if len(number) == 18 else f"19{number[6:12]}"
    try:
        datetime.date(int(birthday[:4]), int(birthday[4:6]), int(birthday[6:]))
    except ValueError:
        return ""
    wrong = len(number) == 18 and module("cn.ric").calc_check_digit(number) != number[-1]
    return number if number[:2] in CHINESE_PROVINCES and not wrong else ""


def british(text: str) -> str:
    """A National Insurance number without its suffix, which not all write; HMRC's manual (NIM39110) names the prefixes
    that are not given out.

    >>> british("AB 12 34 56 C"), british("BG 12 34 56 C")
    ('AB123456', '')
    """
    number = compact(text)[:8]
    return number if number[:2] not in {"BG", "GB", "KN", "NK", "NT", "TN", "ZZ"} else ""


def hong_kong(text: str) -> str:
    """An identity card number: letters count from A = 10, a missing first one is 36, and the sum is divisible by 11.

    >>> hong_kong("G123456(A)"), hong_kong("G123456(1)")
    ('G123456A', '')
    """
    number = compact(text)
    places = [36] * (9 - len(number)) + [int(place, 36) for place in number]
    return number if sum(place * (9 - at) for at, place in enumerate(places)) % 11 == 0 else ""


def singaporean(text: str) -> str:
    """An NRIC or FIN: the letter at the end is the check, in a row of its own for each letter at the beginning.

    >>> singaporean("S1234567D"), singaporean("S1234567A")
    ('S1234567D', '')
    """
    number = text.upper()
    total = sum(int(digit) * weight for digit, weight in zip(number[1:8], (2, 7, 6, 5, 4, 3, 2), strict=True))
    letters = {"S": "JZIHGFEDCBA", "T": "GFEDCBAJZIH", "F": "XWUTRQPNMLK", "G": "RQPNMLKXWUT"}[number[0]]
    return number if letters[total % 11] == number[-1] else ""


def taiwanese(text: str) -> str:
    """A national identification card number: the letter stands for two digits, and the weighted sum for a whole ten.

    >>> taiwanese("A123456789"), taiwanese("A123456788")
    ('A123456789', '')
    """
    number = text.upper()
    letter = "ABCDEFGHJKLMNPQRSTUVXYWZIO".index(number[0]) + 10
    digits = [letter // 10, letter % 10, *map(int, number[1:])]
    total = sum(digit * weight for digit, weight in zip(digits, (1, 9, 8, 7, 6, 5, 4, 3, 2, 1, 1), strict=True))
    return number if total % 10 == 0 else ""


def shaped(text: str) -> str:
    """A number without a check digit that outsiders know."""
    return compact(text)


def document(text: str) -> str:
    """A passport's or licence's number: at least five digits, and not a date."""
    number = compact(text)
    digits = re.sub("[A-Z]", "", number)
    date = re.fullmatch("(?:19|20)[0-9]{2}(?:0[1-9]|1[0-2])(?:0[1-9]|[12][0-9]|3[01])", number)
    return number if len(digits) >= 5 and len(set(digits)) > 1 and not date else ""
