"""Train or validation, decided by a hash of the document's id: no list, no state, the same for any shard or worker."""

from __future__ import annotations

import hashlib


def unit_hash(seed: int, label: str, document_id: str) -> float:
    """A number in [0, 1), uniform over ids. `label` keeps different uses of the same seed apart."""
    digest = hashlib.blake2b(f"{seed}\0{label}\0{document_id}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


def side_of(document_id: str, *, seed: int, val_fraction: float) -> str:
    """`"val"` or `"train"`."""
    return "val" if unit_hash(seed, "split", document_id) < val_fraction else "train"
