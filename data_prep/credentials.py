"""What opens doors: tokens of known form, private keys, JSON web tokens, product keys; and crypto wallets."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import re

from data_prep.recognizer import Recognizer

# --- tokens that their services gave a form so that scanners can find them ------------------------------------------

WORD, HEX, URL64 = rb"[A-Za-z0-9]", rb"[a-f0-9]", rb"[A-Za-z0-9_-]"  # URL64: base64 for URLs, RFC 4648 section 5

# Forms as the services document them; RE2 and re read them alike. GitHub's six last characters are a CRC-32, but of
# what is not documented: not checked.
TOKENS: dict[str, bytes] = {
    "AWS access key id": rb"(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}",
    "GitHub": rb"gh[pousr]_" + WORD + rb"{36}",
    "GitHub, fine-grained": rb"github_pat_" + WORD + rb"{22}_" + WORD + rb"{59}",
    "GitLab": rb"gl(?:pat|ptt|dt|soat|ft|rt|cbt|imt|oas|agent|ffct)-"
    + URL64
    + rb"{20,64}(?:\.[a-z0-9]{2}\.?[a-z0-9]{7})?",
    "Slack": rb"xox[abeoprs]-(?:[0-9a-zA-Z]{1,64}-){1,5}[0-9a-zA-Z]{12,200}",
    "Slack app": rb"xapp-[0-9]-[A-Z0-9]{8,16}-[0-9]{8,16}-[a-z0-9]{40,80}",
    "Slack webhook": rb"hooks\.slack\.com/(?:services|workflows)/T[A-Z0-9]{6,12}/[A-Z0-9]{6,12}/" + WORD + rb"{20,48}",
    "Stripe": rb"(?:[sr]k_(?:live|test)|whsec)_" + WORD + rb"{24,128}",
    "Google API": rb"AIza" + URL64 + rb"{35}",
    "Google OAuth": rb"GOCSPX-" + URL64 + rb"{28}",
    "OpenAI": rb"sk-" + WORD + rb"{48}",
    "OpenAI, project": rb"sk-(?:proj|svcacct|admin|None)-" + URL64 + rb"{40,200}",
    "Anthropic": rb"sk-ant-[a-z]{3,8}[0-9]{2}-" + URL64 + rb"{40,128}",
    "OpenRouter": rb"sk-or-v1-" + HEX + rb"{64}",
    "Hugging Face": rb"(?:hf|api_org)_[A-Za-z]{34}",
    "Groq": rb"gsk_" + WORD + rb"{52}",
    "xAI": rb"xai-" + WORD + rb"{80}",
    "Replicate": rb"r8_" + WORD + rb"{37}",
    "Perplexity": rb"pplx-" + WORD + rb"{48}",
    "npm": rb"npm_" + WORD + rb"{36}",
    "PyPI": rb"pypi-AgE[ABIN]" + URL64 + rb"{50,250}",
    "RubyGems": rb"rubygems_" + HEX + rb"{48}",
    "Docker Hub": rb"dckr_(?:pat|oat)_" + URL64 + rb"{27,32}",
    "SendGrid": rb"SG\." + URL64 + rb"{22}\." + URL64 + rb"{43}",
    "Twilio": rb"(?:SK|AC)" + HEX + rb"{32}",
    "Mailgun": rb"key-" + HEX + rb"{32}",
    "DigitalOcean": rb"do[oprt]_v1_" + HEX + rb"{64}",
    "Databricks": rb"dapi" + HEX + rb"{32}(?:-[0-9])?",
    "Shopify": rb"shp(?:at|ca|pa|ss)_[A-Fa-f0-9]{32}",
    "Square": rb"sq0(?:atp-" + URL64 + rb"{22}|csp-" + URL64 + rb"{43})",
    "Grafana": rb"glsa_" + WORD + rb"{32}_[A-Fa-f0-9]{8}",
    "Linear": rb"lin_api_" + WORD + rb"{40}",
    "Notion": rb"ntn_[0-9]{11}" + WORD + rb"{35}",
    "Figma": rb"figd_" + URL64 + rb"{40}",
    "Airtable": rb"pat" + WORD + rb"{14}\." + HEX + rb"{64}",
    "Atlassian": rb"ATATT3" + URL64 + rb"{150,250}=?[A-F0-9]{0,8}",
    "Postman": rb"PMAK-" + HEX + rb"{24}-" + HEX + rb"{34}",
    "New Relic": rb"NRAK-[A-Z0-9]{27}",
    "Sentry": rb"sntrys_" + URL64 + rb"{60,250}",
    "Supabase": rb"sbp_" + HEX + rb"{40}",
    "HashiCorp Vault": rb"hv[bs]\." + URL64 + rb"{90,200}",
    "Discord webhook": rb"discord(?:app)?\.com/api/webhooks/[0-9]{17,20}/" + URL64 + rb"{60,72}",
    "Azure storage": rb"AccountKey=[A-Za-z0-9+/]{86}==",
    "Azure shared access signature": rb"sig=[A-Za-z0-9+/%]{43,80}(?:%3[Dd]|=)",
    "age": rb"AGE-SECRET-KEY-1[QPZRY9X8GF2TVDW0S3JN54KHCE6MUA7L]{58}",
}
# Those that begin like any word, and what is in them alone
INNER_TOKENS: dict[str, tuple[bytes, bytes]] = {
    "Mailchimp": (HEX + rb"{32}-us[0-9]{1,2}", rb"[0-9a-f]-us[0-9]"),
    "Telegram bot": (rb"[0-9]{8,10}:AA" + URL64 + rb"{33}", rb"[0-9]:AA" + URL64),
    "Microsoft Entra": (WORD + rb"[A-Za-z0-9_~.]{2}[0-9]Q~[A-Za-z0-9_~.-]{31,34}", rb"[0-9]Q~"),
}


def uncounted(pattern: bytes) -> bytes:
    """The pattern for runs of any length.

    >>> uncounted(rb"gh[po]_[A-Za-z0-9]{36}")
    b'gh[po]_[A-Za-z0-9]+'
    """
    return re.sub(rb"\{[0-9]+(?:,[0-9]+)?\}", rb"+", pattern)


def token(text: str) -> str:
    """The token as it stands, or "" of a manual's placeholder: more than a third of it is one filler.

    >>> token("npm_" + "x" * 36), token("npm_" + "0aZ9" * 9) != ""
    ('', True)
    """
    return "" if any(text.count(filler) * 3 > len(text) for filler in "xX0*.-_") else text


def decoded(part: str) -> bytes:
    """What base64 for URLs without its padding stands for; b"" of what it cannot have made."""
    try:
        return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))
    except binascii.Error:
        return b""


def web_token(text: str) -> str:
    """The JSON web token or signature (RFC 7519, 7515) as it stands: its header is JSON that names an algorithm."""
    try:
        header = json.loads(decoded(text.partition(".")[0]))
    except (ValueError, RecursionError):  # no JSON, or nested deeper than anybody's header
        return ""
    return text if isinstance(header, dict) and "alg" in header else ""


def discord_token(text: str) -> str:
    """A bot's token as it stands: its first part is the bot's id, a number of 17 to 20 digits, in base64."""
    number = decoded(text.partition(".")[0])
    return text if number.isdigit() and 17 <= len(number) <= 20 else ""


def private_key(text: str) -> str:
    """The block (RFC 7468) as it stands, or "" where nothing in it is long enough to be a key: a manual's dots."""
    return text if re.search(r"[A-Za-z0-9+/]{24}", text) else ""


