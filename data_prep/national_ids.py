"""National identification numbers, and the numbers of passports and driving licences.

All words are looked for in the text of every country. They are part of the expressions, so that a text with numbers
but without the words costs nothing.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator
from functools import partial

from data_prep import id_checks
from data_prep.accounts import AFTER, BEFORE, GAP
from data_prep.id_formats import IDS, Id
from data_prep.recognizer import Recognizer

# Between the word and the number, on one line: "number", "is", a colon; no other letters.
CALLED = (
    "(?:[ _.-]{0,2}(?i:numbers?|num|no|nr|id|is|was|nummer|numéro|número|nº|n°|№|номер|号码?|號碼?|番号|card)){0,3}"
    r"[^0-9A-Za-z<>\n]{0,12}"
)
PASSPORT = (
    "passports?|reisepass|passnummer|passeport|pasaporte|passaporto|passaporte|paspoort|paszport|паспорт|护照|護照|旅券"
    "|パスポート|여권"
)
APOSTROPHE = "(?:'|’|´|`)?"
LICENCE = (
    f"driver{APOSTROPHE}s?{APOSTROPHE} (?:licen[cs]e|permit)|driving ?licen[cs]e"
    r"|DLN|(?-i:\bDL) ?[#:]|(?-i:\bDL) no"
    "|(?-i:\\bDL) num|führerschein|führerscheinnummer|permis de conduire|licencia de conducir|carnet de conducir"
    "|permiso de conducir|patente di guida|rijbewijs|prawo jazdy|carta de condução|CNH|驾驶证|驾照|駕駛執照|運転免許証?"
)
PAPER = (
    "[0-9]{2} ?[0-9]{2} [0-9]{6}|[0-9]{2,3} [0-9]{3} [0-9]{3}|(?i:[0-9][A-Z0-9]{4,15})"
    "|(?:(?i:[A-Z]{1,5})-?|[A-Z]{1,2} )[0-9](?i:[A-Z0-9]{1,18}(?:-[A-Z0-9]{1,8}){0,4})"
)


def encoded(pattern: str) -> bytes:
    """The expression over UTF-8: a letter beyond ASCII stands for both its cases and for itself without the accent.

    >>> encoded("né").decode("latin-1").isascii(), encoded("[0-9]")
    (False, b'[0-9]')
    """

    def one(character: str) -> bytes:
        if character.isascii():
            return character.encode()
        plain = unicodedata.normalize("NFD", character)[0]
        ways = {character.lower(), character.upper(), plain if plain.isascii() else character}
        return b"(?:" + b"|".join(sorted(way.encode() for way in ways)) + b")"

    return b"".join(map(one, pattern))


def spelled(words: str) -> bytes:
    """The words in either case, with ASCII only as words of their own or between underscores."""

    def border(character: str) -> str:
        return r"(?:\b|_)" if character.isascii() and character.isalnum() else ""

    return encoded("(?i:" + "|".join(border(word[0]) + word + border(word[-1]) for word in words.split("|")) + ")")


def telling(kind: str, shape: str, valid: Callable[[str], str], wants: str, hint: str) -> Recognizer:
    """For a format that no other number has."""
    expression = shape.encode()
    # groups between spaces: no part of a longer row of numbers
    row_before, row_after = rb"(?<![0-9] )(?<![0-9][A-F][ \n])", rb"(?! [0-9]|\n[0-9]{2,3}[0-9A-F]{1,2}\b)"
    before, after = (row_before, row_after) if " " in shape else (b"", b"")
    value = re.compile(BEFORE + before + rb"(?:" + expression + rb")" + after + AFTER)
    return Recognizer(kind, rb"\b(?:" + expression + rb")\b", value, valid, wants, hint=hint.encode())


def named(kind: str, words: str, gap: bytes, shape: str, valid: Callable[[str], str], wants: str) -> Recognizer:
    """For a number after one of the words."""
    hint = spelled(words)
    start, expression = hint + gap, shape.encode()
    value = re.compile(start + rb"(?<![0-9A-Za-z])(?<![^A-Za-z]\.)(?P<value>" + expression + rb")" + AFTER)
    return Recognizer(kind, start + rb"(?:" + expression + rb")", value, valid, wants, hint=hint)


def recognizers(row: Id) -> Iterator[Recognizer]:
    valid = partial(id_checks.by_stdnum, row.valid) if isinstance(row.valid, str) else row.valid
    wants = f"fails the check of {row.what}"
    if row.shape:
        yield telling(row.kind, row.shape, valid, wants, row.hint)
    if row.words:
        yield named(row.kind, row.words, GAP, row.named, valid, wants)


PAPER_WANTS = "has fewer than five digits or is a date"
RECOGNIZERS = (
    *(recognizer for row in IDS for recognizer in recognizers(row)),
    named("passport", PASSPORT, encoded(CALLED), PAPER, id_checks.document, PAPER_WANTS),
    named("driver-licence", LICENCE, encoded(CALLED), PAPER, id_checks.document, PAPER_WANTS),
)
