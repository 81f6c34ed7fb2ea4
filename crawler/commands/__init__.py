"""The commands of `starttls-crawler`, a module for each: options in, exit code out; no logic."""
