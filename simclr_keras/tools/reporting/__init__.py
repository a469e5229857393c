"""The table and chart of tools.report."""
