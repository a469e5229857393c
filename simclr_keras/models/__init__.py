"""What is trained: encoders, batch normalisation, heads, the named variants."""
