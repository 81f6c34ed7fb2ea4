"""The directory of a run: parts, markers, manifest, and how they are read back."""
