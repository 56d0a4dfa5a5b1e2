"""Proves that the split is a fair coin per document id: within binomial bounds, and the same in any order."""

from __future__ import annotations

import hashlib

import pytest

from data_prep.split import side_of, unit_hash

IDS = [f"docs:{number}" for number in range(20_000)]


def val(seed, fraction, ids=IDS):
    return {id for id in ids if side_of(id, seed=seed, val_fraction=fraction) == "val"}


@pytest.mark.parametrize("fraction", [0.001, 0.01, 0.1, 0.5, 0.9])
@pytest.mark.parametrize("seed", [0, 1, 2**40])
def test_the_share_is_within_five_standard_deviations_of_the_binomial(fraction, seed):
    spread = (len(IDS) * fraction * (1 - fraction)) ** 0.5
    assert abs(len(val(seed, fraction)) - len(IDS) * fraction) < 5 * spread


def test_no_document_depends_on_the_others_or_their_order():
    assert val(1, 0.1) == val(1, 0.1, IDS[::-1])
    assert val(1, 0.1) & set(IDS[::7]) == val(1, 0.1, IDS[::7])


def test_a_larger_fraction_only_adds_to_val():
    assert val(1, 0.01) < val(1, 0.1) < val(1, 0.5)


def test_another_seed_is_another_split():
    """Independent splits of a tenth share a hundredth of the documents."""
    both = len(val(1, 0.1) & val(2, 0.1))
    assert abs(both - 200) < 5 * (20_000 * 0.01 * 0.99) ** 0.5


def test_the_two_uses_of_a_seed_are_independent():
    """Mean of x * y over independent uniform x and y: 1/4; its standard deviation over n: sqrt(7/144 / n)."""
    products = [unit_hash(1, "split", id) * unit_hash(1, "shuffle", id) for id in IDS]
    assert abs(sum(products) / len(IDS) - 0.25) < 5 * (7 / 144 / len(IDS)) ** 0.5


def test_the_hash_is_the_one_of_hashlib():
    digest = hashlib.blake2b("7\0split\0docs:é".encode(), digest_size=8).digest()
    assert unit_hash(7, "split", "docs:é") == int.from_bytes(digest, "big") / 2**64
