"""What holds for all tests."""

from __future__ import annotations

import os

from hypothesis import settings

os.environ.pop("COLUMNS", None)  # a width that somebody's terminal, or a parallel run, has left is none of a pipe's

# On a busy machine an example may take long, which is no failure; all else as it would be, on CI or elsewhere.
settings.register_profile("unhurried", settings(), deadline=None)
settings.load_profile("unhurried")
