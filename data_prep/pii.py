"""Privacy scrubbing: personal values become placeholders that name their kind.

Stateless, so the result depends on neither order, shards nor workers. Linear in the length of the text, whatever is in
it: RE2 says what to look for and where, bounded patterns and checksums then decide about each candidate. Scrubbing
goes on around what was replaced until nothing more is found there, so that scrubbing twice changes nothing.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import re2

from data_prep import accounts, addresses, credentials, national_ids, phones
from data_prep.disguise import DISGUISES, fold
from data_prep.document import utf8_bytes
from data_prep.pseudonyms import pseudonym
from data_prep.recognizer import CONTEXT_BYTES, KINDS, Recognizer
from data_prep.settings import ScrubSettings

WINDOW = 64 << 10  # bytes that are searched at once: what stands far away need not be looked for here
BEFORE, BEHIND = 1 << 10, 16 << 10  # bytes around a window that values in it may reach into, or depend on
REACH = 1 << 10  # bytes around a replaced value in which there may be others that were none beside it
# In source code the letter or digits of an escape are no part of the value behind it: "call\n4111 1111 1111 1111"
ESCAPES = re.compile(rb"\\(?:[nrt]|u[0-9A-Fa-f]{4})")
ESCAPED = rb"\\x[0-9A-Fa-f]{2}|\\."  # in an expression
AHEAD = 8  # bytes behind a region that a look-ahead may see
PRECEDENCE = {kind: number for number, kind in enumerate(KINDS)}


class Found(NamedTuple):
    """A value, or what looks like one, at byte offsets into a text's UTF-8."""

    start: int
    end: int
    kind: str
    value: str  # its canonical form, not to be shown or written; "" of what is no value
    wants: str  # what its recognizer wants of it; ends "looks like one, but ..."

    def __repr__(self) -> str:
        return f"Found({self.start}, {self.end}, {self.kind!r})"


class Scrubbed(NamedTuple):
    text: str
    found: dict[str, int]  # values by kind
    hidden_bytes: int  # of the text's UTF-8 that were replaced


def recognizers_of(settings: ScrubSettings) -> list[Recognizer]:
    """Those of the kinds asked for, in order of precedence."""
    every = [
        *credentials.RECOGNIZERS,
        *addresses.RECOGNIZERS,
        *(addresses.OBFUSCATED if settings.obfuscated else ()),
        *accounts.RECOGNIZERS,
        *national_ids.RECOGNIZERS,
        *phones.recognizers(settings.phone_countries, lenient=settings.phone_matching == "lenient"),
    ]
    return sorted(
        (recognizer for recognizer in every if recognizer.kind in settings.kinds),
        key=lambda recognizer: PRECEDENCE[recognizer.kind],
    )


def any_digits(expression: bytes) -> bytes:
    """The expression with every digit for each that it names: shapes alone are few, and each new digit of a number
    would lead the automaton into a new state.

    >>> any_digits(rb"\\b4[0-5]{3}[- ]x{2,3}\\x80")
    b'\\\\b[0-9][0-90-5]{3}[- ]x{2,3}\\\\x80'
    """

    def wider(token: re.Match[bytes]) -> bytes:
        text = token[0]
        if text.isdigit():
            return b"[0-9]"
        names_digits = text[:1] == b"[" and text[1:2] != b"^" and re.search(rb"\d", re.sub(ESCAPED, b"", text))
        return b"[0-9" + text[1:] if names_digits else text

    return re.sub(ESCAPED + rb"|\{[0-9,]+\}|\[(?:\\.|[^\]\\])+\]|[0-9]", wider, expression)


