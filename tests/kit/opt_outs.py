"""Opt-outs from a file."""

from __future__ import annotations

from pathlib import Path

from crawler.politeness.exclusions import Exclusions
from crawler.settings.config import Config


def opted(tmp_path: Path, content: str | bytes) -> Exclusions:
    path = tmp_path / "opt-outs.txt"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return Exclusions(Config(exclude=str(path), allow_network=("127.0.0.0/8", "10.0.0.0/8")))
