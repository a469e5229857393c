"""What leaves the house: SavedModels that every TensorFlow loader trains, other formats, and the layer around them."""
