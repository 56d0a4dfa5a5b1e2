"""Hard negatives for benchmarks/scrub.py: lines of sorts of text that look like personal values and hold none.

Written anew from a seed; nobody's number is in it but by accident. Each line begins or ends as such lines do, so that
what stands around a number may speak against it.
"""

from __future__ import annotations

import base64
import datetime
import random
import uuid
from collections.abc import Callable

import stdnum.ean
import stdnum.isbn
from scrub_labels import Labelled, digits, letters

LINES = 25  # of a document
WORDS = [
    "the",
    "result",
    "of",
    "a",
    "longer",
    "report",
    "on",
    "trade",
    "and",
    "weather",
    "in",
    "which",
    "several",
    "towns",
    "were",
    "compared",
    "by",
    "their",
    "size",
]


def some_words(chance: random.Random) -> str:
    start = chance.randrange(len(WORDS) - 5)
    return " ".join(WORDS[start : start + chance.randint(2, 5)])


def moment(chance: random.Random) -> datetime.datetime:
    return datetime.datetime(1990, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(seconds=chance.randrange(10**9))


def hexadecimal(chance: random.Random, count: int) -> str:
    return f"{chance.getrandbits(4 * count):0{count}x}"


def numbers(chance: random.Random, count: int, below: int, separator: str) -> str:
    return separator.join(str(chance.randrange(below)) for _ in range(count))


def version(chance: random.Random) -> str:
    four, three = numbers(chance, 4, 30, "."), numbers(chance, 3, 30, ".")
    return chance.choice((
        f"Version {four} was released.", f"upgraded from {three} to version {four}", f"firmware v{four}",
        f"libfoo.so.{four}",
        f"foo-{four}.tar.gz", f"foo ({four}-{chance.randrange(1, 9)}+deb12u1) unstable; urgency=medium",
        f"pip install foo=={four}",
        f"Chrome/120.0.{chance.randrange(9999)}.129 Safari/537.36", f"foo@{three} and bar@{three}-rc.1",
        f'"foo": "^{three}"',
        f"driver version 31.0.{chance.randrange(99)}.{chance.randrange(9999)}",
        f"Release {four} ({moment(chance):%Y-%m-%d})",
    ))  # fmt: skip


def date(chance: random.Random) -> str:
    at = moment(chance)
    return chance.choice((
        at.isoformat(), f"{at:%Y-%m-%d}", f"{at:%d.%m.%Y}, {at:%H:%M}", f"{at:%m/%d/%Y %H:%M:%S}",
        f"{at:%a, %d %b %Y %H:%M:%S} +0000",
        f"{at:%Y%m%d%H%M%S}", f"{at:%Y%m%dT%H%M%SZ}", f"from {at:%Y-%m-%d} to 2024-12-31", "the seasons 2018-2019-2020",
        "2017 2018 2019 2020 2021", f"1998-2003, {at:%Y}-{chance.randrange(10, 99)}",
        f"on {at:%d-%m-%Y} {some_words(chance)}",
    ))  # fmt: skip


def book(chance: random.Random) -> str:
    body = f"978{chance.choice('0123')}{digits(chance, 8)}"
    number = body + stdnum.ean.calc_check_digit(body)
    return chance.choice((
        f"ISBN {stdnum.isbn.format(number)}", f"ISBN-13: {number}", f"ISBN {stdnum.isbn.to_isbn10(number)}",
        f"ISSN {digits(chance, 4)}-{digits(chance, 4)}", f"vol. 12(3), pp. {digits(chance, 4)}-{digits(chance, 4)}",
    ))  # fmt: skip


def digest(chance: random.Random) -> str:
    length = chance.choice((8, 12, 32, 40, 64, 128))
    raw = base64.b64encode(chance.randbytes(32)).decode()
    return chance.choice((
        f"{hexadecimal(chance, length)}  file-{chance.randrange(99)}.iso", f"commit {hexadecimal(chance, 40)}",
        f"sha256-{raw}",
        f"md5:{hexadecimal(chance, 32)}", f"image@sha256:{hexadecimal(chance, 64)}", f"0x{hexadecimal(chance, 16)}",
        f'ETag: "{raw[:22]}"',
        ":".join(hexadecimal(chance, 2) for _ in range(20)), f"Fixes: {hexadecimal(chance, 12)} ({some_words(chance)})",
    ))  # fmt: skip


def coordinates(chance: random.Random) -> str:
    north, east = chance.uniform(-90, 90), chance.uniform(-180, 180)
    return chance.choice((
        f"{north:.6f}, {east:.6f}",
        f"{abs(north):.0f}°{chance.randrange(60)}′{chance.randrange(60)}″N {abs(east):.0f}°26′46″E",
        f"POINT ({east:.4f} {north:.4f})", f"lat={north:.15f}&lon={east:.15f}",
        f"{north:.1f} {east:.1f} {chance.uniform(0, 4000):.3f}",
    ))  # fmt: skip


def price(chance: random.Random) -> str:
    amount = chance.randrange(10**10)
    return chance.choice((
        f"${amount / 100:,.2f}", f"€ {amount:,}".replace(",", "."), f"{amount:,} people".replace(",", " "),
        f"¥{amount:,}", f"USD {amount}",
        f"a total of {amount} in {some_words(chance)}", f"revenue of {amount:,} and costs of {amount // 3:,}",
        f"-{amount / 10000:.4f} %",
    ))  # fmt: skip


def mathematics(chance: random.Random) -> str:
    large = chance.randrange(10**30)
    return chance.choice((
        "pi = 3.14159265358979323846264338327950288", f"2^{chance.randrange(99)} = {2 ** chance.randrange(40, 99)}",
        f"{large} is prime",
        f"n = {numbers(chance, 8, 10000, ' ')}", f"x_{{{chance.randrange(9)}}} = {chance.random():.17f}",
        f"[{numbers(chance, 9, 100, ', ')}]",
        f"{chance.random() * 1e23:.8e} mol", f"{numbers(chance, 3, 1000, ' x ')} = {large}",
        f"({numbers(chance, 3, 999, ', ')}) in R^3",
        f"{numbers(chance, 5, 5, ' ')} | {numbers(chance, 5, 5, ' ')}",
        f"p < 0.{digits(chance, 9)} (n = {digits(chance, 4)})",
        f"10-digit numbers such as {digits(chance, 10)}",
        f"{digits(chance, 3)}-{digits(chance, 3)} = {digits(chance, 3)}",
    ))  # fmt: skip


def identifier(chance: random.Random) -> str:
    return chance.choice((
        str(uuid.UUID(int=chance.getrandbits(128), version=4)), f"urn:uuid:{uuid.UUID(int=chance.getrandbits(128))}",
        f"OID 1.3.6.1.4.1.{numbers(chance, 3, 99999, '.')}", f"OID 2.5.{numbers(chance, 2, 50, '.')}",
        f"1.2.840.{numbers(chance, 3, 9999, '.')}",
        f"doi:10.{digits(chance, 4)}/s{digits(chance, 5)}-020-{digits(chance, 4)}-2",
        f"arXiv:{digits(chance, 4)}.{digits(chance, 5)}v2",
        f"https://doi.org/10.1016/j.cell.{digits(chance, 4)}.{digits(chance, 2)}.{digits(chance, 3)}",
        f"PMID {digits(chance, 8)}",
        f"CVE-2021-{digits(chance, 5)}", f"RFC {digits(chance, 4)}, ISO/IEC 7812-1:2017",
        f"tweet 1{digits(chance, 18)}",
    ))  # fmt: skip


def section(chance: random.Random) -> str:
    four = numbers(chance, 4, 20, ".")
    return chance.choice((
        f"Section {four}", f"§ {four} {some_words(chance)}", f"Figure {four}. {some_words(chance).capitalize()}",
        f"see chapter {four}",
        f"Table {numbers(chance, 3, 20, '.')}: {some_words(chance)}", f"({numbers(chance, 3, 20, '.')})",
        f"Article {numbers(chance, 2, 99, '-')}",
    ))  # fmt: skip


def dump(chance: random.Random) -> str:
    pairs = [hexadecimal(chance, 2) for _ in range(16)]
    fours = [hexadecimal(chance, 4) for _ in range(8)]
    return chance.choice((
        f"{chance.randrange(2**20) * 16:08x}  {' '.join(pairs[:8])}  {' '.join(pairs[8:])}  |................|",
        f"{chance.randrange(2**20) * 16:08x}: {' '.join(fours)}  ................",
        f"{{ 0x{', 0x'.join(pairs[:8])} }}", " ".join(fours),
        f"BAR 0: [mem 0x{hexadecimal(chance, 8)}-0x{hexadecimal(chance, 8)}]",
        f"eax: {hexadecimal(chance, 8)} ebx: {hexadecimal(chance, 8)}",
    ))  # fmt: skip


def log_line(chance: random.Random) -> str:
    at = moment(chance)
    return chance.choice((
        f"[{chance.uniform(0, 1e6):.6f}] usb 1-1.4.2: new device number {chance.randrange(99)}",
        f"{at.timestamp():.6f} 1234 INFO started",
        f"{at:%Y-%m-%d %H:%M:%S},123 pid={chance.randrange(99999)}", f"t={int(at.timestamp() * 1000)}",
        f"{at:%H:%M:%S}.{digits(chance, 9)}",
        f"00:{at:%H:%M:%S} --> 00:{at:%H:%M:%S}", f"timecode {at:%H:%M:%S}:{chance.randrange(25):02}",
        f"rss={digits(chance, 10)} vsz={digits(chance, 11)}",
        f"{int(at.timestamp())} {int(at.timestamp()) + 60}",
        f"pci 0000:{hexadecimal(chance, 2)}:1f.3: [8086:{hexadecimal(chance, 4)}]",
    ))  # fmt: skip


def product(chance: random.Random) -> str:
    body = chance.choice(("400", "501", "87")) + digits(chance, 9)
    return chance.choice((
        f"EAN {body[:12]}{stdnum.ean.calc_check_digit(body[:12])}",
        f"Model WH-{digits(chance, 4)}XM{digits(chance, 1)}", f"UPC 0{digits(chance, 11)}",
        f"P/N {digits(chance, 4)}-{digits(chance, 4)}-{digits(chance, 2)}",
        f"NSN 5330-01-{digits(chance, 3)}-{digits(chance, 4)}",
        f"tracking 1Z{letters(chance, 3)}{digits(chance, 13)}", f"item no. {digits(chance, 9)}",
        f"SKU {letters(chance, 2)}{digits(chance, 6)}",
        "parcel 9400 1" + " ".join(digits(chance, width) for width in (3, 4, 4, 4, 2)),
        f"FRU {digits(chance, 2)}{letters(chance, 1)}{digits(chance, 4)}, {digits(chance, 3)}-{digits(chance, 5)}",
        f"invoice {digits(chance, 10)}",
    ))  # fmt: skip


def code(chance: random.Random) -> str:
    return chance.choice((
        "std::vector<std::byte>::size_type", "use Cafe::Bad;", "dead::beef(fee::add)", "a::b::c",
        "::1 is not here; x ? a::b : c::d",
        "#define INT_MAX 2147483647", "unsigned long x = 18446744073709551615;", "1_000_000_007",
        f"x = {digits(chance, 10)}U;", "0xDEADBEEF",
        "getty@tty1.service", "user@1000.service", "@property.setter", "icon@2x.png", "logo@3x.jpg", "a@b", "git@",
        "x = y@z.T", "M@v.reshape(3)",
        "user@localhost", "root@host:~#", "foo@bar:/srv", "$HOME/.ssh/id_ed25519.pub", "https://user@/path",
        "http://host:8080/a:b@c/",
        "ref: @{upstream}~1", "@@ -12,7 +12,9 @@", "-----BEGIN CERTIFICATE-----", "password = os.environ['PASSWORD']",
        "api_key: <your key here>",
        "sk-learn", "eyJ", "AKIA", "printf(\"%d.%d.%d.%d\", a, b, c, d)", "for at in dot: com",
        "look at this dot com bubble", "arrive at noon dot",
    ))  # fmt: skip


def table_row(chance: random.Random) -> str:
    width = chance.randint(2, 5)
    row = [digits(chance, width) for _ in range(chance.randint(3, 9))]
    return chance.choice((" ", "  ", "\t", " | ", ",", "-")).join(row)


def score(chance: random.Random) -> str:
    return chance.choice((
        f"{numbers(chance, 2, 30, '-')} {numbers(chance, 2, 30, '-')} {numbers(chance, 2, 30, '-')}",
        f"population {digits(chance, 7)} ({digits(chance, 4)})",
        f"between {digits(chance, 6)} and {digits(chance, 6)}", f"bus lines {numbers(chance, 5, 999, ', ')}",
        f"NGC {digits(chance, 4)} and HD {digits(chance, 6)}",
        f"tel quel, call number PR{digits(chance, 4)}.{letters(chance, 1)}{digits(chance, 3)} 1998",
        f"grid {letters(chance, 2)} {digits(chance, 5)} {digits(chance, 5)}",
        f"zip codes {digits(chance, 5)}-{digits(chance, 4)} and {digits(chance, 5)}",
        f"({digits(chance, 3)}) {some_words(chance)} {digits(chance, 4)}",
    ))  # fmt: skip


SORTS: dict[str, Callable[[random.Random], str]] = {
    "versions": version, "dates": date, "books": book, "hashes": digest, "coordinates": coordinates, "prices": price,
    "mathematics": mathematics, "identifiers": identifier, "sections": section, "dumps": dump, "logs": log_line,
    "products": product, "code": code, "tables": table_row, "scores": score,
}  # fmt: skip


def negatives(chance: random.Random, sort: str) -> Labelled:
    """A document of lines of one sort, some of them in a sentence."""
    lines = []
    for _ in range(LINES):
        line = SORTS[sort](chance)
        lines.append(line if chance.random() < 0.5 else f"{some_words(chance)}: {line}, {some_words(chance)}")
    return Labelled("\n".join(lines), ())
