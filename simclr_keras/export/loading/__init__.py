"""Loads exported SavedModels, as functions and as a Keras layer."""
