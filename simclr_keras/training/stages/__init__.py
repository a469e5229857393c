"""One module per stage, on the frame in base.py."""
