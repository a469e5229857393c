"""Encoders that are not built here: any keras.Model, networks of keras.applications and keras-hub."""
