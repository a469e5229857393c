"""Leaf: the names of what export.py writes."""

SAVED_MODEL, KERAS, LITERT, ONNX = "saved_model", "keras", "litert", "onnx"
FORMATS = (SAVED_MODEL, KERAS, LITERT, ONNX)
