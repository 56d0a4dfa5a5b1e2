"""How MinHash signatures are cut into bands: documents that share a whole band are compared with each other.

Leskovec et al., "Mining of Massive Datasets", section 3.4.
"""

from __future__ import annotations

from typing import Any

PERMUTATIONS = 256
MOST_PERMUTATIONS = 4096
WANTED = 0.99  # of the pairs at the threshold itself; of more similar ones more are found

# `exact` finds 99 % at the threshold and verifies them, `fineweb` is the setting of Penedo et al. 2024, "The FineWeb
# Datasets", section 3.3; `datasketch` leaves the choice to that library's optimiser (false positives as bad as missed)
DEDUP_PRESETS = ("exact", "fineweb", "datasketch")


def preset_keys(preset: str, threshold: float) -> dict[str, Any]:
    """The keys of `[dedup]` that a preset stands for.

    >>> preset_keys("exact", 0.8), preset_keys("fineweb", 0.8)
    ({'bands': 32, 'rows': 8, 'verify': True}, {'bands': 14, 'rows': 8, 'verify': False})
    """
    if preset == "fineweb":
        return {"bands": 14, "rows": 8, "verify": False}
    if preset == "exact":
        bands, rows = bands_and_rows(threshold)
        return {"bands": bands, "rows": rows, "verify": True}
    if preset == "datasketch":
        from data_prep.dedup import optimal_bands_and_rows

        bands, rows = optimal_bands_and_rows(threshold, PERMUTATIONS)
        return {"bands": bands, "rows": rows, "verify": True}
    return {}


def shared_band(similarity: float, bands: int, rows: int) -> float:
    """The probability that two documents of a Jaccard similarity share at least one band.

    >>> round(shared_band(0.8, 14, 8), 4), round(shared_band(0.8, 32, 8), 4)
    (0.9235, 0.9972)
    """
    return float(1 - (1 - similarity**rows) ** bands)


def bands_and_rows(threshold: float) -> tuple[int, int]:
    """The longest bands of 256 values with which 99 % of the pairs at the threshold share one: the fewest others do.

    >>> [bands_and_rows(threshold) for threshold in (0.5, 0.7, 0.8, 0.9, 1.0)]
    [(85, 3), (42, 6), (32, 8), (18, 14), (1, 256)]
    """
    rows = next(
        rows for rows in range(PERMUTATIONS, 0, -1) if shared_band(threshold, PERMUTATIONS // rows, rows) >= WANTED
    )
    return PERMUTATIONS // rows, rows
