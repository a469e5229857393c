"""Where images come from: each kind of dataset, opened by name."""