# --- wallets --------------------------------------------------------------------------------------------------------

BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
BASE58_VALUES = {character: value for value, character in enumerate(BASE58)}
FROM_RIPPLE = str.maketrans("rpshnaf39wBUDNEGHJKLM4PQRST7VWXYZ2bcdeCg65jkm8oFqi1tuvAxyz", BASE58)  # XRP's own order
BECH32_VALUES = {character: value for value, character in enumerate("qpzry9x8gf2tvdw0s3jn54khce6mua7l")}
BECH32_GENERATORS = (0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)
BECH32_SUMS = (1, 0x2BC830A3)  # Bech32 (BIP-173) and Bech32m (BIP-350)
B58 = rb"[1-9A-HJ-NP-Za-km-z]"


def base58check(text: str) -> str:
    """What ends in the first four bytes of a double SHA-256 of what is before them, as it stands, or "".

    >>> base58check("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa") != "", base58check("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb")
    (True, '')
    """
    number = 0
    for character in text.translate(FROM_RIPPLE) if text[0] == "r" else text:
        number = number * 58 + BASE58_VALUES[character]
    leading = len(text) - len(text.lstrip("r" if text[0] == "r" else "1"))
    data = bytes(leading) + number.to_bytes((number.bit_length() + 7) // 8, "big")
    digest = hashlib.sha256(hashlib.sha256(data[:-4]).digest()).digest()
    return text if len(data) > 20 and digest[:4] == data[-4:] else ""


def bech32(text: str) -> str:
    """The address in lower case where its checksum is right, "" of all else."""
    prefix, _, data = text.lower().rpartition("1")
    if text not in (text.lower(), text.upper()):  # BIP-173: never both
        return ""
    values = [ord(character) >> 5 for character in prefix] + [0] + [ord(character) & 31 for character in prefix]
    check = 1
    for value in values + [BECH32_VALUES[character] for character in data]:
        top = check >> 25
        check = (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate(BECH32_GENERATORS):
            check ^= generator if top >> bit & 1 else 0
    return text.lower() if check in BECH32_SUMS else ""


def ethereum(text: str) -> str:
    """Forty hexadecimal digits behind 0x, in lower case, or "" of a row of zeros."""
    return token(text).lower()


def mixed_ethereum(text: str) -> str:
    """As `ethereum`, but "" where the letters are all of one case, as keys and hashes have them. Whether the cases are
    the checksum (EIP-55) is not looked at: keccak-256 in Python would take a hundred times as long as all else.

    >>> mixed_ethereum("0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed") != "", mixed_ethereum("0x" + "12ab" * 10)
    (True, '')
    """
    return "" if text == text.lower() or text[2:] == text[2:].upper() else ethereum(text)


# --- product keys ---------------------------------------------------------------------------------------------------


def product_key(text: str) -> str:
    """The five groups of five as they stand where digits and letters are in them, or "": some words in capitals."""
    characters = text.replace("-", "")
    mixed = any(character.isdigit() for character in characters) and not characters.isdigit()
    return text if mixed and len(set(characters)) > 5 else ""


GROUPS = rb"\b[A-Z0-9]{5}(?:-[A-Z0-9]{5}){4}\b"
LONE = rb"(?<![A-Za-z0-9_-])%b(?![A-Za-z0-9_]|-[A-Za-z0-9])"  # no part of something longer
MICROSOFT = rb"[BCDFGHJKMNPQRTVWXY2346789]{5}"  # without what is read wrongly: A E I L O S U Z 0 1 5


def tokens(forms: bytes, hint: bytes) -> Recognizer:
    value = re.compile(rb"(?<![A-Za-z0-9_])(?:" + forms + rb")(?![A-Za-z0-9_])")
    wants = "is a placeholder, or too long or short"
    return Recognizer("secret", rb"\b(?:" + forms + rb")", value, token, wants, hint=hint)


RECOGNIZERS = (
    tokens(rb"|".join(TOKENS.values()), rb"\b(?:" + uncounted(rb"|".join(TOKENS.values())) + rb")"),
    *(tokens(form, hint) for form, hint in INNER_TOKENS.values()),
    Recognizer(
        "secret",
        rb"(?i)secret[_ ]?access[_ ]?key[\"']?\s*(?:=>?|:|\s)\s*[\"']?[A-Za-z0-9/+]{40}",
        re.compile(
            rb"secret[_ ]?access[_ ]?key[\"']?\s{0,8}(?:=>?|:|\s)\s{0,8}[\"']?(?P<value>[a-z0-9/+]{40})(?![a-z0-9/+=])",
            re.IGNORECASE,
        ),
        token,
        "is a placeholder",
        hint=rb"(?i)secret[_ ]?access[_ ]?key",
    ),
    Recognizer(
        "secret",
        rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----(?:-{0,4}[^-])+"
        rb"(?:-----END [A-Z0-9 ]*PRIVATE KEY(?: BLOCK)?-----)?",
        re.compile(  # quoted in mail, too; and as many lines as there are of one whose end was cut off
            rb"-----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----"
            rb"(?:(?:[^<-]|<(?![A-Z]+(?:-[A-Za-z]+){0,3}>)|-(?!----)){40,16384}+"
            rb"-----END [A-Z0-9 ]{0,32}PRIVATE KEY(?: BLOCK)?-----"
            rb"|(?:[\s>|]{1,8}[A-Za-z0-9+/=]{16,128}+(?![A-Za-z0-9+/=])){1,256}+)"
        ),
        private_key,
        "holds no key",
        hint=rb"-----BEGIN [A-Z0-9 ]*PRIVATE KEY",
    ),
    Recognizer(
        "secret",
        rb"\beyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+",
        re.compile(rb"(?<![\w.-])eyJ[\w-]{8,4096}+\.[\w-]{2,12288}+\.[\w-]{16,4096}+"),
        web_token,
        "its header names no algorithm (RFC 7515)",
    ),
    Recognizer(
        "secret",
        rb"\b[MNO][A-Za-z0-9_-]+\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,38}",
        re.compile(LONE % rb"[MNO][A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27,38}"),
        discord_token,
        "its first part is no number in base64",
        hint=rb"\.[A-Za-z0-9_-]{6}\.[A-Za-z0-9_-]{27}",
    ),
    Recognizer(
        "secret",  # Bitcoin's wallet import format and extended private keys (BIP-32)
        rb"\b(?:5[HJK]|[KL][1-5])" + B58 + rb"{49,50}\b|\b[xyz]prv" + B58 + rb"{107,108}\b",
        re.compile(LONE % (rb"(?:[5KL]" + B58 + rb"{50,51}|[xyz]prv" + B58 + rb"{107,108})")),
        base58check,
        "its checksum is wrong",
    ),
    Recognizer(
        "secret",
        rb"\bnsec1[02-9ac-hj-np-z]{58}\b",
        re.compile(LONE % rb"nsec1[02-9ac-hj-np-z]{58}"),
        bech32,
        "its checksum is wrong (NIP-19)",
    ),
    Recognizer(
        "crypto-wallet",  # Bitcoin 1 3, Litecoin L M, Dogecoin D, Dash X, Tron T, Zcash t1 t3, XRP r
        rb"\b[13LMDXTr]" + B58 + rb"{24,34}\b|\bt[13]" + B58 + rb"{33}\b",
        # one address in 300 has no digit, and most long names in source code have none
        re.compile(LONE % (rb"(?=[A-Za-z]{0,24}[0-9])(?:[13LMDXTr]" + B58 + rb"{24,34}|t[13]" + B58 + rb"{33})")),
        base58check,
        "its checksum is wrong",
    ),
    Recognizer(
        "crypto-wallet",
        rb"(?i)\b(?:bc|ltc|addr|stake|cosmos)1[02-9ac-hj-np-z]{38,100}\b",
        re.compile(LONE % rb"(?:bc|ltc|addr|stake|cosmos)1[02-9ac-hj-np-z]{38,100}", re.IGNORECASE),
        bech32,
        "its checksum is wrong (BIP-173, BIP-350)",
    ),
    Recognizer(
        "crypto-wallet",
        rb"\b0x[0-9a-fA-F]{40}\b",
        re.compile(LONE % rb"0x[0-9a-fA-F]{40}"),
        mixed_ethereum,
        "has letters of one case alone, or is nearly all zeros",
    ),
    Recognizer(
        "crypto-wallet",
        rb"\b0x[0-9a-fA-F]{40}\b",
        re.compile(LONE % rb"0x[0-9a-fA-F]{40}"),
        ethereum,
        "is nearly all zeros",
        re.compile(
            rb"\beth|ether|wallet|contract|\baddr|\btoken|\berc-?[0-9]|\b(?:send|sent|donat|pay|account|recipient|owner)"
            rb"|\xe9\x92\xb1\xe5\x8c\x85|\xe5\x9c\xb0\xe5\x9d\x80",  # Chinese: wallet, address
            re.I,
        ),
    ),
    Recognizer(
        "crypto-wallet",
        rb"\b[48][0-9AB]" + B58 + rb"{93}\b",
        re.compile(LONE % (rb"[48][0-9AB]" + B58 + rb"{93}")),
        token,
        "is a placeholder",
    ),
    Recognizer(
        "product-key", GROUPS, re.compile(LONE % (MICROSOFT + rb"(?:-%b){4}" % MICROSOFT)), product_key, "is words"
    ),
    Recognizer(
        "product-key",
        GROUPS,
        re.compile(LONE % rb"[A-Z0-9]{5}(?:-[A-Z0-9]{5}){4}"),
        product_key,
        "is words",
        re.compile(
            rb"(?<![<-])(?:\bkeys?\b|serial|licen[cs]e|activat|registration|\xe5\xaf\x86\xe9\x92\xa5|\xe5\xba\x8f\xe5\x88\x97)",
            re.I,
        ),
    ),
)
