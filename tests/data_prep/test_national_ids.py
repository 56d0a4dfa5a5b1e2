"""Proves that national numbers are found where their format or a word tells, by examples of python-stdnum, of
authorities, and by the check algorithms written a second time here.
"""

from __future__ import annotations

import doctest
import random
import re
import string

import pytest

from data_prep import id_checks
from data_prep.id_formats import IDS
from data_prep.pii import Scrubber
from data_prep.settings import ScrubSettings

PAPERS = ["passport", "driver-licence"]
SCRUBBER = Scrubber(ScrubSettings(kinds=[*(row.kind for row in IDS), *PAPERS]))
OWN = {
    id_checks.american: "us.ssn",
    id_checks.brazilian: "br.cpf",
    id_checks.chinese: "cn.ric",
    id_checks.finnish: "fi.hetu",
    id_checks.swedish: "se.personnummer",
}
MODULES = {row: row.valid if isinstance(row.valid, str) else OWN.get(row.valid) for row in IDS}
ORGANISATIONS = {"450401-3150", "00743110157", "1234567894"}  # python-stdnum's examples of numbers that no person has


def kinds(text):
    return {value.kind for value in SCRUBBER.find(text)}


def only(text):
    """(kind, canonical value, what of the text it is) of the only value."""
    (value,) = SCRUBBER.find(text)
    return value.kind, value.value, text.encode()[value.start : value.end].decode()


def plain(words):
    """The first of the words, as a person writes it."""
    return re.sub(r"\(\?-i:|\\b|[\\()?]", "", words.split("|")[0]).replace("[TL]", "T")


def examples():
    """What the documentation of python-stdnum's modules calls valid or not."""
    for row, module in MODULES.items():
        if module:
            for example in doctest.DocTestParser().get_examples(id_checks.module(module).__doc__):
                if call := re.fullmatch(r"validate\('(.*?)'\)(?:  #.*)?\n", example.source):
                    valid = example.exc_msg is None and call[1] not in ORGANISATIONS
                    yield pytest.param(row, call[1], valid, id=f"{row.kind}-{call[1]}")


@pytest.mark.parametrize(("row", "number", "valid"), examples())
def test_the_examples_of_python_stdnum(row, number, valid):
    text = f"Herr Jo ({plain(row.words)}: {number}), hier" if row.words else f"Jo, {number}."
    assert (row.kind in kinds(text)) == valid


def test_there_are_examples_of_every_kind_and_what_they_need():
    """Of a telling format an example without a word is found; of bare digits none is."""
    seen = set()
    for row, number, valid in (parameter.values for parameter in examples()):
        if valid:
            seen.add(row)
            told = bool(row.shape) and bool(re.fullmatch(row.shape, number))
            assert (row.kind in kinds(f"Jo, {number}, and so on")) == told, number
    assert seen == {row for row, module in MODULES.items() if module}


