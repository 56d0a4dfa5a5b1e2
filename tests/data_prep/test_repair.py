"""Proves that each repair mends what was broken, counts it, and leaves what a writer meant, in any script."""

from __future__ import annotations

import unicodedata

import ftfy.badness
import pytest
from hypothesis import given
from hypothesis import strategies as st

from data_prep.repair import REPAIRS, repair


def test_repairs_by_name():
    assert REPAIRS == ("mojibake", "line-ends", "control", "zero-width", "nfc", "spaces", "blank-lines")


@pytest.mark.parametrize("charset", ["latin-1", "cp1252", "cp1250", "cp1251", "mac-roman", "cp437"])
@pytest.mark.parametrize(
    "right", ["déjà vu, naïveté – “côté”", "voilà, c’est l’été", "多谢你的帮助！", "größer ☃ 🎉", "Ещё раз"]
)
def test_text_read_in_a_wrong_character_set_is_read_again(right, charset):
    """The sets themselves say what mojibake is. What ftfy alone mends is mended, and is right."""
    broken = "".join(bytes([byte]).decode(charset, "ignore") or chr(byte) for byte in right.encode())
    assert broken != right
    wanted = ftfy.fix_encoding(broken)
    assert wanted in (right, broken)
    assert repair(broken, ["mojibake"]) == (wanted, {"mojibake": 1} if wanted == right else {})


def test_mojibake_is_mended_line_by_line_and_right_text_beside_it_stays():
    right = "“Ｆｕｌｌ　ｗｉｄｔｈ”，ﬁne ‘quotes’ — ＋１；ﾊﾝｶｸ &amp; caf\u00e9\x1b[1m"
    broken = "dÃ©jÃ  vu"
    text = f"{right}\n{broken}\n{right} â€œwordâ€\x9d"
    fixed = f"{right}\ndéjà vu\n{right} “word”"
    assert repair(text, ["mojibake"]) == (fixed, {"mojibake": 2})


