"""Labelled text for benchmarks/scrub.py: lists of contacts and Chinese sentences, with values made up for them.

Values are random and have right check digits; they belong to nobody but by accident. Whether a value is one is told by
`VALID`, which asks other libraries, not data_prep's own code.
"""

from __future__ import annotations

import ipaddress
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from email.errors import MessageError
from email.headerregistry import Address

import phonenumbers
import stdnum.br.cpf
import stdnum.cn.ric
import stdnum.iban
import stdnum.luhn
import stdnum.us.ssn

COUNTRIES = ("US", "GB", "CN", "IN", "BR", "FR", "DE")  # whose national formats of phone numbers count as valid


@dataclass(frozen=True)
class Label:
    start: int  # in characters
    end: int
    kind: str
    value: str  # without what disguises it


@dataclass(frozen=True)
class Labelled:
    text: str
    labels: tuple[Label, ...]


def is_email(value: str) -> bool:
    """RFC 5322's form, in a domain of several names of which the last is of letters."""
    try:
        domain = Address(addr_spec=value).domain
    except (MessageError, ValueError, IndexError):
        return False
    return bool(re.fullmatch(r"(?:[^\W_](?:[\w-]*[^\W_])?\.)+[^\W\d_]{2,}", domain))


def is_public_address(value: str) -> bool:
    try:
        return ipaddress.ip_address(value).is_global
    except ValueError:
        return False


def is_phone(value: str) -> bool:
    """In use, by its country code or in one of `COUNTRIES`."""
    for country in (None,) if value.startswith("+") else COUNTRIES:
        try:
            if phonenumbers.is_valid_number(phonenumbers.parse(value, country)):
                return True
        except phonenumbers.NumberParseException:
            pass
    return False


VALID: dict[str, Callable[[str], bool]] = {
    "email": is_email,
    "ip": is_public_address,
    "credit-card": lambda value: stdnum.luhn.is_valid(re.sub("[ -]", "", value)),
    "iban": lambda value: stdnum.iban.is_valid(value.upper()),
    "us-ssn": stdnum.us.ssn.is_valid,
    "cn-resident-id": stdnum.cn.ric.is_valid,
    "phone": is_phone,
}


def digits(chance: random.Random, count: int) -> str:
    return "".join(chance.choice("0123456789") for _ in range(count))


def letters(chance: random.Random, count: int) -> str:
    return "".join(chance.choice("ABCDEFGHJKLMNPRSTUVWXYZ") for _ in range(count))


def grouped(chance: random.Random, value: str, every: int = 4, separators: str = " ") -> str:
    """As it is, or in groups: people write both."""
    groups = [value[start : start + every] for start in range(0, len(value), every)]
    return chance.choice(["", *separators]).join(groups)


def email(chance: random.Random) -> str:
    first, last = chance.choice(FIRST).lower(), chance.choice(LAST).lower()
    local = chance.choice(
        (f"{first}.{last}", f"{first[0]}{last}", f"{first}_{last}{digits(chance, 2)}", f"{first}+{last}")
    )
    host = chance.choice(("mail", "corp", "post", "web")) + digits(chance, chance.randrange(3))
    return f"{local}@{host}.example.{chance.choice(('com', 'org', 'net'))}"


def ip(chance: random.Random) -> str:
    while True:
        four = ipaddress.IPv4Address(chance.getrandbits(32))
        six = ipaddress.IPv6Address((0x2A00 + chance.randrange(16) << 112) | chance.getrandbits(80))
        address = six if chance.random() < 0.2 else four
        if address.is_global and not address.is_multicast:
            return str(address)


def card(chance: random.Random) -> str:
    prefix, length = chance.choice(
        (("4", 16), (f"5{chance.randrange(1, 6)}", 16), ("37", 15), ("6011", 16), ("62", 16))
    )
    number = prefix + digits(chance, length - 1 - len(prefix))
    number += stdnum.luhn.calc_check_digit(number)
    if length == 15:  # American Express's groups
        return chance.choice((number, f"{number[:4]} {number[4:10]} {number[10:]}"))
    return grouped(chance, number, separators=" -")


def iban(chance: random.Random) -> str:
    country, bban = chance.choice((
        ("DE", digits(chance, 18)), ("GB", letters(chance, 4) + digits(chance, 14)),
        ("NL", letters(chance, 4) + digits(chance, 10)), ("AT", digits(chance, 16)), ("CH", digits(chance, 17)),
    ))  # fmt: skip
    return grouped(chance, country + stdnum.iban.calc_check_digits(f"{country}00{bban}") + bban)


