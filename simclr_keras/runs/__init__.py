"""What is on disk: the only reader and writer of run directories."""
