"""Where people and their machines are reached: e-mail, IP and MAC addresses, and the passwords that stand in URLs."""

from __future__ import annotations

import ipaddress
import re

from data_prep.recognizer import Recognizer

# --- e-mail ---------------------------------------------------------------------------------------------------------

LETTER = rb"[\xc3-\xdf][\x80-\xbf]"  # two bytes of UTF-8: accented Latin, Greek, Cyrillic, Hebrew, Arabic (RFC 6531)
# RFC 5322 would have more in a local part: / = ? ^ ` { | }. Before an address they are borders: `to=jo@example.org`
LOCAL, HOST = rb"[A-Za-z0-9_.!#%&'*+~-]", rb"[A-Za-z0-9-]"
EMAIL_REGIONS = rb"(?:%(local)b|%(letter)b)+@(?:%(host)b|%(letter)b)+(?:\.(?:%(host)b|%(letter)b)+)+" % {
    b"local": LOCAL,
    b"host": HOST,
    b"letter": LETTER,
}
EMAIL = re.compile(
    # not $user@, printf's %s@, a decorator behind "\n@", Python's u' before one
    rb"(?<![A-Za-z0-9_$+])(?<!%(letter)b)(?<![%%\\](?=[sdnrt]@))(?![ubrf]')"
    rb"(?!(?:git|hg)@%(host)b{1,63}(?:\.%(host)b{1,63}){1,8}[:/])"  # the account by which all log in to a code host
    rb"(?:[A-Za-z0-9_+]|%(letter)b)(?:%(local)b|%(letter)b){0,63}+"
    rb"@(?:(?:%(host)b|%(letter)b){1,63}+\.){1,8}"
    rb"(?:[A-Za-z]{2,24}(?=E<g)|"  # in POD, where E<gt> is >
    rb"(?:xn--[A-Za-z0-9-]{1,59}|(?:[A-Za-z]|%(letter)b){2,24})"
    rb"(?![A-Za-z0-9]|_[A-Za-z0-9]|\.[A-Za-z]{2}"
    rb"|(?<!\.(?:com|org|net|edu|gov))(?<!\.(?:cn|de|uk|fr|jp|ru|io))\())"  # source code: a@b.sum(
    % {b"local": LOCAL, b"host": HOST, b"letter": LETTER}
)
# Last labels that are file names or systemd units: image@2x.png, getty@tty1.service
FILE_ENDING = re.compile(
    "png|jpe?g|gif|svg|webp|bmp|ico|tiff?|pdf|html?|css|[jt]s|json|xml|ya?ml|toml|conf|cfg|ini|txt|rst|log|csv|tgz|t?gz|"
    "bz2|xz|zst|tar|deb|rpm|jar|war|whl|exe|dll|bin|iso|patch|diff|service|socket|target|(?:auto)?mount|timer|slice|"
    "device|scope|swap"
)


def email_address(text: str) -> str:
    """The address in lower case, its domain as the name system has it (RFC 5891), or "" of a file name, a
    version, a manual's password or what is too long (RFC 5321, 4.5.3.1: 64 and 255 bytes, of which 253 can be a name).

    >>> email_address("Jo+list@Bücher.example"), email_address("image@2x.png")
    ('jo+list@xn--bcher-kva.example', '')
    """
    local, _, domain = text.lower().partition("@")
    if not domain.isascii():
        try:
            domain = domain.encode("idna").decode()
        except UnicodeError:  # an empty or too long label, or one that IDNA forbids
            return ""
    first, second, *_ = labels = domain.split(".")
    if (
        local[-1] == "."
        or FILE_ENDING.fullmatch(labels[-1])
        or (first.isdigit() and second.isdigit())  # a version: package@1.2.rc
        or EXAMPLE_PASSWORDS.fullmatch(local)  # of https://user:password@example.org
        or len(local.encode()) > 64
        or len(domain) > 253
        or max(map(len, labels)) > 63
        or domain[0] == "-"
        or "-." in domain
        or ".-" in domain
    ):
        return ""
    return f"{local}@{domain}"


# --- e-mail, written so that harvesters do not see it ---------------------------------------------------------------

