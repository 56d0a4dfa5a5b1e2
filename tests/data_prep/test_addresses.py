"""E-mail, IP and MAC addresses and passwords in URLs are found as people write them, versions and source code stay."""

import ipaddress
import random

import pytest

from data_prep import addresses
from data_prep.pii import Scrubber
from data_prep.settings import ScrubSettings

SCRUBBER = Scrubber(ScrubSettings(kinds=["url-credentials", "email", "mac", "ip"]))


def found(text: str) -> list[tuple[str, str]]:
    """(kind, as it stands in the text) of each value."""
    data = text.encode()
    return [(value.kind, data[value.start : value.end].decode()) for value in SCRUBBER.find(text)]


@pytest.mark.parametrize(
    "address",
    [
        "simple@example.com",
        "very.common@example.com",
        "FirstName.LastName@EasierReading.example",
        "x@example.com",
        "long.email-address-with-hyphens@and.subdomains.example.com",
        "user.name+tag+sorting@example.com",
        "o'brien@example.org",
        "user%example.com@example.org",
        "r&d@example.org",
        "mailhost!username@example.org",
        "_______@example.com",
        "0123456789@example.com",
        "+15550100@sms.example.com",
        "jo@123.example.com",
        "someone@163.com",
        "jörg@bücher.example",
        "δοκιμή@παράδειγμα.δοκιμή",
        "jo@xn--bcher-kva.example",
        "jo@bücher.xn--p1ai",
        "a" * 64 + "@example.org",
        "jo@" + ".".join(["a" * 62] * 3) + ".example",
    ],
)
@pytest.mark.parametrize(
    "around", ["{}", "mail <{}>.", "联系{}谢谢", "mailto:{}?subject=x", '"email": "{}",', "to={}&x=1"]
)
def test_every_address_is_found_whole(address: str, around: str) -> None:
    assert found(around.format(address)) == [("email", address)]


def test_addresses_side_by_side() -> None:
    text = (
        "a@example.org,b@example.com;c@example.net/d@example.org|u'e@example.org'请"
        "f@example.org请E<lt>g@example.orgE<gt>"
    )
    expected = "a@example.org b@example.com c@example.net d@example.org e@example.org f@example.org g@example.org"
    assert [value for _, value in found(text)] == expected.split()


@pytest.mark.parametrize(
    "text",
    [
        "user@host",
        "git@github.com:org/repo.git",
        "hg@example.org/repo",
        "@foo.bar(1)",
        "image@2x.png",
        "icons/app@3x.jpeg",
        "a@b.c",
        "W @ x.T",
        "loss = x@weights.sum()",
        "lodash@4.17.21",
        "core@1.2.rc",
        "getty@tty1.service",
        "jo@example.123",
        "jo@-example.org",
        "jo@example-.org",
        "loss = x@sps.diags_array",
        r"print('\n@example.org')",
        "%s@example.org",
        "$user@example.org",
        "${USER}@example.org",
        "<user>@example.org",
        "a" * 65 + "@example.org",
        "jo@" + "a" * 64 + ".org",
        "jo@" + ".".join(["a" * 62] * 4) + ".example",
        "<EMAIL>@example.org",
        "libc6 (>= 2.31-13+deb11u5~bpo@1)",
        r"\catcode`\@=11.\def",
    ],
)
def test_no_address(text: str) -> None:
    assert found(text) == []


def test_canonical_addresses_are_equal_for_all_spellings() -> None:
    spellings = "Jo@Bücher.example", "jo@BÜCHER.example", "jo@xn--bcher-kva.example"
    assert {value.value for text in spellings for value in SCRUBBER.find(text)} == {"jo@xn--bcher-kva.example"}


@pytest.mark.parametrize(
    "text",
    [
        "jo.smith [at] example [dot] org",
        "jo.smith(at)example(dot)org",
        "jo.smith {at} example.org",
        "jo.smith AT example DOT org",
        "jo.smith AT example.org",
        "jo.smith at example dot org",
        "jo dot smith at example dot org",
        "jo.smith @ example dot org",
        "jo.smith@example[.]org",
        "jo.smith&#64;example&#46;org",
        "jo.smith&#x40;example&#x2E;org",
        "jo.smith&commat;example&period;org",
        "jo.smith%40example.org",
    ],
)
def test_disguised_addresses(text: str) -> None:
    assert [(value.value, value.end - value.start) for value in SCRUBBER.find(f"Write to {text}, please.")] == [
        ("jo.smith@example.org", len(text))
    ]
    plain = Scrubber(ScrubSettings(kinds=["email"], obfuscated=False))
    assert plain.find(f"Write to {text}, please.") == []


