"""The hosts of a run: which there are, and whether they answer."""
