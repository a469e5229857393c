"""Settings. Imports no TensorFlow, so that --help answers at once."""
