"""Every protocol that we probe, one file each: its names and ports, and its conversation up to TLS and inside it."""