FOUND = [
    ("cn-resident-id", "11010519491231002X", "公民身份号码11010519491231002X。"),  # GB 11643's own example
    ("cn-resident-id", "11010519491231002x", "id 11010519491231002x"),
    ("cn-resident-id", "110105 19491231 002X", "ID 110105 19491231 002X"),
    ("cn-resident-id", "110105 1949 1231 002X", "ID 110105 1949 1231 002X"),
    ("cn-resident-id", "110105491231002", "身份证号：110105491231002"),
    ("us-ssn", "123-45-6789", "SSN:123-45-6789"),
    ("us-ssn", "123 45 6789", "social security no. 123 45 6789"),
    ("us-ssn", "123456789", "user_ssn = '123456789'"),
    ("uk-nino", "AB 12 34 56 C", "her number AB 12 34 56 C"),
    ("uk-nino", "AB 123456 C", "(AB 123456 C)"),
    ("uk-nino", "AB-12-34-56-C", "AB-12-34-56-C,"),
    ("uk-nino", "AB123456C", "NI number: AB123456C"),
    ("uk-nino", "ab123456", "National Insurance number: ab123456"),
    ("in-aadhaar", "2341 2341 2346", "his 2341 2341 2346 card"),
    ("in-aadhaar", "2341-2341-2346", "his 2341-2341-2346 card"),
    ("in-aadhaar", "234123412346", "आधार संख्या 234123412346"),
    ("br-cpf", "390.533.447-05", "CPF:390.533.447-05"),
    ("br-cpf", "39053344705", "CPF nº 39053344705"),
    ("fr-nir", "295109912611193", "n° de sécu 295109912611193"),
    ("fr-nir", "2 53 07 2B 073 004 70", "SECURITE SOCIALE : 2 53 07 2B 073 004 70"),
    ("de-tax-id", "36574261809", "Steuerliche Identifikationsnummer: 36574261809"),
    ("de-tax-id", "36 574 261 809", "Frau Jo, 36 574 261 809, wohnhaft"),
    ("ar-dni", "20.123.456", "DNI 20.123.456"),
    ("bg-egn", "8032056031", "егн 8032056031"),
    ("ca-sin", "123-456-782", "assurance sociale: 123-456-782"),
    ("cl-rut", "12.531.909-2", "Sr. Jo, 12.531.909-2, vive"),
    ("co-cedula", "1.020.304.050", "cedula de ciudadanía No. 1.020.304.050"),
    ("cz-birth-number", "710319/2745", "RODNÉ ČÍSLO 710319/2745"),
    ("gr-amka", "01013099997", "αμκα: 01013099997"),
    ("hk-id", "G123456(A)", "HKID: G123456(A)"),
    ("hk-id", "A123456(3)", "身份證號碼A123456(3)"),
    ("il-id", "39337423", "תעודת זהות 39337423"),
    ("jp-my-number", "6214 9832 0257", "マイナンバー：6214 9832 0257"),
    ("kr-rrn", "971013-9019902", "Jo, 971013-9019902"),
    ("kr-rrn", "971013-9019903", "주민등록번호 971013-9019903"),
    ("us-itin", "912-90-3456", "ITIN: 912-90-3456"),
    ("no-fodselsnummer", "151086 95088", "FØDSELSNUMMER 151086 95088"),
    ("se-personnummer", "19880320-0016", "personnummer 19880320-0016"),
    ("sg-nric", "S1234567D", "holder S1234567D"),
    ("tw-id", "A123456789", "身分證字號：A123456789"),
    ("th-id", "3100600445635", "เลขประจำตัวประชาชน 3100600445635"),
    ("passport", "C01X00T47", "Reisepass Nr. C01X00T47"),  # the German specimen
    ("passport", "123456789", "My passport number is 123456789."),
    ("passport", "E12345678", "护照号码：E12345678，有效"),
    ("passport", "45 12 345678", "паспорт 45 12 345678"),
    ("passport", "12AB34567", "passeport n° 12AB34567"),
    ("passport", "X1234567", "PASSPORT_NO: X1234567"),
    ("driver-licence", "D1234567", "driver's license number is D1234567"),
    ("driver-licence", "S123-4567-8901", "DL#: S123-4567-8901"),
    ("driver-licence", "MORGA657054SM9IJ", "driving licence MORGA657054SM9IJ"),  # the British specimen
    ("driver-licence", "B072RRE2I55", "Führerschein-Nr.: B072RRE2I55"),
    ("driver-licence", "123456789012", "驾驶证号 123456789012"),
]


@pytest.mark.parametrize(("kind", "number", "text"), FOUND, ids=[f"{kind}-{number}" for kind, number, _ in FOUND])
def test_numbers_as_people_write_them(kind, number, text):
    assert only(text)[::2] == (kind, number)


def test_spellings_of_a_number_have_one_canonical_form():
    """It is what pseudonyms are made of."""
    for spellings in (
        ["11010519491231002X", "id 110105 19491231 002x"],
        ["123-45-6789", "SSN 123456789"],
        ["AB 12 34 56 C", "NINO AB123456C", "NINO ab123456"],
        ["390.533.447-05", "CPF 39053344705"],
        ["personnummer 880320-0016", "personnummer 198803200016"],
        ["BSN 123456782", "BSN 123.456.782"],
        ["israeli id 39337423", "israeli id 039337423"],
        ["131052-308T", "hetu: 131052-308t"],
        ["passport no. C01X00T47", "Reisepass c01x00t47"],
    ):
        assert len({only(text)[:2] for text in spellings}) == 1, spellings


def test_what_is_no_social_security_number():
    """Areas 000, 666 and 900-999, group 00 and serial 0000 are not given out; three numbers were published (SSA)."""
    for area in range(1000):
        assert bool(kinds(f"{area:03}-12-3456")) == (area not in (0, 666) and area < 900)
    for text in (
        "123-00-4567",
        "123-45-0000",
        "078-05-1120",
        "219-09-9999",
        "457-55-5462",
        "111-11-1111",
        "1123-45-6789",
    ):
        assert not kinds(text) and not kinds(f"SSN: {text}")
    for text in "123-45-67890", "a-123-45-6789", "123-45-6789-0", "0.123-45-6789", "+123-45-6789", "/123-45-6789/":
        assert not kinds(text)


