"""What we offer in a handshake, what was negotiated, and what either side says in the open."""
