"""Names of people, which no pattern tells: by a spaCy model, through presidio's engine. An extra, off by default.

Presidio 2 (Microsoft) maps the labels of many models to one entity, PERSON. Of it only that runs: what it has for other
kinds is `data_prep.pii`'s work. A model guesses: it misses names and takes other words for some.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from data_prep.files import UserError

LANGUAGE = "en"  # by which presidio looks up its model, whatever language the model reads
PIECE = 20_000  # characters that the model reads at once. spaCy's parsers take about 10 kB of memory for each
BORDERS = ("\n\n", "\n", " ")  # where a longer text is cut, the best first
# Labels of people's names that presidio's own table lacks, in spaCy's models for Polish, Swedish and Korean
MORE_LABELS = dict.fromkeys(("persName", "PRS", "PS"), "PERSON")
# Parts of spaCy's pipelines that do not help to find names, by the names that they have there
UNUSED = ["parser", "senter", "tagger", "morphologizer", "attribute_ruler", "lemmatizer", "trainable_lemmatizer"]
PLACEHOLDER = re.compile("<[A-Z][A-Z-]*[a-z]*>")  # or a pseudonym: its words are no names
SURROGATES = re.compile("[\ud800-\udfff]")  # which have no UTF-8, and spaCy wants that


class Persons:
    """Finds names by one model, which stays in memory.

    `model` is the name of an installed spaCy model (`en_core_web_lg`) or a directory with one. `UserError` where it,
    or presidio, is missing: nothing is fetched.
    """

    def __init__(self, model: str) -> None:
        try:
            import spacy
            from presidio_analyzer import AnalyzerEngine, RecognizerRegistry
            from presidio_analyzer.nlp_engine import NerModelConfiguration, SpacyNlpEngine
            from presidio_analyzer.predefined_recognizers import SpacyRecognizer
        except ImportError as error:
            raise UserError(
                f"scrub.kinds names the kind person, which needs the package {error.name}; it is not installed; "
                "type: pip install 'text2lm[persons]'"
            ) from None
        try:
            # loaded here: presidio would fetch a model that is missing, and put one on a GPU where it sees one
            self._spacy = spacy.load(model, exclude=UNUSED)
        except (OSError, ValueError) as error:
            what = str(error).split("\n")[0].split(". ")[0]
            raise UserError(
                f"scrub.person_model: spaCy cannot load '{model}' ({what}); wanted the name of an installed model or "
                "a directory with one; type: python -m spacy download en_core_web_lg"
            ) from None
        labels = {label for names in self._spacy.pipe_labels.values() for label in names}
        entities = NerModelConfiguration().model_to_presidio_entity_mapping | MORE_LABELS
        people = {label for label in labels if entities.get(label) == "PERSON"}
        if not people:
            raise UserError(
                f"scrub.person_model: '{model}' tells no names of people, its labels are "
                f"{', '.join(sorted(labels)) or 'none'}; name another model, such as en_core_web_lg"
            )
        settings = NerModelConfiguration(
            model_to_presidio_entity_mapping=dict.fromkeys(people, "PERSON"), labels_to_ignore=sorted(labels - people)
        )
        engine = SpacyNlpEngine([{"lang_code": LANGUAGE, "model_name": model}], settings)
        engine.nlp = {LANGUAGE: self._spacy}
        recognizer = SpacyRecognizer(supported_language=LANGUAGE, supported_entities=["PERSON"])
        self._analyzer = AnalyzerEngine(RecognizerRegistry([recognizer]), engine)

    def find(self, text: str) -> list[tuple[int, int]]:
        """(start, end) in characters of each name, in order and apart; none in a placeholder, none with < or >."""
        found: list[tuple[int, int]] = []
        for offset, piece in pieces(SURROGATES.sub("?", text)):
            with self._spacy.memory_zone():  # else every new word would stay in memory
                names = sorted(
                    (name.start, name.end) for name in self._analyzer.analyze(piece, LANGUAGE, entities=["PERSON"])
                )
            placeholders = [match.span() for match in PLACEHOLDER.finditer(piece)]
            for start, end in names:
                inside = any(first < end and start < last for first, last in placeholders)
                if not inside and not {"<", ">"} & set(piece[start:end]):
                    found.append((offset + start, offset + end))
        return found


def pieces(text: str) -> Iterator[tuple[int, str]]:
    """A text in pieces of at most `PIECE` characters with their offsets, cut between paragraphs, lines or words.

    >>> [len(piece) for _, piece in pieces("word " * 5000)]
    [19999, 5001]
    """
    start = 0
    while len(text) - start > PIECE:
        borders = (text.rfind(border, start + 1, start + PIECE) for border in BORDERS)
        stop = next((border for border in borders if border > start), start + PIECE)
        yield start, text[start:stop]
        start = stop
    yield start, text[start:]
