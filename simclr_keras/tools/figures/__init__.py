"""The figures that simclr visualize draws."""
