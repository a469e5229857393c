"""The figures that tools.visualize draws."""
