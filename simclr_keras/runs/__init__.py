"""Run directories: their only reader and writer."""
