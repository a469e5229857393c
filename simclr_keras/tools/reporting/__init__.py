"""The table and chart of simclr report."""
