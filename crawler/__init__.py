"""The crawler: domains in, Parquet out.  It measures; package `analysis` counts."""

from importlib.metadata import PackageNotFoundError, version


def _of_source_tree() -> str:
    """The version of a source tree that was never installed, marked as such; `0+unknown` of anything else."""
    import tomllib
    from pathlib import Path

    try:
        project = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text("utf-8"))["project"]
    except (OSError, ValueError, KeyError):
        return "0+unknown"
    return f"{project['version']}+source" if project.get("name") == "starttls-crawler" else "0+unknown"


try:
    __version__ = version("starttls-crawler")
except PackageNotFoundError:
    __version__ = _of_source_tree()
