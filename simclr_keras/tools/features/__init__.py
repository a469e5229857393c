"""Feature files: vectors of images on disk."""
