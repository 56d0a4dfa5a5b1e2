"""The step of scrub: personal values go out of texts and fields; and the second search, in what was encoded."""

from __future__ import annotations

import functools
from collections import Counter
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

import orjson

from data_prep.counts import Counts
from data_prep.document import Document, Drop, utf8_bytes
from data_prep.files import UserError, read_json, write_json
from data_prep.pseudonyms import key_identity, read_key
from data_prep.settings import ScrubSettings, scrub_settings
from data_prep.shards import Ledger, PartWriter, read_documents, shown
from pipeline.config import RunConfig
from pipeline.document_steps import part_name
from pipeline.receipt import Entry
from pipeline.stage import Context, Result

if TYPE_CHECKING:
    from data_prep.pii import Scrubber

TOO_DENSE = "pii-density"
NAMED = 5  # documents that an error names


def settings_of(config: RunConfig) -> dict[str, ScrubSettings]:
    """What holds for each source, by its name."""
    return {source.name: scrub_settings(config.scrub, source) for source in config.source}


def key_of(config: RunConfig) -> bytes:
    """The key of pseudonyms; b"" where no source wants them. `UserError` for a wrong path or a short key."""
    wanted = any(settings.replacement == "pseudonym" for settings in settings_of(config).values())
    return read_key(config.scrub.key_file) if wanted else b""


def inputs(context: Context) -> list[Entry]:
    """The parts that dedup made, and which key: told by a keyed hash, for a digest of a short one could be guessed."""
    parts = sorted(context.upstream("dedup").outputs, key=lambda item: str(item["path"]))
    key = key_of(context.config)
    file = {"source": "scrub.key_file", "name": "scrub.key_file", "path": context.config.scrub.key_file}
    return [*parts, *([file | {"digest": key_identity(key)}] if key else [])]


@functools.cache
def scrubber_of(settings: bytes, key: bytes) -> Scrubber:
    """One a process for settings (as JSON): its automata grow with the text that they see."""
    from data_prep.pii import Scrubber

    return Scrubber(ScrubSettings(**orjson.loads(settings)), key)


def scrubber_for(settings: ScrubSettings, key: bytes = b"") -> Scrubber:
    return scrubber_of(orjson.dumps(asdict(settings)), key)


def scrub(context: Context, task: int) -> Result:
    """A shard's documents as their source wants them; a note in `meta` of those that had values; counts and places."""
    from data_prep.scrub_counts import ScrubCounts

    key, counts, found_in_shard = key_of(context.config), Counts(), ScrubCounts()
    by_source = {
        name: (scrubber_for(settings, key), settings.max_density)
        for name, settings in settings_of(context.config).items()
    }
    part, dropped = context.directory / part_name(task), context.directory / "dropped" / part_name(task)
    with PartWriter(part) as writer, Ledger(dropped) as ledger:
        for document in read_documents(context.run.root, context.shard(task)):
            scrubber, max_density = by_source[document.source]
            scrubbed = scrubber.scrub(document.text)
            fields, in_fields = scrub_fields(document.meta, scrubber)
            found = in_fields + Counter(scrubbed.found)
            if found:
                fields = orjson.dumps(orjson.loads(fields) | {"scrub": found}, option=orjson.OPT_SORT_KEYS).decode()
            changed = Document(document.id, scrubbed.text, document.source, fields)
            share = scrubbed.hidden_bytes / max(utf8_bytes(document.text), 1)
            counts.documents_in += 1
            named = bool(scrubber.find(document.id))
            found_in_shard.add(document, scrubbed, in_fields, dropped=share > max_density, named=named)
            if share > max_density:
                counts.drop(TOO_DENSE)
                ledger.write(changed, Drop(TOO_DENSE, f"{share:.0%} of its bytes are personal"))
                continue
            counts.documents_out += 1
            counts.bytes += utf8_bytes(changed.text)
            writer.write(changed)
    of_task = context.run.work("scrub", "scrub") / f"counts-{task:05d}.json"
    write_json(of_task, found_in_shard.to_json())
    return Result([part, *ledger.files, of_task], counts)


def scrub_fields(meta: str, scrubber: Scrubber) -> tuple[str, Counter[str]]:
    """The fields beside a text scrubbed, their names too, and the values in them by kind. A field's name is the word
    before its value: {"phone": "6502530000"}."""
    found: Counter[str] = Counter()

    def text_of(name: str, value: str) -> str:
        before = f"{name}: " if name else ""
        scrubbed = scrubber.scrub(before + value)
        if not scrubbed.text.startswith(before):  # the name itself is personal, and was counted where it stands
            scrubbed = scrubber.scrub(value)
            before = ""
        found.update(scrubbed.found)
        return scrubbed.text[len(before) :]

    def change(name: str, value: Any) -> Any:
        if isinstance(value, dict):
            return {text_of("", key): change(key, inner) for key, inner in value.items()}
        if isinstance(value, list):
            return [change(name, inner) for inner in value]
        if isinstance(value, float) and value.is_integer():  # as pandas writes whole numbers beside missing ones
            value = int(value)
        if isinstance(value, str | int) and not isinstance(value, bool):  # a number may be that of a phone
            scrubbed = text_of(name, str(value))
            return scrubbed if scrubbed != str(value) else value
        return value

    fields = change("", orjson.loads(meta))
    return (orjson.dumps(fields, option=orjson.OPT_SORT_KEYS).decode() if found else meta), found


def facts(context: Context, tally: dict[str, int]) -> dict[str, Any]:
    """The counts of all shards, as `data_prep.scrub_counts` describes them."""
    from data_prep.scrub_counts import merged_counts

    files = [path for path in context.outputs_of("scrub") if path.suffix == ".json"]
    return {"scrub": merged_counts(map(read_json, files))}


def values_by_kind(found: dict[str, Any]) -> Counter[str]:
    """Values replaced, of all sources, from the facts of a manifest."""
    total: Counter[str] = Counter()
    for counts in found.get("scrub", {}).get("sources", {}).values():
        total.update({kind: of_kind["values"] for kind, of_kind in counts["kinds"].items()})
    return total


# the second search ----------------------------------------------------------------------------------------------------


class SecondSearch:
    """Looks in texts that were scrubbed for what should not be there: values that their source wants replaced.

    Names of people are left out: whether a word is one is a model's guess, and depends on the words around it.
    """

    def __init__(self, config: RunConfig) -> None:
        self.scrubbers = {
            name: scrubber_for(replace(settings, kinds=[kind for kind in settings.kinds if kind != "person"]))
            for name, settings in settings_of(config).items()
        }
        self.found: Counter[str] = Counter()
        self.documents: list[str] = []

    def add(self, document_id: str, source: str, text: str) -> None:
        if found := self.scrubbers[source].find(text):
            self.found.update(value.kind for value in found)
            self.documents.append(shown(document_id))

    def check(self, run: str) -> None:
        """`UserError` when something was found; it shows no value."""
        if not self.found:
            return
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in self.found.most_common())
        more = f" and {len(self.documents) - NAMED:,} more" if len(self.documents) > NAMED else ""
        raise UserError(
            f"tokens: what was encoded holds personal values that scrub should have replaced: {kinds}, in "
            f"{', '.join(self.documents[:NAMED])}{more}; nothing of this shard is kept; scrub again: text2lm run "
            f"CONFIG --run {run} --from scrub; where that does not help, take the documents out of the sources, "
            "and tell the authors of text2lm which kind was missed"
        )
