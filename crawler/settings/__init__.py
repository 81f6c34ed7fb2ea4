"""Every limit, rate and size of a run, and how a setting is declared."""
