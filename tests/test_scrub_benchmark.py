"""Proves that scrubbing keeps benchmarks/scrub.py's bars on little text, and that the judge there sees mistakes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def test_the_bars_are_met_on_little_labelled_text(tmp_path: Path) -> None:
    """Precision and recall by kind; and what is planted behind strings made to blow up is found, and found once."""
    command = [sys.executable, str(ROOT / "benchmarks" / "scrub.py"), str(tmp_path), "--quick"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_judge_counts_what_is_missed_and_what_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: of three addresses the third is no address by RFC 5322, so it need not be found; one find is no
    label's, one has other borders."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from scrub_labels import Label, Labelled
    from scrub_quality import judged, mistakes

    text = "jo@example.org, al@example.com; a..b@example.net or 4.4.4.4"
    labels = [Label(start, end, "email", text[start:end]) for start, end in ((0, 14), (16, 30), (32, 48))]
    found = [(0, 13, "email"), (16, 30, "email"), (52, 59, "ip")]
    tallies = judged([Labelled(text, tuple(labels))], [found])
    email, ip = tallies["email"], tallies["ip"]
    assert (email.labels, email.valid, email.valid_found, email.right, email.exact, email.wrong) == (3, 2, 2, 2, 1, 0)
    assert (email.precision, email.recall, ip.wrong, ip.precision) == (1, 1, 1, 0)
    assert mistakes([Labelled(text, tuple(labels))], [found[1:]]) == [
        "found  ip: aa, aa@aaaaaaa.aaa; a..a@aaaaaaa.aaa or <<9.9.9.9>>",
        "missed email: <<aa@aaaaaaa.aaa>>, aa@aaaaaaa.aaa; a..a@aaaaaaa.aaa or 9.",
    ]


def test_other_libraries_tell_which_values_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    """Documented examples: the IBAN registry's, a card network's for tests, GB 11643's, RFC 5737's."""
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    from scrub_labels import VALID

    told = {
        "iban": ("GB82 WEST 1234 5698 7654 32", "GB82 WEST 1234 5698 7654 33"),
        "credit-card": ("4111-1111-1111-1111", "4111-1111-1111-1112"),
        "cn-resident-id": ("11010519491231002X", "110105194912310021"),
        "ip": ("8.8.8.8", "192.0.2.1"),
        "email": ("jo@example.org", "jo@localhost"),
        "us-ssn": ("536-90-4399", "666-90-4399"),
        "phone": ("+44 121 234 5678", "+44 000 234 5678"),
    }
    assert told.keys() == VALID.keys()
    assert {kind: tuple(map(VALID[kind], values)) for kind, values in told.items()} == dict.fromkeys(
        told, (True, False)
    )
