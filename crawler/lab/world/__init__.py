"""Who lives in the lab, and the truth about them."""
