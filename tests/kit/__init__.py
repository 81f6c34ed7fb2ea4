"""What several tests use: servers, certificates, lists and runs that are made for them."""
