"""A resolver, a place to scan from, and what an undisturbed scan finds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.kit.scans import Kit, answering_resolver


@pytest.fixture(scope="module")
def resolver() -> Iterator[str]:
    with answering_resolver() as address:
        yield address


@pytest.fixture
def kit(tmp_path: Path, resolver: str) -> Kit:
    return Kit(tmp_path, resolver)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, resolver: str) -> dict[str, list[dict[str, Any]]]:
    kit = Kit(tmp_path_factory.mktemp("undisturbed"), resolver)
    kit.scan("data")
    return kit.dataset("data")
