"""From what: sources of images, their views, and the batches made of them."""
