"""The opt-outs as they were announced: read once, kept in the run by their digest, and used by every process of it.

The file that the operator named may be written anew at any time, or be a pipe.  A process that is started late must not use
another content than the one that was said and that stands in the manifest.
"""

from __future__ import annotations

from pathlib import Path

from crawler.dataset.files import write_whole
from crawler.dataset.run import RunDirectory
from crawler.model.errors import UsageError
from crawler.politeness.opt_out_file import OptOuts, parse_opt_outs


def keep(run: RunDirectory, opt_outs: OptOuts) -> dict[str, str] | None:
    """Write a copy into the run; returns what a process needs to read it, None without a file.  Raises `OSError`."""
    if not opt_outs.path:
        return None
    path = run.work / f"opt-outs-{opt_outs.sha256}"
    write_whole(path, opt_outs.content)
    return {"path": opt_outs.path, "kept": str(path), "sha256": opt_outs.sha256}


def kept(entry: dict[str, str] | None) -> OptOuts:
    """What was kept.  Raises `UsageError` if it is gone or another."""
    if entry is None:
        return OptOuts()
    path = Path(entry["kept"])
    try:
        found = parse_opt_outs(path.read_bytes(), Path(entry["path"]))
    except OSError as error:
        raise UsageError(f"{path}: the run's copy of the opt-outs cannot be read ({error.strerror})") from error
    if found.sha256 != entry["sha256"]:
        raise UsageError(f"{path}: the run's copy of the opt-outs is not what was announced; it was changed")
    return found


def remove_copies(run: RunDirectory) -> None:
    """Remove the copies of an earlier scan of this run; only with its lock in hand, so that no process uses them."""
    for path in run.work.glob("opt-outs-*"):
        path.unlink(missing_ok=True)
