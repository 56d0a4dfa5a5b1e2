"""Proves what a second reading of scrubbing found broken: each text here was once left, crashed or changed twice."""

from __future__ import annotations

import base64

import pytest

from data_prep.pii import WINDOW, Scrubber
from data_prep.settings import ScrubSettings

SCRUBBER = Scrubber(ScrubSettings())
CARD = "4111111111111111"
FAR = "some words\n" * (WINDOW // 11)  # a window of other text


def test_json_that_is_nested_too_deep_is_no_header_of_a_token():
    header = base64.urlsafe_b64encode(b'{"a":' + b"[" * 3000).decode().rstrip("=")
    text = f"{header}.eyJhIjoxfQ.{'a' * 43}"
    assert SCRUBBER.scrub(text).text == text


@pytest.mark.parametrize("digits", ["+1" + "2" * 117, "001" + "2" * 117, "+1" + "2" * 40 + "x", "0011" + "01" * 50])
def test_runs_of_digits_end(digits):
    """Split into groups in every way, each of these would take seconds, and this file days."""
    assert SCRUBBER.scrub(f"{digits}\n" * 5000).found == {}


@pytest.mark.parametrize("disguise", ["", " ｊo@example.net", " ４", " fin ﾐ１"])
@pytest.mark.parametrize(
    ("text", "hidden"),
    [
        (f"卡——{CARD} ", "卡——<CREDIT-CARD> "),
        ("电话——13800138000 ", "电话——<PHONE> "),
        ("jo@example.org（Jo） ", "<EMAIL>（Jo） "),
    ],
)
def test_a_disguise_elsewhere_changes_nothing(text, hidden, disguise):
    assert SCRUBBER.scrub(text + FAR[:900] + disguise).text.startswith(hidden)


def test_twice_is_once_in_a_text_of_several_windows():
    text = f"卡——{CARD} {FAR[:30000]}ｊo@example.org {FAR}"
    once = SCRUBBER.scrub(text)
    assert SCRUBBER.scrub(once.text).found == {}


def test_a_placeholder_is_no_word_that_makes_a_version_an_address():
    text = "93.184.216.34, then 4.3.3.75 and 4.3.3.76"
    assert SCRUBBER.scrub(text).text == "<IP>, then 4.3.3.75 and 4.3.3.76"


@pytest.mark.parametrize(
    "text",
    [
        "Jo,650-253-0000,CA",
        "Jo,13800138000,Beijing",
        "Jo,+16502530000,CA",
        "13800138000,13900139000",
        "手机13800138000/13900139000",
        "2024-01-02 10:30 13800138000",
        "13800138000 13900139000",
        "Call +1 650-253-0000 24 hours",
    ],
)
def test_a_phone_number_beside_commas_and_other_numbers_is_found(text):
    assert SCRUBBER.scrub(text).found.keys() == {"phone"}


@pytest.mark.parametrize(
    "text",
    [
        "10CFE ; [*1DBC.0020.0002] # OLD HUNGARIAN NUMBER FIFTY",  # Unicode's allkeys.txt
        "5411 5412 5413\n5414 5415 5416 5417 20BBF 20BC6",  # a table of Chinese characters
        "558F 5590 5591 5592 5593 5594 5595",
        "627E 6279 6273 6292 626F 6298 626E 6295 6293 6291\n6286 6539",
        "0128; 0069 0307 0303; 0128; 0128;",  # Unicode's SpecialCasing.txt
        "3*s**4 - 19531250000*q**3*s**5 + 14633730048000000*t**14",
    ],
)
def test_tables_and_formulas_stay(text):
    assert SCRUBBER.scrub(text).text == text


def test_a_key_whose_block_a_password_cut_is_not_one_the_second_time():
    prose = "ab " * 900
    block = f"-----BEGIN RSA PRIVATE KEY-----\n{prose}https://jo:a-----b@example.org/ {prose}\n{'A1b2' * 20}\n"
    once = SCRUBBER.scrub(f"{FAR}{FAR}{block}-----END RSA PRIVATE KEY-----\n")
    assert SCRUBBER.scrub(once.text).found == {}
