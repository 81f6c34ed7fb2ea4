"""The lab's servers on loopback: DNS, mail, TLS, policies."""
