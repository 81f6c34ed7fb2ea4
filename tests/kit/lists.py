"""Lists read from bytes, and packed ones."""

import io
import zipfile
from pathlib import Path

from crawler.lists.reader import read_targets, survey
from crawler.lists.survey import ListContents
from crawler.model.rows import Target


def targets_of(tmp_path: Path, content: bytes | str, limit: int = 0) -> list[Target]:
    path = tmp_path / "list"
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(read_targets(path, limit))


def zipped(data: bytes, names: tuple[str, ...] = ("top-1m.csv",)) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names:
            archive.writestr(name, data)
    return out.getvalue()


def read_aloud(tmp_path: Path, content: bytes | str, limit: int = 0) -> tuple[list[str | None], ListContents]:
    """The names of a list, and what is said of it."""
    targets = targets_of(tmp_path, content, limit)
    return [target.domain for target in targets], survey(tmp_path / "list", limit).contents
