"""A machine that only scans needs none of the libraries that count."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from analysis.commands import _LIBRARIES
from tests.kit.source import ROOT

#: Beside those of the extra: what they bring along and pyarrow would take if it were there.
ABSENT = (*_LIBRARIES, "numpy")

BLOCKED = f"""
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {ABSENT!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Blocked())
"""


@pytest.fixture
def bare(tmp_path: Path) -> dict[str, str]:
    """An environment in which every process lacks these libraries, the workers of a scan too."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "sitecustomize.py").write_text(BLOCKED)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), str(ROOT)])}


def crawler(bare: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "crawler", *arguments], check=False, env=bare, text=True, capture_output=True, timeout=50
    )


def test_the_libraries_are_those_of_the_extra() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    named = {requirement.partition(">")[0].strip() for requirement in project["optional-dependencies"]["analysis"]}
    assert named == set(_LIBRARIES)
    assert not any(requirement.lower().startswith(_LIBRARIES) for requirement in project["dependencies"])


def test_a_scan_of_the_lab_needs_no_library_that_counts(bare: dict[str, str], tmp_path: Path) -> None:
    lab_files = tmp_path / "lab"
    command = [sys.executable, "-m", "crawler", "lab", "--domains", "12", "--dir", str(lab_files)]
    lab = subprocess.Popen(command, env=bare, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 40
        while not (lab_files / "lab.toml").exists():
            assert lab.poll() is None and time.monotonic() < deadline
            time.sleep(0.1)
        config, data = str(lab_files / "lab.toml"), str(tmp_path / "data")
        scan = crawler(bare, "scan", str(lab_files / "list.txt"), "--data", data, "--config", config, "--workers", "2")
        assert scan.returncode == 0, scan.stderr
        domain = (lab_files / "list.txt").read_text().split()[0]
        probe = crawler(bare, "probe", domain, "--config", config)
        assert probe.returncode == 0, probe.stderr
        again = crawler(bare, "rejudge", "--data", data, "--out", str(tmp_path / "again"))
        assert again.returncode == 0, again.stderr
    finally:
        lab.terminate()
        lab.wait(20)
    for command in (("stats", "--data", data), ("report", "--data", data, "--out", str(tmp_path / "site"))):
        refused = crawler(bare, *command)
        assert refused.returncode == 2 and refused.stderr.count("\n") == 1, refused.stderr
        assert "duckdb, jinja2, matplotlib, pandas, pytz" in refused.stderr and "[analysis]" in refused.stderr
