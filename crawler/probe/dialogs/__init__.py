"""One file for each protocol: the conversation up to the go-ahead for TLS."""
