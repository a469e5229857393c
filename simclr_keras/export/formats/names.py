"""Leaf: the names of what export.py writes: formats, and their files."""

SAVED_MODEL, KERAS, LITERT, ONNX = "saved_model", "keras", "litert", "onnx"
FORMATS = (SAVED_MODEL, KERAS, LITERT, ONNX)
GRAPH_FILE, KERAS_FILE, LITERT_FILE = "saved_model.pb", "model.keras", "model.tflite"
INT8_FILE, ONNX_FILE = "model_int8.tflite", "model.onnx"
