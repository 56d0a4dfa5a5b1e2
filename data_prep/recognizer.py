"""Kinds of personal values, and what tells them: the row that addresses, accounts, ids, phones and credentials fill."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from data_prep.id_formats import IDS

CONTEXT_BYTES = 64  # before a value, in which a recognizer's context must stand

# What a text is searched for. Where two values overlap, the kind that stands first here wins
KINDS = {
    "secret": "API keys and tokens of known form, private keys, JSON web tokens",
    "url-credentials": "user and password in a URL",
    "email": "e-mail addresses",
    "iban": "bank accounts (IBAN)",
    "crypto-wallet": "addresses of crypto wallets",
    "credit-card": "payment card numbers",
    **{row.kind: row.what for row in IDS},
    "passport": "passport numbers behind a word that says so",
    "driver-licence": "driver's licence numbers behind a word that says so",
    "product-key": "product keys",
    "mac": "MAC addresses",
    "ip": "public IP addresses, version 4 and 6",
    "phone": "phone numbers",
    "person": "names of people, by presidio",
}


@dataclass(frozen=True)
class Recognizer:
    """One way in which a kind of value is written. The expressions are over UTF-8 bytes; a byte of a character beyond
    ASCII is no word character.

    `regions` is searched by RE2, in time linear in the text, and must take in each value whole; it may find more. Only
    where `hint` is found: the hints of all recognizers are looked for at once, by one automaton, that has few states
    where they begin at a border of words and count nothing.
    `value` is searched by `re` inside a region, with look-arounds (eight bytes behind the region can be seen): each of
    its quantifiers is bounded, so that a try costs at most a constant. Its group `value`, or else all of it, is the
    value.
    """

    kind: str
    regions: bytes  # RE2 syntax, no look-around; takes whole runs, so that a run is looked at once
    value: re.Pattern[bytes]
    valid: Callable[[str], str]  # a value's canonical form, equal for all its spellings; "" of what is none
    wants: str  # ends "looks like one, but ..."
    context: re.Pattern[bytes] | None = None  # must be found in the `CONTEXT_BYTES` before the value
    hint: bytes = b""  # RE2 syntax: something that is in every region; "" for the regions' own with any digits
