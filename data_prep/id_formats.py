"""The table of national identification, tax and insurance numbers: how each is written and checked.

A number whose format tells what it is needs nothing else; bare digits with one check digit, of which every tenth would
pass, need a word before them. Who adds a country adds a row here, and its algorithm to `id_checks` if need be.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from data_prep import id_checks


@dataclass(frozen=True)
class Id:
    """A kind of number: `shape` is telling by itself, `named` needs one of the words (`|` between them) before it."""

    kind: str
    what: str
    valid: str | Callable[[str], str]  # python-stdnum's module, or a function
    shape: str = ""
    words: str = ""
    named: str = ""
    hint: str = ""  # something rarer that is in every `shape`


DAY = "(?:0[1-9]|[12][0-9]|3[01])"
MONTH = "(?:0[1-9]|1[0-2])"
ELEVEN = r"\d{11}"

IDS = (
    Id(
        "cn-resident-id",
        "resident identity numbers (China)",
        id_checks.chinese,
        rf"[1-8]\d{{5}} ?(?:18|19|20)\d{{2}} ?{MONTH} ?{DAY} ?\d{{3}}[0-9Xx]",
        "身份证|身分证|居民证|公民身份|resident identity|resident id",
        rf"[1-8]\d{{7}}{MONTH}{DAY}\d{{3}}",
    ),
    Id(
        "us-ssn",
        "Social Security numbers (United States)",
        id_checks.american,
        r"[0-8]\d{2}-\d{2}-\d{4}",
        "SSNs?|social security|soc sec",
        r"[0-8]\d{2}[ -]?\d{2}[ -]?\d{4}",
    ),
    Id(
        "uk-nino",
        "National Insurance numbers (United Kingdom)",
        id_checks.british,
        r"[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z](?: \d{2} \d{2} \d{2} | \d{6} |-\d{2}-\d{2}-\d{2}-|-\d{6}-)[A-D]",
        "NINO|national insurance|NI number|NI no",
        r"(?i:[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z][ -]?\d{2}[ -]?\d{2}[ -]?\d{2}(?:[ -]?[A-D])?)",
    ),
    Id(
        "in-aadhaar",
        "Aadhaar numbers (India)",
        "in.aadhaar",
        r"[2-9]\d{3}[ -]\d{4}[ -]\d{4}",
        "aadhaar|aadhar|adhaar|UIDAI|आधार",
        r"[2-9]\d{3}[ -]?\d{4}[ -]?\d{4}",
    ),
    Id(
        "br-cpf",
        "taxpayer numbers (Brazil)",
        id_checks.brazilian,
        r"\d{3}\.\d{3}\.\d{3}-\d{2}",
        "CPF|cadastro de pessoas? físicas?",
        r"\d{3}[. ]?\d{3}[. ]?\d{3}[ -]?\d{2}",
    ),
    Id(
        "fr-nir",
        "social security numbers (France)",
        "fr.nir",
        rf"[12] ?\d{{2}} ?{MONTH} ?(?:\d{{2}}|2[ABab]) ?\d{{3}} ?\d{{3}} ?\d{{2}}",
        "NIR|sécurité sociale|numéro de sécu|n° sécu|INSEE",
        r"[1-8] ?\d{2} ?\d{2} ?(?:\d{2}|2[ABab]) ?\d{3} ?\d{3}[ /-]?\d{2}",
    ),
    Id(
        "de-tax-id",
        "tax identification numbers (Germany)",
        "de.idnr",
        r"[1-9]\d \d{3} \d{3} \d{3}",
        r"Steuer-?ID|Steuer-?IdNr\.?|Steueridentifikationsnummer|Identifikationsnummer|Steuernummer|IdNr\.?"
        "|TIN|tax id|tax identification number",
        r"[1-9]\d[ /-]?\d{3}[ /-]?\d{3}[ /-]?\d{3}",
    ),
    Id(
        "ar-cuit",
        "tax numbers of persons (Argentina)",
        "ar.cuit",
        r"2[034567]-\d{8}-\d",
        "CUI[TL]",
        r"2[034567]-?\d{8}-?\d",
    ),
    Id("ar-dni", "identity documents (Argentina)", id_checks.shaped, words="DNI", named=r"[1-9]\d?\.\d{3}\.\d{3}"),
    Id(
        "at-svnr",
        "social insurance numbers (Austria)",
        "at.vnr",
        words="SVNR|SV-?Nummer|Sozialversicherungsnummer|Versicherungsnummer",
        named=r"[1-9]\d{3}[ -]?\d{6}",
    ),
    Id("au-tfn", "tax file numbers (Australia)", "au.tfn", words="TFN|tax file", named=r"\d{3}[ -]?\d{3}[ -]?\d{3}"),
    Id(
        "be-national-number",
        "national register numbers (Belgium)",
        "be.nn",
        r"\d{2}\.\d{2}\.\d{2}-\d{3}\.\d{2}",
        "rijksregisternummer|rijksregister|registre national|numéro national|national number|INSZ|NISS",
        r"\d{2}[. ]?\d{2}[. ]?\d{2}[ -]?\d{3}[. ]?\d{2}",
    ),
    Id("bg-egn", "civil numbers (Bulgaria)", "bg.egn", words="ЕГН|EGN|единен граждански", named=r"\d{10}"),
    Id(
        "ca-sin",
        "social insurance numbers (Canada)",
        "ca.sin",
        words=r"(?-i:\bSINs?\b)|social insurance|(?-i:\bNAS\b)|assurance sociale",
        named=r"[1-79]\d{2}[ -]?\d{3}[ -]?\d{3}",
    ),
    Id(
        "ch-ahv",
        "social security numbers (Switzerland)",
        "ch.ssn",
        r"756[. ]\d{4}[. ]\d{4}[. ]\d{2}",
        "AHV|AVS|Sozialversicherungsnummer",
        r"756[. ]?\d{4}[. ]?\d{4}[. ]?\d{2}",
    ),
    Id(
        "cl-rut",
        "identity and tax numbers (Chile)",
        "cl.rut",
        r"[1-9]\d?\.\d{3}\.\d{3}-[0-9Kk]",
        r"(?-i:\bRUT\b)|(?-i:\bRUN\b)|rol único",
        r"[1-9]\d?\.?\d{3}\.?\d{3}-?[0-9Kk]",
    ),
    Id(
        "co-cedula",
        "citizenship cards (Colombia)",
        id_checks.shaped,
        words=r"cédula de ciudadanía|cédula de identidad|cédula|C\.C\.",
        named=r"[1-9]\d{0,2}(?:\.\d{3}){2,3}|[1-9]\d{6,9}",
    ),
    Id(
        "cz-birth-number",
        "birth numbers (Czechia and Slovakia)",
        "cz.rc",
        words=r"rodné číslo|rodného čísla|rodné č|birth number|r\.č\.",
        named=r"\d{6}/?\d{3,4}",
    ),
    Id(
        "dk-cpr",
        "personal numbers (Denmark)",
        "dk.cpr",
        words="CPR|CPR-?nr|CPR-?nummer|personnummer",
        named=rf"{DAY}{MONTH}\d{{2}}[ -]?\d{{4}}",
    ),
    Id(
        "ee-isikukood",
        "personal codes (Estonia)",
        "ee.ik",
        words="isikukood|isikukoodi|personal code",
        named=r"[1-8]\d{10}",
    ),
    Id(
        "es-dni",
        "identity documents of citizens (Spain)",
        "es.dni",
        r"\d{8}-[A-HJ-NP-TV-Z]|\d{8}[ABCEGHJKMNP-TV-Z]",  # 86400000L, D and F are numbers in programs
        "DNI|NIF|documento nacional",
        r"\d{2}\.?\d{3}\.?\d{3}[ -]?[A-HJ-NP-TV-Za-hj-np-tv-z]",
    ),
    Id(
        "es-nie",
        "identity numbers of foreigners (Spain)",
        "es.nie",
        r"[XYZ]-?\d{7}-?[A-HJ-NP-TV-Z]",
        r"(?-i:\bNIE\b)|identidad de extranjero",
        r"(?i:[XYZ]-?\d{7}-?[A-HJ-NP-TV-Z])",
    ),
    Id(
        "fi-hetu",
        "personal identity codes (Finland)",
        id_checks.finnish,
        rf"{DAY}{MONTH}\d{{2}}(?:[A-FU-Y]\d{{3}}[0-9A-FHJ-NPR-Y]|[+-]\d{{3}}[A-FHJ-NPR-Y])",
        "henkilötunnus|hetu|personbeteckning|personal identity code",
        rf"{DAY}{MONTH}\d{{2}}[+A-FU-Ya-fu-y-]\d{{3}}[0-9A-FHJ-NPR-Ya-fhj-npr-y]",
    ),
    Id("gb-nhs", "NHS numbers (United Kingdom)", "gb.nhs", words="NHS", named=r"\d{3}[ -]?\d{3}[ -]?\d{4}"),
    Id(
        "gr-amka",
        "social security numbers (Greece)",
        "gr.amka",
        words=r"ΑΜΚΑ|Α\.Μ\.Κ\.Α\.|AMKA",
        named=rf"{DAY}{MONTH}\d{{7}}",
    ),
    Id(
        "hk-id",
        "identity cards (Hong Kong)",
        id_checks.hong_kong,
        words="HKID|HKIC|hong kong id|hong kong identity|身份證|身分證",
        named=r"(?i:[A-Z]{1,2})\d{6} ?\(?[0-9Aa]\)?",
    ),
    Id("hr-oib", "personal numbers (Croatia)", "hr.oib", words="OIB|osobni identifikacijski", named=ELEVEN),
    Id(
        "id-nik",
        "identity numbers (Indonesia)",
        "id.nik",
        words="NIK|KTP|nomor induk",
        named=rf"[1-9]\d{{5}}[0-7]\d{MONTH}\d{{6}}",
    ),
    Id(
        "ie-pps",
        "personal public service numbers (Ireland)",
        "ie.pps",
        words="PPSN?|personal public service",
        named=r"\d{7}(?i:[A-W][A-IWT]?)",
    ),
    Id(
        "il-id",
        "identity numbers (Israel)",
        "il.idnr",
        words=r"teudat zehut|תעודת זהות|ת\.ז|israeli id",
        named=r"\d{7,8}-?\d",
    ),
    Id(
        "in-pan",
        "permanent account numbers of persons (India)",
        "in.pan",
        r"[A-Z]{3}P[A-Z]\d{4}[A-Z]",
        "PAN|permanent account",
        r"(?i:[A-Z]{3}P[A-Z]\d{4}[A-Z])",
    ),
    Id(
        "is-kennitala",
        "personal numbers (Iceland)",
        "is.kennitala",
        words=r"kennitala|kennitölu|kt\.",
        named=rf"{DAY}{MONTH}\d{{2}}[ -]?\d{{4}}",
    ),
    Id(
        "it-codice-fiscale",
        "tax codes of persons (Italy)",
        "it.codicefiscale",
        r"(?i:[A-Z]{3} ?[A-Z]{3} ?\d{2}[A-EHLMPRST][0-7LMNPQRST][0-9LMNPQRSTUV] ?[A-Z][0-9LMNPQRSTUV]{3} ?[A-Z])",
        hint=r"\d{2}(?i:[A-EHLMPRST][0-7LMNPQRST][0-9LMNPQRSTUV] ?[A-Z][0-9LMNPQRSTUV]{3})",
    ),
    Id(
        "jp-my-number",
        "individual numbers (Japan)",
        "jp.in_",
        words=r"マイナンバー|個人番号|(?-i:\bMy Number\b)|(?-i:\bIndividual Number\b)",
        named=r"\d{4}[ -]?\d{4}[ -]?\d{4}",
    ),
    Id("kr-rrn", "resident registration numbers (Korea)", "kr.rrn", rf"\d{{2}}{MONTH}{DAY}-\d{{7}}"),
    Id(  # those given out since October 2020 have no check digit
        "kr-rrn",
        "resident registration numbers (Korea)",
        id_checks.shaped,
        words="주민등록번호|주민번호|resident registration",
        named=rf"\d{{2}}{MONTH}{DAY}[ -]?\d{{7}}",
    ),
    Id(
        "lt-asmens-kodas",
        "personal codes (Lithuania)",
        "lt.asmens",
        words=r"asmens kodas|asmens kodo|a\.k\.",
        named=ELEVEN,
    ),
    Id(
        "mx-curp",
        "population register codes (Mexico)",
        "mx.curp",
        rf"(?i:[A-Z][AEIOUX][A-Z]{{2}}\d{{2}}{MONTH}{DAY}[HMX][A-Z]{{5}}[0-9A-Z]\d)",
        hint=r"\d{6}(?i:[HMX][A-Z]{5})",
    ),
    Id(
        "my-nric",
        "identity cards (Malaysia)",
        "my.nric",
        rf"\d{{2}}{MONTH}{DAY}-\d{{2}}-\d{{4}}",
        "NRIC|MyKad|kad pengenalan",
        rf"\d{{2}}{MONTH}{DAY}[ -]?\d{{2}}[ -]?\d{{4}}",
    ),
    Id(
        "nl-bsn",
        "citizen service numbers (Netherlands)",
        "nl.bsn",
        words="BSN|burgerservicenummer|sofinummer",
        named=r"\d{3}[. ]?\d{3}[. ]?\d{3}|\d{4}\.\d{2}\.\d{3}|\d{8}",
    ),
    Id(
        "no-fodselsnummer",
        "birth numbers (Norway)",
        "no.fodselsnummer",
        words="fødselsnummer|fødselsnr|fnr|personnummer|D-nummer|national identity number",
        named=r"[0-7]\d{5}[ -]?\d{5}",
    ),
    Id("pk-cnic", "identity cards (Pakistan)", "pk.cnic", r"[1-7]\d{4}-\d{7}-\d", "CNIC", r"[1-7]\d{12}"),
    Id("pl-pesel", "identification numbers (Poland)", "pl.pesel", words="PESEL", named=ELEVEN),
    Id(
        "pt-nif",
        "taxpayer numbers (Portugal)",
        "pt.nif",
        words="NIF|contribuinte|identificação fiscal",
        named=r"[1-35679]\d{2} ?\d{3} ?\d{3}",
    ),
    Id("ro-cnp", "personal numbers (Romania)", "ro.cnp", words="CNP|cod numeric personal", named=r"[1-9]\d{12}"),
    Id(
        "se-personnummer",
        "personal identity numbers (Sweden)",
        id_checks.swedish,
        words="personnummer|personnr|personal identity number|swedish id",
        named=rf"(?:19|20)?\d{{2}}{MONTH}\d{{2}}[ +-]?\d{{4}}",
    ),
    Id(
        "sg-nric",
        "identity cards (Singapore)",
        id_checks.singaporean,
        r"[STFG]\d{7}[A-Z]",
        "NRIC|FIN",
        r"(?i:[STFG]\d{7}[A-Z])",
    ),
    Id(
        "th-id",
        "identity numbers (Thailand)",
        "th.pin",
        r"[1-8]-\d{4}-\d{5}-\d{2}-\d",
        "เลขประจำตัวประชาชน|บัตรประชาชน|thai id|thai national id",
        r"[1-8][ -]?\d{4}[ -]?\d{5}[ -]?\d{2}[ -]?\d",
    ),
    Id(
        "tr-kimlik",
        "identity numbers (Turkey)",
        "tr.tckimlik",
        words=r"kimlik|TCKN|T\.C\. no|TC no",
        named=r"[1-9]\d{10}",
    ),
    Id(
        "tw-id",
        "national identification cards (Taiwan)",
        id_checks.taiwanese,
        words="身分證|身份證|taiwan id|national id",
        named=r"(?i:[A-Z])[1289]\d{8}",
    ),
    Id("ua-rnokpp", "taxpayer numbers (Ukraine)", "ua.rntrc", words="РНОКПП|ІПН|ідентифікаційний", named=r"\d{10}"),
    Id("ru-inn", "taxpayer numbers of persons (Russia)", "ru.inn", words="ИНН|INN", named=r"\d{12}"),
    Id(
        "us-itin",
        "taxpayer numbers of foreigners (United States)",
        "us.itin",
        r"9\d{2}-[5-9]\d-\d{4}",
        "ITIN|taxpayer identification number",
        r"9\d{2}[ -]?[5-9]\d[ -]?\d{4}",
    ),
    Id(
        "za-id",
        "identity numbers (South Africa)",
        "za.idnr",
        words="SA id|RSA id|ID numbers?|ID no|identity numbers?|south african id",
        named=rf"\d{{2}}{MONTH}{DAY} ?\d{{4}} ?[01]\d{{2}}",
    ),
)
