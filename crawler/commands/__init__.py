"""Commands that are not in `crawler.cli` itself, which finds them: options in, exit code out; no logic."""
