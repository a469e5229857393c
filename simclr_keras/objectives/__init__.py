"""Losses, and the learners that hold the training step."""
