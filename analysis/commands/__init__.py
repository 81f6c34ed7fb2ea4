"""Commands that `starttls-crawler` finds by entry point: arguments in, exit code out; no logic of measuring."""
