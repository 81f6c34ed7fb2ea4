"""Runs to be judged again."""

from __future__ import annotations

from pathlib import Path

import pytest

from crawler.dataset.run import RunDirectory
from tests.kit.chain_runs import (
    OTHER_ANCHOR,
    stored,
)  # fmt: skip
from tests.kit.chains import pem
from tests.kit.rejudged_runs import CHAINS


@pytest.fixture
def run(tmp_path: Path) -> RunDirectory:
    return stored(tmp_path / "data" / "run=test", CHAINS, shards=3)


@pytest.fixture
def other_roots(tmp_path: Path) -> str:
    path = tmp_path / "roots.pem"
    path.write_text(pem(OTHER_ANCHOR))
    return str(path)
