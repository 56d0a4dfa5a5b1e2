"""Pseudonyms: under a secret key a value has the same name everywhere, and without the key nobody can tell which."""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path

from data_prep.files import UserError

SHORTEST_KEY = 16  # bytes: 128 bits, so that nobody tries them all
LETTERS = 12  # 26^12 is 9.5e16: among ten million values the chance that any two share a pseudonym is 1 in 1,900


def read_key(path: str) -> bytes:
    """The secret, without blanks around it. It is for hashing only: nothing may write or show it. `UserError`."""
    make = f"make one with: head -c 32 /dev/urandom | base64 > {path}"
    try:
        key = Path(path).read_bytes().strip()
    except OSError as error:
        raise UserError(f"scrub.key_file {path}: {error.strerror}; {make}") from None
    if len(key) < SHORTEST_KEY:
        raise UserError(f"scrub.key_file {path} holds {len(key)} bytes, wanted at least {SHORTEST_KEY}; {make}")
    return key


def key_identity(key: bytes) -> str:
    """What tells keys apart without telling a key."""
    return hmac.new(key, b"text2lm: which key this is", hashlib.sha256).hexdigest()


def pseudonym(key: bytes, kind: str, value: str) -> str:
    """Lower-case letters only: no pattern of a personal value matches them."""
    number = int.from_bytes(hmac.digest(key, f"{kind}\0{value}".encode("utf-8", "surrogatepass"), "sha256"), "big")
    return "".join(chr(ord("a") + number // 26**place % 26) for place in range(LETTERS))
