"""One certificate or one chain to facts and verdicts."""
