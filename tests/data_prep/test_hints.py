"""Proves that no value is lost where the engine looks for a recognizer's hint first: its hint finds something in
whatever its regions can be (of phones, whose regions are of fewer digits, too: in whatever holds a value)."""

from __future__ import annotations

import re

import pytest
import re2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data_prep.pii import over_bytes, recognizers_of
from data_prep.recognizer import KINDS
from data_prep.settings import ScrubSettings

EVERY = recognizers_of(ScrubSettings(kinds=[kind for kind in KINDS if kind != "person"]))
HINTED = [recognizer for recognizer in EVERY if recognizer.hint]


@pytest.mark.parametrize("recognizer", HINTED, ids=lambda recognizer: recognizer.kind)
def test_every_region_has_its_hint(recognizer):
    hint, regions = re2.compile(recognizer.hint, over_bytes()), re2.compile(recognizer.regions, over_bytes())

    @settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.from_regex(re.compile(recognizer.regions), fullmatch=True))
    def every_region_has_it(text):
        for region in regions.finditer(text):
            none = recognizer.kind == "phone" and not recognizer.value.search(region[0])
            assert none or hint.search(region[0]), region[0]

    every_region_has_it()
