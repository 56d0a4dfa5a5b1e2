"""Proves how the parts of cleaning come together: order, languages, sources, lists, fields, and batches of any size."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest

from data_prep.blocklists import UrlList, WordList
from data_prep.cleaning import Cleaner
from data_prep.document import Document
from data_prep.quality import CHECKS
from data_prep.settings import CleanSettings, SourceSettings
from data_prep.thresholds import bound, stop_words

ENGLISH = (
    "The bakery at the corner of our street opens early in the morning, and the smell of fresh bread fills the air. "
    "Most people who live here have their own favourite: a dark loaf with seeds, or a small white roll to go with tea. "
    "In winter the windows are covered with steam, so that nobody can see from outside what is left on the shelves."
)
CHINESE = (
    "街角的面包店一大早就开门了，新鲜面包的香味弥漫在空气中。住在这里的人们都有自己喜欢的口味：有人爱吃带种子的黑面包，"
    "有人喜欢配茶的小白面包。到了冬天，窗户上蒙着一层水汽，从外面看不清架子上还剩下什么。店主是一位年过六十的老人，"
    "他每天凌晨三点起床和面，几十年来从未间断。邻居们说，只要闻到这股香味，就知道新的一天开始了。"
)
GERMAN = (
    "Die Bäckerei an der Ecke unserer Straße öffnet früh am Morgen, und der Duft von frischem Brot liegt in der Luft. "
    "Die meisten Leute, die hier wohnen, haben ihre eigenen Vorlieben: ein dunkles Brot mit Körnern oder ein kleines "
    "weißes Brötchen zum Tee. Im Winter sind die Fenster von Dampf beschlagen, so dass niemand von draußen sehen kann, "
    "was in den Regalen noch übrig ist. Der Bäcker steht seit vierzig Jahren um drei Uhr auf und knetet den Teig."
)
FAMILIES = ["gopher-quality", "gopher-repetition", "c4", "fineweb"]


def cleaner(*sources, urls=None, words=None, **settings):
    named = sources or (SourceSettings("s", ["x"]),)
    clean = CleanSettings(**settings)
    assert [*clean.problems(), *(problem for source in named for problem in source.problems())] == []
    return Cleaner(clean, {source.name: source for source in named}, urls, words)


def documents(*texts, source="s", **meta):
    return [Document(f"{source}:{row}", text, source, json.dumps(meta)) for row, text in enumerate(texts)]


def test_prose_in_any_language_passes_the_families_that_judge_how_it_is_written():
    found = cleaner(rules=["gopher-quality", "gopher-repetition", "fineweb"]).look(documents(ENGLISH, CHINESE, GERMAN))
    assert [language.code for language in found.languages] == ["en", "zh-Hans", "de"]
    assert found.reasons == ["", "", ""]


def test_garbage_in_chinese_goes_as_it_does_in_english():
    menu = "\n".join(["首页", "产品", "关于我们", "联系方式", "登录"] * 12)
    again = "新鲜面包的香味弥漫在空气中。" * 20
    numbers = " ".join(f"{number} 元" for number in range(200))
    found = cleaner(rules=["gopher-quality", "gopher-repetition", "fineweb"]).look(documents(menu, again, numbers))
    assert all(found.reasons)


def test_no_check_of_word_length_applies_to_chinese():
    found = cleaner(rules=FAMILIES).look(documents(CHINESE, ENGLISH))
    lengths = {outcome.name: outcome for outcome in found.checks}["gopher-quality.max_mean_word_length"]
    assert math.isnan(lengths.values[0])
    assert 3 < lengths.values[1] < 10
    assert not lengths.fails.any()


def test_without_a_language_no_stop_words_are_asked_for():
    plain = cleaner(detect_language=False, rules=["gopher-quality"])
    assert plain.look(documents(GERMAN, ENGLISH)).reasons == ["", ""]
    named = cleaner(SourceSettings("s", ["x"], language="en"), detect_language=False, rules=["gopher-quality"])
    assert named.look(documents(GERMAN, ENGLISH)).reasons == ["gopher-few-stop-words", ""]


def test_languages_that_are_not_asked_for_go_and_so_do_unsure_ones():
    found = cleaner(languages=["en", "zh"], rules=[]).look(documents(ENGLISH, CHINESE, GERMAN))
    assert found.reasons == ["", "", "other-language"]
    assert found.details[2] == "language de"
    assert cleaner(languages=["zh-Hant"], rules=[]).look(documents(CHINESE)).reasons == ["other-language"]
    strict = cleaner(languages=["en"], min_language_confidence=1, rules=[])
    sure = strict.look(documents(ENGLISH)).languages[0].confidence
    assert (strict.look(documents(ENGLISH)).reasons == [""]) == (sure >= 1)


def test_what_a_source_says_of_its_language_is_believed():
    found = cleaner(SourceSettings("s", ["x"], language="fr"), languages=["fr"], rules=[]).look(documents(ENGLISH))
    assert (found.languages[0].code, found.detected, found.reasons) == ("fr", [False], [""])


def test_an_edit_changes_what_the_rules_behind_it_see():
    """Gopher asks for 50 words; C4 takes the lines without a full stop, and leaves fewer."""
    text = "\n".join(
        [ENGLISH.replace(". ", ".\n"), *(f"line {number} without a mark and of many words" for number in range(9))]
    )
    before = cleaner(SourceSettings("s", ["x"], language="en"), rules=["gopher-quality", "c4"],
                     thresholds={"gopher-quality": {"min_words": 100}, "c4": {"min_sentences": 3}})  # fmt: skip
    after = dataclasses.replace(before, settings=dataclasses.replace(before.settings, rules=["c4", "gopher-quality"]))
    assert before.look(documents(text)).reasons == [""]
    assert after.look(documents(text)).reasons == ["gopher-few-words"]
    assert before.look(documents(text)).texts == after.look(documents(text)).texts == [ENGLISH.replace(". ", ".\n")]


def test_the_first_rule_that_fails_gives_the_reason_and_all_are_looked_at():
    found = cleaner(rules=["fineweb", "gopher-quality"]).look(documents("menu\n" * 40))
    assert found.reasons[0].startswith("fineweb-")
    assert {outcome.check.rule for outcome in found.checks if outcome.fails[0]} == {"fineweb", "gopher-quality"}
    assert cleaner(rules=["gopher-quality", "fineweb"]).look(documents("menu\n" * 40)).reasons[0].startswith("gopher-")


def test_a_text_of_which_nothing_is_left_is_empty():
    thresholds = {"c4": {"min_sentences": 0}}
    found = cleaner(rules=["c4"], thresholds=thresholds).look(documents("no mark here", " \n ", "A line that stays."))
    assert found.reasons == ["empty", "empty", ""]


def test_sources_have_rules_and_thresholds_of_their_own():
    code = SourceSettings("code", ["x"], rules=[])
    poems = SourceSettings("poems", ["x"], thresholds={"gopher-quality": {"min_words": 3}})
    other = SourceSettings("other", ["x"])
    short = "the first of them"
    look = cleaner(code, poems, other, rules=["gopher-quality"], detect_language=False)
    found = look.look([Document(name, short, name) for name in ("other", "code", "poems", "other")])
    assert found.reasons == ["gopher-few-words", "", "", "gopher-few-words"]
    words = {outcome.name: outcome for outcome in found.checks}["gopher-quality.min_words"]
    assert np.array_equal(words.bounds, [50, math.nan, 3, 50], equal_nan=True)


def test_which_threshold_holds():
    """Source, then language, then config, then FineWeb-2's of the language, then the paper's."""
    check = next(check for check in CHECKS if check.name == "gopher-repetition.max_top_2_gram")
    source = SourceSettings("s", ["x"])
    assert bound(check, CleanSettings(), source, "en") == 0.2  # Gopher's table A1
    assert bound(check, CleanSettings(), source, "fr") == 0.161  # FineWeb-2's fra_Latn
    settings = CleanSettings(thresholds={"gopher-repetition": {"max_top_2_gram": 0.5}})
    assert bound(check, settings, source, "zh-Hans") == 0.5
    settings = dataclasses.replace(settings, by_language={"zh": {"gopher-repetition": {"max_top_2_gram": 0.6}}})
    assert (bound(check, settings, source, "zh-Hans"), bound(check, settings, source, "en")) == (0.6, 0.5)
    settings.by_language["zh-Hans"] = {"gopher-repetition": {"max_top_2_gram": 0.7}}
    assert (bound(check, settings, source, "zh-Hans"), bound(check, settings, source, "zh-Hant")) == (0.7, 0.6)
    own = dataclasses.replace(source, thresholds={"gopher-repetition": {"max_top_2_gram": 0.8}})
    assert bound(check, settings, own, "zh-Hans") == 0.8


@pytest.mark.parametrize("language", ["en", "zh", "ja", "de", "fr", "es", "ru"])
def test_these_languages_have_stop_words(language):
    assert len(set(stop_words(language))) >= 8


def test_lists_and_fields(tmp_path):
    (tmp_path / "urls").write_text("bad.example\n")
    (tmp_path / "words").write_text("steam\n水汽\n")
    look = cleaner(
        urls=UrlList.read([tmp_path / "urls"]), words=WordList.read([tmp_path / "words"]), rules=[],
        url_field="url", blocked_urls=["x"], fields={"karma": {"min": 3}},
    )  # fmt: skip
    rows = [
        *documents("one", url="https://www.bad.example/page", karma=1),
        *documents("two", url="https://good.example", karma=2),
        *documents("three", url="https://good.example", karma="3"),  # as CSV has it
        *documents("four", karma="unknown"),
        *documents(ENGLISH, CHINESE),
    ]
    found = look.look(rows)
    assert found.reasons == ["blocked-url", "field-karma", "", "", "blocked-word", "blocked-word"]
    assert found.details[1] == "the field karma: 2, at least 3 wanted"
    assert "'水汽'" in found.details[5]


def test_batches_of_any_size_come_to_the_same():
    texts = [
        ENGLISH,
        "",
        "x",
        CHINESE,
        "menu\n" * 30,
        GERMAN,
        "ABOUT US\n" + ENGLISH,
        "<html><p>one two",
        "a\u200bb\r\nc",
    ]
    look = cleaner(rules=["refinedweb", "c4", *FAMILIES[:2], "fineweb"])
    together = look.look(documents(*texts))
    for row, document in enumerate(documents(*texts)):
        alone = look.look([document])
        assert (alone.texts[0], alone.reasons[0], alone.details[0]) == (
            together.texts[row], together.reasons[row], together.details[row]
        )  # fmt: skip
        assert (alone.words[0], alone.words_out[0]) == (together.words[row], together.words_out[row])
        for one, other in zip(alone.checks, together.checks, strict=True):
            assert np.array_equal(one.values[0], other.values[row], equal_nan=True)
            assert one.fails[0] == other.fails[row]
        for name, places in together.edits.items():
            assert places[row] == (alone.edits[name][0] if name in alone.edits else 0)


def test_what_a_reader_found_to_be_a_page_is_taken_for_one():
    """A fragment does not begin like a page; its type says what it is."""
    fragment = "<p>One &amp; <b>two</b></p>"
    (page,) = cleaner(rules=[]).look(documents(fragment)).texts
    assert page == fragment
    meta = '{"content_type":"text/html","url":"x"}'  # as orjson writes it
    assert cleaner(rules=[]).look([Document("s:0", fragment, "s", meta)]).texts == ["One & two"]
    other = Document("s:0", fragment, "s", '{"content_type":"text/html","title":"a row\'s own field"}')
    assert cleaner(rules=[]).look([other]).texts == [fragment]
    text = cleaner(SourceSettings("s", ["x"], format="text"), rules=[])
    assert text.look([Document("s:0", fragment, "s", meta)]).texts == [fragment]