@pytest.mark.parametrize("text", ["From: {} (Jo)", "Jo <{}>", "&lt;{}&gt;", "e-mail: {}, phone"])
def test_addresses_as_mailing_lists_write_them(text: str) -> None:
    assert found(text.format("jo at example.org")) == [("email", "jo at example.org")]


@pytest.mark.parametrize(
    "text",
    [
        "look at example.org or from at.work",
        "look at the dot in the middle",
        "meet at noon dot it is",
        "a point at infinity, dot product",
        "AT commands AND modems",
        "vector(at)index",
        "LOOK AT THE END. Then",
        "stop at first dot after last separator",
        "look at this dot com bubble",
        "a look at the dot com years",
        "available at example dot com",
    ],
)
def test_prose_is_no_disguise(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize(
    ("text", "credentials"),
    [
        ("postgres://fred:s3cr3t@db.example.org/x", "fred:s3cr3t"),
        ("https://jo%40example.org:a%20b@example.org", "jo%40example.org:a%20b"),
        ("mysql://root:Pa#ss,1@localhost", "root:Pa#ss,1"),
        ("redis://jo:p@ss@cache.example.org:6379/0", "jo:p@ss"),
        ("git clone https://jo:t0ken$x@git.example.org/r", "jo:t0ken$x"),
    ],
)
def test_credentials_in_urls(text: str, credentials: str) -> None:
    assert found(text) == [("url-credentials", credentials)]
    assert SCRUBBER.scrub(text).text == text.replace(credentials, "<URL-CREDENTIALS>")


@pytest.mark.parametrize(
    "text",
    [
        "https://user:password@host.example/path",
        "https://user:PASS@host.example",
        "amqp://guest:guest@localhost",
        "https://<user>:<password>@host.example",
        "https://${USER}:${PASSWORD}@host.example",
        "https://$USER:$PASSWORD@host.example",
        "https://%s:%s@host.example",
        "https://{user}:{password}@host.example",
        "proxy://[user:passwd@]proxy.server",
        "https://user:***@host.example",
        "http://example.org:8080/@jo",
        "http://example.org:80#x@y",
    ],
)
def test_no_credentials(text: str) -> None:
    assert found(text) == []


def test_ipv4_agrees_with_the_registry() -> None:
    """All first numbers with the borders of the special networks inside, against the standard library."""
    edges = (0, 1, 2, 15, 16, 18, 19, 31, 32, 51, 63, 64, 88, 99, 100, 113, 127, 128, 168, 169, 175, 196, 254, 255, 256)
    for first in range(260):
        for second in edges:
            for third in (0, 2, 99, 100, 113, 255):
                text = f"{first}.{second}.{third}.9"
                try:
                    address = ipaddress.IPv4Address(text)
                    public = address.is_global and not address.is_multicast
                except ValueError:
                    public = False
                assert addresses.public_ipv4(text) == (text if public else ""), text


def test_nearly_all_ipv4_addresses_are_found_in_any_place() -> None:
    generator = random.Random(1)
    places = "{}", "from {}.", "{} - - [10/Oct/2000]", "电话{}请", "({})", "{}-{}", "dig @{} x", "a={};", "{},{}"
    missed = tried = 0
    while tried < 5000:
        address = ipaddress.IPv4Address(generator.getrandbits(32))
        if address.is_global and not address.is_multicast:
            tried += 1
            missed += ("ip", str(address)) not in found(generator.choice(places).replace("{}", str(address)))
    assert missed / tried < 0.01


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("dig 8.8.8.8", "8.8.8.8"),
        ("8.8.4.4:53", "8.8.4.4"),
        ("1.1.1.1:53", "1.1.1.1"),
        ("the block 12.0.0.0/8", "12.0.0.0"),
        ("nameserver 1.1.1.1", "1.1.1.1"),
        ("The IP address is 4.2.2.1.", "4.2.2.1"),
        ("ping -n 9.9.9.9", "9.9.9.9"),
        ("http://1.0.0.1/dns-query", "1.0.0.1"),
        ("::ffff:93.184.216.34", "93.184.216.34"),
    ],
)
def test_ipv4_with_what_says_so(text: str, address: str) -> None:
    assert found(text) == [("ip", address)]


