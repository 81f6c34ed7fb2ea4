"""Figures as others read them: machine formats, tables on a terminal, charts, and a site."""
