"""The join of domains, hosts and probes, and its verdicts, in SQL."""
