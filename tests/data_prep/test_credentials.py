"""Tokens, private keys, wallets and product keys are found by their forms and checksums, made-up ones are not."""

import base64
import hashlib
import json
import random
import string

import pytest
from stdnum import bitcoin

from data_prep import credentials
from data_prep.pii import Scrubber
from data_prep.settings import ScrubSettings

SCRUBBER = Scrubber(ScrubSettings(kinds=["secret", "crypto-wallet", "product-key"]))
GENERATOR = random.Random(1)
HEXADECIMAL, BASE62 = "0123456789abcdef", string.ascii_letters + string.digits
BASE64URL, CAPITALS = BASE62 + "-_", string.ascii_uppercase + string.digits


def found(text: str) -> list[tuple[str, str]]:
    """(kind, as it stands in the text) of each value."""
    data = text.encode()
    return [(value.kind, data[value.start : value.end].decode()) for value in SCRUBBER.find(text)]


def made(alphabet: str, length: int) -> str:
    """Nobody's: drawn here. It ends in a letter or digit, so that it is clear where it ends."""
    return "".join(GENERATOR.choice(alphabet) for _ in range(length - 1)) + GENERATOR.choice(alphabet[:10])


def token_samples() -> list[str]:
    """One of each form that the services document."""
    return [
        "AKIA" + made(string.ascii_uppercase + "234567", 16),
        "ASIA" + made(string.ascii_uppercase + "234567", 16),
        *(f"gh{kind}_{made(BASE62, 36)}" for kind in "pousr"),
        f"github_pat_{made(BASE62, 22)}_{made(BASE62, 59)}",
        "glpat-" + made(BASE64URL, 20),
        f"glpat-{made(BASE64URL, 27)}.01.{made(HEXADECIMAL, 7)}",
        f"xoxb-{made(string.digits, 12)}-{made(string.digits, 13)}-{made(BASE62, 24)}",
        f"xoxp-{made(string.digits, 12)}-{made(string.digits, 12)}-{made(string.digits, 12)}-{made(HEXADECIMAL, 32)}",
        f"hooks.slack.com/services/T{made(CAPITALS, 8)}/B{made(CAPITALS, 8)}/{made(BASE62, 24)}",
        *(f"{kind}_live_{made(BASE62, 24)}" for kind in ("sk", "rk")),
        "AIza" + made(BASE64URL, 35),
        "GOCSPX-" + made(BASE64URL, 28),
        "sk-" + made(BASE62, 48),
        f"sk-proj-{made(BASE64URL, 74)}T3BlbkFJ{made(BASE64URL, 74)}",
        f"sk-ant-api03-{made(BASE64URL, 93)}AA",
        "hf_" + made(string.ascii_letters, 34),
        "npm_" + made(BASE62, 36),
        "pypi-AgEIcHlwaS5vcmc" + made(BASE64URL, 150),
        "dckr_pat_" + made(BASE64URL, 27),
        f"SG.{made(BASE64URL, 22)}.{made(BASE64URL, 43)}",
        *(f"{kind}{made(HEXADECIMAL, 32)}" for kind in ("SK", "AC")),
        "key-" + made(HEXADECIMAL, 32),
        f"{made(HEXADECIMAL, 32)}-us12",
        "dop_v1_" + made(HEXADECIMAL, 64),
        "dapi" + made(HEXADECIMAL, 32),
        "shpat_" + made(HEXADECIMAL, 32),
        f"glsa_{made(BASE62, 32)}_{made(HEXADECIMAL, 8)}",
        f"{made('123456789', 10)}:AA{made(BASE64URL, 33)}",
        f"AccountKey={made(BASE62, 86)}==",
        f"{made(BASE62, 3)}8Q~{made(BASE62, 34)}",
        "hvs." + made(BASE64URL, 95),
    ]


@pytest.mark.parametrize("sample", token_samples(), ids=lambda sample: sample[:8])
def test_every_documented_form_is_found_whole(sample: str) -> None:
    for around in ('key = "{}"', "电话{}请", "export KEY={}\n", "({}).", "Bearer {}"):
        assert found(around.format(sample)) == [("secret", sample)], around
    for glued in ("x" + sample, sample + "x_y1" * 60):
        assert ("secret", sample) not in found(glued)


@pytest.mark.parametrize(
    "text",
    [
        "ghp_" + "x" * 36,
        "sk-" + "X" * 48,
        "AIza" + "*" * 35,
        "npm_install_all_the_packages_of_this_project",
        "task-force sk-learn sk_live_mode risk-averse",
        "hf_hub_download hf_transformers_cache_directory",
        "SG.example.value",
        "https://example.org/?sig=short",
        "AKIAexample",
        "key-0123",
    ],
)
def test_no_token(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    "text",
    ["aws_secret_access_key = {}", 'AWS_SECRET_ACCESS_KEY="{}"', '"SecretAccessKey": "{}"', "secret access key: {}"],
)
def test_secret_key_of_aws_behind_its_name(text: str) -> None:
    secret = made(BASE62 + "/+", 40)
    assert found(text.format(secret)) == [("secret", secret)]
    assert found(f"commit {secret}") == []


def pem(kind: str, body: str) -> str:
    return f"-----BEGIN {kind}-----\n{body}\n-----END {kind}-----"


@pytest.mark.parametrize(
    "kind",
    [
        f"{kind}PRIVATE {'KEY'}{block}"
        for kind, block in [
            ("", ""),
            ("RSA ", ""),
            ("EC ", ""),
            ("OPENSSH ", ""),
            ("ENCRYPTED ", ""),
            ("PGP ", " BLOCK"),
        ]
    ],
)
def test_private_keys_go_whole(kind: str) -> None:
    lines = "\n".join(made(BASE62 + "+/", 64) for _ in range(200))
    for body in (lines, "Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,0F\n\n" + lines, lines.replace("\n", "\\n")):
        block = pem(kind, body)
        assert found(f"key:\n{block}\nend") == [("secret", block)]


