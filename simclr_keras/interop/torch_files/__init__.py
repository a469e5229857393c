"""Weights of PyTorch's ResNets: their names, files that contain them, and a forward pass that checks them."""
