"""Proves that names which presidio finds by a spaCy model become placeholders; with a real model that is made here.

It knows three made-up names by heart, as spaCy's rules, so that what it must find is certain.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import spacy

from data_prep.files import UserError
from data_prep.persons import PIECE, Persons
from data_prep.pii import Scrubber
from data_prep.settings import ScrubSettings

ROOT = Path(__file__).parents[2]
NAMES = {"PERSON": ["Zorbelia Quandtree", "Émile Tøstvik", "EMAIL"], "ORG": ["Quandtree Works"]}


def write_model(path: Path, names: dict[str, list[str]]) -> str:
    model = spacy.blank("en")
    ruler = model.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": label, "pattern": name} for label in names for name in names[label]])
    model.to_disk(path)
    return str(path)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_model(tmp_path_factory.mktemp("models") / "three_names", NAMES)


@pytest.fixture(scope="module")
def persons(model: str) -> Persons:
    return Persons(model)


def found(persons: Persons, text: str) -> list[str]:
    return [text[start:end] for start, end in persons.find(text)]


def test_names_are_found_and_nothing_else(persons: Persons) -> None:
    text = "Émile Tøstvik and Zorbelia Quandtree left Quandtree Works; Zorbelia stayed."
    assert persons.find(text) == [(0, 13), (18, 36)]
    assert found(persons, text) == ["Émile Tøstvik", "Zorbelia Quandtree"]
    assert persons.find("") == persons.find(" \n") == []


def test_no_placeholder_is_a_name(persons: Persons) -> None:
    assert found(persons, "EMAIL") == ["EMAIL"]  # this model takes the word for one
    assert found(persons, "To <EMAIL> or <EMAIL-abcdefghijkl> from <Zorbelia Quandtree>") == ["Zorbelia Quandtree"]


def test_long_texts_are_read_in_pieces_and_no_name_is_cut(persons: Persons, model: str) -> None:
    """Longer than the million characters at which spaCy refuses a text."""
    line = "It was Zorbelia Quandtree who came, and then she went away again. "
    for border in ("\n\n", "\n", " "):
        text = border.join([line.strip()] * 16_000)
        assert len(text) > spacy.load(model).max_length > PIECE
        starts = [start for start, end in persons.find(text) if text[start:end] == "Zorbelia Quandtree"]
        step = len(line.strip()) + len(border)
        assert starts == [7 + step * number for number in range(16_000)]
    unbroken = "x" * (2 * PIECE)
    assert persons.find(unbroken) == []


def test_a_half_of_a_character_does_not_stop_it(persons: Persons) -> None:
    assert persons.find("\ud83d Zorbelia Quandtree") == [(2, 20)]


def test_new_words_do_not_stay_in_memory(persons: Persons) -> None:
    words = persons._spacy.vocab.strings
    persons.find("warm")
    before = len(words)
    persons.find(" ".join(f"word{number}" for number in range(1000)))
    assert len(words) == before


def test_the_scrubber_replaces_them_beside_other_kinds(model: str) -> None:
    scrubber = Scrubber(ScrubSettings(kinds=["email", "person"], person_model=model))
    scrubbed = scrubber.scrub("友 Émile Tøstvik <emile@example.org> met Zorbelia Quandtree.")
    assert scrubbed.text == "友 <PERSON> <<EMAIL>> met <PERSON>."
    assert scrubbed.found == {"email": 1, "person": 2}
    assert scrubber.scrub(scrubbed.text).text == scrubbed.text
    (name,) = (look for look in scrubber.looks("with Zorbelia  Quandtree or Zorbelia Quandtree") if look.value)
    assert (name.kind, name.value) == ("person", "Zorbelia Quandtree")


def test_a_name_has_one_pseudonym(model: str) -> None:
    settings = ScrubSettings(kinds=["person"], person_model=model, replacement="pseudonym", key_file="named elsewhere")
    first, again, other = (
        Scrubber(settings, b"a secret of some length")
        .scrub("Zorbelia Quandtree, Zorbelia Quandtree, Émile Tøstvik")
        .text.split(", ")
    )
    assert first == again != other
    assert first.startswith("<PERSON-")


@pytest.mark.parametrize("label", ["PER", "PERSON", "persName", "PRS", "PS"])
def test_labels_of_models_for_other_languages(tmp_path: Path, label: str) -> None:
    assert found(Persons(write_model(tmp_path / "model", {label: ["Jo Doe"]})), "It is Jo Doe.") == ["Jo Doe"]


def test_a_model_that_knows_no_people_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="tells no names of people, its labels are ORG; name another"):
        Persons(write_model(tmp_path / "model", {"ORG": ["Quandtree Works"]}))


def test_a_missing_model_is_named_and_not_fetched(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("en_no_such_model", str(tmp_path / "nowhere"), str(tmp_path / "empty")):
        with pytest.raises(UserError, match=r"spaCy cannot load '.*type: python -m spacy download") as caught:
            Persons(name)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_missing_package_is_named_with_what_to_type() -> None:
    code = (
        "import sys\n"
        "sys.modules['presidio_analyzer'] = None\n"  # so that its import fails as if it were not there
        "from data_prep.files import UserError\n"
        "from data_prep.pii import Scrubber\n"
        "from data_prep.settings import ScrubSettings\n"
        "Scrubber(ScrubSettings())\n"  # the default kinds do not need it
        "try:\n"
        "    Scrubber(ScrubSettings(kinds=['person'], person_model='en_core_web_lg'))\n"
        "except UserError as error:\n"
        "    print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)}
    )
    assert "presidio_analyzer" in done.stdout, done.stderr
    assert "pip install 'text2lm[persons]'" in done.stdout
