"""What holds for all tests."""

from __future__ import annotations

from hypothesis import settings

# On a busy machine an example may take long, which is no failure; all else as it would be, on CI or elsewhere.
settings.register_profile("unhurried", settings(), deadline=None)
settings.load_profile("unhurried")
