"""The short way to a name match is the long way's answer."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crawler.certificates import name_match
from crawler.certificates.parsing import listed as listed_names

_LABELS = st.text("abzX019-_*", min_size=1, max_size=4)


@given(st.lists(_LABELS, min_size=1, max_size=4), st.lists(_LABELS, min_size=1, max_size=4))
def test_the_short_way_for_the_very_name_says_what_the_library_says(host: list[str], other: list[str]) -> None:
    """A name that cannot be told from an address takes the long way."""
    for named in (".".join(host), ".".join(other), "*." + ".".join(host[1:])):
        names = listed_names([named])
        short = name_match._is_among(names, ".".join(host))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(name_match, "_PLAIN_NAME", re.compile(r"(?!)"))
            assert name_match._is_among(names, ".".join(host)) is short
