"""What is trained: encoders, batch normalization, heads, the named variants."""
