"""Commands beside train.py: python -m simclr_keras.tools.NAME."""