def over_bytes(memory: int = 8 << 20) -> re2.Options:
    """RE2 over bytes, with so many bytes for the states that it meets; when they are full it begins anew."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.max_mem = memory
    return options


class Scrubber:
    """Finds and replaces the kinds of values that the settings ask for; names of people once, all others until there
    are none.

    >>> scrubbed = Scrubber(ScrubSettings()).scrub("Mail jo@example.org from 8.8.8.8, not 10.0.0.1.")
    >>> scrubbed.text, scrubbed.found
    ('Mail <EMAIL> from <IP>, not 10.0.0.1.', {'email': 1, 'ip': 1})
    """

    def __init__(self, settings: ScrubSettings, key: bytes = b"") -> None:
        """`key` is needed where the settings want pseudonyms."""
        self.key = key if settings.replacement == "pseudonym" else b""
        self.recognizers = recognizers_of(settings)
        self._regions = [re2.compile(recognizer.regions, over_bytes()) for recognizer in self.recognizers]
        self._disguises = re2.compile(DISGUISES)
        by_hint: dict[bytes, list[int]] = {}
        for number, recognizer in enumerate(self.recognizers):
            by_hint.setdefault(recognizer.hint or any_digits(recognizer.regions), []).append(number)
        self._by_hint = list(by_hint.values())  # numbers of recognizers
        self._hints = re2.Set.SearchSet(over_bytes(64 << 20))
        for hint in by_hint:
            self._hints.Add(hint)
        self._hints.Compile()
        self._persons = None
        if "person" in settings.kinds:
            from data_prep.persons import Persons  # an extra package, and a model in memory

            self._persons = Persons(settings.person_model)

    def scrub(self, text: str) -> Scrubbed:
        """The text with each value replaced."""
        data = text.encode("utf-8", "surrogatepass")
        values: list[Found] = []
        found = self._find(data)
        if self._persons:
            found = apart([*found, *self._people(text)], len(data))
        while found:
            values += found
            data, near = self._replace(data, found)
            found = self._find(data, near)
        if not values:
            return Scrubbed(text, {}, 0)
        counts: dict[str, int] = {}
        for value in sorted(values, key=lambda value: PRECEDENCE[value.kind]):
            counts[value.kind] = counts.get(value.kind, 0) + 1
        return Scrubbed(data.decode("utf-8", "surrogatepass"), counts, sum(value.end - value.start for value in values))

    def find(self, text: str) -> list[Found]:
        """The values in a text that can be told by patterns, in order."""
        return self._find(text.encode("utf-8", "surrogatepass"))

    def looks(self, text: str) -> list[Found]:
        """The values, and what looks like one but is none (its value is ""), in order and apart from each other."""
        data = text.encode("utf-8", "surrogatepass")
        candidates = [*self._candidates(data, 0, len(data)), *self._people(text)]
        return apart(sorted(candidates, key=lambda found: not found.value), len(data))

    def replacement(self, found: Found) -> str:
        """What stands for a value: `<EMAIL>`, or with a key `<EMAIL-` and twelve letters `>`."""
        kind = found.kind.upper()
        return f"<{kind}-{pseudonym(self.key, found.kind, found.value)}>" if self.key else f"<{kind}>"

    def _replace(self, data: bytes, found: list[Found]) -> tuple[bytes, list[tuple[int, int]]]:
        """The text with the values replaced, and the windows around them, to be searched again."""
        pieces: list[bytes] = []
        near: list[tuple[int, int]] = []
        done = length = 0
        for value in found:
            name = self.replacement(value).encode()
            pieces += data[done : value.start], name
            length += value.start - done
            begin = max(length - REACH, 0)
            length += len(name)
            if near and begin <= near[-1][1]:
                near[-1] = near[-1][0], length + REACH
            else:
                near.append((begin, length + REACH))
            done = value.end
        pieces.append(data[done:])
        return b"".join(pieces), near

    def _people(self, text: str) -> Iterator[Found]:
        """Names are looked for once: which words are one depends on all the others."""
        done = size = 0
        for start, end in self._persons.find(text) if self._persons else ():
            size += utf8_bytes(text[done:start])
            begin, done = size, end
            size += utf8_bytes(text[start:end])
            yield Found(begin, size, "person", " ".join(text[start:end].split()), "a name")

    def _find(self, data: bytes, near: Sequence[tuple[int, int]] = ()) -> list[Found]:
        """The values in a text; of a long one those that begin in the windows `near`, if there are any."""
        if len(data) <= WINDOW:
            return sorted(found for found in self._candidates(data, 0, len(data)) if found.value)
        windows = near or [(0, len(data))]
        pieces = ((start, min(start + WINDOW, end)) for begin, end in windows for start in range(begin, end, WINDOW))
        candidates = (found for piece in pieces for found in self._candidates(data, *piece) if found.value)
        return apart(sorted(candidates, key=lambda found: PRECEDENCE[found.kind]), len(data))

    def _candidates(self, data: bytes, begin: int, end: int) -> Iterator[Found]:
        """All that a recognizer looks at and that begins in the window, by precedence; some may overlap. First in the
        text without its disguises, then in the text as it stands."""
        low, high = max(begin - BEFORE, 0), end + BEHIND
        while low and data[low] & 0xC0 == 0x80:  # inside a character
            low -= 1
        while high < len(data) and data[high] & 0xC0 == 0x80:
            high += 1
        text = data[low:high]
        if b"\\" in text:
            text = ESCAPES.sub(lambda escape: b"\\".ljust(len(escape[0])), text)
        taken = bytearray(len(text))  # 1 where a value was found
        ways = [fold(text), None] if not text.isascii() and self._disguises.search(text) else [None]
        for folded in ways:
            for start, stop, recognizer, value in self._search(folded.data if folded else text):
                if folded:
                    start, stop = folded.original(start, stop)
                if taken.find(1, start, stop) >= 0:
                    continue
                if value:
                    taken[start:stop] = b"\1" * (stop - start)
                if begin <= low + start < end:
                    yield Found(low + start, low + stop, recognizer.kind, value, recognizer.wants)

    def _search(self, text: bytes) -> Iterator[tuple[int, int, Recognizer, str]]:
        """(start, end, recognizer, canonical form or "") of each candidate."""
        hints = self._hints.Match(text)
        if not hints:
            return
        taken = bytearray(len(text))
        for number in sorted(number for hint in hints for number in self._by_hint[hint]):
            recognizer = self.recognizers[number]
            for region in self._regions[number].finditer(text):
                first, last = region.span()
                for start, stop, value in values_in(text, recognizer, first, last, taken):
                    if value:
                        taken[start:stop] = b"\1" * (stop - start)
                    yield start, stop, recognizer, value


def values_in(
    data: bytes, recognizer: Recognizer, position: int, end: int, taken: bytearray
) -> Iterator[tuple[int, int, str]]:
    """(start, end, canonical form or "") of each candidate in a region that overlaps nothing that is taken. After one
    that is no value the next may overlap it: in `2024 4111 1111 1111 1111` the last sixteen digits are a card's and
    the first sixteen are not."""
    search, context = recognizer.value.search, recognizer.context
    group = "value" if "value" in recognizer.value.groupindex else 0
    while match := search(data, position, end + AHEAD):
        start, stop = match.span(group)
        if (other := taken.find(1, start, stop)) >= 0:
            position = taken.find(0, other)
            if position < 0:
                return
            continue
        value = ""
        if match.end() <= end and (context is None or context.search(data, max(start - CONTEXT_BYTES, 0), start)):
            value = recognizer.valid(data[start:stop].decode("utf-8", "replace"))
        yield start, stop, value
        position = stop if value else match.start() + 1


def apart(candidates: list[Found], size: int) -> list[Found]:
    """The candidates in a text of `size` bytes that overlap none before them in the list, in order of place."""
    if len(candidates) < 2:
        return candidates
    taken, free = bytearray(size), []
    for found in candidates:
        start, end = found.start, found.end
        if taken.find(1, start, end) < 0:
            taken[start:end] = b"\1" * (end - start)
            free.append(found)
    free.sort()
    return free


@functools.cache
def shown_scrubber() -> Scrubber:
    """For excerpts that people see: all kinds that patterns can tell, whatever the config asks for."""
    return Scrubber(ScrubSettings(kinds=[kind for kind in KINDS if kind != "person"]))
