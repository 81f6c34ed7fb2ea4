"""Hostile domains of the lab, which attack whoever measures them."""
