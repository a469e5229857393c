"""The images that a tool works on."""
