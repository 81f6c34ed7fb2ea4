"""The domains and hosts of the lab, and the truth about them."""