def test_the_prefixes_of_national_insurance_numbers():
    """HMRC: no D, F, I, Q, U, V; O not second; and seven pairs are not given out."""
    for first in string.ascii_uppercase:
        for second in string.ascii_uppercase:
            given = not set(first + second) & set("DFIQUV") and second != "O"
            given &= first + second not in ("BG", "GB", "KN", "NK", "NT", "TN", "ZZ")
            assert (kinds(f"({first}{second} 12 34 56 A)") == {"uk-nino"}) == given
    assert not kinds("AB 12 34 56 E, AB 12 34 56 7A, XAB 12 34 56 A, ab 12 34 56 c, board AB123456C, AB-12 34 56 C")


@pytest.mark.parametrize("check", [id_checks.american, id_checks.brazilian], ids=lambda check: check.__name__)
def test_our_checks_agree_with_python_stdnum(check):
    """On random numbers, most of them made right in all but some digits, so that both answers come often."""
    module, draw, length = id_checks.module(OWN[check]), random.Random(5), {"us.ssn": 9, "br.cpf": 11}[OWN[check]]
    answers = []
    for _ in range(5000):
        number = "".join(draw.choices("0012345666789", k=length))
        if length == 11 and draw.random() < 0.5:
            number = next((n for n in (f"{number[:9]}{last:02}" for last in range(100)) if module.is_valid(n)), number)
        answers.append(check(number))
        assert answers[-1] == (number if module.is_valid(number) and len(set(number)) > 1 else ""), number
    assert 500 < sum(map(bool, answers)) < 4900


def test_one_check_digit_of_eleven_fits_a_chinese_number():
    """Against the weights and table that GB 11643 prints."""
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    for order in range(200):
        body = f"31010119900228{order:03}"
        right = "10X98765432"[sum(int(d) * w for d, w in zip(body, weights, strict=True)) % 11]
        assert [last for last in "0123456789X" if kinds(body + last)] == [right]
    for wrong in "310101199002300001", "160101199002280001", "310101169002280001":  # a day, a province, a century
        assert not any(kinds(wrong[:-1] + last) for last in "0123456789X")


def test_one_letter_or_digit_fits_the_numbers_that_python_stdnum_lacks():
    draw = random.Random(3)
    for _ in range(30):
        digits = f"{draw.randrange(10**7):07}"
        for first in "STFG":
            assert len([last for last in string.ascii_uppercase if kinds(f"{first}{digits}{last}")]) == 1
        digits, letter = f"{draw.randrange(10**7):07}", draw.choice(string.ascii_uppercase)
        assert len([last for last in "0123456789" if kinds(f"身分證 {letter}1{digits}{last}")]) == 1
        assert len([last for last in "0123456789A" if kinds(f"HKID {letter}{digits[1:]}({last})")]) == 1


def test_bare_digits_need_a_word():
    draw = random.Random(4)
    text = " ".join(f"x{size} {draw.randrange(10 ** (size - 1), 10**size)}," for size in (8, 9, 10, 11, 12, 13) * 300)
    assert not kinds(text)
    assert kinds("TIN 36574261809") and kinds("my_tin_36574261809") and kinds("tin: no.36574261809")
    for other in "martin 36574261809", "tinned 36574261809", "TIN x36574261809", "TIN .36574261809", "TIN <36574261809":
        assert not kinds(other)


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-23 10:30:00.123456789 and 20261123-1030 or 261123-1030",
        "12 345 678 901 people and 1 234 567 890 123 456",
        "in rows 2001 2002 2003 2004 or 2341 2341 2346 2341 and 9 2341 2341 2346",
        "version 12.345.678-9 and 390.533.447-051, oid 1.390.533.447-05",
        "sha 12345678ABCDEF, 0x12345678A, long 19190115L, T12345678, part 12-345-6789",
        "<US-SSN> 123456789, <US-SSN-abcdefghijkl> 123456789, <PASSPORT> X1234567, <DRIVER-LICENCE> 123456789",
        "passport 0.6, passport-local 1.0.0, passport.js 2345678, passport issue 1234567",
        "passport no. AB1C2D3, passport 1234, passport 00000000, driving licence DEF1234G",
        "passport 20240115, passports 2019-2023, passport number: none of 1234567",
        "passport office: 555-123-4567, her passport was issued in 2019123",
        "driver license GPL-2.0, Driver License: BSD-3-Clause, driver 1234567, license 1234567",
        "the driver licence costs 12345, permis de conduire (directive 2006/126/CE)",
        "DL 1234567, HTML <DL>1234567",
    ],
)
def test_what_is_no_national_number_stays(text):
    assert not SCRUBBER.find(text)
