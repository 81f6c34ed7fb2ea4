"""An object store in a directory, for every test of this folder."""

from __future__ import annotations

from pathlib import Path

import pyarrow.fs
import pytest

from crawler.commands.progress import Progress
from tests.kit.stores import Objects


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Objects:
    (tmp_path / "store" / "bucket").mkdir(parents=True)
    files = pyarrow.fs.SubTreeFileSystem(str(tmp_path / "store"), pyarrow.fs.LocalFileSystem())
    monkeypatch.setattr("crawler.object_store.client._filesystem", lambda uri: (files, "bucket/scans"))
    monkeypatch.setattr("analysis.runs.remote._filesystem", lambda uri: (files, "bucket/scans"))
    return Objects(tmp_path / "store")


@pytest.fixture
def progress() -> Progress:
    return Progress(quiet=True)