@pytest.mark.parametrize(
    "text",
    [
        "10.1.2.3 172.16.0.1 192.168.178.20 127.0.0.1 169.254.3.4 100.64.0.1 0.0.0.0 255.255.255.0 224.0.0.251",
        "192.0.2.1 198.51.100.7 203.0.113.9",  # RFC 5737
        "version 93.184.216.34, v93.184.216.34 and release: 93.184.216.34",
        "Erts 10.7.2.18, Ssh 4.11.1.3, SSL 10.3.1.2",
        "see section 7.19.6.12. Return Value, Section 36.4.4.2",
        "OIDs 1.2.840.113549.1.1.1, 2.5.29.35, 1.3.6.1",
        "Chrome/91.0.4472.124 libfoo.so.1.2.3.200 foo-1.2.3.200 93.184.216.34.1",
        "01.300.066.6 93.184.216.034 93.184.216.256 2.147.483.647",
    ],
)
def test_no_public_ipv4(text: str) -> None:
    assert found(text) == []


def test_ipv6_agrees_with_the_standard_library() -> None:
    """Random addresses with runs of zeros, as they are, full, compressed and in capitals; canonical is RFC 5952's."""
    generator = random.Random(1)
    for _ in range(1000):
        groups = [generator.choice([0, 0, generator.getrandbits(16)]) for _ in range(6)]
        begin = generator.choice([0x2001, 0x2400, 0x2606, 0x2A00, 0x2C0F]), generator.randrange(1, 1 << 16)
        address = ipaddress.IPv6Address(":".join(f"{group:x}" for group in [*begin, *groups]))
        if address.is_global:
            for text in (str(address), address.exploded, str(address).upper(), f"[{address}]:443", f"{address}/64"):
                assert [value.value for value in SCRUBBER.find(f"at {text}.")] == [str(address)], text


@pytest.mark.parametrize("before", ["IP:", "ip：", "地址：", "addr: ", "src=", "peer name:"])
def test_ipv6_behind_a_word_and_a_colon(before: str) -> None:
    assert found(f"{before}2606:4700::1111, ok") == [("ip", "2606:4700::1111")]


def test_ipv6_of_any_network_where_it_is_written_out() -> None:
    assert found("from c8d5:7717:8f8a:b5c6:a8f5:e1b5:f32d:1a2b.") == [("ip", "c8d5:7717:8f8a:b5c6:a8f5:e1b5:f32d:1a2b")]


@pytest.mark.parametrize(
    "text",
    [
        "1234:5678:9012:3456:7890:1234:5678:9012",
        "c8d5:7717:8f8a:b5c6:a8f5:e1b5:f32d",
        "c8d5:7717:8f8a:b5c6:a8f5:e1b5:f32d:1a2b:c8d5",
        "c8d5:7717:8f8a:b5c6:a8f5:e1b5:f32d:1a2b:",
        "fd00:7717:8f8a:b5c6:a8f5:e1b5:f32d:1a2b",
        "a:2606:4700::1111 12:2606:4700::1111 ::2606:4700:1111",
        "fe80::1 ::1 fd00::1 ff02::1 2001:db8::1 2001:db8:0:0:0:0:0:1",  # RFC 3849 and RFC 4193
        "12:34:56 2003:10:11 12:34:56 2001:09:11",
        "9-Dec-2003::13:25:02",
        "std::vector a::b 2001::foo add::dead",
        "2001:1:2:3:4:5:6:7:8 2a00:1450:4001",
        "00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff",
    ],
)
def test_no_public_ipv6(text: str) -> None:
    assert found(text) == []


@pytest.mark.parametrize("text", ["00:00:5e:00:53:af", "00-00-5E-00-53-AF", "0000.5e00.53af"])  # RFC 7042, section 2.1
def test_mac_addresses(text: str) -> None:
    assert [(value.kind, value.value) for value in SCRUBBER.find(f"link/ether {text} brd ff:ff:ff:ff:ff:ff")] == [
        ("mac", "00005e0053af")
    ]


@pytest.mark.parametrize(
    "text",
    [
        "00:00:00:00:00:00 ff-ff-ff-ff-ff-ff aa:aa:aa:aa:aa:aa",
        "00 00 5e 00 53 af",
        "00:00:5e:00:53:af:00:01",  # EUI-64
        "00:00:5e-00:53:af",
        "19-11-05-23-59-10",
        "12-34-56-78-90-12",
        "2019-11-05-23-59-10",
        "03-08-17-25-33-48",
        "1234.5678.9012",
        "0000:5e00:53af",
        "5e:1d:72:a1:7f:01:33:\n    6c:1d:72:a1:7f:01",
        "6c:1d:72:a1:7f:01:\n",
    ],
)
def test_no_mac_address(text: str) -> None:
    assert found(text) == []


def test_scrubbing_twice_changes_nothing() -> None:
    text = "ip 1.1.1.1, 1.0.0.1, 9.9.9.9 jo@example.org@example.com https://a:b0@c:d0@h.example 2606:4700::1111::1"
    once = SCRUBBER.scrub(text).text
    assert SCRUBBER.scrub(once).text == once