AT = rb"(?: ?[\[({] ?(?:at|@) ?[\])}] ?|&#0{0,5}64;|&#x0{0,5}40;|&commat;|%40|(?-i: AT ))"
WEAK_AT = rb" ?@ ?| at "  # where the dots are disguised, too
DOT = rb"(?: ?[\[({] ?(?:dot|\.) ?[\])}] ?|&#0{0,5}46;|&#x0{0,5}2e;|&period;| dot )"
NAME = rb"[a-z0-9_.+%-]"


def disguised(name: bytes, host: bytes) -> bytes:
    """The expression for an address whose at-sign is disguised, or whose dots are."""
    return (
        rb"(?:%(name)b%(dot)b){0,2}%(name)b"
        rb"(?:%(at)b%(host)b(?:(?:%(dot)b|\.)%(host)b){1,4}|(?:%(weak)b)%(host)b(?:%(dot)b%(host)b){1,4})"
        % {b"name": name, b"host": host, b"at": AT, b"weak": WEAK_AT, b"dot": DOT}
    )


# The top-level domains that tell an address from prose, where only the words at and dot say that it is one
COMMON_DOMAIN = re.compile(
    b"com|org|net|edu|gov|mil|info|biz|io|dev|app|example|test|uk|de|fr|nl|es|pl|ru|cn|jp|kr|br|ca|au|ch|se|eu|cz|fi|dk|"
    b"hu|ro|gr|pt|ua|ie|nz|za|mx|ar|cl|tw|hk|sg|il|tr",
    re.IGNORECASE,
)
# "look at this dot com bubble", "visit us at example dot com": words that stand before and behind at in prose
PROSE = re.compile(
    rb"(?:.*[ .])?(?:me|us|him|them|it|look(?:s|ed|ing)?|work(?:s|ed|ing)?|visit|available|online|sold|hosted|found)"
    rb" at .*|.* at (?:a|an|the|th[ei]s|that|those|each|every|any|some|one|first|last|all|its|his|her|our|your|their|my"
    rb"|least|most|which|what)(?: dot |\.).*",
    re.IGNORECASE | re.DOTALL,
)
SPOKEN = re.compile(r" (?:at|AT) | @ |@")


def spoken_address(text: str) -> str:
    """The address that a disguised one means, or "".

    >>> spoken_address("jo (at) mail (dot) example (dot) org"), spoken_address("look at the dot in")
    ('jo@mail.example.org', '')
    """
    data = text.encode()
    address = re.sub(
        DOT, b".", re.sub(WEAK_AT, b"@", re.sub(AT, b"@", data, flags=re.I), count=1, flags=re.I), flags=re.I
    )
    if not EMAIL.fullmatch(address):
        return ""
    if PROSE.fullmatch(data):
        return ""
    if SPOKEN.search(text) and not COMMON_DOMAIN.fullmatch(address.rpartition(b".")[2]):
        return ""
    return email_address(address.decode())


# --- passwords in URLs ----------------------------------------------------------------------------------------------

# What manuals write in place of one, and templates
EXAMPLE_PASSWORDS = re.compile(
    r"(?:my|your|the|db|user|some)?[-_]?(?:pass|passw(?:or)?d|pwd|pw|passwort|secret|token|x{3,}|\*+|\.+|x-oauth-basic)",
    re.IGNORECASE,
)
TEMPLATE = re.compile(r"(?:^|:)(?:\$|%[sd(](?![0-9a-fA-F]))|[{}\[\]\\…]|\*\*\*|\.\.\.")


def url_credentials(text: str) -> str:
    """`user:password` as it stands, or "" of a manual's: `user:pass`, `guest:guest`, `${USER}:$PASS`."""
    user, _, password = text.partition(":")
    if user == password or EXAMPLE_PASSWORDS.fullmatch(password) or TEMPLATE.search(text):
        return ""
    return text


# --- IP and MAC addresses -------------------------------------------------------------------------------------------


def public_address(text: str) -> str:
    """The address as RFC 5952 writes it, or "" of one that is not of the public Internet: private, documentation and
    multicast addresses are nobody's.

    >>> public_address("2606:4700:0:0:0:0:0:1111"), public_address("192.168.0.1"), public_address("224.0.0.251")
    ('2606:4700::1111', '', '')
    """
    try:
        address = ipaddress.IPv6Address(text) if ":" in text else ipaddress.IPv4Address(text)
    except ValueError:  # a part above 255 or with a leading zero, two `::`
        return ""
    return str(address) if address.is_global and not address.is_multicast else ""


