"""Chains judged over all certificates of a run."""
