"""The report: one page with tables and charts."""