# The first numbers that IANA's registry of special addresses names, and multicast and reserved ones (RFC 6890)
SPECIAL = {0, 10, 100, 127, 169, 172, 192, 198, 203, *range(224, 256)}


def public_ipv4(text: str) -> str:
    """As `public_address`, which looks into networks one by one, in a fifth of the time."""
    numbers = [int(part) for part in text.split(".")]
    if numbers[0] in SPECIAL:
        return public_address(text)
    return text if max(numbers) < 256 and len("".join(map(str, numbers))) + 3 == len(text) else ""


def telling_ipv4(text: str) -> str:
    """As `public_ipv4`, but "" where the four numbers add up to less than 128, as versions and sections do: 4.3.3.75.
    So do 0.3 % of all addresses, and those are found where something beside them says what they are.
    Google's two resolvers are written everywhere, and no version looks like them.

    >>> telling_ipv4("12.128.3.4"), telling_ipv4("7.19.6.12"), telling_ipv4("8.8.8.8")
    ('12.128.3.4', '', '8.8.8.8')
    """
    small = sum(map(int, text.split("."))) < 128
    return "" if small and text not in ("8.8.8.8", "8.8.4.4") else public_ipv4(text)


SEPARATORS = str.maketrans("", "", ":-.")


def mac_address(text: str) -> str:
    """Twelve lower-case hexadecimal digits, or "" of no device's: all pairs equal, or decimal digits between hyphens,
    as dates, lotteries and tables have them, and one address in 300.

    >>> mac_address("00-00-5E-00-53-AF"), mac_address("ff:ff:ff:ff:ff:ff"), mac_address("03-08-17-25-33-48")
    ('00005e0053af', '', '')
    """
    digits = text.translate(SEPARATORS).lower()
    return "" if digits == digits[:2] * 6 or (digits.isdigit() and "-" in text) else digits


QUAD = rb"(?<![\w.])(?<![A-Za-z]-)[0-9]{1,3}(?:\.[0-9]{1,3}){3}(?!\w|\.[0-9])"
QUADS = rb"[0-9]+(?:\.[0-9]+){3,}"
ANY_QUAD = rb"[0-9]\.[0-9]+\.[0-9]+\.[0-9]"
NO_VERSION = b"".join(
    rb"(?<!%b[^\w]{%d})" % (word, width)
    for word in rb"version versions release firmware build revision section chapter driver".split()
    for width in (1, 2, 3)
)
# Words that tell even 1.1.1.1 from a section
ADDRESS_WORDS = (
    rb"(?:\bipv?4?\b|address|\baddr\b|nameserver|\bresolvers?\b|\bdns\b|\bping\b|gateway|\bhost\b|://|\binet\b|"
    rb"traceroute|\bsrc\b|\bdst\b|\bclient\b|\bpeer\b|\brouter?\b|\xe5\x9c\xb0\xe5\x9d\x80)"
)
# The last line of a certificate or key in hexadecimal, where the line before ends in a colon
NOT_BEHIND_A_LINE = b"".join(rb"(?<![0-9a-f]:\n {%d})" % width for width in range(25))
# No part of a longer number, but behind the colon of a word: IP:2606:4700::1111
ALONE = rb"(?<![\w.-])(?<!::)" + b"".join(rb"(?<!\b[0-9A-Fa-f]{%d}:)" % width for width in range(1, 5))
HEXTET = rb"[0-9a-f]{1,4}"
# What IANA has given out of 2000::/3: nothing else can be in use, and dates and clocks rarely begin so
ALLOCATED = rb"2(?:00[1-3]|[468ac][0-3][0-9a-f])"

