"""Figures as JSON, CSV and tables on a terminal."""