def us_ssn(chance: random.Random) -> str:
    while True:
        number = f"{chance.randrange(1, 900):03}-{chance.randrange(1, 100):02}-{chance.randrange(1, 10000):04}"
        if stdnum.us.ssn.is_valid(number):
            return number


def resident_id(chance: random.Random) -> str:
    """GB 11643: region, birthday, sequence, check digit."""
    while True:
        birthday = f"{chance.randrange(1950, 2010)}{chance.randrange(1, 13):02}{chance.randrange(1, 29):02}"
        number = chance.choice(REGIONS) + birthday + digits(chance, 3) + "0"
        number = number[:-1] + stdnum.cn.ric.calc_check_digit(number)
        if stdnum.cn.ric.is_valid(number):
            return number


def chinese_mobile(chance: random.Random) -> str:
    while True:
        number = "1" + chance.choice("3456789") + digits(chance, 9)
        if phonenumbers.is_valid_number(phonenumbers.parse(number, "CN")):
            three = f"{number[:3]} {number[3:7]} {number[7:]}"
            return chance.choice(
                (number, number, number, three, three.replace(" ", "-"), f"+86 {three}", f"+86{number}")
            )


def phone(chance: random.Random) -> str:
    """An example of its country's with other last digits, in one of the forms that are printed."""
    forms = phonenumbers.PhoneNumberFormat
    while True:
        country = chance.choice(COUNTRIES)
        kind = chance.choice((phonenumbers.PhoneNumberType.MOBILE, phonenumbers.PhoneNumberType.FIXED_LINE))
        number = phonenumbers.example_number_for_type(country, kind)
        number.national_number = number.national_number // 10_000 * 10_000 + chance.randrange(10_000)
        if phonenumbers.is_valid_number(number):
            form = chance.choice((forms.INTERNATIONAL, forms.NATIONAL, forms.E164))
            return phonenumbers.format_number(number, form)


def mac(chance: random.Random) -> str:
    pairs = [f"{chance.randrange(256):02x}" for _ in range(5)]
    return chance.choice(":-").join([f"{chance.randrange(0, 256, 4):02x}", *pairs])


def cpf(chance: random.Random) -> str:
    number = digits(chance, 9)
    return next(
        stdnum.br.cpf.format(f"{number}{check:02}")
        for check in range(100)
        if stdnum.br.cpf.is_valid(f"{number}{check:02}")
    )


FIRST = (
    "Amina", "Boris", "Carla", "Dewei", "Elena", "Farid", "Greta", "Hugo", "Ines", "Jonas", "Katya", "Lionel", "Mei",
    "Nadia", "Oskar", "Paula",
)  # fmt: skip
LAST = (
    "Abbott", "Brandt", "Costa", "Duval", "Eriksen", "Fischer", "Garnier", "Hughes", "Ivanov", "Jansen", "Keller",
    "Lindgren", "Moreau", "Novak",
)  # fmt: skip
WHERE = (
    "in the Lisbon office since spring", "behind the front desk downstairs", "on the second floor at the back",
    "for all orders and returns", "on weekdays until late afternoon",
)  # fmt: skip
REGIONS = ("110101", "310104", "440305", "330106", "510107", "420106")  # districts of six cities, GB/T 2260
MAKERS: dict[str, tuple[str, Callable[[random.Random], str]]] = {  # of a kind: how it is called, a value
    "email": ("e-mail", email),
    "ip": ("IP address", ip),
    "credit-card": ("card", card),
    "iban": ("IBAN", iban),
    "us-ssn": ("SSN", us_ssn),
    "cn-resident-id": ("resident ID", resident_id),
    "phone": ("phone", phone),
    "mac": ("MAC", mac),
    "br-cpf": ("CPF", cpf),
}


def contacts(chance: random.Random) -> Labelled:
    """Two kilobytes: a person a line, and a value of a random kind every eighty bytes."""
    text, labels = "", []
    for _ in range(25):
        kind = chance.choice(list(MAKERS))
        called, make = MAKERS[kind]
        who, value = f"{chance.choice(FIRST)} {chance.choice(LAST)}", make(chance)
        text += chance.choice(
            (f"{who}, {chance.choice(WHERE)}. {called}: ", f"{called} of {who} {chance.choice(WHERE)}: ")
        )
        labels.append(Label(len(text), len(text) + len(value), kind, value))
        text += value + chance.choice(("\n", "\n", ".\n", ";\n"))
    return Labelled(text, tuple(labels))
