"""What is made to take long or to go wrong, for benchmarks/scrub.py: an endless line, strings that blow up patterns."""

from __future__ import annotations

import re
import time
from pathlib import Path

import scrub_corpus
from dedup_corpus import read

from data_prep.pii import Scrubber
from data_prep.settings import ScrubSettings

ONE_LINE_BYTES, HOSTILE_BYTES = 100_000_000, 1_000_000
HOSTILE = (
    "a@", "@", "a.", "a.a@", "a@a.", "a" * 63 + ".", "a [at] ", " at a dot ", "jo@example.org ",
    "1", "1-", "1 ", "1.", "12 ", "(1) ", "+1", "+1 (2", "+", "(", "((1", "00", "1.1.1.1.",
    "4" * 16 + " ", "4111111111111111 ",
    "f", "f:", "::", "1:", "2a00:", "ab:", "0x", "bc1", "A1B2C-", "GB82WEST", "DE00 ",
    "eyJ", "eyJ.", "-----BEGIN PRIVATE KEY-----", "-----BEGIN ", "AKIA", "ghp_", "://a:", "://a:b@", "http://",
    "passport ", "ssn ", "card 4", "<EMAIL>", "<", "\u200b1", "\uff11", "\u0661", "电", "1\u2013", "\ud800", "\ud8001",
)  # fmt: skip
PLANTED = "\nwrite to jo@example.org, 4111 1111 1111 1111"


def one_line(directory: Path) -> None:
    """A document as long as a corpus, without a line's end, and two values at its end."""
    scrubber, pieces, size = Scrubber(ScrubSettings()), [], 0
    for document in read(scrub_corpus.documentation(directory)):
        pieces.append(re.sub(r"\s", " ", document.text))
        size += len(pieces[-1].encode())
        if size > ONE_LINE_BYTES:
            break
    text = " ".join(pieces) + PLANTED.replace("\n", " ")
    seconds = -time.process_time()
    scrubbed = scrubber.scrub(text)
    seconds += time.process_time()
    right = scrubbed.text.endswith("write to <EMAIL>, <CREDIT-CARD>")
    print(f"\n{size / 1e6:.0f} MB on one line: {size / 1e6 / seconds:.0f} MB/CPU-s, planted values found: {right}")


def hostile(size: int) -> list[str]:
    """Strings made to blow up, of size, twice and four times that; what is wrong: planted values that stay."""
    scrubber = Scrubber(ScrubSettings())
    scrubber.scrub(PLANTED)
    print("\n| repeated | MB | CPU-s | twice | four times | over linear |\n|---|--:|--:|--:|--:|--:|")
    wrong = []
    for piece in HOSTILE:
        seconds = []
        for times in (1, 2, 4):
            text = piece * (times * size // len(piece.encode("utf-8", "surrogatepass"))) + PLANTED
            began = time.process_time()
            scrubbed = scrubber.scrub(text)
            seconds.append(time.process_time() - began)
            if not scrubbed.text.endswith("<EMAIL>, <CREDIT-CARD>"):
                wrong.append(f"{piece!r}: what is planted behind it is still there")
            if scrubber.scrub(scrubbed.text).text != scrubbed.text:
                wrong.append(f"{piece!r}: scrubbing it again changes it")
        name = ascii(piece)
        rows = " | ".join(f"{one:.3f}" for one in seconds)
        print(f"| {name} | {size / 1e6:g} | {rows} | {seconds[2] / 4 / seconds[0]:.2f} |", flush=True)
    print("\n".join(wrong))
    return wrong