RECOGNIZERS = (
    Recognizer(
        "url-credentials",
        rb"[A-Za-z]://[^\s/@:<>\"'`?]*:[^\s/<>\"`?]+@",
        re.compile(
            rb"(?<=\w://)(?P<value>[^\s/@:<>\"'`?]{0,64}:(?!\d{1,5}[#,;])[^\s/@<>\"`?]{1,256}"
            rb"(?:@[^\s/@<>\"'`?,;]{1,64})?)@"
        ),
        url_credentials,
        "is a placeholder",
    ),
    Recognizer(
        "email",
        EMAIL_REGIONS,
        EMAIL,
        email_address,
        "its last part is no domain",
        hint=rb"@[A-Za-z0-9\x80-\xff-]+\.",
    ),
    Recognizer(
        "mac",
        rb"\b(?:[0-9A-Fa-f]{2}:){5,}[0-9A-Fa-f]{2}|\b(?:[0-9A-Fa-f]{2}-){5,}[0-9A-Fa-f]{2}|"
        rb"\b[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\.[0-9A-Fa-f]{4}\b",
        re.compile(
            rb"(?<![\w.:*-])" + NOT_BEHIND_A_LINE + rb"(?:[0-9a-f]{2}(?:(?::[0-9a-f]{2}){5}|(?:-[0-9a-f]{2}){5})|"
            rb"(?=[0-9.]{0,13}[a-f])[0-9a-f]{4}(?:\.[0-9a-f]{4}){2})(?!\w|[.:-][0-9a-z]|:\s)",
            re.IGNORECASE,
        ),
        mac_address,
        "is no device's",
    ),
    Recognizer(
        "ip",
        QUADS,
        re.compile(NO_VERSION + QUAD, re.I),
        telling_ipv4,
        "is not public, or a version",
        hint=ANY_QUAD,
    ),
    Recognizer(
        "ip",
        QUADS + rb"[:/][0-9]+",
        re.compile(QUAD + rb"(?=:[0-9]{2,5}\b|/(?:[89]|[12][0-9]|3[0-2])\b)"),
        public_ipv4,
        "is not public",
        hint=ANY_QUAD,
    ),
    Recognizer(
        "ip",
        QUADS,
        re.compile(NO_VERSION + QUAD, re.I),
        public_ipv4,
        "is not public, or a version",
        re.compile(rb"(?<!<)" + ADDRESS_WORDS + rb"[^\n0-9]{0,64}+(?:" + QUADS + rb"[^\n0-9]{0,64}+)*\Z", re.I),
        ANY_QUAD,
    ),
    Recognizer(
        "ip",
        rb"(?i)\b" + ALLOCATED + rb":[0-9a-f:]*",
        re.compile(
            ALONE + rb"%(begin)b(?:(?::%(h)b){7}|(?::%(h)b){0,5}::%(h)b(?::%(h)b){0,5}|(?::%(h)b){1,6}::)"
            rb"(?!\w|:[0-9a-f])" % {b"begin": ALLOCATED, b"h": HEXTET},
            re.IGNORECASE,
        ),
        public_address,
        "is not public",
    ),
    Recognizer(  # of any network, written out: too long, and with letters, to be much else
        "ip",
        rb"(?i)\b[0-9a-f]{3,4}(?::[0-9a-f]{3,4}){7,}",
        re.compile(ALONE + rb"(?=[0-9:]{0,38}[a-f])[0-9a-f]{3,4}(?::[0-9a-f]{3,4}){7}(?![\w:])", re.IGNORECASE),
        public_address,
        "is not public",
        hint=rb"(?i)[0-9a-f]{3}:[0-9a-f]{3,4}:[0-9a-f]{3,4}:",
    ),
)

OBFUSCATED = (
    Recognizer(
        "email",
        rb"(?i)" + disguised(NAME + b"+", HOST + b"+"),
        re.compile(
            rb"(?<![a-z0-9_.+%-])" + disguised(NAME + b"{1,64}", HOST + b"{1,63}") + rb"(?![a-z0-9_(])", re.IGNORECASE
        ),
        spoken_address,
        "reads as prose",
        hint=rb"(?i)[\[({] ?(?:at|@|dot|\.) ?[\])}]|&#0*(?:64|46);|&#x0*(?:40|2e);|&commat;|&period;|%40[a-z0-9-]"
        rb"| dot [a-z0-9-]|(?-i:[A-Za-z0-9_.+%-] AT [A-Za-z0-9-])",
    ),
    Recognizer(
        "email",  # as archives of mailing lists write it: From: jo at example.org (Jo)
        rb"(?i)(?:<|&lt;|from: |mail: )" + NAME + rb"+ at " + HOST + rb"+(?:\." + HOST + rb"+)+",
        re.compile(
            rb"(?:(?<=<)|(?<=&lt;)|(?<=from: )|(?<=mail: ))%b{1,64} at %b{1,63}(?:\.%b{1,63}){1,8}(?![a-z0-9_(])"
            % (NAME, HOST, HOST),
            re.IGNORECASE,
        ),
        spoken_address,
        "reads as prose",
        hint=rb"(?i) at [a-z0-9-]+\.[a-z0-9-]",
    ),
)
