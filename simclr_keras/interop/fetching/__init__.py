"""Weights by name: what the names mean, and the download into a cache."""
