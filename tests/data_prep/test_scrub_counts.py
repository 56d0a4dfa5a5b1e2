"""Proves that counts and samples of scrubbing depend on the documents alone, and that no sample shows a value."""

from __future__ import annotations

import json
import random
import re
from collections import Counter

import pytest

from data_prep.document import Document
from data_prep.pii import Scrubber
from data_prep.scrub_counts import CONTEXT_CHARACTERS, SAMPLES, ScrubCounts, context_of, merged_counts
from data_prep.settings import ScrubSettings

EMAIL = Scrubber(ScrubSettings(kinds=["email"]))
EMAIL_IP = Scrubber(ScrubSettings(kinds=["email", "ip"]))


def documents() -> list[Document]:
    """Every second with an e-mail address, every third with two IP addresses (made up), by two sources."""
    return [
        Document(
            f"{source}:{number}",
            f"This is text {number}."
            + f" Write to jo{number}@example.org now." * (number % 2 == 0)
            + f" From 102.1.200.{number} to 103.1.200.{number}." * (number % 3 == 0),
            source,
        )
        for number in range(120)
        for source in ("web", "books")
    ]


def counts_of(found: list[Document], scrubber: Scrubber = EMAIL_IP) -> ScrubCounts:
    counts = ScrubCounts()
    for document in found:
        counts.add(document, scrubber.scrub(document.text), Counter(), dropped=False)
    return counts


def test_shards_and_order_change_nothing() -> None:
    shuffled = documents()
    whole = json.dumps(merged_counts([counts_of(shuffled).to_json()]))
    for seed in range(3):
        random.Random(seed).shuffle(shuffled)
        pieces = [shuffled[:1], shuffled[1:100], shuffled[100:107], shuffled[107:]]
        read_back = [json.loads(json.dumps(counts_of(piece).to_json())) for piece in pieces]
        assert json.dumps(merged_counts(read_back)) == whole


def test_the_counts_are_those_counted_by_hand() -> None:
    facts = merged_counts([counts_of(documents()).to_json()])
    assert list(facts["sources"]) == ["books", "web"]
    web = facts["sources"]["web"]
    assert web["kinds"] == {"email": {"values": 60, "documents": 60}, "ip": {"values": 80, "documents": 40}}
    assert list(web["kinds"]) == ["email", "ip"]  # in order of precedence
    assert web["documents_in"] == 120 and web["documents_touched"] == 80  # 60 + 40 - 20 of both
    hidden = sum(len(f"jo{n}@example.org") for n in range(0, 120, 2))
    hidden += sum(2 * len(f"102.1.200.{n}") for n in range(0, 120, 3))
    assert web["hidden_bytes"] == hidden
    assert web["bytes_in"] == sum(len(document.text) for document in documents() if document.source == "web")


def test_values_in_fields_count_and_dropped_documents_too() -> None:
    counts = ScrubCounts()
    document = Document("web:1", "Ünd jo@example.org.", "web")
    counts.add(document, EMAIL.scrub(document.text), Counter({"email": 2, "ip": 1}), dropped=True)
    facts = counts.to_json()["sources"]["web"]
    assert facts["kinds"] == {"email": {"values": 3, "documents": 1}, "ip": {"values": 1, "documents": 1}}
    assert (facts["documents_dropped"], facts["bytes_in"], facts["hidden_bytes"]) == (1, 20, 14)


def test_samples_are_few_and_from_different_documents() -> None:
    facts = merged_counts([counts_of(documents()).to_json()])
    for kind in ("email", "ip"):
        ids = [sample["id"] for sample in facts["samples"] if sample["kind"] == kind]
        assert len(set(ids)) == len(ids) == SAMPLES
    assert {sample["source"] for sample in facts["samples"]} == {"web", "books"}
    shown = json.dumps(facts["samples"])
    assert "example.org" not in shown and ".1.200." not in shown
    assert all(re.search(r"<(EMAIL|IP)>", sample["context"]) for sample in facts["samples"])


def test_a_context_masks_kinds_that_are_not_asked_for_and_values_at_its_cut() -> None:
    """At whatever distance a card's number stands, and wherever the cut goes through it, no part of it is seen."""
    for distance in range(60):
        filler = "x" * distance
        text = f"Card 4111 1111 1111 1111 {filler} jo@example.org {filler} from 8.8.4.4, card 4012888888881881."
        scrubbed = EMAIL.scrub(text).text
        start = scrubbed.index("<EMAIL>")
        context = context_of(scrubbed, start, start + len("<EMAIL>"))
        assert not re.search(r"\d", context) and context.count("<EMAIL>") == 1
        assert len(context) <= 2 * CONTEXT_CHARACTERS + len("<EMAIL>") + 2


def test_a_long_secret_that_the_config_leaves_in_is_not_seen_in_part() -> None:
    """A private key is far longer than a context: cut out of it, a line would match no pattern."""
    body = "\n".join("MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj" for _ in range(20))
    label = "PRIVATE " + "KEY"
    text = f"-----BEGIN {label}-----\n{body}\n-----END {label}-----\njo@example.org"
    scrubbed = EMAIL.scrub(text).text
    start = scrubbed.index("<EMAIL>")
    assert "MIIEvQ" in scrubbed
    assert context_of(scrubbed, start, start + 7) == "<SECRET>\n<EMAIL>"


def test_the_context_is_that_of_the_value() -> None:
    scrubbed = "a" * 50 + " <EMAIL> " + "b" * 50
    assert context_of(scrubbed, 51, 58) == "…" + "a" * 39 + " <EMAIL> " + "b" * 39 + "…"
    assert context_of("<EMAIL>", 0, 7) == "<EMAIL>"


def test_a_text_that_says_placeholder_itself_gives_no_sample() -> None:
    """Which of its words stand for values nobody could tell."""
    counts = counts_of([Document("web:1", "Put <EMAIL> or jo@example.org there.", "web")])
    assert counts.to_json()["samples"] == []
    assert counts.sources["web"]["kinds"]["email"]["values"] == 1


@pytest.mark.parametrize("number", [1, 2, 7])
def test_pseudonyms_are_places_too(number: int) -> None:
    key = bytes(range(number, number + 16))
    scrubber = Scrubber(ScrubSettings(kinds=["email"], replacement="pseudonym", key_file="k"), key)
    facts = counts_of([Document(f"web:{number}", "Write to jo@example.org!", "web")], scrubber).to_json()
    assert re.fullmatch(r"Write to <EMAIL-[a-z]{12}>!", facts["samples"][0]["context"])
