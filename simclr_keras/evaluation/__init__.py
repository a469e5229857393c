"""How good a representation is: kNN, linear probes, pictures."""