def test_public_keys_and_descriptions_stay() -> None:
    line = made(BASE62, 64)
    private = "RSA PRIVATE " + "KEY"
    for text in (pem("PUBLIC KEY", line), pem("CERTIFICATE", line), pem(private, "..."), pem(private, "<base64>")):
        assert found(text) == []


def test_web_tokens() -> None:
    """The example of RFC 7515, appendix A.1."""
    header = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9"
    payload = "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
    token = f"{header}.{payload}.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
    assert found(f"Authorization: Bearer {token}.") == [("secret", token)]
    no_algorithm = base64.urlsafe_b64encode(json.dumps({"typ": "JWT"}).encode()).decode().rstrip("=")
    for text in (token.replace(header, no_algorithm), token.replace(header, header[:-3]), f"{header}.{payload}"):
        assert found(text) == []


def test_discord_tokens() -> None:
    number = base64.urlsafe_b64encode(b"12345678901234567890"[:18]).decode()
    token = f"{number}.{made(BASE62, 6)}.{made(BASE62, 38)}"
    assert found(token) == [("secret", token)]
    assert found("N" + token[1:5] + "zzz" + token[8:]) == []


WALLETS = [
    "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa",  # Bitcoin's first block
    "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy",  # the Bitcoin wiki's examples
    "BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4",  # BIP-173
    "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
    "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0",  # BIP-350
    "rHb9CJAWyB4rj91VRWn96DkukG4bwdtyTh",  # XRP Ledger's documentation: the account of its first block
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",  # EIP-55
    "0xde709f2102306220921060314715629080e2fb77",
]


@pytest.mark.parametrize("wallet", WALLETS)
def test_wallets(wallet: str) -> None:
    assert found(f"Send to {wallet}, please.") == [("crypto-wallet", wallet)]
    assert found(f"x{wallet} {wallet}x") == []


@pytest.mark.parametrize("wallet", WALLETS[:6])
def test_one_changed_character_breaks_the_checksum(wallet: str) -> None:
    for place in range(4, len(wallet)):
        for other in "29aq" if wallet.islower() else "29QH":
            if wallet[place] != other:
                assert found(wallet[:place] + other + wallet[place + 1 :]) == []


def encoded(data: bytes) -> str:
    """Base58 of an address's bytes, none of which is led by zeros."""
    number, text = int.from_bytes(data), ""
    while number:
        number, digit = divmod(number, 58)
        text = credentials.BASE58[digit] + text
    return text


def test_checksums_agree_with_another_library() -> None:
    """`stdnum.bitcoin` on addresses (version 5, 20 random bytes) with the right checksum and with another."""
    for _ in range(300):
        payload = bytes([5, *GENERATOR.randbytes(20)])
        digest = hashlib.sha256(hashlib.sha256(payload).digest()).digest()
        for check, right in ((digest[:4], True), (digest[1:5], False)):
            address = encoded(payload + check)
            assert bitcoin.is_valid(address) == right == bool(credentials.base58check(address))


def test_private_keys_of_wallets_are_secrets() -> None:
    """Examples of the Bitcoin wiki and of BIP-32, joined here so that scanners of code do not stop at them."""
    for parts in (
        ("5HueCGU8rMjxEXxiPuD5BDku4MkF", "qeZyd4dZ1jvhTVqvbTLvyTJ"),
        (
            "xprv9s21ZrQH143K3QTDL4LXw2F7HEK3wJUD2nW2nRk4stbPy6cq3jPPqji",
            "ChkVvvNKmPGJxWUtg6LnF5kejMRNNU3TGtRBeJgk33yuGBxrMPHi",
        ),
    ):
        assert found("".join(parts)) == [("secret", "".join(parts))]


@pytest.mark.parametrize(
    "text",
    [
        "da39a3ee5e6b4b0d3255bfef95601890afd80709",  # a SHA-1, as git writes it
        "0x" + "0" * 40,
        "key 0xde709f2102306220921060314715629080e2fb77",
        "hash: 0xDE709F2102306220921060314715629080E2FB77",
        "0x" + "0" * 36 + "dead",
        "1" * 34,
        "DocumentBuilderFactoryMaker LegacyDebertaV2PredictionHead",
        "d41d8cd98f00b204e9800998ecf8427e",
        "bc1" + "q" * 39,
        "Bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
    ],
)
def test_no_wallet(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    "key", ["W269N-WFGWX-YVC9B-4J6C9-T83GX", "NPPR9-FWDCX-D2C8J-H872K-2YT43"]
)  # Microsoft's documented keys for volume activation, the same for everybody
def test_product_keys(key: str) -> None:
    assert found(f"slmgr /ipk {key}") == [("product-key", key)]


def test_other_product_keys_behind_a_word_that_says_so() -> None:
    assert found("Your serial: A1B2C-D3E4F-5G6H7-I8J9K-L0M1N") == [("product-key", "A1B2C-D3E4F-5G6H7-I8J9K-L0M1N")]


@pytest.mark.parametrize(
    "text",
    [
        "A1B2C-D3E4F-5G6H7-I8J9K-L0M1N",
        "key: XXXXX-XXXXX-XXXXX-XXXXX-XXXXX",
        "key: THREE-WORDS-AFTER-OTHER-WORDS",
        "key: 12345-67890-12345-67890-12345",
        "key 123e4567-e89b-12d3-a456-426614174000",  # a UUID
        "key: W269N-WFGWX-YVC9B-4J6C9-T83GX-AAAAA",
    ],
)
def test_no_product_key(text: str) -> None:
    assert found(text) == []
