"""Privacy scrubbing: personal values become placeholders that name their kind.

Stateless, so the result depends on neither order nor shards; and scrubbing twice changes nothing more, since no
placeholder matches a pattern. Every pattern is bounded: time is linear in the length of the text.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass


def is_public_ipv4(value: str) -> bool:
    """Whether the address is of the public Internet: private, loopback and documentation ranges identify nobody."""
    try:
        return ipaddress.IPv4Address(value).is_global
    except ValueError:  # a part above 255 or with a leading zero: a version number
        return False


def is_card_number(value: str) -> bool:
    """Whether 13 to 19 digits begin like a payment network's and end in their Luhn check digit (ISO/IEC 7812-1).

    >>> is_card_number("4111 1111 1111 1111"), is_card_number("4111 1111 1111 1112")
    (True, False)
    """
    digits = [int(character) for character in value if character.isdigit()]
    if not 13 <= len(digits) <= 19 or digits[0] not in (2, 3, 4, 5, 6) or len(set(digits)) == 1:
        return False
    if digits[0] == 2 and not [2, 2, 2, 1] <= digits[:4] <= [2, 7, 2, 0]:  # Mastercard's; 2019 2020 ... are years
        return False
    doubled = [digit * 2 - 9 * (digit > 4) for digit in digits[-2::-2]]
    return (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


@dataclass(frozen=True)
class Kind:
    placeholder: str
    pattern: re.Pattern[str]
    needs: str  # a text without this holds none: checked before the pattern
    valid: Callable[[str], bool] = lambda value: True


KINDS: dict[str, Kind] = {
    "email": Kind(
        "<EMAIL>",
        # the local part is bounded, and what is before it does not matter: that keeps the time linear, and a
        # placeholder put there later changes nothing
        re.compile(
            r"[\w%+-][\w.%+-]{0,63}+(?<!\.)@(?:[a-z0-9][a-z0-9-]{0,62}+(?<!-)\.){1,8}[a-z]{2,24}\b",
            re.ASCII | re.IGNORECASE,
        ),
        "@",
    ),
    "ip": Kind(
        "<IP>",
        re.compile(r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w]|\.\d)", re.ASCII),
        ".",
        is_public_ipv4,
    ),
    "credit-card": Kind(
        "<CREDIT-CARD>",
        # four by four, American Express's 4-6-5, or in one piece
        re.compile(
            r"(?<![\w.-])(?:\d{4}([ -])\d{4}\1\d{4}\1\d{4}|\d{4}[ -]\d{6}[ -]\d{5}|\d{13,19})(?![\w]|[.-]\d)", re.ASCII
        ),
        "",
        is_card_number,
    ),
}


def scrub(text: str, kinds: Sequence[str]) -> tuple[str, dict[str, int]]:
    """The text with each validated value of the kinds replaced, and how many there were of each.

    >>> scrub("Mail jo@example.org from 8.8.8.8, not 10.0.0.1.", ["email", "ip"])
    ('Mail <EMAIL> from <IP>, not 10.0.0.1.', {'email': 1, 'ip': 1})
    """
    found: dict[str, int] = {}
    for name, kind in KINDS.items():  # always in this order: an address may hold what another kind looks for
        if name in kinds and kind.needs in text:
            text, count = replace(text, kind)
            if count:
                found[name] = count
    return text, found


def replace(text: str, kind: Kind) -> tuple[str, int]:
    """The text with the kind's values replaced, and how many. After a match that is no value, the next may overlap it:
    in `2024 4111 1111 1111 1111` the last sixteen digits are a card's and the first sixteen are not."""
    pieces: list[str] = []
    done = start = 0
    while match := kind.pattern.search(text, start):
        start = match.start() + 1
        if kind.valid(match.group()):
            pieces += text[done : match.start()], kind.placeholder
            done = start = match.end()
    return "".join([*pieces, text[done:]]), len(pieces) // 2
