"""The run: configuration, recipes, the loop, the run directory, one module a stage."""
