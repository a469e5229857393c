"""Exports: SavedModels that every TensorFlow loader trains, other formats, and the Keras layer that loads them."""
