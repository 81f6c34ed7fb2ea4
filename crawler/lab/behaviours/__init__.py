"""What the lab's mail hosts and domains do, each with the truth that a scan must find."""
