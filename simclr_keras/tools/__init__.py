"""Commands beside the stages: `simclr NAME`, or python -m simclr_keras.tools.NAME."""
