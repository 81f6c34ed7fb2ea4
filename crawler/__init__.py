"""The crawler: domains in, Parquet out.  It measures; package `analysis` counts."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("starttls-crawler")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
