"""The analysis: stored runs in, figures out.  It judges; package `crawler` measures."""
