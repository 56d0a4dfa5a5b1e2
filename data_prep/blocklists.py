"""A user's lists of addresses and of words whose documents are not wanted.

Addresses: Penedo et al. 2023, "The RefinedWeb Dataset for Falcon LLM", appendix G.1, which blocks 4.6 million domains.
Words: Raffel et al. 2020 (C4), section 2.2, which drops every page that holds one of a list.

A list is a text file in UTF-8 with one entry a line; blank lines, and those that begin with #, are nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import xxhash

from data_prep.files import UserError
from data_prep.phrases import NOTHING, Automaton, automaton_of, first_phrases, tokens_of
from data_prep.repeats import plain_url
from data_prep.shingles import Hashes
from data_prep.sorting import distinct

HOST = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")  # as nearly every entry is written
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
BORDER = re.compile(r"[/?&]|\Z")  # a prefix ends before one of them


LONGEST_ADDRESS = 2048  # characters of an address that are looked at: entries are shorter


@dataclass(frozen=True)
class UrlList:
    """Hosts, which stand for their subdomains too, and addresses, which stand for those below them.

    Neither scheme, user, port and "www." nor the case of the host counts, nor how a character is written: as itself,
    percent-encoded, or in a host as Punycode.
    """

    keys: Hashes  # (entries,) sorted: 8 bytes an entry. One address in 10^12 is taken for one of a million entries

    @classmethod
    def read(cls, paths: Sequence[Path]) -> UrlList:
        """The entries of all the files. `UserError` for a file or a line that is no such list."""
        listed = (entry for path in paths for entry in entries(path, "clean.blocked_urls"))
        return cls(distinct(np.fromiter((key_of(entry_address(*entry)) for entry in listed), np.uint64)))

    def blocks(self, url: str) -> str:
        """The entry, in its plain form, that blocks the address, the shortest first; "" when none does.

        >>> UrlList(np.array([key_of("example.com")], np.uint64)).blocks("https://www.blog.Example.com:8080/a?b=1")
        'example.com'
        """
        names = prefixes(plain_address(url)[:LONGEST_ADDRESS])
        keys = np.array([key_of(name) for name in names], np.uint64)
        places = np.searchsorted(self.keys, keys)
        found = np.flatnonzero(self.keys[np.minimum(places, len(self.keys) - 1)] == keys)
        return names[found[0]] if len(found) else ""


def entry_address(path: Path, line: int, entry: str) -> str:
    """The plain form of an entry."""
    if HOST.fullmatch(entry) and not entry.startswith("www."):
        return entry
    address = plain_address(entry)
    if not re.search(r"[.:]", split_address(address)[0]) or re.search(r"\s", entry):
        raise UserError(
            f"{path}, line {line}: '{entry}' is no host and no address; wanted one a line, for example "
            "example.com or example.com/blog"
        )
    return address


def plain_address(url: str) -> str:
    """`plain_url` without scheme, user and port, its host in ASCII and its path decoded.

    >>> plain_address("http://me@www.Bücher.example:81/%C3%BC/"), plain_address("Example.com./a")
    ('xn--bcher-kva.example/ü', 'example.com/a')
    """
    url = url.strip()
    host, path = split_address(plain_url(url if SCHEME.match(url) else f"//{url}"))
    host = re.sub(r":\d*$", "", host.rpartition("@")[2]).rstrip(".")
    if not host.isascii():
        try:
            host = host.encode("idna").decode()
        except UnicodeError:  # no name that can be asked for; a crawl can hold it all the same
            host = host.lower()
    return host + unquote(path, errors="surrogateescape")


def split_address(address: str) -> tuple[str, str]:
    """(host, path and query)."""
    end = next(BORDER.finditer(address)).start()
    return address[:end], address[end:]


def prefixes(address: str) -> list[str]:
    """What may be listed to block an address: the host and the domains above it, and what the address begins with.

    >>> prefixes("a.example.com/b/c?d=1")
    ['com', 'example.com', 'a.example.com', 'a.example.com/b', 'a.example.com/b/c', 'a.example.com/b/c?d=1']
    """
    host, path = split_address(address)
    labels = host.split(".")
    hosts = [".".join(labels[start:]) for start in reversed(range(len(labels)))]
    return hosts + [host + path[: border.start()] for border in BORDER.finditer(path) if border.start()]


def key_of(address: str) -> int:
    return xxhash.xxh3_64_intdigest(address.encode("utf-8", "surrogatepass"))


@dataclass(frozen=True)
class WordList:
    """Words and phrases. A text has one when its tokens, as in `shingles`, hold those of the entry in a row.

    So case, layout and punctuation do not count. A word of a script with spaces is found as a whole word only, one of
    Han, kana or Thai characters wherever they stand in a row. An entry without a token, "🖕", is found as it stands.
    """

    entries: list[str]
    automaton: Automaton
    signs: list[str]

    @classmethod
    def read(cls, paths: Sequence[Path]) -> WordList:
        """The entries of all the files. `UserError` for a file that is no such list."""
        listed = [entry for path in paths for _, _, entry in entries(path, "clean.blocked_words")]
        tokens = tokens_of(listed)
        words = [(entry, run) for entry, run in zip(listed, tokens, strict=True) if run]
        signs = [entry for entry, run in zip(listed, tokens, strict=True) if not run]
        return cls([entry for entry, _ in words], automaton_of([run for _, run in words]), signs)

    def find(self, texts: pa.Array) -> list[str]:
        """(n,) of each text of an Arrow string array the entry that it has, or "": of several the first to end."""
        numbers = first_phrases(texts, self.automaton).tolist()
        found = ["" if number == NOTHING else self.entries[number] for number in numbers]
        if self.signs:
            pattern = "|".join(map(re.escape, self.signs))
            for row in np.flatnonzero(pc.match_substring_regex(texts, pattern).to_numpy(zero_copy_only=False)):
                found[row] = found[row] or next(sign for sign in self.signs if sign in texts[row].as_py())
        return found


def entries(path: Path, setting: str) -> Iterator[tuple[Path, int, str]]:
    """(file, line from 1, entry). `setting` is the one that names the file."""
    if not path.is_file():
        raise UserError(f"{setting} names {path}, which is {'no file' if path.exists() else 'not there'}")
    found = False
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                entry = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError:
                raise UserError(f"{path}, line {number}: not UTF-8; save the list as UTF-8") from None
            if entry and not entry.startswith("#"):
                found = True
                yield path, number, entry
    if not found:
        raise UserError(f"{path} lists nothing; take it out of {setting} or write one entry a line")
