"""The peers' side of benchmarks/scrub.py, under the interpreter that has them.

python benchmarks/scrub_peers.py sentences COUNT SEED FILE
python benchmarks/scrub_peers.py datatrove|presidio|presidio-all TEXTS FILE

`sentences` writes presidio-evaluator's templates filled with its fake identities, one JSON line each. The others read
texts of such lines, and write what they find in each, [start, end, kind, score] in characters, kinds by our names, and
the CPU-seconds that it took. presidio-all asks for every entity that presidio's default recognizers know, presidio for
those of our kinds only; both without a model of language, for none can be had offline: so no names of people.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Callable
from pathlib import Path

OURS = {  # presidio's entities by our names
    "EMAIL_ADDRESS": "email", "IP_ADDRESS": "ip", "CREDIT_CARD": "credit-card", "IBAN_CODE": "iban", "US_SSN": "us-ssn",
    "PHONE_NUMBER": "phone",
}  # fmt: skip
LABELS = OURS | {"US_DRIVER_LICENSE": "driver-licence"}
Spans = list[tuple[int, int, str, float]]


def main(task: str, *arguments: str) -> None:
    if task == "sentences":
        count, seed, file = arguments
        sentences(int(count), int(seed), Path(file))
        return
    texts, file = arguments
    documents = [json.loads(line)["text"] for line in Path(texts).read_text().split("\n") if line]
    work, find = datatrove() if task == "datatrove" else presidio(None if task.endswith("all") else list(OURS))
    work("Call 212 555 0123 or write to jo@example.org")  # once before it is timed
    seconds = -cpu_seconds()
    for text in documents:
        work(text)
    seconds += cpu_seconds()
    size = sum(len(text.encode(errors="surrogatepass")) for text in documents)
    found = [find(text) for text in documents]
    Path(file).write_text(json.dumps({"seconds": seconds, "bytes": size, "found": found}))


def sentences(count: int, seed: int, file: Path) -> None:
    os.environ["TQDM_DISABLE"] = "1"
    from presidio_evaluator.data_generator import PresidioSentenceFaker, raw_data_dir

    lines = (raw_data_dir / "templates.txt").read_text().split("\n")
    templates = [line.strip().replace("\\n", "\n") for line in lines]  # the file has a backslash and an n
    faker = PresidioSentenceFaker("en_US", lower_case_ratio=0.05, sentence_templates=templates, random_seed=seed)
    with file.open("w") as out:
        for one in faker.generate_new_fake_sentences(count):
            labels = [
                (span.start_position, span.end_position, LABELS[span.entity_type], str(span.entity_value))
                for span in one.spans
                if span.entity_type in LABELS
            ]
            out.write(json.dumps({"text": one.full_text, "labels": sorted(labels)}) + "\n")


def datatrove() -> tuple[Callable[[str], object], Callable[[str], Spans]]:
    """Its formatter, as it comes; where it replaces something is told by the patterns that it holds."""
    from datatrove.pipeline.formatters import PIIFormatter

    formatter = PIIFormatter()
    email, ip = formatter.emails_replacer, formatter.ip_replacer

    def find(text: str) -> Spans:
        found = [(*match.span(), "email", 1.0) for match in email.regex.finditer(text)]
        hidden = email.regex.sub(lambda match: "\0" * len(match[0]), text)
        addresses = (match for match in ip.regex.finditer(hidden) if ip.validator(match[0]))
        return found + [(*match.span(), "ip", 1.0) for match in addresses]

    return formatter.format, find


def presidio(entities: list[str] | None) -> tuple[Callable[[str], object], Callable[[str], Spans]]:
    """Its engine with its default recognizers, on spaCy's tokens. A word stands for its lemma, or no context counts."""
    import spacy
    from presidio_analyzer import AnalyzerEngine
    from presidio_analyzer.nlp_engine import SpacyNlpEngine
    from spacy.tokens import Doc

    def lemmas(document: Doc) -> Doc:
        for token in document:
            token.lemma_ = token.lower_
        return document

    spacy.Language.component("lemmas", func=lemmas)
    words = SpacyNlpEngine()
    words.nlp = {"en": spacy.blank("en")}
    words.nlp["en"].add_pipe("lemmas")
    words.nlp["en"].max_length = 10**9
    engine = AnalyzerEngine(nlp_engine=words)

    def find(text: str) -> Spans:
        results = engine.analyze(text, language="en", entities=entities)
        return [(one.start, one.end, OURS.get(one.entity_type, one.entity_type), one.score) for one in results]

    return find, find


def cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    main(*sys.argv[1:])
