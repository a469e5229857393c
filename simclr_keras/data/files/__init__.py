"""Image files: which exist, which can be decoded, and what is remembered of them."""