RIGHT = {
    "Chinese, full-width": "他说：“你好，世界！”（全角）；ＡＢＣ１２３　《书》……——「引」『文』～、。￥５０",
    "Japanese, half-width": "ｶﾀｶﾅと半角、全角（カタカナ）。「はい」ー〜・々〆　㈱①Ⅳ",
    "Korean": "안녕하세요? ‘인용’과 “인용”… ㈜한글　１２３",
    "curly quotes": "“She said ‘no’,” he’d written — “rock ’n’ roll” … „deutsch“ «français» ‹x›",
    "ligatures": "ﬁne oﬃce ﬂow Ĳssel Ǆ œuvre Œuvre æsthetic ſtreet ß",
    "compatibility": "x² H₂O ½ № ™ ℃ Ⅳ ﷺ ㎏",
    "French spaces": "Vraiment\xa0? «\xa0Oui\xa0»\u202f! 10\u202f000\xa0€",
    "Portuguese, Turkish, Vietnamese": "À VOSSA AÇÃO É NÃO; İstanbul’da ığdır; Tiếng Việt: “Đường” ưỡn",
    "Polish, Czech, Romanian": "ŻÓŁĆ „zażółć gęślą jaźń” ŘŽ příliš; București „știință”",
    "Greek, Cyrillic": "Ελληνικά «παράθεση» Άγιος ΐ; Ёлка №1 «ёж» Їжак",
    "boxes and symbols": "┌──┐│x│└──┘ ░▒▓ ←→ ✓ • ° ± × ÷ ¿¡ § ¶ © ® ¢£¥€ µm 5°C",
    "emoji": "👩\u200d👩\u200d👧\u200d👦 ❤\ufe0f\u200d🔥 🏳\ufe0f\u200d🌈 👍🏽 🇩🇪 3\ufe0f\u20e3 ✌🏿",
    "flag of tags": "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "Persian": "می\u200cخواهم کتاب\u200cها را، «بخوانم»؟ ه\u200d",
    "Arabic, Hebrew marks": "عربي\u200f! (ABC)\u200e\nעברית \u202bABC\u202c \u2067x\u2069 שָׁלוֹם",
    "Hindi, Malayalam, Bengali": "क्\u200dष र्\u200cय ക്\u200d ন্\u200d হ্যাঁ",
    "Sinhala, Kannada": "ශ්\u200dරී ලංකා ರ್\u200dಯ",
    "Thai, Khmer, Burmese, Lao": "ภาษา\u200bไทย ភាសា\u200bខ្មែរ မြန်မာ\u200bစာ ພາສາ\u200bລາວ",
    "Tibetan, Mongolian": "བོད་ཡིག མོང་ ᠮᠣᠩᠭᠣᠯ\u180eᠠ ᠪᠢᠴᠢᠭ",
    "indentation": "def f():\n\tif x:\n        return 1  # two  spaces\n\na | b    | c",
    "private, unassigned": "\ue000 \uf8ff \U000f0000 \u0378 \ufffd \ufffc",
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right_stays(name):
    text = unicodedata.normalize("NFC", RIGHT[name])
    assert repair(text, REPAIRS) == (text, {})


@pytest.mark.parametrize(
    ("name", "text", "wanted", "places"),
    [
        ("line-ends", "a\r\nb\rc\n\rd\u2028e\u2029f\vg\fh\x85i", "a\nb\nc\n\nd\ne\nf\ng\nh\ni", 8),
        ("control", "a\x00b\x7fc\x81d\ufeff\ufdd0e\uffff\U0010fffff\tg\nh\ufffb", "abcd\ufeffef\tg\nh", 7),
        ("control", "\x1b[1;31mred\x1b[0m \x1b!", "red !", 3),
        ("control", "N\x08NA\x08A _\x08x\x08", "NA x", 4),  # bold and underlined, as nroff prints it
        ("zero-width", "\ufeffsoft\xadly w\u200bo\u200cr\u200dd\u2060 \u206a中\u200b文\u200d", "softly word 中文", 9),
        ("zero-width", "a\u200e\u202eb\u2069\nא\u200f", "ab\nא\u200f", 3),
        ("zero-width", "ก\u200b ก\u200bx", "ก กx", 2),
        ("zero-width", "hide\U000e0068\U000e0069\U000e007f!", "hide!", 1),
        ("nfc", "e\u0301\na\n\u212b\u2126", "é\na\nÅΩ", 2),  # Unicode Standard Annex 15, figure 3
        ("spaces", "a \t\nb\xa0\u3000\n\n  c  d", "a\nb\n\n  c  d", 2),
        ("blank-lines", "a\n\n\nb\n\nc\n\n\n\n\nd", "a\n\nb\n\nc\n\nd", 2),
    ],
)
def test_each_repair_by_hand(name, text, wanted, places):
    assert repair(text, [name]) == (wanted, {name: places})
    others = [other for other in REPAIRS if other not in (name, "mojibake")]
    assert name not in repair(text, others)[1]


def test_without_any_repair_only_the_outside_and_surrogates_change():
    text = " \n a\x00\r\n\n\n\u200bdÃ©jÃ \ud83d\ude00 \ud800e\u0301 \t"
    assert repair(text, []) == ("a\x00\r\n\n\n\u200bdÃ©jÃ 😀 \ufffde\u0301", {})


def test_the_order_is_fixed_so_that_one_repair_makes_place_for_the_next():
    """A zero-width space at a line's end leaves a trailing space, which leaves a blank line."""
    text = "a\r\n \u200b\r\n\x00 \r\nb"
    assert repair(text, REPAIRS[::-1]) == (
        "a\n\nb",
        {"line-ends": 3, "control": 1, "zero-width": 1, "spaces": 2, "blank-lines": 1},
    )


def test_marks_beyond_the_thirtieth_go_and_megabytes_of_them_end():
    """Python's normalization takes the square of their number."""
    text, counts = repair("a" + "\u0323\u0301" * 500_000 + "b" + "\u0301" * 30, ["nfc"])
    assert text == unicodedata.normalize("NFC", "a" + "\u0323\u0301" * 15 + "b" + "\u0301" * 30)
    assert counts == {"nfc": 2}  # the run, and the line that was composed


@pytest.mark.parametrize(
    "filler",
    ["x", " ", "\t", "\n", " \n", "\xa0", "\r", "\x00", "\x08", "\x1b[", "\x1b[1", "\u200b", "\u200d", "\u200e", "Ã",
     "Ã©", "Ã ", "â€", "é", "Я", "中", "\x93", "\ud800", "\ud83d\ude00", "a\u0301", "\u0301\u0323", "א\u200f",
     "œ∑", "\U000e0041"],
)  # fmt: skip
def test_megabytes_of_anything_end(filler):
    text = filler * (300_000 // len(filler))
    for page in (text, f"a{text}b", f"é\n{text}", f"{text}é"):
        repair(page, REPAIRS)[0].encode()


HARD = st.text(
    st.sampled_from(
        " \t\n\r\x0b\x85\u2028\xa0aé\u0301\u0323\x08\x1b[m\x00Ã©â€\x93\xad\u200b\u200d\u200eאกक👩\ud83d\ude00\ufeff"
    )
)


@given(HARD | st.text(max_size=40))
def test_the_result_is_clean_and_twice_is_once(text):
    once, _ = repair(text, REPAIRS)
    assert unicodedata.is_normalized("NFC", once)
    assert "\n\n\n" not in once and once == once.strip()
    assert not any(line != line.rstrip(" \t\xa0\u3000") for line in once.split("\n"))
    categories = {unicodedata.category(character) for character in once if character not in "\t\n"}
    assert not categories & {"Cc", "Cs", "Zl", "Zp"}
    if not ftfy.badness.is_bad(once):  # what ftfy gave up on may be seen otherwise when its neighbours have changed
        assert repair(once, REPAIRS) == (once, {})


@given(st.text(st.characters(exclude_categories=["Cs"])), st.sets(st.sampled_from(REPAIRS)))
def test_what_does_not_count_did_not_change(text, repairs):
    result, counts = repair(text, repairs)
    assert set(counts) <= repairs
    assert (result == text.strip()) or counts
