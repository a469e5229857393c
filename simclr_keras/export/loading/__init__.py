"""Load exported SavedModels: as a function of images, and as a Keras layer."""
