"""`text2lm scrub`: what scrubbing makes of a file of your own, and why. No value is shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from data_prep.document import Broken, Document, utf8_bytes
from data_prep.files import UserError
from data_prep.pseudonyms import read_key
from data_prep.recognizer import KINDS
from data_prep.settings import ScrubSettings, SourceSettings, scrub_settings
from data_prep.shards import shown
from pipeline.config import RunConfig
from pipeline.scrub_steps import TOO_DENSE, scrubber_for
from pipeline.tryout import aligned, plain, rows_of, settings_for

if TYPE_CHECKING:
    from data_prep.pii import Found, Scrubber


def scrub_settings_for(
    config: RunConfig | None, source: str, kinds: str = ""
) -> tuple[ScrubSettings, SourceSettings, bytes]:
    """What [scrub] and the source say, the source, and the key; `kinds`, as typed, hold instead of the config's."""
    _, chosen = settings_for(config, source)
    settings = scrub_settings(config.scrub if config else ScrubSettings(), chosen)
    if kinds:
        asked = [kind.strip() for kind in kinds.split(",")]
        settings = replace(settings, kinds=asked, person_model=settings.person_model if "person" in asked else "")
        if problems := settings.problems():
            raise UserError(f"--kinds {kinds}: {'; '.join(problems)}")
    return settings, chosen, read_key(settings.key_file) if settings.replacement == "pseudonym" else b""


def scrubbed_texts(path: Path, source: SourceSettings, settings: ScrubSettings, key: bytes) -> Iterator[str]:
    """The text of each document of a file, scrubbed. `UserError` at a row that is none."""
    scrubber = scrubber_for(settings, key)
    for row in rows_of(path, source):
        if isinstance(row, Broken):
            raise UserError(f"{plain(shown(row.id.partition(':')[2]))} is no document: {row.reason}")
        yield scrubber.scrub(row.text).text


def explained(path: Path, source: SourceSettings, settings: ScrubSettings, key: bytes) -> Iterator[str]:
    """Of each document of a file every candidate, and what happens to it; at the end the sums of all."""
    scrubber, replaced, kept = scrubber_for(settings, key), Counter[str](), Counter[str]()
    for row in rows_of(path, source):
        name = plain(shown(row.id.partition(":")[2]))
        if isinstance(row, Broken):
            yield from (f"{name}: is no document: {row.reason}; {plain(shown(row.excerpt))}", "")
            continue
        looks = scrubber.looks(row.text)
        scrubbed = scrubber.scrub(row.text)
        replaced.update(scrubbed.found)
        kept.update(look.kind for look in looks if not look.value)
        yield f"{name}: {verdict(scrubbed.hidden_bytes / max(utf8_bytes(row.text), 1), settings.max_density)}"
        yield from aligned(list(candidates(row, looks, scrubber))) if looks else ()
        if more := sum(scrubbed.found.values()) - sum(bool(look.value) for look in looks):
            yield f"  and {more:,} beside those, once they were replaced"
        yield ""
    rows = [
        (kind, f"{replaced[kind]:,} replaced", f"{kept[kind]:,} kept") for kind in KINDS if replaced[kind] + kept[kind]
    ]
    yield from aligned(rows) if rows else ("nothing in it looks like a personal value",)


def verdict(share: float, max_density: float) -> str:
    """
    >>> verdict(0.5, 0.2)
    'goes: pii-density (50% of its bytes are personal, at most 20% wanted)'
    """
    if share > max_density:
        return f"goes: {TOO_DENSE} ({share:.0%} of its bytes are personal, at most {max_density:.0%} wanted)"
    return f"stays; {share:.0%} of its bytes are personal"


def candidates(document: Document, looks: list[Found], scrubber: Scrubber) -> Iterator[tuple[str, str, str, str]]:
    """(line:column, kind, what it looks like, what happens to it), lines and columns (of characters) from 1."""
    data = document.text.encode("utf-8", "surrogatepass")
    line, column, done = 1, 1, 0
    for look in looks:
        between = data[done : look.start].decode("utf-8", "surrogatepass")
        if newlines := between.count("\n"):
            line, column = line + newlines, 0
            between = between[between.rfind("\n") :]
        column, done = column + len(between), look.start
        value = data[look.start : look.end].decode("utf-8", "surrogatepass")
        masked = f"{plain(value[0])}… ({len(value):,} characters)"
        becomes = (
            f"replaced by {scrubber.replacement(look)}" if look.value else f"kept: looks like one, but {look.wants}"
        )
        yield f"{line}:{column}", look.kind, masked, becomes
