"""Reproducible benchmarks against fast C servers; every figure is a ratio within one run."""
