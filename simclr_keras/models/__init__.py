"""The networks: encoders, batch normalization, heads, the named variants."""
