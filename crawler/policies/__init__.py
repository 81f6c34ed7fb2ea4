"""What a domain promises about its mail, and what senders would do."""
