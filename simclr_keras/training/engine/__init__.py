"""The machinery of a run: loop, signals, progress, optimizers, devices and checks."""
